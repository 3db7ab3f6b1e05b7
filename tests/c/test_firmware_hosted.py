"""Episodes whose actions come from the host."""

import pytest

from esmaml_robot.bridge.messages import Flag, Result, State

PERIOD, HOLD, RELEASE = 100_000, 300_000, 600_000
SAFE = [0, 0, 0]


@pytest.fixture
def hosted(board):
    assert board.command("arm") == Result.OK
    assert board.command("run_hosted", episode_id=4, episode_seed=78) == Result.OK
    assert board.c.seed() == 78
    return board


def test_an_action_is_clipped_limited_applied_and_reported(hosted):
    (asked,) = hosted.tick(0)
    assert (asked.name, asked.values["tick"], asked.values["episode_id"]) == ("sensed", 0, 4)
    assert hosted.outputs == SAFE, "nothing moves before the host has said how"
    (record,) = hosted.send("action", episode_id=4, tick=0, actuators=[100000, -300])
    assert record.name == "telemetry"
    assert record.values["actuators"] == (1000, -300)
    assert record.values["flags"] == Flag.CLIPPED
    assert hosted.outputs == [1000, -300, 1]
    hosted.c.advance(PERIOD)
    assert [f.values["tick"] for f in hosted.tick(0)] == [1]


@pytest.mark.parametrize(("episode", "tick"), [(5, 0), (4, 1), (4, 65535)])
def test_an_action_for_another_period_is_dropped(hosted, episode, tick):
    hosted.tick(0)
    assert hosted.send("action", episode_id=episode, tick=tick, actuators=[100, 100]) == []
    assert hosted.outputs == SAFE
    assert hosted.status()["stale"] == 1


def test_a_second_action_for_a_period_is_dropped(hosted):
    hosted.tick(0)
    hosted.send("action", episode_id=4, tick=0, actuators=[100, 100])
    assert hosted.send("action", episode_id=4, tick=0, actuators=[900, 900]) == []
    assert hosted.outputs == [100, 100, 1]


def test_a_late_action_leaves_the_last_one_and_is_marked(hosted):
    hosted.tick(0)
    hosted.send("action", episode_id=4, tick=0, actuators=[100, 50])
    hosted.c.advance(PERIOD)
    hosted.tick(PERIOD)
    late, asked = hosted.tick(0)
    assert (late.values["tick"], late.values["flags"], late.values["actuators"]) == (1, Flag.LATE, (100, 50))
    assert (asked.name, asked.values["tick"]) == ("sensed", 2)
    assert hosted.send("action", episode_id=4, tick=1, actuators=[7, 7]) == []
    assert hosted.outputs == [100, 50, 1]


def test_keep_alives_do_not_stand_in_for_actions(hosted):
    hosted.tick(0)
    hosted.send("action", episode_id=4, tick=0, actuators=[100, 50])
    for tick in range(HOLD // PERIOD):
        hosted.send("keep_alive", episode_id=4, tick=tick)
        hosted.tick()
    hosted.c.poll()
    assert hosted.state is State.HOLD
    assert hosted.send("action", episode_id=4, tick=3, actuators=[1, 1]) == []
    hosted.c.advance(RELEASE - HOLD)
    hosted.c.poll()
    assert hosted.state is State.FAULT
    assert hosted.outputs == SAFE


def test_an_action_without_an_episode_of_the_host_moves_nothing(board, running):
    running.tick(0)
    before = running.outputs
    assert running.send("action", episode_id=1, tick=0, actuators=[9, 9]) == []
    assert running.outputs == before

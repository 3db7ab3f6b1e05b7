"""Episodes on the whole firmware: from RUN to their end, limits, watchdog, and what ends them otherwise."""

import numpy as np
import pytest

from esmaml_robot.bridge.messages import Fault, Flag, Reason, Result, State

PERIOD, HOLD, RELEASE = 100_000, 300_000, 600_000
SAFE = [0, 0, 0]


def test_boots_idle_with_torque_off(boot):
    board = boot()
    assert board.state is State.IDLE
    assert board.outputs == SAFE


def test_an_episode_from_run_to_end(running):
    frames = [f for _ in range(101) for f in running.tick(alive=True)]
    telemetry, end = frames[:-1], frames[-1]
    assert [f.values["tick"] for f in telemetry] == list(range(101))
    assert all(f.values["actuators"] == (500, -250) for f in telemetry[:-1])
    assert telemetry[-1].values["actuators"] == (0, 0)
    assert telemetry[-1].values["flags"] == Flag.FINAL | Flag.RELEASED
    assert (end.values["reason"], end.values["steps"], end.values["episode_return"]) == (Reason.COMPLETED, 100, -400.0)
    assert running.state is State.ARMED
    assert running.outputs == SAFE
    assert running.status()["overruns"] == 0


def test_an_abort_ends_the_episode_and_leaves_the_robot_armed(running):
    running.tick(alive=True)
    running.c.sense(1, -4501)
    telemetry, end = running.tick()
    assert telemetry.values["flags"] & Flag.FINAL
    assert (end.values["reason"], end.values["abort_index"], end.values["steps"]) == (Reason.ABORTED, 2, 1)
    assert end.values["episode_return"] == -400.0
    assert running.state is State.ARMED
    assert running.outputs == SAFE


@pytest.mark.parametrize("start", [0, 2**32 - 450_000])
def test_the_watchdog_holds_then_releases_also_when_the_clock_wraps(boot, start):
    board = boot(start)
    board.hello()
    board.command("arm")
    board.run()
    board.tick(alive=True)
    board.tick()  # from here on the host is silent; it has seen tick 0
    board.tick(PERIOD - 1)
    board.c.poll()
    assert board.state is State.RUN
    board.c.advance(1)
    board.c.poll()
    assert board.state is State.HOLD
    assert board.outputs == [0, 0, 1], "hold values, torque on"
    assert board.tick(RELEASE - HOLD - 1)[0].values["flags"] == Flag.HELD
    board.c.poll()
    assert board.state is State.HOLD
    board.c.advance(1)
    board.c.poll()
    assert board.outputs == SAFE
    (end,) = board.frames()
    assert end.values["reason"] == Reason.WATCHDOG
    status = board.status()
    assert (status["state"], status["fault"], status["watchdog_trips"]) == (State.FAULT, Fault.WATCHDOG, 1)


def test_a_host_that_comes_back_does_not_rescue_an_episode_in_hold(running):
    running.tick(HOLD)
    running.c.poll()
    assert running.state is State.HOLD
    running.send("keep_alive", episode_id=1, tick=0)
    running.c.advance(RELEASE - HOLD)
    running.c.poll()
    assert [f.name for f in running.frames()] == ["episode_end"]
    assert running.state is State.FAULT
    assert running.command("arm") == Result.FAULTED, "no re-arming by itself"
    assert running.command("disarm") == Result.OK
    assert running.command("arm") == Result.OK


def test_only_a_keep_alive_that_has_seen_something_new_feeds_the_watchdog(running):
    for t in range(3):
        assert running.state is State.RUN
        running.tick()
        running.send("status")  # a question is no sign of life for the watchdog
        running.send("keep_alive", episode_id=9, tick=t)  # another episode
        running.send("keep_alive", episode_id=1, tick=t + 1)  # not seen by anybody yet
        running.send("keep_alive", episode_id=1, tick=0)  # lay in a buffer
    running.c.poll()
    assert running.state is State.HOLD


@pytest.mark.parametrize(
    ("command", "state", "reason"),
    [
        ("stop", State.ARMED, Reason.STOPPED),
        ("disarm", State.IDLE, Reason.DISARMED),
        ("estop", State.ESTOP, Reason.ESTOPPED),
    ],
)
def test_commands_that_end_an_episode(running, command, state, reason):
    running.tick(alive=True)
    end, ack = running.send(command)
    assert end.values["reason"] == reason
    assert ack.values["result"] == Result.OK
    assert running.state is state
    assert running.outputs == SAFE


@pytest.mark.parametrize("sigma", [float("nan"), float("inf"), -float("inf")])
def test_a_sigma_that_is_not_finite_is_refused(board, sigma):
    board.command("arm")
    assert board.run(sigma=sigma) == Result.NOT_FINITE
    assert board.state is State.ARMED


def test_a_policy_that_gives_nan_ends_in_fault(running):
    running.tick(alive=True)
    running.c.break_policy()
    telemetry, end = running.tick()
    assert telemetry.values["actuators"] == (0, 0)
    assert end.values["reason"] == Reason.FAULTED
    assert running.outputs == SAFE
    assert running.status()["fault"] == Fault.NOT_FINITE


def test_states_that_do_not_allow_a_command(board):
    assert board.run() == Result.WRONG_STATE
    board.command("arm")
    board.run()
    assert board.command("params_begin", count=6, crc32=0) == Result.WRONG_STATE
    assert board.command("commit", direction_seed=1, sigma=0.1, crc32=0) == Result.WRONG_STATE


def test_late_control_periods_are_counted(running):
    running.tick(PERIOD + 1, alive=True)
    running.tick(alive=True)
    running.c.advance(PERIOD)
    running.tick(us=0, alive=True)
    status = running.status()
    assert (status["overruns"], status["longest_tick_us"]) == (1, 0)
    assert (status["stack_bytes"], status["stack_left"]) == (300, 700)


def test_random_bytes_and_random_commands_never_leave_torque_on_outside_an_episode(boot):
    rng = np.random.default_rng(8)
    board = boot()
    board.hello()
    adapt = {
        "episode_id": 1,
        "operator_seed": 2,
        "options": 0,
        "parallel": 2,
        "sigma": 0.1,
        "shrink": 1.0,
        "alpha": 0.1,
    }
    names = ["arm", "disarm", "stop", "estop", "clear_estop", "selftest", "params_end", "status", "pause", "resume"]
    seen = set()
    for _ in range(3000):
        pick = rng.random()
        if pick < 0.2:
            board.raw(rng.integers(0, 256, 20).astype(np.uint8).tobytes())
        elif pick < 0.45:
            values = {"episode_seed": 1, "direction_seed": 2, "sigma": float(rng.choice([0.0, 0.1, np.nan]))}
            board.send("run", episode_id=int(rng.integers(3)), **values)
        elif pick < 0.5:
            board.send("adapt", operator_code=int(rng.integers(5)), queries=int(rng.integers(8)), **adapt)
        elif pick < 0.75:
            board.tick(int(rng.integers(0, 200_000)), alive=bool(rng.random() < 0.8))
        else:
            board.send(str(rng.choice(names, p=[0.35, 0.08, 0.08, 0.05, 0.1, 0.05, 0.09, 0.1, 0.05, 0.05])))
        board.c.poll()
        board.frames()
        seen.add(board.state)
        assert (board.c.torque() == 1) <= (board.state in (State.RUN, State.HOLD))
    assert seen == set(State) - {State.BOOT}

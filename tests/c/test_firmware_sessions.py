"""Who may speak to the firmware: sessions, other hosts, commands that come twice or late, and noise on the line."""

import pytest

from esmaml_robot.bridge.framing import encode_frame
from esmaml_robot.bridge.messages import SCHEMA_HASH, Reason, Result, State

PERIOD, RELEASE = 100_000, 600_000
HOST, OTHER = 0x1111, 0x2222
SAFE = [0, 0, 0]


@pytest.mark.parametrize("session", [0, OTHER, HOST])
def test_the_emergency_stop_needs_no_session_and_stays(running, session):
    running.tick(alive=True)
    end, ack = running.send("estop", session=session, sequence=0)
    assert (end.values["reason"], ack.session, ack.values["result"]) == (Reason.ESTOPPED, session, Result.OK)
    assert running.outputs == SAFE
    for refused in ("arm", "disarm"):
        assert running.command(refused) == Result.ESTOPPED
    assert running.run() == Result.ESTOPPED
    (busy_or_reply,) = running.hello(OTHER)
    assert busy_or_reply.values["state"] == State.ESTOP, "another host may connect; the stop stays"
    assert running.command("clear_estop", session=OTHER) == Result.OK
    assert running.state is State.IDLE


@pytest.mark.parametrize("armed", ["arm", "run"])
def test_another_host_cannot_take_an_armed_robot(board, armed):
    board.command("arm")
    if armed == "run":
        board.run()
        board.tick(alive=True)
    (answer,) = board.hello(OTHER)
    assert (answer.session, answer.values["result"], answer.values["detail"]) == (OTHER, Result.BUSY, HOST)
    assert board.send("stop", session=OTHER) == []
    assert board.status()["wrong_session"] == 1
    assert board.state is (State.ARMED if armed == "arm" else State.RUN)


def test_another_host_gets_a_robot_whose_host_is_gone_but_disarmed(board):
    board.command("arm")
    board.c.advance(RELEASE - 1)
    board.c.poll()
    assert board.hello(OTHER)[0].values["result"] == Result.BUSY
    board.c.advance(1)
    board.c.poll()
    assert board.hello(OTHER)[0].name == "hello_reply"
    assert board.state is State.IDLE


def test_another_host_that_draws_the_same_session_is_another_host(board):
    # one in 65,535: without this it would find the robot armed and its own commands taken for old ones
    board.command("arm")
    (ack,) = board.send("hello", sequence=40000, protocol_major=1, protocol_minor=0, schema=SCHEMA_HASH)
    assert (ack.name, ack.values["result"]) == ("ack", Result.BUSY)
    assert board.state is State.ARMED
    board.c.advance(RELEASE)
    board.c.poll()
    (reply,) = board.send("hello", sequence=40000, protocol_major=1, protocol_minor=0, schema=SCHEMA_HASH)
    assert (reply.name, reply.values["state"]) == ("hello_reply", State.IDLE)
    board.sequence = 40000
    assert board.command("arm") == Result.OK


def test_a_greeting_without_a_session_touches_nobody(running):
    (reply,) = running.hello(0)
    assert (reply.session, reply.values["current_session"], reply.values["state"]) == (0, HOST, State.RUN)
    assert running.send("stop", session=0) == []
    assert running.state is State.RUN


def test_a_repeated_command_is_answered_again_and_done_once(board):
    board.command("arm")
    first = board.send("run", sequence=50, episode_id=5, episode_seed=1, direction_seed=0, sigma=0.0)
    board.tick(alive=False)
    again = board.send("run", sequence=50, episode_id=5, episode_seed=1, direction_seed=0, sigma=0.0)
    assert first[0].values == again[0].values
    assert board.tick()[0].values["tick"] == 1, "the episode was not begun anew"


def test_an_older_command_is_dropped_and_counted(board):
    board.send("arm", sequence=60)
    assert board.send("disarm", sequence=59) == []
    assert board.state is State.ARMED
    board.sequence = 60
    assert board.status()["stale"] == 1


def test_a_status_says_which_question_it_answers_and_when_that_came(board):
    def ask(sequence, t_us):
        (reply,) = board.raw(encode_frame(board.codec.encode("status", HOST, sequence, t_us)))
        return reply.values["asked_us"], reply.values["received_us"], reply.t_us

    board.c.advance(700)
    assert ask(70, 0xFFFFFFFE) == (0xFFFFFFFE, 700, 700)
    board.c.advance(50)
    assert ask(70, 0xFFFFFFFE) == (0xFFFFFFFE, 700, 750), "the same question again: it came first at 700"
    assert ask(71, 12) == (12, 750, 750)


NEAR = 2_000  # microseconds before a control period from which on answers wait for it


@pytest.mark.parametrize("question", ["status", "read", "progress", "params_read"])
def test_an_answer_waits_for_the_control_period_that_is_near(running, question):
    values = {"offset": 0} if question == "params_read" else {}
    running.tick(PERIOD - NEAR - 1)
    assert len(running.send(question, **values)) == 1, "there is time for it"
    running.c.advance(1)
    assert running.send(question, **values) == []
    running.c.advance(NEAR - 1)
    running.c.poll()
    assert running.frames() == []
    running.c.advance(1)
    assert [f.name for f in running.tick(us=0)] == ["telemetry"]
    running.c.poll()
    assert len(running.frames()) == 1
    running.c.poll()
    assert running.frames() == [], "once"


def test_an_answer_that_waited_tells_when_its_question_came(running):
    running.tick(PERIOD - 500)
    assert running.raw(encode_frame(running.codec.encode("status", HOST, 200, 9))) == []
    running.c.advance(100)
    running.send("keep_alive", sequence=201, episode_id=1, tick=0)
    running.c.advance(400)
    running.tick(us=70)
    running.c.poll()
    (reply,) = running.frames()
    assert (reply.values["asked_us"], reply.values["received_us"], reply.t_us) == (9, PERIOD - 500, PERIOD + 70)


def test_an_answer_waits_for_one_control_period_and_no_longer(running):
    running.tick(PERIOD - 1)
    assert running.send("status") == []
    running.c.advance(1)
    running.tick(PERIOD - 1)  # the next one is near before the firmware comes to its line again
    running.c.poll()
    assert [f.name for f in running.frames()] == ["status_reply"]


def test_commands_do_not_wait(running):
    running.tick(PERIOD - 1)
    assert running.send("status") == []
    assert [f.name for f in running.send("stop")] == ["episode_end", "ack"]
    running.c.poll()
    assert [f.name for f in running.frames()] == ["status_reply"], "no control period is due any more"


def test_what_the_last_host_asked_is_not_answered_to_the_next(running):
    running.tick(PERIOD - 1)
    asked = [running.codec.encode(name, HOST, 100 + i, 0) for i, name in enumerate(("status", "stop", "disarm"))]
    asked.append(running.codec.encode("hello", OTHER, 1, 0, protocol_major=1, protocol_minor=0, schema=SCHEMA_HASH))
    names = [f.name for f in running.raw(b"".join(map(encode_frame, asked)))]
    assert names == ["episode_end", "ack", "ack", "hello_reply"]


def test_sequences_wrap(board):
    board.send("status", sequence=0x7000)
    board.send("status", sequence=0xE000)
    assert board.send("arm", sequence=5)[0].values["result"] == Result.OK


def test_a_host_with_another_table_of_messages_cannot_arm(boot):
    for change in ({"schema": 1}, {"major": 2}):
        board = boot()
        board.hello(**change)
        assert board.command("arm") == Result.OTHER_SCHEMA


def test_wrong_lengths_types_and_garbage_are_counted(board):
    payload = board.codec.encode("arm", HOST, 9, 0)
    unknown = b"\x7f" + payload[1:]
    to_host = board.codec.encode("ack", HOST, 9, 0, acknowledged=0, acknowledged_sequence=0, result=0, detail=0)
    stream = encode_frame(payload + b"\0") + encode_frame(unknown) + encode_frame(to_host) + b"\x03garbage\0"
    assert board.raw(stream) == []
    assert board.status()["bad_frames"] == 4
    assert board.state is State.IDLE


def test_a_full_line_loses_frames_and_nothing_else(running):
    running.c.line_full(1)
    running.tick()
    running.c.line_full(0)
    assert running.tick()[0].values["tick"] == 1
    assert running.status()["unsent"] == 1

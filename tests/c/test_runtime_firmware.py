"""The whole firmware with a HAL of the test's own: its clock, its line, its sensors. No process, no waiting."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from esmaml_robot.adaptation.base import Proposals, materialise
from esmaml_robot.bridge.controller import theta_crc32
from esmaml_robot.bridge.framing import FrameDecoder, encode_frame
from esmaml_robot.bridge.messages import SCHEMA_HASH, Codec, Fault, Flag, Reason, Result, State
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.build import RUNTIME, WARNINGS
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c

SPEC = load_robot("rover_uno")
POLICY = PolicySpec(inputs=2, outputs=2, hidden=())
THETA = np.array([0, 0, 0, 0, 0.5, -0.25], np.float32)  # vx 0.5 m/s, vy -0.25 m/s, whatever is observed
CODEC = Codec.for_robot(SPEC)
PERIOD, HOLD, RELEASE = 100_000, 300_000, 600_000
HOST, OTHER = 0x1111, 0x2222
D = POLICY.dimension

HAL = Path(__file__).with_name("hal_test.c")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("firmware")
    write_policy_c(Policy(POLICY, THETA, Normaliser.identity(POLICY.inputs)), SPEC, folder)
    write_robot_c(SPEC, folder)
    return build(folder, "fw.so")


def build(folder, name):
    sources = [*RUNTIME.glob("*.c"), folder / "policy.c", folder / "robot_model.c", HAL]
    subprocess.run(
        ["cc", "-std=c99", "-O1", "-ffp-contract=off", *WARNINGS, "-fsanitize=undefined", "-fno-sanitize-recover=all",
         "-DESMAML_FIRMWARE", "-shared", "-fPIC", f"-I{RUNTIME}", f"-I{folder}", *map(str, sources), "-o",
         str(folder / name)],
        check=True,
    )  # fmt: skip
    c = ctypes.CDLL(str(folder / name))
    c.sent.restype = ctypes.c_size_t
    c.actuators.restype = ctypes.POINTER(ctypes.c_int32)
    c.seed.restype = ctypes.c_uint32
    return c


class Board:
    """A booted firmware, and one side of its line; of a new chip, or of one that was switched off and on."""

    def __init__(self, c, now: int = 0, new: bool = True) -> None:
        self.c = c
        self.decoder = FrameDecoder()
        self.sequence = 0
        if new:
            c.new_chip()
        c.boot(ctypes.c_uint32(now))

    def frames(self):
        out = ctypes.create_string_buffer(65536)
        used = self.c.sent(out)
        return [CODEC.decode(p) for p in self.decoder.feed(out.raw[:used])]

    def raw(self, data: bytes):
        self.c.receive(data, ctypes.c_size_t(len(data)))
        return self.frames()

    def send(self, name, session=HOST, sequence=None, **values):
        if sequence is None:
            self.sequence = sequence = (self.sequence + 1) % 0x10000
        return self.raw(encode_frame(CODEC.encode(name, session, sequence, 0, **values)))

    def hello(self, session=HOST, schema=SCHEMA_HASH, major=1):
        return self.send("hello", session, protocol_major=major, protocol_minor=0, schema=schema)

    def command(self, name, **values) -> Result:
        (ack,) = self.send(name, **values)
        assert ack.name == "ack"
        return Result(ack.values["result"])

    def run(self, episode_id=1, sigma=0.0) -> Result:
        return self.command("run", episode_id=episode_id, episode_seed=77, direction_seed=3, sigma=sigma)

    def tick(self, us=PERIOD, alive=False):
        """One control period; then time moves on."""
        self.c.tick()
        frames = self.frames()
        if alive:
            for f in frames:
                if f.name == "telemetry":
                    self.send("keep_alive", episode_id=f.values["episode_id"], tick=f.values["tick"])
        self.c.advance(us)
        return frames

    def status(self):
        (reply,) = self.send("status")
        return reply.values

    @property
    def state(self):
        return State(self.c.state())

    @property
    def outputs(self):
        return [*self.c.actuators()[:2], self.c.torque()]


SAFE = [0, 0, 0]


@pytest.fixture
def board(library):
    made = Board(library)
    (reply,) = made.hello()
    assert reply.name == "hello_reply"
    assert reply.values["board"] == "test board"
    return made


@pytest.fixture
def running(board):
    assert board.command("arm") == Result.OK
    assert board.outputs == SAFE
    assert board.run() == Result.OK
    assert board.c.seed() == 77
    return board


def test_boots_idle_with_torque_off(library):
    board = Board(library)
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
def test_the_watchdog_holds_then_releases_also_when_the_clock_wraps(library, start):
    board = Board(library, start)
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
        (reply,) = board.raw(encode_frame(CODEC.encode("status", HOST, sequence, t_us)))
        return reply.values["asked_us"], reply.values["received_us"], reply.t_us

    board.c.advance(700)
    assert ask(70, 0xFFFFFFFE) == (0xFFFFFFFE, 700, 700)
    board.c.advance(50)
    assert ask(70, 0xFFFFFFFE) == (0xFFFFFFFE, 700, 750), "the same question again: it came first at 700"
    assert ask(71, 12) == (12, 750, 750)


def test_sequences_wrap(board):
    board.send("status", sequence=0x7000)
    board.send("status", sequence=0xE000)
    assert board.send("arm", sequence=5)[0].values["result"] == Result.OK


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


def test_a_host_with_another_table_of_messages_cannot_arm(library):
    for change in ({"schema": 1}, {"major": 2}):
        board = Board(library)
        board.hello(**change)
        assert board.command("arm") == Result.OTHER_SCHEMA


def test_wrong_lengths_types_and_garbage_are_counted(board):
    payload = CODEC.encode("arm", HOST, 9, 0)
    unknown = b"\x7f" + payload[1:]
    to_host = CODEC.encode("ack", HOST, 9, 0, acknowledged=0, acknowledged_sequence=0, result=0, detail=0)
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


def test_late_control_periods_are_counted(running):
    running.tick(PERIOD + 1, alive=True)
    running.tick(alive=True)
    running.c.advance(PERIOD)
    running.tick(alive=True)
    assert running.status()["overruns"] == 1


def test_random_bytes_and_random_commands_never_leave_torque_on_outside_an_episode(library):
    rng = np.random.default_rng(8)
    board = Board(library)
    board.hello()
    names = ["arm", "disarm", "stop", "estop", "clear_estop", "selftest", "params_end", "status"]
    seen = set()
    for _ in range(3000):
        pick = rng.random()
        if pick < 0.2:
            board.raw(rng.integers(0, 256, 20).astype(np.uint8).tobytes())
        elif pick < 0.45:
            values = {"episode_seed": 1, "direction_seed": 2, "sigma": float(rng.choice([0.0, 0.1, np.nan]))}
            board.send("run", episode_id=int(rng.integers(3)), **values)
        elif pick < 0.7:
            board.tick(int(rng.integers(0, 200_000)), alive=bool(rng.random() < 0.8))
        else:
            board.send(str(rng.choice(names, p=[0.4, 0.1, 0.1, 0.05, 0.1, 0.05, 0.1, 0.1])))
        board.c.poll()
        board.frames()
        seen.add(board.state)
        assert (board.c.torque() == 1) <= (board.state in (State.RUN, State.HOLD))
    assert seen == set(State) - {State.BOOT}


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("policy.h", f'POLICY_SPEC_HASH "{SPEC.spec_hash}"', 'POLICY_SPEC_HASH "0123456789abcdef"', Fault.OTHER_ROBOT),
        ("policy.c", "0x1p-1f", "0x1p-2f", Fault.SELFTEST),
    ],
)
def test_a_wrong_build_boots_into_fault_and_cannot_be_armed(tmp_path, file, old, new, fault):
    write_policy_c(Policy(POLICY, THETA, Normaliser.identity(POLICY.inputs)), SPEC, tmp_path)
    write_robot_c(SPEC, tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    board = Board(build(tmp_path, f"{fault.name}.so"))
    assert board.state is State.FAULT
    assert board.outputs == SAFE
    board.hello()
    assert board.status()["fault"] == fault
    assert board.command("disarm") == Result.OK
    assert board.command("arm") == Result.FAULTED


def test_a_self_test_that_fails_disarms_an_armed_robot(tmp_path):
    # as if the parameters in the controller's flash had been damaged after it started: the second self test fails
    write_policy_c(Policy(POLICY, THETA, Normaliser.identity(POLICY.inputs)), SPEC, tmp_path)
    write_robot_c(SPEC, tmp_path)
    text = (tmp_path / "policy.c").read_text()
    head = "int policy_selftest_of(const float *parameters, float *max_error)\n{\n"
    assert text.count(head) == 1
    failing = head + "    static int calls;\n    if (calls++ > 0) { *max_error = 1.0f; return 1; }\n    {\n"
    text = text.replace(head, failing)
    end = text.index("\n}\n", text.index(head[:-3])) + 1
    (tmp_path / "policy.c").write_text(text[:end] + "    }\n" + text[end:])
    board = Board(build(tmp_path, "failing.so"))
    board.hello()
    assert board.command("arm") == Result.OK
    assert board.state is State.ARMED
    assert board.command("selftest") == Result.SELFTEST_FAILED
    assert board.state is State.FAULT
    assert board.status()["fault"] == Fault.SELFTEST
    assert board.run() == Result.FAULTED
    assert board.command("disarm") == Result.OK
    assert board.command("arm") == Result.FAULTED
    assert board.outputs == SAFE


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


# ---- actions from the host ----


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


# ---- adaptation on the controller alone ----


def adapt(board, queries=2, sigma=0.25, shrink=0.5, seed=9):
    return board.command("adapt", episode_id=10, operator_seed=seed, queries=queries, sigma=sigma, shrink=shrink)


def test_it_needs_no_host_and_ends_disarmed(board):
    board.command("arm")
    assert adapt(board) == Result.OK
    frames = [f for _ in range(310) for f in board.tick()]  # no keep-alive, far beyond the watchdog's time
    ends = [f.values for f in frames if f.name == "episode_end"]
    steps = [f.values for f in frames if f.name == "adaptation"]
    assert [e["episode_id"] for e in ends] == [10, 11, 12]
    assert [(s["told"], s["done"]) for s in steps] == [(1, 0), (2, 0), (3, 1)]
    assert board.state is State.IDLE
    assert board.outputs == SAFE
    assert board.status()["crc32"] == steps[-1]["crc32"]
    assert board.tick() == []


@pytest.mark.parametrize("stopper", ["stop", "disarm", "estop"])
def test_it_is_over_when_the_host_says_so(board, stopper):
    board.command("arm")
    adapt(board)
    for _ in range(5):
        board.tick()
    board.send(stopper)
    assert board.outputs == SAFE
    board.frames()
    assert [f for _ in range(20) for f in board.tick()] == []
    assert board.outputs == SAFE


@pytest.mark.parametrize(
    "wrong",
    [{"queries": 0}, {"sigma": 0.0}, {"sigma": float("nan")}, {"shrink": 0.0}, {"shrink": 1.5}, {"sigma": -1.0}],
)
def test_numbers_out_of_range_are_refused(board, wrong):
    board.command("arm")
    assert adapt(board, **wrong) == Result.BAD_RANGE
    assert board.state is State.ARMED
    assert board.tick() == []


def test_it_needs_an_armed_robot_and_its_parameters_are_let_alone(board):
    assert adapt(board) == Result.WRONG_STATE
    board.command("arm")
    adapt(board)
    assert board.command("params_begin", count=D, crc32=0) == Result.WRONG_STATE
    assert board.command("selftest") == Result.WRONG_STATE
    assert board.command("params_store", keep=1) == Result.WRONG_STATE


def test_between_two_episodes_another_host_may_take_over_and_ends_it(board):
    board.command("arm")
    adapt(board)
    for _ in range(101):
        board.tick()
    assert board.state is State.ARMED
    (reply,) = [f for f in board.hello(session=OTHER) if f.name == "hello_reply"]
    assert reply.values["state"] == State.IDLE
    assert board.tick() == []


# ---- parameters read back, and kept ----


def test_parameters_are_read_in_pieces(board):
    (first,) = board.send("params_read", offset=0)
    (last,) = board.send("params_read", offset=D - 3)
    (beyond,) = board.send("params_read", offset=D)
    (far,) = board.send("params_read", offset=2**32 - 1)
    assert (first.values["used"], last.values["used"], beyond.values["used"], far.values["used"]) == (6, 3, 0, 0)
    assert np.float32(first.values["values"][:6]).tobytes() == THETA.tobytes()
    assert np.float32(last.values["values"][:3]).tobytes() == THETA[-3:].tobytes()


def test_kept_parameters_are_there_after_a_restart_and_gone_when_forgotten(board):
    seed, sigma = 5, 0.5
    moved = materialise([Proposals(THETA, np.uint32([seed]), np.float32([sigma]), np.uint32([0]))])[0]
    crc = theta_crc32(moved)
    assert board.command("commit", direction_seed=seed, sigma=sigma, crc32=crc) == Result.OK
    assert board.command("params_store", keep=1) == Result.OK
    again = Board(board.c, new=False)
    again.hello()
    assert again.status()["crc32"] == crc
    assert again.command("params_store", keep=0) == Result.OK
    last = Board(board.c, new=False)
    last.hello()
    assert last.status()["crc32"] == theta_crc32(THETA)


def test_a_board_without_memory_says_so(board):
    board.c.store_room(ctypes.c_uint32(10))
    (ack,) = board.send("params_store", keep=1)
    assert (ack.values["result"], ack.values["detail"]) == (Result.NOT_STORED, 2 * (4 * D + 24))


# ---- devices that can fail on their own ----


def test_a_device_that_fails_takes_the_torque_and_is_named(running):
    running.tick(alive=True)
    running.c.devices(Fault.BUS_LOST, 22, 0)
    (end,) = running.tick()
    assert (end.name, end.values["reason"], end.values["steps"]) == ("episode_end", Reason.FAULTED, 0)
    assert running.state is State.FAULT
    assert running.outputs == SAFE
    status = running.status()
    assert (status["fault"], status["fault_detail"]) == (Fault.BUS_LOST, 22)
    (ack,) = running.send("run", episode_id=2, episode_seed=1, direction_seed=0, sigma=0.0)
    assert (ack.values["result"], ack.values["detail"]) == (Result.FAULTED, Fault.BUS_LOST + 256 * 22)


def test_a_device_that_fails_in_hold_takes_the_torque(running):
    running.tick(alive=True)
    running.c.advance(HOLD)
    running.c.poll()
    assert running.state is State.HOLD
    running.c.devices(Fault.SERVO_ALERT, 31 + 256 * 0x20, 0)
    running.tick()
    assert running.state is State.FAULT
    assert running.outputs == SAFE
    assert running.status()["fault_detail"] == 31 + 256 * 0x20


def test_a_robot_with_a_device_missing_is_not_armed_until_it_is_there(board):
    board.c.devices(Fault.BUS_LOST, 11, 0)
    looks = board.c.looks()
    (ack,) = board.send("arm")
    assert (ack.values["result"], ack.values["detail"]) == (Result.FAULTED, Fault.BUS_LOST + 256 * 11)
    assert board.state is State.IDLE
    board.c.devices(0, 0, 0)
    assert board.command("arm") == Result.OK
    assert board.c.looks() == looks + 2
    assert board.command("arm") == Result.OK
    assert board.c.looks() == looks + 2  # armed: nothing is looked at any more


def test_values_that_are_used_again_are_marked_and_counted(running):
    flags = []
    for reused in (0, 0, 3, 3, 4, 4):
        running.c.devices(0, 0, reused)
        flags.append(running.tick(alive=True)[0].values["flags"])
    assert flags == [0, 0, Flag.REUSED, 0, Flag.REUSED, 0]
    assert running.status()["reused"] == 4


def test_a_device_that_fails_ends_an_adaptation(board):
    board.command("arm")
    assert board.command("adapt", episode_id=1, operator_seed=1, queries=3, sigma=0.1, shrink=1.0) == Result.OK
    board.tick()
    board.c.devices(Fault.BUS_LOST, 254, 0)
    board.tick()
    assert board.state is State.FAULT
    board.c.devices(0, 0, 0)
    board.command("disarm")
    board.command("arm")
    assert board.tick() == []  # nothing goes on by itself

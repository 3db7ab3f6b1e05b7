"""Adaptation on the firmware alone: it needs no host, can be paused, and ends when somebody says so."""

import numpy as np
import pytest

from esmaml_robot.adaptation import OperatorConfig
from esmaml_robot.bridge.controller import theta_crc32
from esmaml_robot.bridge.messages import Fault, Operator, Option, Progress, Reason, Result, State

OTHER = 0x2222
SAFE = [0, 0, 0]
SETTINGS = {
    "operator_seed": 9, "operator_code": Operator.HILL_CLIMB, "options": 0, "queries": 2, "parallel": 1,
    "sigma": 0.25, "shrink": 0.5, "alpha": 0.0,
}  # fmt: skip


def adapt(board, **changes):
    return board.command("adapt", episode_id=10, **(SETTINGS | changes))


def named(frames, name):
    return [f.values for f in frames if f.name == name]


def ticks(board, count):
    return [f for _ in range(count) for f in board.tick()]


def progress(board):
    (reply,) = named(board.send("progress"), "adaptation")
    return Progress(reply["progress"])


@pytest.fixture
def adapting(board):
    board.command("arm")
    assert adapt(board) == Result.OK
    return board


def test_it_needs_no_host_and_ends_disarmed(adapting):
    frames = ticks(adapting, 310)  # no keep-alive, far beyond the watchdog's time
    steps = named(frames, "adaptation")
    assert [e["episode_id"] for e in named(frames, "episode_end")] == [10, 11, 12]
    assert [(s["told"], s["episodes"]) for s in steps] == [(1, 3), (2, 3), (3, 3)]
    assert [s["progress"] for s in steps] == [Progress.RUNNING, Progress.RUNNING, Progress.DONE]
    assert adapting.state is State.IDLE
    assert adapting.outputs == SAFE
    assert adapting.status()["crc32"] == steps[-1]["crc32"]
    assert adapting.tick() == []
    assert progress(adapting) == Progress.DONE


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        (
            OperatorConfig(name="confirmed_hill_climb", queries=12, sigma=0.3, shrink=0.7),
            {"operator_code": Operator.CONFIRMED_HILL_CLIMB, "queries": 12, "sigma": 0.3, "shrink": 0.7},
        ),
        (
            OperatorConfig(name="es_gradient", queries=6, sigma=0.2, alpha=0.1),
            {
                "operator_code": Operator.ES_GRADIENT, "queries": 6, "sigma": 0.2, "alpha": 0.1,
                "options": Option.ANTITHETIC | Option.NORMALISE,
            },
        ),
        (
            OperatorConfig(name="batch_hill_climb", queries=3, sigma=0.3, parallel=3),
            {"operator_code": Operator.BATCH_HILL_CLIMB, "queries": 3, "sigma": 0.3, "parallel": 3},
        ),
    ],
)  # fmt: skip
def test_each_operator_comes_to_the_parameters_that_python_comes_to(board, config, fields):
    operator = config.build()
    state = operator.start(board.theta, 9)
    board.command("arm")
    assert adapt(board, **fields) == Result.OK
    returns, rng, frames = [], np.random.default_rng(4), []
    while len(returns) < operator.episodes:
        # noise of the test's own: one sensor says what this episode is worth
        board.c.sense(2, int(rng.integers(0, 400)))
        while not named(frames, "episode_end"):
            frames = board.tick()
        returns.append(named(frames, "episode_end")[0]["episode_return"])
        frames = []
    told = iter(returns)
    while not operator.done(state):
        state = operator.tell(state, np.float32([next(told) for _ in range(len(operator.ask(state)))]))
    board.c.poll()
    assert named(board.frames(), "adaptation")[-1]["progress"] == Progress.DONE
    assert len(set(returns)) > 3
    assert board.status()["crc32"] == theta_crc32(operator.result(state).params)


@pytest.mark.parametrize("stopper", ["stop", "disarm", "estop"])
def test_it_is_over_when_the_host_says_so(adapting, stopper):
    ticks(adapting, 5)
    adapting.send(stopper)
    assert adapting.outputs == SAFE
    adapting.frames()
    assert ticks(adapting, 20) == []
    assert adapting.outputs == SAFE
    assert progress(adapting) == Progress.ENDED


@pytest.mark.parametrize(
    "wrong",
    [
        {"queries": 0}, {"sigma": 0.0}, {"sigma": float("nan")}, {"shrink": 0.0}, {"shrink": 1.5}, {"sigma": -1.0},
        {"operator_code": Operator.CONFIRMED_HILL_CLIMB, "queries": 4},
        {"operator_code": Operator.BATCH_HILL_CLIMB, "parallel": 0},
        {"operator_code": Operator.ES_GRADIENT, "alpha": float("inf")},
        {"operator_code": Operator.ES_GRADIENT, "options": Option.ANTITHETIC, "queries": 3},
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(board, wrong):
    board.command("arm")
    assert adapt(board, **wrong) == Result.BAD_RANGE
    assert board.state is State.ARMED
    assert board.tick() == []
    assert progress(board) == Progress.NONE


def test_what_a_board_has_no_memory_for_is_refused(make):
    board = make("-DADAPTATION_CANDIDATES=0", "-DADAPTATION_DIRECTIONS=4")
    board.hello()
    board.command("arm")
    (unknown,) = board.send("adapt", **SETTINGS | {"operator_code": Operator.CONFIRMED_HILL_CLIMB}, episode_id=1)
    assert unknown.values["result"] == Result.NO_OPERATOR
    assert unknown.values["detail"] == Operator.CONFIRMED_HILL_CLIMB
    (many,) = board.send("adapt", **SETTINGS | {"operator_code": Operator.ES_GRADIENT, "queries": 5}, episode_id=1)
    assert (many.values["result"], many.values["detail"]) == (Result.BAD_RANGE, 4)
    assert adapt(board, operator_code=Operator.ES_GRADIENT, queries=4) == Result.OK


def test_a_candidate_that_is_not_finite_ends_it_in_fault(board):
    board.command("arm")
    assert adapt(board, sigma=3e38) == Result.OK
    frames = ticks(board, 102)
    assert named(frames, "adaptation")[-1]["progress"] == Progress.ENDED
    assert board.state is State.FAULT
    assert board.status()["fault"] == Fault.NOT_FINITE
    assert board.outputs == SAFE


def test_it_needs_an_armed_robot_and_its_parameters_are_let_alone(board):
    assert adapt(board) == Result.WRONG_STATE
    board.command("arm")
    adapt(board)
    assert board.command("params_begin", count=board.policy.dimension, crc32=0) == Result.WRONG_STATE
    assert board.command("selftest") == Result.WRONG_STATE
    assert board.command("params_store", keep=1) == Result.WRONG_STATE


# --- pause


def test_a_pause_drops_the_episode_and_the_same_one_runs_again(adapting):
    whole = [f for f in ticks(adapting, 310) if f.name in ("episode_end", "adaptation")]
    adapting.command("arm")
    adapt(adapting)
    seen = ticks(adapting, 150)
    seed = adapting.c.seed()
    end, ack = adapting.send("pause")
    assert (end.values["reason"], end.values["episode_id"]) == (Reason.PAUSED, 11)
    assert ack.values["result"] == Result.OK
    assert adapting.state is State.ARMED
    assert adapting.outputs == SAFE
    assert ticks(adapting, 50) == [], "it holds for as long as nobody says otherwise"
    assert progress(adapting) == Progress.PAUSED
    assert adapting.command("pause") == Result.OK, "twice is once"
    assert adapting.command("selftest") == Result.WRONG_STATE, "its candidate is let alone"
    assert adapting.command("resume") == Result.OK
    assert adapting.c.seed() == seed
    seen += ticks(adapting, 310)
    kept = [f for f in seen if f.name in ("episode_end", "adaptation")]
    assert [(f.name, f.values) for f in kept] == [(f.name, f.values) for f in whole]


def test_a_pause_between_two_episodes_waits_before_the_next(adapting):
    frames = ticks(adapting, 101)
    assert named(frames, "episode_end")
    pause = adapting.send("pause")
    frames = pause + ticks(adapting, 20)
    assert [s["told"] for s in named(frames, "adaptation")] == [1]
    assert not named(frames, "telemetry")
    assert adapting.state is State.ARMED
    adapting.command("resume")
    assert named(ticks(adapting, 3), "telemetry")[0]["episode_id"] == 11


@pytest.mark.parametrize("stopper", ["stop", "disarm", "estop"])
def test_a_pause_can_end_otherwise(adapting, stopper):
    ticks(adapting, 5)
    adapting.send("pause")
    adapting.send(stopper)
    assert adapting.command("resume") in (Result.WRONG_STATE, Result.ESTOPPED)
    assert ticks(adapting, 5) == []
    assert progress(adapting) == Progress.ENDED


def test_without_an_adaptation_there_is_nothing_to_pause(board):
    for state in (State.IDLE, State.ARMED, State.RUN):
        assert board.state is state
        assert board.command("pause") == board.command("resume") == Result.WRONG_STATE
        if state is State.IDLE:
            board.command("arm")
        else:
            board.run()


# --- another host


@pytest.mark.parametrize("wait", [50, 101, 150])
def test_another_host_may_listen_once_the_first_is_gone(adapting, wait):
    assert adapting.hello(session=OTHER)[0].values["result"] == Result.BUSY
    ticks(adapting, wait)
    (reply,) = [f for f in adapting.hello(session=OTHER) if f.name == "hello_reply"]
    assert reply.values["state"] in (State.RUN, State.ARMED)
    assert adapting.send("status") == [], "the first host is out"
    frames = adapting.send("progress", session=OTHER) + ticks(adapting, 311)
    assert named(frames, "adaptation")[0]["progress"] == Progress.RUNNING
    assert {f.session for f in frames} == {OTHER}
    assert named(frames, "adaptation")[-1]["progress"] == Progress.DONE


def test_whoever_listens_may_pause_and_end_it(adapting):
    ticks(adapting, 50)
    adapting.hello(session=OTHER)
    assert Reason.PAUSED in [f["reason"] for f in named(adapting.send("pause", session=OTHER), "episode_end")]
    adapting.send("resume", session=OTHER)
    adapting.send("disarm", session=OTHER)
    assert adapting.state is State.IDLE
    assert ticks(adapting, 5) == []

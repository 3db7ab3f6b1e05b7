"""Devices that can fail on their own: their faults take the torque and are named, values used again are marked."""

from esmaml_robot.bridge.messages import Fault, Flag, Operator, Reason, Result, State

SAFE = [0, 0, 0]
HOLD = 300_000


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
    settings = {"operator_code": Operator.HILL_CLIMB, "options": 0, "queries": 3, "parallel": 1, "alpha": 0.0}
    steps = {"sigma": 0.1, "shrink": 1.0}
    assert board.command("adapt", episode_id=1, operator_seed=1, **settings, **steps) == Result.OK
    board.tick()
    board.c.devices(Fault.BUS_LOST, 254, 0)
    board.tick()
    assert board.state is State.FAULT
    board.c.devices(0, 0, 0)
    board.command("disarm")
    board.command("arm")
    assert board.tick() == []  # nothing goes on by itself

"""Firmware that was put together wrongly, or is damaged: it says so and cannot be armed."""

import pytest

from esmaml_robot.bridge.messages import Fault, Result, State
from esmaml_robot.robot_spec import load_robot

SAFE = [0, 0, 0]
SPEC_HASH = load_robot("rover_uno").spec_hash


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("policy.h", f'POLICY_SPEC_HASH "{SPEC_HASH}"', 'POLICY_SPEC_HASH "0123456789abcdef"', Fault.OTHER_ROBOT),
        ("policy.c", "0x1p-1f", "0x1p-2f", Fault.SELFTEST),
    ],
)
def test_a_wrong_build_boots_into_fault_and_cannot_be_armed(make, file, old, new, fault):
    def change(folder):
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))

    board = make(change=change)
    assert board.state is State.FAULT
    assert board.outputs == SAFE
    board.hello()
    assert board.status()["fault"] == fault
    assert board.command("disarm") == Result.OK
    assert board.command("arm") == Result.FAULTED


def failing(folder):
    """As if the parameters in the controller's flash had been damaged after it started: the second self test fails."""
    text = (folder / "policy.c").read_text()
    head = "int policy_selftest_of(const float *parameters, float *max_error)\n{\n"
    assert text.count(head) == 1
    changed = head + "    static int calls;\n    if (calls++ > 0) { *max_error = 1.0f; return 1; }\n    {\n"
    text = text.replace(head, changed)
    end = text.index("\n}\n", text.index(head[:-3])) + 1
    (folder / "policy.c").write_text(text[:end] + "    }\n" + text[end:])


def test_a_self_test_that_fails_disarms_an_armed_robot(make):
    board = make(change=failing)
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

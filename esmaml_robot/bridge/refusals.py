"""What the controller's refusals mean for the person at the keyboard."""

from __future__ import annotations

import struct

from ..errors import ConfigError, EsmamlError, LinkError, PolicyError, SafetyStop, SpecMismatch
from .messages import SCHEMA_HASH, Fault, Operator, Result, State

_NO_INDEX = 0xFFFFFFFF

_FAULTS = {
    Fault.SELFTEST: "the policy on the controller fails its self test: export, build and flash it again",
    Fault.OTHER_ROBOT: "policy and robot model of this firmware belong to different robots: build and flash it again",
    Fault.WATCHDOG: "the watchdog ended the last episode; check cable and load of this computer, then disarm and arm",
    Fault.NOT_FINITE: "the policy gave NaN; upload other parameters, then disarm and arm",
    Fault.BUS_LOST: "{device} on the servo bus does not answer; its motor may still be powered: switch the servos off, "
    "check plugs, power and ids, then disarm and arm",
    Fault.SERVO_ALERT: "servo {id} on the bus reports a hardware error ({error}); remove its cause, switch it off and "
    "on, then disarm and arm",
    Fault.SERVO_STOPPED: "servo {id} on the bus has stopped by itself: it restarted, or heard nothing for too long; "
    "check its power supply, then disarm and arm",
    Fault.SERVO_SETUP: "servo {id} on the bus is not in position control with limits that hold the robot's range and "
    "the effort asked for, and does not take it; set it up with its maker's tool, then arm",
    Fault.NOT_WIRED: "the board's program does not say yet where sensors and motors are: fill that in and flash it",
}

#: Of firmware whose HELLO says that it has no parameters.
FROZEN = (
    "its firmware has the policy compiled in as integers, with parameters that nothing can change: no upload, no "
    "candidates, no adaptation. For those it needs float32 firmware: esmaml build RUN --board BOARD, then esmaml flash"
)

#: Bits of a servo's hardware error status.
_HARDWARE = {0x01: "input voltage", 0x04: "overheating", 0x08: "motor encoder", 0x10: "electrical shock",
             0x20: "overload"}  # fmt: skip
_WHOLE_BUS = 254


def fault_name(code: int) -> str:
    """A fault code as the messages name it, or its number where this version knows none."""
    return Fault(code).name if code in set(Fault) else str(code)


def fault_text(code: int, detail: int) -> str:
    """A fault code and what it is about, as advice."""
    if code not in set(Fault):
        return f"fault {code}, unknown to this version"
    device, bits = detail & 0xFF, detail >> 8
    named = [name for bit, name in _HARDWARE.items() if bits & bit]
    return _FAULTS.get(Fault(code), "").format(
        id=device,
        device="no device" if device == _WHOLE_BUS else f"device {device}",
        error=", ".join(named) if named else "which one it does not say",
    )


def _state(code: int) -> str:
    return State(code).name if code in set(State) else str(code)


def refusal(port: str, command: str, result: int, detail: int) -> EsmamlError:
    """The error for an ACK whose result is not OK."""
    at = f"{port}: the controller refused {command!r}"
    match result:
        case Result.BUSY:
            return LinkError(
                f"{at}: another program holds the robot (session {detail}). It is free once that program has disarmed, "
                "or has been silent for the robot's release time. An emergency stop works nevertheless."
            )
        case Result.WRONG_STATE if command in ("pause", "resume"):
            return SafetyStop(f"{at}: no adaptation runs on it alone; its state is {_state(detail)}.")
        case Result.WRONG_STATE:
            return SafetyStop(f"{at}: its state is {_state(detail)}. Arm before an episode; disarm to change anything.")
        case Result.NOT_FINITE:
            where = "sigma" if detail == _NO_INDEX else f"parameter {detail}"
            return PolicyError(f"{at}: {where} is or would be NaN or infinite. Nothing changed; lower the step size.")
        case Result.BAD_CRC:
            return LinkError(
                f"{at}: the parameters it would have (CRC {detail:08x}) are not the ones announced. "
                "Nothing was changed; upload the parameters again."
            )
        case Result.NO_OPERATOR:
            name = Operator(detail).name.lower() if detail in set(Operator) else f"number {detail}"
            return ConfigError(
                f"{at}: its firmware was built without the operator {name}, for want of memory on the board. Use "
                "--mode on-board, or an operator that it has; docs/boards.md says which."
            )
        case Result.BAD_RANGE if command == "adapt":
            most = f"this board takes at most {detail} queries of this operator" if detail else "a setting is no use"
            return ConfigError(f"{at}: {most}. Use --mode on-board, or other operator settings.")
        case Result.BAD_RANGE:
            return LinkError(f"{at}: a count or offset is out of bounds ({detail}). Upload the parameters again.")
        case Result.SELFTEST_FAILED:
            error = struct.unpack("<f", detail.to_bytes(4, "little"))[0]
            return PolicyError(f"{at}: largest error of the self test is {error:g}. {_FAULTS[Fault.SELFTEST]}.")
        case Result.OTHER_SCHEMA:
            return SpecMismatch(
                f"{at}: message schema differs: this program has {SCHEMA_HASH:08x}, the controller has {detail:08x}. "
                "Build and flash the firmware with this version."
            )
        case Result.FROZEN:
            return ConfigError(f"{at}: {FROZEN}.")
        case Result.ESTOPPED:
            return SafetyStop(f"{at}: the emergency stop is latched. Make the robot safe, then clear it and arm again.")
        case Result.FAULTED:
            return SafetyStop(f"{at}: a fault is latched: {fault_text(detail & 0xFF, detail >> 8)}.")
        case Result.NOT_STORED:
            why = f"its memory for them is smaller than {detail} bytes" if detail else "what it read back is not it"
            return LinkError(f"{at}: the parameters were not kept: {why}. They are in force until power goes off.")
        case _:
            return LinkError(f"{at} with code {result}, unknown here. Flash firmware built with this version.")

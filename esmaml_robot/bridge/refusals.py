"""What the controller's refusals mean for the person at the keyboard."""

from __future__ import annotations

import struct

from ..errors import EsmamlError, LinkError, PolicyError, SafetyStop, SpecMismatch
from .messages import SCHEMA_HASH, Fault, Result, State

_NO_INDEX = 0xFFFFFFFF

_FAULTS = {
    Fault.SELFTEST: "the policy on the controller fails its self test: export, build and flash it again",
    Fault.OTHER_ROBOT: "policy and robot model of this firmware belong to different robots: build and flash it again",
    Fault.WATCHDOG: "the watchdog ended the last episode; check cable and load of this computer, then disarm and arm",
    Fault.NOT_FINITE: "the policy gave NaN; upload other parameters, then disarm and arm",
}


def fault_text(code: int) -> str:
    """A fault code as advice."""
    return _FAULTS.get(Fault(code), "") if code in set(Fault) else f"fault {code}, unknown to this version"


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
        case Result.ESTOPPED:
            return SafetyStop(f"{at}: the emergency stop is latched. Make the robot safe, then clear it and arm again.")
        case Result.FAULTED:
            return SafetyStop(f"{at}: a fault is latched: {fault_text(detail)}.")
        case Result.NOT_STORED:
            why = f"its memory for them is smaller than {detail} bytes" if detail else "what it read back is not it"
            return LinkError(f"{at}: the parameters were not kept: {why}. They are in force until power goes off.")
        case _:
            return LinkError(f"{at} with code {result}, unknown here. Flash firmware built with this version.")

"""The wire, declared once: every message, field, unit and code that host and controller exchange.

firmware_export/runtime/protocol.h is rendered from this table, and a test renders it again and compares. A payload is
a header followed by the fields in the order declared, little endian, packed, of exactly one length a type; codec.py
makes and reads it, framing.py puts it on the line. Arrays of N_SENSORS or N_ACTUATORS elements get their length from
the robot.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any, Literal

from .. import identity

#: A difference in the first number means that the two sides cannot talk; in the second, that one knows more messages.
PROTOCOL_VERSION = (1, 0)

MAX_PAYLOAD = 250
CHUNK_FLOATS = 16


class State(IntEnum):
    """State of the controller's safety machine."""

    BOOT = 0
    IDLE = 1
    ARMED = 2
    RUN = 3
    HOLD = 4
    FAULT = 5
    ESTOP = 6


class Result(IntEnum):
    """How the controller answered a command (ACK); `detail` is what stands in brackets."""

    OK = 0
    BUSY = 1  # another host holds the controller (its session)
    WRONG_STATE = 2  # not allowed in this state (the state)
    NOT_FINITE = 3  # a number is NaN or infinite, or a candidate would be (index of the parameter, or 2^32 - 1)
    BAD_CRC = 4  # the parameters are not the ones announced (CRC-32 found)
    BAD_RANGE = 5  # a count or an offset is out of bounds (the bound)
    SELFTEST_FAILED = 6  # the policy does not reproduce its test vectors (bits of the largest error, float32)
    OTHER_SCHEMA = 7  # the host speaks another table of messages (schema hash of the controller)
    ESTOPPED = 8  # the emergency stop is latched
    FAULTED = 9  # a fault is latched: DISARM acknowledges it (fault code + 256 * its detail)
    NOT_STORED = 10  # the board cannot keep parameters (bytes that it would take, or 0 where writing failed)
    NO_OPERATOR = 11  # this firmware does not have the operator (its code)
    FROZEN = 12  # the policy is compiled in as integers, and its parameters cannot be changed


class Reason(IntEnum):
    """Why an episode ended. The return counts for COMPLETED and ABORTED only."""

    COMPLETED = 0
    ABORTED = 1  # a sensor left its allowed span
    STOPPED = 2
    DISARMED = 3
    ESTOPPED = 4
    WATCHDOG = 5
    FAULTED = 6
    PAUSED = 7  # the same episode runs again after RESUME


class Operator(IntEnum):
    """Adaptation operators that run on a controller; a board with little memory may be built without some."""

    HILL_CLIMB = 0
    BATCH_HILL_CLIMB = 1
    CONFIRMED_HILL_CLIMB = 2
    ES_GRADIENT = 3


class Option(IntFlag):
    """Settings of an operator that are on or off."""

    AVERAGE = 1  # batch_hill_climb: mode average
    ANTITHETIC = 2  # es_gradient: kind antithetic
    NORMALISE = 4  # es_gradient


class Progress(IntEnum):
    """How far an adaptation on the controller alone is."""

    NONE = 0  # there was none since the start
    RUNNING = 1
    PAUSED = 2
    DONE = 3  # the base is its result, kept if the board can, and the robot is disarmed
    ENDED = 4  # stopped, or a fault ended it


class Fault(IntEnum):
    """Why the controller is in FAULT, or was last; in brackets its detail, 0 for the others."""

    NONE = 0
    SELFTEST = 1
    OTHER_ROBOT = 2  # policy and robot model were generated from different robot files
    WATCHDOG = 3
    NOT_FINITE = 4  # the policy gave NaN
    BUS_LOST = 5  # a device of the servo bus does not answer (its id; 254: none does)
    SERVO_ALERT = 6  # a servo reports a hardware error (its id + 256 * its hardware error status)
    SERVO_STOPPED = 7  # a servo has no torque any more, or its own watchdog has stopped it (its id)
    SERVO_SETUP = 8  # a servo is not set up as the robot needs it, and cannot be (its id)
    NOT_WIRED = 9  # the board's program does not say yet where the sensors and motors are


class Flag(IntFlag):
    """Flags of a telemetry record."""

    CLIPPED = 1  # the policy asked for an end of an actuator's range
    RATE_LIMITED = 2
    HELD = 4  # first stage of the watchdog
    RELEASED = 8  # actuators at their safe values, torque off
    FINAL = 16  # the last record of the episode
    LATE = 32  # the host's action did not come within the control period; the last one stayed
    REUSED = 64  # a device of the servo bus did not answer: its last values stand for those of this tick


Direction = Literal["to_controller", "to_host"]

#: Numbers as struct has them.
FORMATS = {"u8": "B", "u16": "H", "u32": "I", "i32": "i", "f32": "f"}
_SIZES = {"u8": 1, "u16": 2, "u32": 4, "i32": 4, "f32": 4, "text": 1, "hash": identity.HASH_BYTES}


@dataclass(frozen=True)
class Field:
    """One field: `type` is a key of the tables above; `text` is ASCII padded with zeros, `hash` eight raw bytes."""

    name: str
    type: str
    doc: str
    unit: str = "1"
    length: int | Literal["N_SENSORS", "N_ACTUATORS"] = 1

    @property
    def is_array(self) -> bool:
        return self.type != "text" and self.length != 1

    @property
    def element_bytes(self) -> int:
        return _SIZES[self.type]


@dataclass(frozen=True)
class Message:
    id: int
    name: str
    direction: Direction
    doc: str
    fields: tuple[Field, ...] = ()


#: In front of every message.
HEADER = (
    Field("type", "u8", "id of the message"),
    Field("session", "u16", "number that the host drew at its HELLO; frames of other sessions are dropped"),
    Field("sequence", "u16", "counts the sender's messages; a repeated command keeps its number"),
    Field("t_us", "u32", "sender's clock, wraps", "us"),
)

_EPISODE = Field("episode_id", "u32", "number that the host gave to the episode")
_TICK = Field("tick", "u16", "control period of the episode, from 0", "control periods")
_SEED = Field("direction_seed", "u32", "seed of the search direction (directions.py)")
_SIGMA = Field("sigma", "f32", "candidate = base + sigma * direction; 0 is the base itself")
_CRC = Field("crc32", "u32", "CRC-32 (zlib) of the parameters as little-endian float32")

MESSAGES = (
    # HELLO and HELLO_REPLY are frozen for all time: by them two sides that have nothing else in common still find out
    # what they disagree on. Never change, add, remove or reorder a field of these two, nor of the header.
    Message(0x01, "hello", "to_controller", "Opens a session: the number in the header; 0 only asks.", (
        Field("protocol_major", "u8", "PROTOCOL_VERSION of the host"),
        Field("protocol_minor", "u8", "PROTOCOL_VERSION of the host"),
        Field("schema", "u32", "SCHEMA_HASH of the host"),
    )),
    Message(0x02, "hello_reply", "to_host", "Who the controller is.", (
        Field("protocol_major", "u8", "PROTOCOL_VERSION of the controller"),
        Field("protocol_minor", "u8", "PROTOCOL_VERSION of the controller"),
        Field("schema", "u32", "SCHEMA_HASH of the controller"),
        Field("board", "text", "name of the board", length=16),
        Field("firmware_id", "u32", "hash of the sources the firmware was built from"),
        Field("boot_id", "u32", "another number after every start"),
        Field("spec_hash", "hash", "the robot that the firmware was built for"),
        Field("layout_hash", "hash", "the architecture of its policy"),
        Field("policy_hash", "hash", "the policy that was compiled in"),
        Field("state", "u8", "State"),
        Field("n_sensors", "u8", "sensors in a telemetry record"),
        Field("n_actuators", "u8", "actuators in a telemetry record"),
        Field("n_parameters", "u32", "parameters of the policy"),
        Field("control_period_us", "u32", "control period", "us"),
        Field("current_session", "u16", "session in force when the HELLO came; 0 for none since the start"),
    )),
    # end of what is frozen
    Message(0x03, "ack", "to_host", "Answer to a command.", (
        Field("acknowledged", "u8", "type of the command"),
        Field("acknowledged_sequence", "u16", "its sequence"),
        Field("result", "u8", "Result"),
        Field("detail", "u32", "see Result"),
    )),
    Message(0x04, "status", "to_controller", "Asks for STATUS_REPLY. Does not feed the watchdog."),
    Message(0x05, "status_reply", "to_host", "State and counters since the start.", (
        Field("state", "u8", "State"),
        Field("fault", "u8", "Fault, the last one"),
        Field("fault_detail", "u32", "what it is about, see Fault"),
        Field("bad_frames", "u32", "frames with a wrong CRC, length or type"),
        Field("wrong_session", "u32", "frames of another session, dropped"),
        Field("stale", "u32", "commands that came again or too late, dropped"),
        Field("watchdog_trips", "u32", "episodes that the first stage of the watchdog ended"),
        Field("overruns", "u32", "control periods that ended after their deadline"),
        Field("unsent", "u32", "frames dropped because the line was full"),
        Field("reused", "u32", "answers missing on the servo bus, for each of which last values were used again"),
        Field("crc32", "u32", "CRC-32 (zlib) of the base parameters"),
        Field("longest_tick_us", "u32", "longest computation of a control period; 0 where time is virtual", "us"),
        Field("stack_bytes", "u16", "deepest stack; 0 where the board does not know", "bytes"),
        Field("stack_left", "u16", "memory that no stack ever reached; 0 where the board does not know", "bytes"),
        Field("asked_us", "u32", "t_us of the question", "us"),
        Field("received_us", "u32", "controller's clock when the question came", "us"),
    )),
    Message(0x06, "read", "to_controller", "Asks for READINGS. Does not feed the watchdog."),
    Message(0x07, "readings", "to_host", "What the pins say now, in any state.", (
        Field("state", "u8", "State"),
        Field("sensors", "i32", "as read now", "counts", "N_SENSORS"),
        Field("actuators", "i32", "as last commanded", "counts", "N_ACTUATORS"),
    )),
    Message(0x10, "params_begin", "to_controller", "Announces parameters; the base stays until PARAMS_END.", (
        Field("count", "u32", "number of parameters"), _CRC,
    )),
    Message(0x11, "params_chunk", "to_controller", "Some of the parameters, in order.", (
        Field("offset", "u32", "index of the first"),
        Field("used", "u8", "how many of the values count"),
        Field("values", "f32", "the parameters", length=CHUNK_FLOATS),
    )),
    Message(0x12, "params_end", "to_controller", "Takes the parameters as base if all came and the CRC fits."),
    Message(0x13, "commit", "to_controller", "base += sigma * direction, refused unless the result has this CRC.", (
        _SEED, _SIGMA, _CRC,
    )),
    Message(0x14, "selftest", "to_controller", "Replays the policy's test vectors; detail: largest error as bits."),
    Message(0x15, "params_read", "to_controller", "Asks for PARAMS_VALUES: some of the base parameters.", (
        Field("offset", "u32", "index of the first"),
    )),
    Message(0x16, "params_values", "to_host", "Some of the base parameters.", (
        Field("offset", "u32", "index of the first"),
        Field("used", "u8", "how many of the values count"),
        Field("values", "f32", "the parameters", length=CHUNK_FLOATS),
    )),
    Message(0x17, "params_store", "to_controller", "Keeps the base parameters over power off, or forgets those kept.", (
        Field("keep", "u8", "1 to keep, 0 to forget"),
    )),
    Message(0x20, "arm", "to_controller", "IDLE to ARMED."),
    Message(0x21, "disarm", "to_controller", "To IDLE, unless in ESTOP; ends an episode, acknowledges a fault."),
    Message(0x22, "run", "to_controller", "Runs one episode on the controller. Starts the watchdog.", (
        _EPISODE, Field("episode_seed", "u32", "what varies between episodes (start position)"), _SEED, _SIGMA,
    )),
    Message(0x23, "keep_alive", "to_controller", "The only message that feeds the watchdog during an episode.", (
        _EPISODE,
        Field("tick", "u16", "last control period whose telemetry the host has seen", "control periods"),
    )),
    Message(0x24, "stop", "to_controller", "Ends the episode; the controller stays armed."),
    Message(0x25, "estop", "to_controller", "Emergency stop: any session, any state, latched."),
    Message(0x26, "clear_estop", "to_controller", "ESTOP to IDLE."),
    Message(0x27, "adapt", "to_controller", "An operator from the base, on the controller alone: needs no host.", (
        Field("episode_id", "u32", "number of the first episode; the others count up from it"),
        Field("operator_seed", "u32", "what the operator's directions and episodes are drawn from"),
        Field("operator_code", "u8", "Operator; it ignores the settings that it does not have"),
        Field("options", "u8", "Option"),
        Field("queries", "u16", "episodes or rounds after those of the base"),
        Field("parallel", "u16", "episodes in a round of batch_hill_climb"),
        Field("sigma", "f32", "standard deviation of a step in each parameter"),
        Field("shrink", "f32", "by which sigma is multiplied with each step taken, in (0, 1]"),
        Field("alpha", "f32", "step size of es_gradient"),
    )),
    Message(0x28, "run_hosted", "to_controller", "Runs one episode whose actions come from the host.", (
        _EPISODE, Field("episode_seed", "u32", "what varies between episodes (start position)"),
    )),
    Message(0x29, "action", "to_controller", "A motion command. Feeds the watchdog, if it is the one waited for.", (
        _EPISODE,
        Field("tick", "u16", "control period that it is for", "control periods"),
        Field("actuators", "i32", "wanted; the controller clips them and limits their rate", "counts", "N_ACTUATORS"),
    )),
    Message(0x2A, "pause", "to_controller", "Drops the running episode of ADAPT; no torque until RESUME."),
    Message(0x2B, "resume", "to_controller", "Goes on with ADAPT, with the same episode."),
    Message(0x2C, "progress", "to_controller", "Asks for ADAPTATION. Does not feed the watchdog."),
    Message(0x30, "telemetry", "to_host", "One control period of an episode.", (
        _EPISODE, _TICK,
        Field("flags", "u8", "Flag"),
        Field("sensors", "i32", "as read at this tick", "counts", "N_SENSORS"),
        Field("actuators", "i32", "as applied from this tick on", "counts", "N_ACTUATORS"),
    )),
    Message(0x31, "episode_end", "to_host", "The last message of an episode; t_us is the time of its end.", (
        _EPISODE,
        Field("reason", "u8", "Reason"),
        Field("steps", "u16", "control periods run", "control periods"),
        Field("episode_return", "f32", "sum of rewards"),
        Field("abort_index", "u8", "1 + index of the abort condition, or 0"),
    )),
    Message(0x33, "sensed", "to_host", "Asks for the ACTION of a control period that has begun.", (
        _EPISODE, _TICK,
        Field("sensors", "i32", "as read at this tick", "counts", "N_SENSORS"),
    )),
    Message(0x32, "adaptation", "to_host", "After each episode of ADAPT, when that ends, and as answer to PROGRESS.", (
        Field("progress", "u8", "Progress"),
        Field("operator_code", "u8", "Operator"),
        Field("told", "u16", "episodes that the operator has been told of"),
        Field("episodes", "u16", "episodes that it takes in all"),
        Field("sigma", "f32", "of the next step"),
        Field("pivot", "f32", "return to beat; of es_gradient, the return of the base"),
        _CRC,
    )),
)  # fmt: skip

BY_NAME = {m.name: m for m in MESSAGES}
BY_ID = {m.id: m for m in MESSAGES}
CODES: tuple[type[IntEnum] | type[IntFlag], ...] = (
    State, Result, Reason, Fault, Flag, Operator, Option, Progress,
)  # fmt: skip


def _schema() -> dict[str, Any]:
    """All that both sides must agree on; prose is left out."""

    def plain(fields: tuple[Field, ...]) -> list[list[Any]]:
        return [[f.name, f.type, f.unit, f.length] for f in fields]

    return {
        "version": PROTOCOL_VERSION,
        "header": plain(HEADER),
        "messages": [[m.id, m.name, m.direction, plain(m.fields)] for m in MESSAGES],
        "codes": {c.__name__: {member.name: int(member) for member in c} for c in CODES},
    }


SCHEMA_DIGEST = identity.digest_json(_schema())
#: The first four bytes of SCHEMA_DIGEST as a number, as it stands in HELLO.
SCHEMA_HASH = int(SCHEMA_DIGEST[:8], 16)

"""Messages to payloads and back: the table of messages.py at work, for a robot with so many sensors and actuators."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import LinkError
from ..robot_spec import RobotSpec
from .messages import BY_NAME, FORMATS, HEADER, MAX_PAYLOAD, MESSAGES, Field, Message


class Frame(NamedTuple):
    """A decoded message. Arrays are tuples, texts are str, hashes are 16 hex digits."""

    name: str
    session: int
    sequence: int
    t_us: int
    values: dict[str, Any]


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode("ascii", "replace")


_TEXTS: dict[str, Callable[[bytes], str]] = {"text": _text, "hash": bytes.hex}


@dataclass(frozen=True, slots=True)
class _Plan:
    """How the payload of one message is read, worked out once: some are decoded a thousand times a second.

    Attributes:
        names: of the fields.
        others: the fields that are no single number: index, number of values, and what makes a text of the one value,
            or None for an array.
    """

    name: str
    layout: struct.Struct
    names: tuple[str, ...]
    others: tuple[tuple[int, int, Callable[[bytes], str] | None], ...]

    def values(self, flat: list[Any]) -> dict[str, Any]:
        """Fields by name, of the values behind the header; what stands before a field has been folded into one."""
        for index, count, text in self.others:
            flat[index : index + count] = [tuple(flat[index : index + count]) if text is None else text(flat[index])]
        return dict(zip(self.names, flat, strict=True))


class Codec:
    """Messages to payloads and back, for a robot with so many sensors and actuators."""

    def __init__(self, n_sensors: int, n_actuators: int) -> None:
        self._lengths = {"N_SENSORS": n_sensors, "N_ACTUATORS": n_actuators}
        self._plans = {m.id: self._plan(m) for m in MESSAGES}
        for plan in self._plans.values():
            if plan.layout.size > MAX_PAYLOAD:
                raise LinkError(
                    f"message {plan.name!r} takes {plan.layout.size} bytes for {n_sensors} sensors and {n_actuators} "
                    f"actuators; a frame holds {MAX_PAYLOAD}."
                )

    @staticmethod
    def for_robot(spec: RobotSpec) -> Codec:
        return Codec(len(spec.sensors), len(spec.actuators))

    def count(self, field: Field) -> int:
        """Number of elements of a field."""
        return field.length if isinstance(field.length, int) else self._lengths[field.length]

    def _plan(self, message: Message) -> _Plan:
        layout = "<" + "".join(FORMATS[f.type] for f in HEADER)
        others: list[tuple[int, int, Callable[[bytes], str] | None]] = []
        for index, field in enumerate(message.fields):
            count = self.count(field)
            if field.type in _TEXTS:
                layout += f"{count * field.element_bytes}s"
                others.append((index, 1, _TEXTS[field.type]))
            else:
                layout += f"{count}{FORMATS[field.type]}"
                if field.is_array or not isinstance(field.length, int):
                    others.append((index, count, None))
        return _Plan(message.name, struct.Struct(layout), tuple(f.name for f in message.fields), tuple(others))

    def size(self, name: str) -> int:
        """Bytes of a payload of this message, header included."""
        return self._plans[BY_NAME[name].id].layout.size

    def encode(self, name: str, session: int, sequence: int, t_us: int, **values: Any) -> bytes:
        """The payload of a message. Raises LinkError on a missing, unknown or unfitting value."""
        message = BY_NAME[name]
        flat: list[Any] = []
        try:
            for field in message.fields:
                value = values.pop(field.name)
                if field.type == "text":
                    flat.append(value.encode("ascii"))
                elif field.type == "hash":
                    flat.append(bytes.fromhex(value))
                elif field.is_array or not isinstance(field.length, int):
                    flat.extend(value)
                else:
                    flat.append(value)
            if values:
                raise LinkError(f"message {name!r} has no field {next(iter(values))!r}.")
            return self._plans[message.id].layout.pack(message.id, session, sequence, t_us & 0xFFFFFFFF, *flat)
        except (KeyError, struct.error, OverflowError) as error:
            raise LinkError(f"message {name!r} cannot be encoded: {error}.") from error

    def decode(self, payload: bytes) -> Frame | None:
        """The message in a payload, or None for an unknown type or a wrong length."""
        plan = self._plans.get(payload[0]) if payload else None
        if plan is None or len(payload) != plan.layout.size:
            return None
        _, session, sequence, t_us, *flat = plan.layout.unpack(payload)
        return Frame(plan.name, session, sequence, t_us, plan.values(flat))

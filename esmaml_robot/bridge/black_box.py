"""What went over the line last, both ways, for the day on which something goes wrong.

Remembering costs an append a message; nothing is decoded before somebody wants to see it. The file is JSON lines: a
head that says what happened, then a message a line, oldest first, with the fields of bridge/messages.py by name.
`esmaml robot log FILE` shows it.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Iterator
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import ConfigError
from .codec import Codec, Frame
from .framing import FrameDecoder
from .messages import BY_ID, Fault, Flag, Reason, Result, State

#: Messages remembered, in each direction.
REMEMBERED = 200
KIND = "esmaml black box"

_CODES: dict[str, type[IntEnum] | type[IntFlag]] = {
    "state": State,
    "result": Result,
    "reason": Reason,
    "fault": Fault,
    "flags": Flag,
}


#: When, by time.monotonic_ns(), and the bytes that were written or the payload that came; None for a damaged frame. A
#: tuple, because one is made for each message.
_Piece = tuple[int, bytes | None]


class BlackBox:
    """The last messages of a link. `sent` takes bytes as they are written, `received` whole payloads.

    `codec` is what they are decoded with, when they are.
    """

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self._out: deque[_Piece] = deque(maxlen=REMEMBERED)
        self._in: deque[_Piece] = deque(maxlen=REMEMBERED)
        self._counts = [0, 0]

    def sent(self, data: bytes) -> None:
        self._counts[0] += 1
        self._out.append((time.monotonic_ns(), data))

    def received(self, payload: bytes | None) -> None:
        """A payload; None where a damaged frame came."""
        self._counts[1] += 1
        self._in.append((time.monotonic_ns(), payload))

    @property
    def used(self) -> bool:
        """Whether anything went over the line at all."""
        return any(self._counts)

    def records(self) -> list[dict[str, Any]]:
        """The messages by time, decoded."""
        to_unix = time.time_ns() - time.monotonic_ns()
        found: list[dict[str, Any]] = []
        for direction, pieces in (("out", self._out), ("in", self._in)):
            for at_ns, data in pieces:
                head = {"unix_time": (at_ns + to_unix) / 1e9, "direction": direction}
                found += [head | what for what in self._messages(data, framed=direction == "out")]
        return sorted(found, key=lambda r: float(r["unix_time"]))

    def _messages(self, data: bytes | None, *, framed: bool) -> Iterator[dict[str, Any]]:
        if data is None:
            yield {"message": "(damaged)"}
            return
        for payload in FrameDecoder().feed(data) if framed else (data,):
            frame = self.codec.decode(payload)
            yield {"message": _name(payload), "raw": payload.hex()} if frame is None else _decoded(frame)

    def write(self, path: Path, port: str, error: BaseException, facts: dict[str, Any]) -> None:
        """The box as a file. Raises OSError."""
        head = {
            "kind": KIND,
            "version": __version__,
            "port": port,
            "error": f"{type(error).__name__}: {error}",
            "unix_time": time.time(),
            "sent": self._counts[0],
            "received": self._counts[1],
            **facts,
        }
        with path.open("w", encoding="utf-8") as file:
            for record in (head, *self.records()):
                file.write(json.dumps(record) + "\n")


def _name(payload: bytes) -> str:
    message = BY_ID.get(payload[0]) if payload else None
    return f"{message.name} (of another robot or version)" if message else "(unknown)"


def _decoded(frame: Frame) -> dict[str, Any]:
    values = {name: _plain(name, value) for name, value in frame.values.items()}
    return {
        "message": frame.name,
        "session": frame.session,
        "sequence": frame.sequence,
        "t_us": frame.t_us,
        "fields": values,
    }


def _plain(name: str, value: Any) -> Any:
    """A field as JSON has it: codes by name; numbers that are none as text."""
    code = _CODES.get(name)
    if code is not None:
        if issubclass(code, IntFlag):
            return [flag.name for flag in code if value & flag]
        return code(value).name if value in set(code) else value
    if name == "acknowledged":
        return BY_ID[value].name if value in BY_ID else value
    if isinstance(value, tuple):
        return [_plain("", v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def read_black_box(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """Head, messages, and a remark where the file ends in the middle of a line (a full disk).

    Raises ConfigError: no such file, or it is none of ours.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as a black box: {error}") from error
    records: list[dict[str, Any]] = []
    remark = ""
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            if number < len(lines) or number == 1:
                raise ConfigError(f"{path}, line {number}: no JSON ({error}); this is no black box of ours.") from error
            remark = f"line {number} is cut off: the disk was full, or the program ended while it wrote"
            break
        if not isinstance(record, dict) or (number > 1 and not {"unix_time", "direction", "message"} <= record.keys()):
            raise ConfigError(f"{path}, line {number}: no message of a black box.")
        records.append(record)
    if not records or records[0].get("kind") != KIND:
        raise ConfigError(f"{path} is no black box: its first line does not say {KIND!r}.")
    return records[0], records[1:], remark

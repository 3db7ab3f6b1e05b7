"""The journal of a robot session: append-only, one record a line, a checksum on each, on disk before the next episode.

A line is eight hex digits of CRC-32, a space, and one JSON object. A line that a power cut tore is noticed and left
out; everything before it counts. A session is resumed by telling the operator the same returns again, which gives
the same state to the last bit, so the journal is the only thing that has to survive.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

from ..errors import CheckpointError


def _line(record: dict[str, Any]) -> bytes:
    body = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return b"%08x " % zlib.crc32(body) + body + b"\n"


def _parse(line: bytes) -> dict[str, Any] | None:
    crc, _, body = line.rstrip(b"\n").partition(b" ")
    try:
        if int(crc, 16) != zlib.crc32(body) or not line.endswith(b"\n"):
            return None
        record = json.loads(body)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All whole records. CheckpointError if the file cannot be read or a record before the last is damaged."""
    records: list[dict[str, Any]] = []
    try:
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    except OSError as error:
        raise CheckpointError(f"cannot read journal {path}: {error.strerror}; choose another folder.") from error
    for number, line in enumerate(lines, start=1):
        record = _parse(line)
        if record is None:
            if number == len(lines):
                break
            raise CheckpointError(
                f"{path}: record {number} of {len(lines)} is damaged; the session cannot be resumed from it: "
                "move the file away and adapt again."
            )
        records.append(record)
    return records


class Journal:
    """An open journal. Records that are there already are in `records`; new ones are durable when `append` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = read_journal(path)
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            whole = sum(len(_line(r)) for r in self.records)
            os.ftruncate(self._file, whole)  # a torn last line goes
            os.lseek(self._file, 0, os.SEEK_END)
        except OSError as error:
            raise CheckpointError(f"cannot open journal {path}: {error.strerror}; choose another folder.") from error

    def append(self, record: dict[str, Any]) -> None:
        """Write one record and wait until the disk has it. CheckpointError leaves the journal as it was."""
        data = _line(record)
        start = os.lseek(self._file, 0, os.SEEK_CUR)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, start)
            os.lseek(self._file, start, os.SEEK_SET)
            raise CheckpointError(
                f"cannot write the journal {self.path}: {error.strerror}; free some space, then go on with --resume."
            ) from error
        self.records.append(record)

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

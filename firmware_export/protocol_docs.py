"""The parts of docs/protocol.md that follow from the table of messages, rendered between marker comments.

`python -m firmware_export.protocol_docs` writes them anew after a change of the table; a test renders them again and
compares. Everything outside the markers is written by hand and left as it is.
"""

from __future__ import annotations

import inspect
import re
import sys
from enum import IntEnum, IntFlag
from pathlib import Path

from esmaml_robot.bridge import messages
from esmaml_robot.bridge.codec import Codec
from esmaml_robot.bridge.framing import crc16, encode_frame
from esmaml_robot.bridge.messages import Field, Message
from esmaml_robot.errors import EsmamlError, ExportError
from esmaml_robot.files import atomic_write_text

DOCUMENT = Path(__file__).parent.parent / "docs" / "protocol.md"

#: What the example frame carries; any numbers would do, these have zero bytes for COBS to take out.
EXAMPLE = {"session": 0x1234, "sequence": 7, "t_us": 1_000_000, "episode_id": 3, "tick": 41}

_TO = {"to_controller": "controller", "to_host": "host"}
#: Lengths that the robot decides: its numbers of sensors and of actuators.
_LETTERS = {"N_SENSORS": "S", "N_ACTUATORS": "A"}
_MEMBER = re.compile(r"^\s+(?P<name>[A-Z][A-Z0-9_]*) = (?P<value>\d+)(?:\s+# (?P<doc>.*))?$", re.MULTILINE)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _table(*rows: str) -> list[str]:
    head, *body = rows
    return [head, _row(*["---"] * (head.count("|") - 1)), *body]


def _type(field: Field) -> str:
    return field.type if field.length == 1 else f"{field.type}[{_LETTERS.get(str(field.length), field.length)}]"


def _bytes(message: Message) -> str:
    """Bytes of a payload, header included: S and A are the robot's numbers of sensors and actuators."""
    fields = (*messages.HEADER, *message.fields)
    fixed = sum(f.element_bytes * f.length for f in fields if isinstance(f.length, int))
    terms = [f"{f.element_bytes} {_LETTERS[f.length]}" for f in fields if not isinstance(f.length, int)]
    return " + ".join([str(fixed), *terms])


def render_messages() -> str:
    """One table of all messages, and one of all their fields."""
    major, minor = messages.PROTOCOL_VERSION
    lines = [f"Protocol version {major}.{minor}, schema hash `{messages.SCHEMA_HASH:08x}`.", ""]
    lines += _table(
        _row("id", "message", "to", "bytes", "what"),
        *(_row(f"0x{m.id:02X}", f"`{m.name}`", _TO[m.direction], _bytes(m), m.doc) for m in messages.MESSAGES),
    )
    rows = [_row("message", "field", "type", "unit", "meaning")]
    for name, fields in (("(header)", messages.HEADER), *((m.name, m.fields) for m in messages.MESSAGES)):
        for number, f in enumerate(fields):
            unit = "" if f.unit == "1" else f.unit
            rows.append(_row("" if number else f"`{name}`", f"`{f.name}`", _type(f), unit, f.doc))
    return "\n".join([*lines, "", *_table(*rows)])


def _codes(code: type[IntEnum] | type[IntFlag]) -> list[str]:
    """A table of one enumeration; what its members mean stands in comments beside them."""
    found = {m["name"]: m["doc"] or "" for m in _MEMBER.finditer(inspect.getsource(code))}
    rows = [_row(str(int(member)), f"`{member.name}`", found[str(member.name)]) for member in code]
    return _table(_row("value", code.__name__, "meaning"), *rows)


def render_codes() -> str:
    """One table for each enumeration of the protocol."""
    return "\n".join(line for code in messages.CODES for line in (*_codes(code), "")).rstrip("\n")


def _hex(data: bytes) -> str:
    return data.hex(" ")


def render_example() -> str:
    """A `keep_alive` from its fields to the bytes on the line."""
    payload = Codec(1, 1).encode("keep_alive", **EXAMPLE)
    frame = encode_frame(payload)
    fields = ", ".join(f"{name} {value}" for name, value in EXAMPLE.items())
    return "\n".join(
        [
            "```text",
            f"keep_alive: {fields}",
            f"payload   {_hex(payload)}",
            f"CRC-16    0x{crc16(payload):04X}, on the line {_hex(crc16(payload).to_bytes(2, 'little'))}",
            f"frame     {_hex(frame)}",
            "```",
        ]
    )


PARTS = {"messages": render_messages, "codes": render_codes, "example": render_example}


def render_document(text: str) -> str:
    """`text` with every part between its markers rendered anew. Raises ExportError where a marker is missing."""
    for name, render in PARTS.items():
        begin, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
        head, found_begin, rest = text.partition(begin)
        _, found_end, tail = rest.partition(end)
        if not (found_begin and found_end):
            raise ExportError(f"the document lacks the markers {begin} and {end}, in this order; put them back.")
        text = f"{head}{begin}\n\n{render()}\n\n{end}{tail}"
    return text


def main() -> int:
    """Rewrite docs/protocol.md; the exit code."""
    try:
        if not DOCUMENT.is_file():
            raise ExportError(f"there is no {DOCUMENT}; run this in a checkout, the documents are not installed.")
        text = render_document(DOCUMENT.read_text(encoding="utf-8"))
        atomic_write_text(DOCUMENT, text, error=ExportError)
    except EsmamlError as error:
        print(f"protocol_docs: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

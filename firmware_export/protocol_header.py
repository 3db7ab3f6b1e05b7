"""The C side of the wire: protocol.h out of esmaml_robot.bridge.messages, directions_table.h out of directions.py.

Both files are kept in the repository, so that the runtime can be read and compiled without Python; a test renders
them again and compares. `python -m firmware_export.protocol_header` writes them anew after a change of the table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from esmaml_robot import directions
from esmaml_robot.adaptation.base import EPISODES
from esmaml_robot.bridge import messages
from esmaml_robot.bridge.messages import Field, Message
from esmaml_robot.files import atomic_write_bytes
from esmaml_robot.search import CANDIDATES

from . import c_source

RUNTIME = Path(__file__).parent / "runtime"

_C_TYPES = {"u8": "uint8_t", "u16": "uint16_t", "u32": "uint32_t", "i32": "int32_t", "f32": "float"}
_C_LENGTHS: dict[str | int, str] = {"N_SENSORS": "ROBOT_SENSORS", "N_ACTUATORS": "ROBOT_ACTUATORS"}


def _field(field: Field) -> dict[str, Any]:
    """What the template needs of a field."""
    if field.type in ("text", "hash"):
        count: str | int = field.element_bytes * int(field.length)
        kind, c_type = "u8", "uint8_t"
    else:
        count = _C_LENGTHS.get(field.length, field.length)
        kind, c_type = field.type, _C_TYPES[field.type]
    is_array = field.type in ("text", "hash") or count != 1
    return {
        "name": field.name,
        "doc": field.doc + ("" if field.unit == "1" else f" [{field.unit}]"),
        "kind": kind,
        "c_type": c_type,
        "count": count,
        "is_array": is_array,
        "bytes": 1 if kind == "u8" else field.element_bytes,
    }


def _message(message: Message) -> dict[str, Any]:
    fields = [_field(f) for f in message.fields]
    fixed = sum(f["bytes"] * f["count"] for f in fields if isinstance(f["count"], int))
    header = sum(f.element_bytes for f in messages.HEADER)
    symbolic = [f"{f['bytes']} * {f['count']}" for f in fields if not isinstance(f["count"], int)]
    return {
        "name": message.name,
        "id": f"0x{message.id:02X}",
        "doc": message.doc,
        "to_controller": message.direction == "to_controller",
        "fields": fields,
        "length": " + ".join([str(header + fixed), *symbolic]),
    }


def render_protocol() -> str:
    """The text of runtime/protocol.h."""
    major, minor = messages.PROTOCOL_VERSION
    described = [_message(m) for m in messages.MESSAGES]
    return c_source.render(
        "protocol.h.j2",
        major=major,
        minor=minor,
        schema=f"0x{messages.SCHEMA_HASH:08X}",
        max_payload=messages.MAX_PAYLOAD,
        chunk=messages.CHUNK_FLOATS,
        header=[_field(f) for f in messages.HEADER],
        messages=described,
        longest_fixed=max(int(m["length"]) for m in described if m["length"].isdecimal()),
        codes=[(code.__name__, [(m.name, int(m)) for m in code]) for code in messages.CODES],
    )


def render_directions_table() -> str:
    """The text of runtime/directions_table.h."""
    return c_source.render(
        "directions_table.h.j2",
        octaves=directions.OCTAVES,
        cells=directions.CELLS,
        output_bits=directions.OUTPUT_FRACTION_BITS,
        stream=f"0x{directions.DIRECTION:08X}",
        fold=f"0x{directions.FOLD:08X}",
        episodes=f"0x{EPISODES:08X}",
        candidates=f"0x{CANDIDATES:08X}",
        table=[str(v) for v in directions.table_as_uint16()],
    )


def main() -> None:
    for name, text in (("protocol.h", render_protocol()), ("directions_table.h", render_directions_table())):
        atomic_write_bytes(RUNTIME / name, text.encode("ascii"))


if __name__ == "__main__":
    main()

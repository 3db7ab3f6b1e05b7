"""protocol.h is what the table of messages says, and the C that it makes reads and writes the same bytes as Python."""

import random
import struct
import subprocess

import numpy as np
import pytest

from esmaml_robot import directions
from esmaml_robot.bridge import messages
from esmaml_robot.bridge.codec import Codec
from esmaml_robot.bridge.messages import HEADER, MESSAGES
from esmaml_robot.robot_spec import load_robot
from firmware_export.build import WARNINGS
from firmware_export.protocol_header import RUNTIME, render_directions_table, render_protocol
from firmware_export.robot_c import write_robot_c

SPEC = load_robot("rover_uno")
CODEC = Codec.for_robot(SPEC)


@pytest.mark.parametrize(
    ("name", "render"), [("protocol.h", render_protocol), ("directions_table.h", render_directions_table)]
)
def test_the_tracked_header_is_what_the_table_renders_to(name, render):
    assert (RUNTIME / name).read_text(encoding="ascii") == render(), (
        f"runtime/{name} is not what its table says: run python -m firmware_export.protocol_header"
    )


def test_the_table_of_the_normal_distribution_is_complete():
    text = (RUNTIME / "directions_table.h").read_text(encoding="ascii")
    body = text[text.index("= {") + 3 : text.index("};")]
    assert [int(v) for v in body.replace("\n", " ").split(",") if v.strip()] == list(directions.table_as_uint16())


def _harness() -> str:
    """C that reads payloads, prints each field as hex of its bits, and writes the payload again from the struct."""
    lines = ["#include <stdio.h>", '#include "protocol.h"', 'static void show(double v) { printf(" %.17g", v); }']
    lines += ["int main(void) {", "  uint8_t in[256], out[256]; struct protocol_header h; int length, i; uint8_t *end;"]
    lines += ["  while ((length = getchar()) != EOF) {", "    const uint8_t *p;"]
    lines += [
        "    for (i = 0; i < length; i++) { in[i] = (uint8_t)getchar(); }",
        "    p = protocol_header_get(in, &h);",
    ]
    lines += ['    printf("%d %u %u %lu", h.type, h.session, h.sequence, (unsigned long)h.t_us);']
    lines += ["    end = protocol_header_put(out, &h);", "    switch (h.type) {"]
    for m in MESSAGES:
        lines.append(f"    case MSG_{m.name.upper()}:")
        if m.fields:
            lines.append(f"    {{ struct msg_{m.name} m; p = msg_{m.name}_get(p, &m); end = msg_{m.name}_put(end, &m);")
            for f in m.fields:
                raw = f.type in ("text", "hash")
                n = CODEC.count(f) * f.element_bytes if raw else CODEC.count(f)
                array = raw or n != 1
                each = f"show((double)m.{f.name}{'[i]' if array else ''});"
                lines.append(f"      for (i = 0; i < {n}; i++) {{ {each} }}")
            lines.append("    }")
        lines.append(f"      if (length != LENGTH_{m.name.upper()}) {{ return 3; }}")
        if m.direction == "to_controller":
            lines.append(f"      if (protocol_command_length(h.type) != LENGTH_{m.name.upper()}) {{ return 4; }}")
        else:
            lines.append("      if (protocol_command_length(h.type) != 0) { return 5; }")
        lines.append("      break;")
    lines += ["    default: return 6;", "    }", "    if (p != in + length || end != out + length) { return 7; }"]
    lines += [
        "    putchar('\\n');",
        '    for (i = 0; i < length; i++) { printf("%02x", out[i]); }',
        "    putchar('\\n');",
    ]
    lines += ["  }", "  return 0;", "}"]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("protocol")
    write_robot_c(SPEC, folder)
    source, out = folder / "harness.c", folder / "harness"
    source.write_text(_harness())
    subprocess.run(
        ["cc", "-std=c99", *WARNINGS, "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
         f"-I{folder}", f"-I{RUNTIME}", str(source), "-o", str(out)],
        check=True,
    )  # fmt: skip
    return out


def _random(rng: random.Random, field: messages.Field):
    def one():
        match field.type:
            case "f32":
                return float(np.float32(rng.choice([0.0, -1.5, 3.4e38, 1e-45, rng.gauss(0, 1)])))
            case "i32":
                return rng.choice([0, -1, 2**31 - 1, -(2**31), rng.randrange(-9999, 9999)])
            case "text":
                return "board_7"
            case "hash":
                return f"{rng.getrandbits(64):016x}"
            case kind:
                top = {"u8": 0xFF, "u16": 0xFFFF, "u32": 0xFFFFFFFF}[kind]
                return rng.choice([0, top, rng.randint(0, top)])

    if field.is_array or not isinstance(field.length, int):
        return [one() for _ in range(CODEC.count(field))]
    return one()


def _numbers(field: messages.Field, value) -> list[float]:
    if field.type == "text":
        return [float(b) for b in value.encode().ljust(int(field.length), b"\0")]
    if field.type == "hash":
        return [float(b) for b in bytes.fromhex(value)]
    return [float(v) for v in value] if isinstance(value, list) else [float(value)]


def test_c_reads_what_python_wrote_and_writes_the_same_bytes(program):
    rng = random.Random(5)
    cases = []
    for message in MESSAGES * 20:
        values = {f.name: _random(rng, f) for f in message.fields}
        session, sequence, t_us = rng.getrandbits(16), rng.getrandbits(16), rng.getrandbits(32)
        payload = CODEC.encode(message.name, session, sequence, t_us, **values)
        expected = [message.id, session, sequence, t_us] + [
            x for f in message.fields for x in _numbers(f, values[f.name])
        ]
        cases.append((payload, expected))
    stream = b"".join(bytes([len(p)]) + p for p, _ in cases)
    done = subprocess.run([program], input=stream, capture_output=True, check=True, timeout=30)
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 2 * len(cases)
    for (payload, expected), shown, written in zip(cases, lines[0::2], lines[1::2], strict=True):
        assert [float(x) for x in shown.split()] == expected
        assert bytes.fromhex(written) == payload


def test_header_bytes_are_the_same_in_both():
    assert sum(f.element_bytes for f in HEADER) == struct.calcsize("<BHHI")

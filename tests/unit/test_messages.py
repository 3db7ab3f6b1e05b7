"""The table of messages: sizes, round trips, and the part that is frozen."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esmaml_robot.bridge import messages
from esmaml_robot.bridge.codec import Codec
from esmaml_robot.bridge.messages import BY_NAME, MESSAGES, Field
from esmaml_robot.errors import LinkError

CODEC = Codec(3, 2)

INTEGERS = {
    "u8": st.integers(0, 0xFF),
    "u16": st.integers(0, 0xFFFF),
    "u32": st.integers(0, 0xFFFFFFFF),
    "i32": st.integers(-(2**31), 2**31 - 1),
    "f32": st.floats(width=32),
    "text": st.text("abcdefgh_0", max_size=16),
    "hash": st.binary(min_size=8, max_size=8).map(bytes.hex),
}


def values_of(field: Field) -> st.SearchStrategy:
    one = INTEGERS[field.type]
    if field.is_array or not isinstance(field.length, int):
        n = CODEC.count(field)
        return st.lists(one, min_size=n, max_size=n).map(tuple)
    return one


@st.composite
def any_message(draw):
    message = draw(st.sampled_from(MESSAGES))
    return message.name, {f.name: draw(values_of(f)) for f in message.fields}


def same(a, b) -> bool:
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and math.isnan(a):
        return math.isnan(b)
    return a == b


@given(any_message(), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 2**40))
def test_what_is_encoded_is_decoded(message, session, sequence, t_us):
    name, values = message
    payload = CODEC.encode(name, session, sequence, t_us, **values)
    assert len(payload) == CODEC.size(name) <= messages.MAX_PAYLOAD
    frame = CODEC.decode(payload)
    assert (frame.name, frame.session, frame.sequence, frame.t_us) == (name, session, sequence, t_us % 2**32)
    assert frame.values.keys() == values.keys()
    assert all(same(values[k], frame.values[k]) for k in values)


@given(any_message(), st.integers(-3, 3).filter(bool))
def test_another_length_is_no_message(message, change):
    name, values = message
    payload = CODEC.encode(name, 1, 2, 3, **values)
    assert CODEC.decode(payload[:change] if change < 0 else payload + bytes(change)) is None


def test_unknown_types_and_nothing_are_no_message():
    unknown = set(range(256)) - {m.id for m in MESSAGES}
    assert all(CODEC.decode(bytes([i]) + bytes(8)) is None for i in unknown)
    assert CODEC.decode(b"") is None


def test_the_frozen_part_is_as_it_was_in_version_1_0():
    """These bytes must never change: every controller ever built answers a HELLO of this form."""
    hello = CODEC.encode("hello", 0x1234, 0x5678, 0x9ABCDEF0, protocol_major=1, protocol_minor=0, schema=0xAABBCCDD)
    assert hello.hex() == "0134127856f0debc9a0100ddccbbaa"
    reply = CODEC.encode(
        "hello_reply", 0x1234, 1, 2, protocol_major=1, protocol_minor=0, schema=3,
        board="host", firmware_id=4, boot_id=5,
        spec_hash="0123456789abcdef", layout_hash="1123456789abcdef", policy_hash="2123456789abcdef", state=1,
        n_sensors=3, n_actuators=2, n_parameters=42, control_period_us=100000, current_session=7,
    )  # fmt: skip
    assert reply.hex() == (
        "02"
        "3412"
        "0100"
        "02000000"
        "01"
        "00"
        "03000000" + b"host".ljust(16, b"\0").hex() + "04000000"
        "05000000"
        "0123456789abcdef"
        "1123456789abcdef"
        "2123456789abcdef"
        "01"
        "03"
        "02"
        "2a000000"
        "a0860100"
        "0700"
    )


def test_ids_and_names_are_used_once():
    assert len({m.id for m in MESSAGES}) == len({m.name for m in MESSAGES}) == len(MESSAGES)
    for message in MESSAGES:
        assert len({f.name for f in message.fields}) == len(message.fields)


def test_the_schema_hash_sees_a_field_and_not_the_prose(monkeypatch):
    before = messages._schema()
    arm = BY_NAME["arm"]
    prose = tuple(messages.Message(m.id, m.name, m.direction, "other words", m.fields) for m in MESSAGES)
    monkeypatch.setattr(messages, "MESSAGES", prose)
    assert messages._schema() == before
    grown = (*MESSAGES[:-1], messages.Message(arm.id, arm.name, arm.direction, arm.doc, (Field("x", "u8", "new"),)))
    monkeypatch.setattr(messages, "MESSAGES", grown)
    assert messages._schema() != before


def test_the_largest_robot_of_a_spec_fits_a_frame():
    assert Codec(32, 16).size("telemetry") == 9 + 7 + 4 * 48


def test_a_robot_too_large_for_a_frame_is_refused():
    with pytest.raises(LinkError, match=r"'readings' takes 410 bytes for 80 sensors"):
        Codec(80, 20)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"episode_id": 1}, "tick"),
        ({"episode_id": 1, "tick": 70000}, "cannot be encoded"),
        ({"episode_id": 1, "tick": 1, "colour": 2}, "no field 'colour'"),
    ],
)
def test_values_that_do_not_fit_are_refused(values, words):
    with pytest.raises(LinkError, match=words):
        CODEC.encode("keep_alive", 1, 2, 3, **values)


def test_layout_is_little_endian_and_packed():
    payload = CODEC.encode("keep_alive", 0x0102, 0x0304, 0x05060708, episode_id=0x090A0B0C, tick=0x0D0E)
    assert payload == struct.pack("<BHHIIH", 0x23, 0x0102, 0x0304, 0x05060708, 0x090A0B0C, 0x0D0E)

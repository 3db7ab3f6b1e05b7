"""Frames: what goes in comes out, and what was damaged does not."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esmaml_robot.bridge.codec import Codec
from esmaml_robot.bridge.framing import FrameDecoder, crc16, encode_frame
from esmaml_robot.bridge.messages import MAX_PAYLOAD
from esmaml_robot.errors import LinkError

CODEC = Codec(3, 2)

# zeros are what COBS and a CRC find hardest
payloads = st.binary(min_size=1, max_size=MAX_PAYLOAD) | st.lists(
    st.sampled_from([0, 0, 0, 1, 255]), min_size=1, max_size=MAX_PAYLOAD
).map(bytes)


def telemetry(rng: random.Random) -> bytes:
    few = [0, 0, 0, 0, 1, 256, -1, 65536]
    return CODEC.encode(
        "telemetry", 1, rng.randrange(3), 0, episode_id=0, tick=rng.randrange(300), flags=0,
        sensors=[rng.choice(few) for _ in range(3)], actuators=[rng.choice(few) for _ in range(2)],
    )  # fmt: skip


def accepted(stream: bytes) -> list[bytes]:
    """Payloads that a receiver takes for messages: frame intact, type known, length exact."""
    return [p for p in FrameDecoder().feed(stream) if CODEC.decode(p) is not None]


def test_crc_is_the_published_one():
    assert crc16(b"123456789") == 0x29B1


def test_a_frame_of_zeros_is_not_valid_by_itself():
    decoder = FrameDecoder()
    assert decoder.feed(b"\x01\x01\x01\x01\0") == []
    assert decoder.bad == 1


@given(st.lists(payloads, min_size=1, max_size=8), st.data())
def test_frames_survive_any_cutting_of_the_stream(sent, data):
    stream = b"".join(encode_frame(p) for p in sent)
    decoder = FrameDecoder()
    received, at = [], 0
    while at < len(stream):
        n = data.draw(st.integers(1, len(stream) - at))
        received += decoder.feed(stream[at : at + n])
        at += n
    assert received == sent
    assert (decoder.good, decoder.bad) == (len(sent), 0)


@given(payloads)
def test_a_frame_holds_no_zero_but_its_end(payload):
    frame = encode_frame(payload)
    assert frame.index(0) == len(frame) - 1
    assert len(frame) <= len(payload) + 2 + 2


@pytest.mark.parametrize("length", [0, MAX_PAYLOAD + 1])
def test_payloads_that_do_not_fit_are_refused(length):
    with pytest.raises(LinkError, match=f"{length} bytes"):
        encode_frame(bytes(length))


@given(st.binary(max_size=600), payloads)
def test_in_step_again_at_the_next_delimiter(garbage, payload):
    decoder = FrameDecoder()
    decoder.feed(garbage)
    assert decoder.feed(b"\0" + encode_frame(payload))[-1] == payload


def test_an_endless_piece_takes_no_memory_and_counts_once():
    decoder = FrameDecoder()
    for _ in range(100):
        assert decoder.feed(b"\x05" * 100) == []
        assert len(decoder._piece) <= MAX_PAYLOAD + 3
    assert decoder.feed(b"\0" + encode_frame(b"x")) == [b"x"]
    assert decoder.bad == 1


def test_no_single_bit_flip_is_accepted_as_another_message():
    rng = random.Random(1)
    wrong = tried = 0
    for _ in range(150):
        sent = [telemetry(rng), telemetry(rng)]
        stream = b"".join(encode_frame(p) for p in sent)
        for bit in range(8 * len(stream)):
            damaged = bytearray(stream)
            damaged[bit // 8] ^= 1 << bit % 8
            tried += 1
            wrong += any(p not in sent for p in accepted(bytes(damaged)))
    assert tried > 80_000
    assert wrong == 0


@given(st.randoms(use_true_random=False), st.data())
def test_truncations_and_splices_are_not_accepted_as_another_message(rng, data):
    sent = [telemetry(rng) for _ in range(4)]
    frames = [encode_frame(p) for p in sent]
    pieces = []
    for frame in frames:
        start = data.draw(st.integers(0, len(frame) - 1))
        end = data.draw(st.integers(start, len(frame)))
        pieces.append(data.draw(st.sampled_from([frame, frame[:end], frame[start:], frame[:start] + frame[end:]])))
    stream = b"".join(pieces) + b"\0"
    assert all(p in sent for p in accepted(stream))

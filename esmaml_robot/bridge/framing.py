"""Frames on a byte stream: COBS, a zero byte as delimiter, CRC-16 behind the payload.

A frame is COBS(payload + CRC) + 0x00. Zero never occurs inside, so a receiver that was fed garbage is back in step at
the next delimiter. The CRC is CRC-16/IBM-3740 (polynomial 0x1021, start value 0xFFFF), little endian. The start value
matters: with 0, a piece of a frame that decodes to zeros has a CRC of zero and is taken for a frame. A receiver must
also check the exact length of each message type, as messages.Codec.decode does.
"""

from __future__ import annotations

import binascii

from cobs import cobs

from ..errors import LinkError
from .messages import MAX_PAYLOAD

DELIMITER = b"\0"
_CRC_BYTES = 2
#: Longest frame without its delimiter: COBS adds one byte to anything of up to 254.
_MAX_ENCODED = MAX_PAYLOAD + _CRC_BYTES + 1


def crc16(data: bytes) -> int:
    """CRC-16/IBM-3740; of b"123456789" it is 0x29B1."""
    return binascii.crc_hqx(data, 0xFFFF)


def encode_frame(payload: bytes) -> bytes:
    """A payload of 1 to MAX_PAYLOAD bytes as a frame with its delimiter. Raises LinkError on any other length."""
    if not 1 <= len(payload) <= MAX_PAYLOAD:
        raise LinkError(f"a payload of {len(payload)} bytes does not fit a frame (1 to {MAX_PAYLOAD}).")
    encoded: bytes = cobs.encode(payload + crc16(payload).to_bytes(_CRC_BYTES, "little"))
    return encoded + DELIMITER


class FrameDecoder:
    """Takes bytes in pieces of any size and gives the payloads of whole, intact frames.

    Attributes:
        good: frames accepted.
        bad: pieces between two delimiters that were no frame (too long, bad COBS, bad CRC); empty ones do not count.
    """

    def __init__(self) -> None:
        self.good = 0
        self.bad = 0
        self._piece = b""
        self._skip = False  # inside a piece that is too long already

    def feed(self, data: bytes) -> list[bytes]:
        """Payloads completed by `data`, in order."""
        *complete, rest = (self._piece + data).split(DELIMITER)
        payloads: list[bytes] = []
        for piece in complete:
            payload = None if self._skip else self._payload(piece)
            if payload:
                self.good += 1
                payloads.append(payload)
            elif piece or self._skip:
                self.bad += 1
            self._skip = False
        if len(rest) > _MAX_ENCODED:
            self._skip, rest = True, b""
        self._piece = rest
        return payloads

    @staticmethod
    def _payload(piece: bytes) -> bytes | None:
        if not _CRC_BYTES + 2 <= len(piece) <= _MAX_ENCODED:
            return None
        try:
            decoded: bytes = cobs.decode(piece)
        except cobs.DecodeError:
            return None
        payload, crc = decoded[:-_CRC_BYTES], decoded[-_CRC_BYTES:]
        if not payload or crc16(payload) != int.from_bytes(crc, "little"):
            return None
        return payload

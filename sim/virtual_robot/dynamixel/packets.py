"""DYNAMIXEL Protocol 2.0 as a device on the bus sees it: instructions in, status packets out.

The layout of a packet stands in firmware_export/dynamixel/packet.h, its other description; tests hold both against the
maker's published examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

HEADER = b"\xff\xff\xfd\x00"
BROADCAST = 0xFE
ALERT = 0x80
_HEADER_BYTES, _CRC_BYTES, _SHORTEST = 7, 2, 3
#: Longer ones are noise that looked like a header; the maker's own library stops at this length.
_LONGEST = 1024


class Instruction(IntEnum):
    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REG_WRITE = 0x04
    ACTION = 0x05
    FACTORY_RESET = 0x06
    REBOOT = 0x08
    STATUS = 0x55
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83
    BULK_READ = 0x92
    BULK_WRITE = 0x93


class Error(IntEnum):
    """Error number of a status packet."""

    NONE = 0
    RESULT_FAIL = 1
    INSTRUCTION = 2
    CRC = 3
    DATA_RANGE = 4
    DATA_LENGTH = 5
    DATA_LIMIT = 6
    ACCESS = 7


@dataclass(frozen=True)
class Packet:
    """A packet off the line, stuffing removed; `intact` is whether its CRC fits."""

    id: int
    instruction: int
    parameters: bytes
    intact: bool = True


def _table() -> tuple[int, ...]:
    values = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ (0x8005 if crc & 0x8000 else 0)
        values.append(crc & 0xFFFF)
    return tuple(values)


_CRC = _table()


def crc16(data: bytes) -> int:
    """Polynomial 0x8005, most significant bit first, begins with 0."""
    crc = 0
    for byte in data:
        crc = ((crc << 8) & 0xFFFF) ^ _CRC[(crc >> 8) ^ byte]
    return crc


def encode(device: int, instruction: int, parameters: bytes) -> bytes:
    """A packet as it goes onto the line."""
    body = bytes([instruction]) + parameters.replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")
    packet = HEADER + bytes([device]) + (len(body) + _CRC_BYTES).to_bytes(2, "little") + body
    return packet + crc16(packet).to_bytes(2, "little")


def status(device: int, error: int, data: bytes = b"") -> bytes:
    """A status packet as it goes onto the line."""
    return encode(device, Instruction.STATUS, bytes([error]) + data)


class PacketReader:
    """Packets out of a stream of bytes that may come in any pieces, with noise between them.

    A packet whose CRC does not fit comes out marked, for the protocol has an answer to it; the search for the next one
    goes on behind its first byte, since its length may be what was damaged.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that these bytes complete."""
        self._buffer += data
        packets = []
        while (packet := self._take()) is not None:
            packets.append(packet)
        return packets

    def _take(self) -> Packet | None:
        buffer = self._buffer
        while True:
            start = buffer.find(HEADER)
            if start < 0:
                del buffer[: max(0, len(buffer) - len(HEADER) + 1)]
                return None
            del buffer[:start]
            if len(buffer) < _HEADER_BYTES:
                return None
            length = int.from_bytes(buffer[5:7], "little")
            if not _SHORTEST <= length <= _LONGEST:
                del buffer[0]
                continue
            whole = _HEADER_BYTES + length
            if len(buffer) < whole:
                return None
            packet = bytes(buffer[:whole])
            intact = crc16(packet[:-_CRC_BYTES]) == int.from_bytes(packet[-_CRC_BYTES:], "little")
            del buffer[: whole if intact else 1]
            body = packet[_HEADER_BYTES + 1 : -_CRC_BYTES].replace(b"\xff\xff\xfd\xfd", b"\xff\xff\xfd")
            return Packet(packet[4], packet[_HEADER_BYTES], body, intact)

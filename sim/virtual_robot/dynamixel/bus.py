"""The line that devices share: who answers to what, and in which order.

Half duplex: what comes in are instructions, what goes out are their answers, and nothing else does. Devices that a SYNC
READ or BULK READ names answer in its order, each when the one before it has: behind one that is missing, all are
silent. Not every firmware of the maker's is that strict; a controller had better bear it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .device import Device, number
from .packets import BROADCAST, Instruction, Packet, PacketReader
from .servo import Servo


class Bus:
    """Devices on a line.

    Attributes:
        devices: all of them, those pulled off too.
        pulled: devices whose plug is out: neither data nor power.
    """

    def __init__(self, devices: Sequence[Device]) -> None:
        self.devices = list(devices)
        self.pulled: set[Device] = set()
        self._reader = PacketReader()

    def exchange(self, data: bytes) -> bytes:
        """Bytes that came over the line to what goes back over it."""
        return b"".join(self._answer(packet) for packet in self._reader.feed(data))

    def there(self) -> list[Device]:
        return [device for device in self.devices if device not in self.pulled]

    def at(self, device_id: int) -> Device | None:
        """The device at an id, or None where nobody answers. Two of the same id destroy each other's answers."""
        found = [device for device in self.there() if device["id"] == device_id]
        return found[0] if len(found) == 1 else None

    def pull(self, device: Device) -> None:
        """Pull a device's plug: it is dark until it is plugged in, which nobody does here."""
        self.pulled.add(device)
        device.reboot()

    def _answer(self, packet: Packet) -> bytes:
        if packet.instruction == Instruction.STATUS:
            return b""  # devices hear one another
        if packet.intact:
            for device in self.there():
                if isinstance(device, Servo):
                    device.heard()
        if packet.id != BROADCAST:
            addressed = self.at(packet.id)
            return (addressed.answer(packet) or b"") if addressed else b""
        return self._to_all(packet) if packet.intact else b""

    def _to_all(self, packet: Packet) -> bytes:
        parameters = packet.parameters
        match packet.instruction:
            case Instruction.PING:
                answers = (device.answer(packet) or b"" for device in sorted(self.there(), key=lambda d: d["id"]))
                return b"".join(answers)
            case Instruction.SYNC_READ if len(parameters) > 4:
                place = number(parameters[0:2]), number(parameters[2:4])
                return self._in_turn((device_id, *place) for device_id in parameters[4:])
            case Instruction.BULK_READ if parameters and len(parameters) % 5 == 0:
                pieces = (parameters[i : i + 5] for i in range(0, len(parameters), 5))
                return self._in_turn((p[0], number(p[1:3]), number(p[3:5])) for p in pieces)
            case Instruction.SYNC_WRITE if len(parameters) > 4:
                self._sync_write(number(parameters[0:2]), number(parameters[2:4]), parameters[4:])
            case Instruction.BULK_WRITE:
                self._bulk_write(parameters)
            case Instruction.WRITE | Instruction.REG_WRITE | Instruction.ACTION | Instruction.REBOOT:
                for device in self.there():
                    device.answer(packet)
        return b""

    def _in_turn(self, questions: Iterable[tuple[int, int, int]]) -> bytes:
        """Answers to (id, address, length), up to the first that does not come."""
        out = b""
        for device_id, address, length in questions:
            device = self.at(device_id)
            if device is None or device.return_level < 1:
                break
            error, data = device.read(address, length)
            out += device.status(error, data)
        return out

    def _sync_write(self, address: int, length: int, parameters: bytes) -> None:
        if length == 0 or len(parameters) % (1 + length):
            return
        for i in range(0, len(parameters), 1 + length):
            self._write(parameters[i], address, parameters[i + 1 : i + 1 + length])

    def _bulk_write(self, parameters: bytes) -> None:
        while len(parameters) > 5:
            end = 5 + number(parameters[3:5])
            if len(parameters) < end:
                return
            self._write(parameters[0], number(parameters[1:3]), parameters[5:end])
            parameters = parameters[end:]

    def _write(self, device_id: int, address: int, data: bytes) -> None:
        """Unacknowledged: what a device refuses, nobody hears of."""
        device = self.at(device_id)
        if device is not None:
            device.write(address, data)

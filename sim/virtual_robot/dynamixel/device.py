"""A device on the bus: its registers, and the instructions that are for it alone."""

from __future__ import annotations

from collections.abc import Sequence

from .packets import ALERT, Error, Instruction, Packet, status
from .table import RAM, Register

#: Answer to an instruction: an error number, and data if there is none.
Answer = tuple[Error, bytes]


class Device:
    """Registers, and reading and writing them as the protocol has it.

    Args:
        table: its registers.
        device_id: where it listens.
    """

    def __init__(self, table: Sequence[Register], device_id: int) -> None:
        self.table = {register.name: register for register in table}
        self._starts = {register.address: register for register in table}
        self._end = max(register.address + register.size for register in table)
        self._memory = bytearray(self._end)
        for register in table:
            self._store(register, register.initial)
        self["id"] = device_id
        self._registered: Packet | None = None

    def __getitem__(self, name: str) -> int:
        """A register's number."""
        register = self.table[name]
        return register.decode(self._memory[register.address : register.address + register.size])

    def __setitem__(self, name: str, value: int) -> None:
        """Set a register from within the device, which may set all of them."""
        self._store(self.table[name], value)

    def _store(self, register: Register, value: int) -> None:
        self._memory[register.address : register.address + register.size] = register.encode(value)

    # ---- what a kind of device adds ----

    @property
    def alert(self) -> bool:
        """Whether status packets say that the hardware has an error."""
        return False

    @property
    def locked(self) -> bool:
        """Whether EEPROM may not be written now."""
        return False

    @property
    def return_level(self) -> int:
        """0: answers PING only, 1: READ too, 2: everything."""
        return 2

    def translate(self, address: int) -> int:
        """Where the byte at an address is."""
        return address

    def refuses(self, register: Register, value: int) -> Error:
        """An error by which a write of an allowed number is refused nevertheless."""
        return Error.NONE

    def written(self, register: Register) -> None:
        """A register has been written by an instruction."""

    def reboot(self) -> None:
        """Registers in RAM as they were when new."""
        for register in self.table.values():
            if register.address >= RAM:
                self._store(register, register.initial)
        self._registered = None

    # ---- instructions ----

    def read(self, address: int, length: int) -> Answer:
        """Bytes of the table; places without a register are 0, those behind the end are refused."""
        if length == 0 or address + length > self._end:
            return Error.ACCESS, b""
        return Error.NONE, bytes(self._memory[self.translate(at)] for at in range(address, address + length))

    def write(self, address: int, data: bytes) -> Error:
        """Whole registers, one behind the other; all are looked at before the first one is written."""
        if not data:
            return Error.DATA_LENGTH
        targets: list[tuple[Register, int]] = []
        at = 0
        while at < len(data):
            register = self._starts.get(self.translate(address + at)) if address + at < self._end else None
            if register is None or not register.writable or (self.locked and register.address < RAM):
                return Error.ACCESS
            piece = data[at : at + register.size]
            if len(piece) < register.size or not self._contiguous(address + at, register):
                return Error.DATA_LENGTH
            value = register.decode(piece)
            if not register.low <= value <= register.high:
                return Error.DATA_RANGE
            if error := self.refuses(register, value):
                return error
            targets.append((register, value))
            at += register.size
        for register, value in targets:
            self._store(register, value)
            self.written(register)
        return Error.NONE

    def _contiguous(self, address: int, register: Register) -> bool:
        return all(self.translate(address + i) == register.address + i for i in range(register.size))

    def answer(self, packet: Packet) -> bytes | None:
        """Carry out an instruction for this device alone; its status packet, or None where it gives none."""
        if not packet.intact:
            return self.status(Error.CRC)
        asked = self["id"]  # the answer to a change of the id is under the old one
        error, data = self._carry_out(packet)
        if packet.instruction == Instruction.PING:
            return self.status(error, data)
        needed = 1 if packet.instruction == Instruction.READ else 2
        return self.status(error, data, asked) if self.return_level >= needed else None

    def _carry_out(self, packet: Packet) -> Answer:
        parameters = packet.parameters
        match packet.instruction:
            case Instruction.PING:
                return Error.NONE, bytes(self._memory[0:2] + self._memory[6:7])
            case Instruction.READ if len(parameters) == 4:
                return self.read(number(parameters[0:2]), number(parameters[2:4]))
            case Instruction.WRITE if len(parameters) > 2:
                return self.write(number(parameters[0:2]), parameters[2:]), b""
            case Instruction.REG_WRITE if len(parameters) > 2:
                self._registered = packet
                return Error.NONE, b""
            case Instruction.ACTION if self._registered is not None:
                kept, self._registered = self._registered.parameters, None
                return self.write(number(kept[0:2]), kept[2:]), b""
            case Instruction.FACTORY_RESET if parameters in (b"\x01", b"\x02", b"\xff"):
                return self._factory_reset(parameters[0]), b""
            case Instruction.REBOOT:
                self.reboot()
                return Error.NONE, b""
            case Instruction.READ | Instruction.WRITE | Instruction.REG_WRITE | Instruction.FACTORY_RESET:
                return Error.DATA_LENGTH, b""
            case _:
                return Error.INSTRUCTION, b""

    def _factory_reset(self, option: int) -> Error:
        if self.locked:
            return Error.RESULT_FAIL
        kept = {"id": option != 0xFF, "baud_rate": option == 0x02}
        for register in self.table.values():
            if register.writable and not kept.get(register.name, False):
                self._store(register, register.initial)
        self.reboot()
        return Error.NONE

    def status(self, error: Error, data: bytes = b"", under: int | None = None) -> bytes:
        """A status packet of this device, under its id or another."""
        return status(
            self["id"] if under is None else under, error | (ALERT if self.alert else 0), b"" if error else data
        )


def number(data: bytes) -> int:
    """An unsigned little-endian number."""
    return int.from_bytes(data, "little")

"""What [flasher] in boards/<name>/board.toml says: which program puts an image onto the board, and how it is called."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Flasher(BaseModel):
    """quiet_s: for so long after the serial port is opened a boot loader may be listening on it, and takes whatever
    comes for the beginning of an upload; 0 where opening the port does not reset the board.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    quiet_s: float = Field(default=0.0, ge=0.0, le=30.0)


class AvrdudeFlasher(_Flasher):
    """An AVR with a boot loader on its serial line: avrdude's names of chip and programmer, and its baud rate."""

    tool: Literal["avrdude"]
    part: str
    programmer: str
    baud: int = Field(gt=0)
    package: str = "avrdude"
    programs: tuple[str, ...] = ("avrdude",)
    file: str = "firmware.hex"


class GdbFlasher(_Flasher):
    """Whatever speaks GDB's remote protocol: OpenOCD, pyOCD, a Black Magic Probe, QEMU. `before` and `after` are GDB's
    commands around the loading; those after it restart the chip, by default through a Cortex-M's own register.
    """

    tool: Literal["gdb"]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ("set {unsigned int}0xE000ED0C = 0x05FA0004",)
    package: str = "gdb-multiarch"
    programs: tuple[str, ...] = ("arm-none-eabi-gdb", "gdb-multiarch")
    file: str = "firmware.elf"


FlasherSettings = Annotated[AvrdudeFlasher | GdbFlasher, Field(discriminator="tool")]

"""The command of an emulated ATmega that writes what it measured to a file when it ends."""

from __future__ import annotations

import os
from pathlib import Path

from firmware_export.build import Firmware


def reporting(firmware: Firmware, folder: Path, report: Path) -> tuple[str, ...]:
    """The firmware's command with `--report`: the emulator then writes cycles and stack to `report`, as JSON.

    A virtual robot gives an emulator options of its own and does not know this one, so a script in `folder` adds it.
    """
    program, image = firmware.command
    script = folder / "measured"
    script.write_text(f'#!/bin/sh\nexec "{program}" "{image}" --report "{report}" "$@"\n', encoding="utf-8")
    os.chmod(script, 0o755)
    return (str(script),)

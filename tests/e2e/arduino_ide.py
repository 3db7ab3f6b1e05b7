"""Compiles a sketch as the Arduino IDE does: with Arduino's own core for AVR (Debian package) and its flags."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

HARDWARE = Path("/usr/share/arduino/hardware/arduino/avr")
#: compiler.c.flags, compiler.cpp.flags and compiler.c.elf.flags of platform.txt; warnings are ours
COMMON = ["-c", "-g", "-Os", "-ffunction-sections", "-fdata-sections", "-flto"]
C = ["avr-gcc", *COMMON, "-std=gnu11", "-fno-fat-lto-objects"]
CPP = ["avr-g++", *COMMON, "-std=gnu++11", "-fpermissive", "-fno-exceptions", "-fno-threadsafe-statics"]
LINK = ["avr-gcc", "-Os", "-g", "-flto", "-fuse-linker-plugin", "-Wl,--gc-sections"]
WARNINGS = ["-Wall", "-Wextra"]


@dataclass(frozen=True)
class ArduinoBoard:
    """What boards.txt says of one: build.mcu, build.board, build.variant."""

    mcu: str
    macro: str
    variant: str


UNO = ArduinoBoard("atmega328p", "ARDUINO_AVR_UNO", "standard")
MEGA = ArduinoBoard("atmega2560", "ARDUINO_AVR_MEGA2560", "mega")


def call(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stderr[:3000]}"
    return done


def compile_sketch(board: ArduinoBoard, sketch: Path, libraries: list[Path], out: Path) -> Path:
    """The linked image of a sketch (.ino or .cpp) with the sources below `libraries`.

    Everything of ours is compiled without a warning; Arduino's own files as they are.
    """
    out.mkdir(parents=True, exist_ok=True)
    core, variant = HARDWARE / "cores" / "arduino", HARDWARE / "variants" / board.variant
    spi = HARDWARE / "libraries" / "SPI" / "src"
    flags = [f"-mmcu={board.mcu}", "-DF_CPU=16000000L", "-DARDUINO=10819", f"-D{board.macro}", "-DARDUINO_ARCH_AVR"]
    ours = [f"-I{library}" for library in libraries]
    # not -isystem, which makes this compiler take all of it for C
    theirs = [f"-I{folder}" for folder in (core, variant, spi)]
    objects = []

    def compile_one(source, number, extra):
        target = out / f"{number}_{source.name}.o"
        cpp = source.suffix in (".cpp", ".ino")
        language = ["-x", "c++", "-include", "Arduino.h"] if source.suffix == ".ino" else []
        done = call([*(CPP if cpp else C), *flags, *extra, *ours, *theirs, *language, str(source), "-o", str(target)])
        # Arduino's headers are not ours to be strict about
        warnings = [line for line in done.stderr.splitlines() if ": warning:" in line and not line.startswith("/usr/")]
        assert not warnings, warnings
        return str(target)

    library_sources = [p for folder in libraries for p in sorted(folder.rglob("*")) if p.suffix in (".c", ".cpp")]
    for i, source in enumerate([sketch, *library_sources]):
        objects.append(compile_one(source, f"l{i}", WARNINGS))
    used = [*sorted(core.glob("*.c")), *sorted(core.glob("*.cpp")), *sorted(spi.glob("*.cpp"))]
    archive = out / "core.a"
    archive.unlink(missing_ok=True)
    # avr-libc's float.h of Debian 12 hides the macro from C++; Arduino's own tool chain has a newer one
    extra = ["-w", "-DDECIMAL_DIG=__DECIMAL_DIG__"]
    parts = [compile_one(source, f"c{i}", extra) for i, source in enumerate(used)]
    call(["avr-gcc-ar", "rcs", str(archive), *parts])
    image = out / "sketch.elf"
    call([*LINK, f"-mmcu={board.mcu}", "-o", str(image), *objects, str(archive), "-lm"])
    return image


def sizes(image: Path) -> tuple[int, int]:
    """Bytes of flash, and of RAM without the stack."""
    text, data, bss = map(int, call(["avr-size", str(image)]).stdout.splitlines()[1].split()[:3])
    return text + data, data + bss

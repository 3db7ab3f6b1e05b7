"""Bytes to and from a serial port, with deadlines: the only file that imports serial.

A port is a path (/dev/ttyACM0) or a pyserial URL (socket://host:port). It is opened for this process alone, as far as
the system allows: pyserial's lock keeps out programs that ask for it as well, TIOCEXCL also those that do not.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import termios
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import serial
from serial.tools import list_ports

from ..errors import LinkLost, PortError

DEFAULT_BAUD = 1_000_000
_WRITE_SECONDS = 1.0
_PIECE = 4096


class Transport(Protocol):
    """A byte stream. Both directions raise LinkLost when the other end is gone."""

    name: str

    def read(self, deadline: float) -> bytes:
        """At least one byte, or b"" once time.monotonic() reaches `deadline`; at once if bytes are waiting."""
        ...

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


def _lost(name: str, what: str) -> LinkLost:
    return LinkLost(
        f"{name}: the connection is gone ({what}). The controller releases its actuators by itself. "
        "Check cable and power, then connect again."
    )


class SerialTransport:
    """A pyserial port. Ports with a file descriptor are read directly: a quarter of the time per message."""

    def __init__(self, name: str, port: serial.SerialBase) -> None:
        self.name = name
        self._port = port
        descriptor = getattr(port, "fd", None)
        self._fd: int | None = descriptor if isinstance(descriptor, int) else None
        self._readable = select.poll()
        self._writable = select.poll()
        if self._fd is not None:
            self._readable.register(self._fd, select.POLLIN)
            self._writable.register(self._fd, select.POLLOUT)

    def read(self, deadline: float) -> bytes:
        if self._fd is None:
            return self._read_generic(deadline)
        try:
            wait_ms = max(0.0, (deadline - time.monotonic()) * 1000.0)
            if not self._readable.poll(wait_ms):
                return b""
            data = os.read(self._fd, _PIECE)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise _lost(self.name, error.strerror or str(error)) from error
        if not data:
            raise _lost(self.name, "unplugged, or another program reads from it")
        return data

    def _read_generic(self, deadline: float) -> bytes:
        try:
            self._port.timeout = max(0.0, deadline - time.monotonic())
            first = self._port.read(1)
            waiting = getattr(self._port, "in_waiting", 0)
            return bytes(first + self._port.read(waiting) if first and waiting else first)
        except (serial.SerialException, OSError) as error:
            raise _lost(self.name, str(error)) from error

    def write(self, data: bytes) -> None:
        try:
            if self._fd is None:
                self._port.write(data)
                return
            rest = memoryview(data)
            deadline = time.monotonic() + _WRITE_SECONDS
            while rest:
                try:
                    rest = rest[os.write(self._fd, rest) :]
                except BlockingIOError:
                    if not self._writable.poll(max(0.0, (deadline - time.monotonic()) * 1000.0)):
                        raise _lost(self.name, f"it takes no bytes for {_WRITE_SECONDS:g} s") from None
        except (serial.SerialException, OSError) as error:
            raise _lost(self.name, str(error)) from error

    def close(self) -> None:
        if self._fd is not None:
            with suppress(OSError):  # an exclusive mark outlives the descriptor while others have the port open
                fcntl.ioctl(self._fd, termios.TIOCNXCL)
        with suppress(serial.SerialException, OSError):
            self._port.close()


def available_ports() -> list[str]:
    """Serial ports of this machine, as paths, stable names first."""
    by_id = sorted(str(p) for p in Path("/dev/serial/by-id").glob("*"))
    return by_id + sorted(p.device for p in list_ports.comports())


def _group_of(port: str) -> str:
    import grp

    try:
        return grp.getgrgid(os.stat(port).st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"


def _explain(name: str, error: Exception) -> PortError:
    code = getattr(error, "errno", None)
    text = str(error)
    if code == errno.ENOENT:
        ports = available_ports()
        known = f"ports that exist: {', '.join(ports)}" if ports else "no serial port exists here; plug the board in"
        return PortError(f"{name}: there is no such port; {known}.")
    if code == errno.EBUSY or "exclusively lock" in text:
        return PortError(
            f"{name}: another program holds this port. Close it (a serial monitor, another esmaml) and try again; "
            f"`fuser {name}` shows which."
        )
    if code in (errno.EACCES, errno.EPERM):
        group = _group_of(name)
        return PortError(
            f"{name}: no permission. The port belongs to group {group!r}: "
            f"sudo usermod -aG {group} $USER, then log in anew."
        )
    return PortError(f"{name}: cannot be opened: {text}. Give the path of a serial port or a pyserial URL.")


def open_port(name: str, baud: int = DEFAULT_BAUD) -> SerialTransport:
    """Open a port by path or pyserial URL, for this process alone.

    Raises:
        PortError: missing (with the ports that exist), held by another program, no permission, or unknown URL.
    """
    try:
        if "://" in name:
            port: serial.SerialBase = serial.serial_for_url(name, baudrate=baud, timeout=0)
        else:
            port = serial.Serial(name, baudrate=baud, timeout=0, exclusive=True)
    except (serial.SerialException, OSError, ValueError) as error:
        raise _explain(name, error) from error
    transport = SerialTransport(name, port)
    descriptor = getattr(port, "fd", None)
    if isinstance(descriptor, int):
        with suppress(OSError):
            fcntl.ioctl(descriptor, termios.TIOCEXCL)
        os.set_blocking(descriptor, False)
    return transport

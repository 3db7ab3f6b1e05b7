"""Bytes to and from a serial port, with deadlines: the only file that imports serial.

A port is a path (/dev/ttyACM0) or a pyserial URL (socket://host:port, rfc2217://host:port). A path is opened for this
process alone, as far as the system allows: pyserial's lock keeps out programs that ask for it as well, TIOCEXCL also
those that do not. What the driver made of the baud rate is read back, and its latency timer is turned down if it has
one. Why a port cannot be opened: port_problems.py.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import socket
import termios
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import serial
from serial.tools import list_ports

from ..errors import LinkLost
from .port_problems import explain, refuse_address, refuse_baud, refuse_scheme, stable_names

DEFAULT_BAUD = 1_000_000
_WRITE_SECONDS = 1.0
_PIECE = 4096
_NO_DRIVER = "not for this kind of port"
_TCP_SECONDS = 5.0
#: A receiver samples in the middle of a bit, so ten bits may be half a bit off, both ends together.
_BAUD_TOLERANCE = 0.02
#: Linux: the terminal's settings with its rate as a number (asm-generic/ioctls.h).
_TCGETS2 = 0x802C542A
#: How long a URL that is no descriptor is asked for a byte at a time; to rfc2217 a change of it is a negotiation.
_URL_POLL_SECONDS = 0.005
#: pyserial's own handlers that make sense here: bytes over TCP, a terminal server, this program's own echo.
URL_SCHEMES = ("socket", "rfc2217", "loop")


class Transport(Protocol):
    """A byte stream. Both directions raise LinkLost when the other end is gone.

    Attributes:
        name: the port, as it was asked for.
        low_latency: whether the driver was told to hand over each byte at once, or why not.
    """

    name: str
    low_latency: str

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
    """What has a file descriptor, a serial port or a TCP connection: read directly, a quarter of the time per message.

    Attributes:
        low_latency: whether the driver was told to hand over each byte at once, or why not.
    """

    def __init__(
        self,
        name: str,
        port: serial.Serial | socket.socket,
        low_latency: str = _NO_DRIVER,
    ) -> None:
        self.name = name
        self.low_latency = low_latency
        self._port = port
        self._fd: int = port.fileno()
        self._readable = select.poll()
        self._writable = select.poll()
        self._readable.register(self._fd, select.POLLIN)
        self._writable.register(self._fd, select.POLLOUT)

    def read(self, deadline: float) -> bytes:
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

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        deadline = time.monotonic() + _WRITE_SECONDS
        try:
            while rest:
                try:
                    rest = rest[os.write(self._fd, rest) :]
                except BlockingIOError:
                    if not self._writable.poll(max(0.0, (deadline - time.monotonic()) * 1000.0)):
                        raise _lost(self.name, f"it takes no bytes for {_WRITE_SECONDS:g} s") from None
        except OSError as error:
            raise _lost(self.name, str(error)) from error

    def close(self) -> None:
        with suppress(OSError):  # an exclusive mark outlives the descriptor while others have the port open
            fcntl.ioctl(self._fd, termios.TIOCNXCL)
        with suppress(serial.SerialException, OSError):
            self._port.close()


class UrlTransport:
    """A port of pyserial's that is no descriptor; its own timeout is _URL_POLL_SECONDS and stays."""

    low_latency = _NO_DRIVER

    def __init__(self, name: str, port: serial.SerialBase) -> None:
        self.name = name
        self._port = port

    def read(self, deadline: float) -> bytes:
        try:
            while not (waiting := self._waiting()):
                if time.monotonic() >= deadline:
                    return b""
                if first := self._port.read(1):
                    return bytes(first + self._port.read(self._waiting()))
            return bytes(self._port.read(waiting))
        except (serial.SerialException, OSError) as error:
            raise _lost(self.name, str(error)) from error

    def _waiting(self) -> int:
        return int(getattr(self._port, "in_waiting", 0))

    def write(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except (serial.SerialException, OSError) as error:
            raise _lost(self.name, str(error)) from error

    def close(self) -> None:
        connection = getattr(self._port, "_socket", None)
        with suppress(serial.SerialException, OSError):
            self._port.close()
        if connection is not None:
            connection.close()  # which pyserial forgets where the other end was first


@dataclass(frozen=True)
class ListedPort:
    """A serial port of this machine.

    Attributes:
        port: what to give as --port: the stable name where there is one.
        device: the path that it has at the moment, such as /dev/ttyACM0.
        what: what the driver says is plugged in; nothing where it does not know.
    """

    port: str
    device: str
    what: str


def listed_ports() -> list[ListedPort]:
    """Serial ports of this machine, each once, those with a stable name first."""
    what = {p.device: p.description if p.description not in (None, "n/a") else "" for p in list_ports.comports()}
    stable = [(name, os.path.realpath(name)) for name in stable_names()]
    others = sorted(set(what) - {device for _, device in stable})
    return [ListedPort(port, at, what.get(at, "")) for port, at in [*stable, *((path, path) for path in others)]]


def available_ports() -> list[str]:
    """The same as paths."""
    return [listed.port for listed in listed_ports()]


def _low_latency(port: serial.Serial) -> str:
    """Ask the driver not to collect bytes before it hands them over: an FTDI chip waits 16 ms by itself."""
    try:
        port.set_low_latency_mode(True)
    except (ValueError, OSError, AttributeError):
        return "not offered by this driver"
    return "on"


def _baud_in_force(descriptor: int, asked: int) -> int:
    """The rate that the driver has set, as far as it tells; some take what they can and report that."""
    settings = array.array("i", [0] * 64)
    try:
        fcntl.ioctl(descriptor, _TCGETS2, settings)
    except OSError:
        return asked
    return settings[10]


def _open_path(name: str, baud: int) -> SerialTransport:
    port = serial.Serial(name, baudrate=baud, timeout=0, exclusive=True)
    try:
        descriptor = port.fileno()
        if abs(_baud_in_force(descriptor, baud) - baud) > _BAUD_TOLERANCE * baud:
            raise refuse_baud(name, baud, _baud_in_force(descriptor, baud))
        with suppress(OSError):
            fcntl.ioctl(descriptor, termios.TIOCEXCL)
        os.set_blocking(descriptor, False)
        return SerialTransport(name, port, _low_latency(port))
    except BaseException:
        port.close()
        raise


def _open_url(name: str, baud: int) -> Transport:
    parts = urlsplit(name)
    if parts.scheme not in URL_SCHEMES:
        raise refuse_scheme(name, URL_SCHEMES)
    if parts.scheme != "loop" and not (parts.hostname and parts.port):
        raise refuse_address(name, parts.scheme)
    if parts.scheme == "socket":
        return _open_tcp(name, parts.hostname or "", parts.port or 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pyserial starts its reader in a way of long ago
        port = serial.serial_for_url(name, baudrate=baud, timeout=_URL_POLL_SECONDS)
    return UrlTransport(name, port)


def _open_tcp(name: str, host: str, number: int) -> SerialTransport:
    """socket:// without pyserial, whose handler waits for acknowledgements: 40 ms a message."""
    line = socket.create_connection((host, number), timeout=_TCP_SECONDS)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.setblocking(False)
    return SerialTransport(name, line)


def open_port(name: str, baud: int = DEFAULT_BAUD) -> Transport:
    """Open a port by path or pyserial URL, for this process alone.

    Raises:
        PortError: missing (with the ports that exist), held by another program (named where that can be seen), no
            permission, a baud rate that the driver does not have, or an unknown URL.
    """
    try:
        return _open_url(name, baud) if "://" in name else _open_path(name, baud)
    except (serial.SerialException, OSError, ValueError) as error:
        raise explain(name, baud, error, available_ports()) from error

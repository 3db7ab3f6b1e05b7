"""A serial port over TCP, as a terminal server has it: bytes as they are (socket://) or with RFC 2217 around them."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

import serial
from serial.rfc2217 import PortManager


class PtyPort(serial.Serial):
    """A pseudo-terminal has no modem lines."""

    cts = dsr = ri = cd = False

    def _update_rts_state(self) -> None:
        pass

    def _update_dtr_state(self) -> None:
        pass


class TcpBridge:
    """Serves one client after the other for as long as the block lasts."""

    def __init__(self, path: str, *, rfc2217: bool) -> None:
        self._path, self._rfc2217 = path, rfc2217
        self._server = socket.create_server(("127.0.0.1", 0))
        self._client: socket.socket | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        scheme = "rfc2217" if self._rfc2217 else "socket"
        return f"{scheme}://127.0.0.1:{self._server.getsockname()[1]}"

    def write(self, data: bytes) -> None:
        """What the PortManager has to say to the client."""
        self._client.sendall(data)

    def _serve(self) -> None:
        with PtyPort(self._path, timeout=0) as port:
            while not self._ended.is_set():
                if not select.select([self._server], [], [], 0.05)[0]:
                    continue
                with self._server.accept()[0] as self._client, contextlib.suppress(OSError):
                    self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._pass_on(port, PortManager(port, self) if self._rfc2217 else None)

    def _pass_on(self, port: serial.Serial, manager: PortManager | None) -> None:
        while not self._ended.is_set():
            ready = select.select([port, self._client], [], [], 0.05)[0]
            if port in ready:
                data = port.read(4096)
                self._client.sendall(b"".join(manager.escape(data)) if manager else data)
            if self._client in ready:
                data = self._client.recv(4096)
                if not data:
                    return
                port.write(b"".join(manager.filter(data)) if manager else data)

    def __enter__(self) -> TcpBridge:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()
        self._server.close()

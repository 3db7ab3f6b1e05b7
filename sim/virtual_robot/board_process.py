"""The firmware as a child process, and its plant requests answered.

The wire is what firmware_export/boards/common/world.h describes: fixed little-endian records over a socket that the
child inherits. The child owns the clock; this side only answers.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np

from esmaml_robot.errors import LinkError
from esmaml_robot.robot_spec import RobotSpec

from .plant import Plant

START_SECONDS = 10.0
STOP_SECONDS = 2.0
RELEASE_GRACE_SECONDS = 1.0
_RESET, _STEP = b"R"[0], b"S"[0]


class BoardProcess:
    """A running firmware with a plant behind it.

    Args:
        firmware: the command that firmware_export.build makes: a program, or an emulator and a chip's image.
        spec: the robot for which it was made.
        plant: the world; called from `serve` only.
        log: file for one JSON line per plant request, or None.
        paced: real time in place of lock-step.
        unplug_at: (EPISODE, TICK), "pull the cable" at that tick of the nth episode, counted from 1; or None.
        store: file of what the board remembers over a power cut, or None: it forgets.

    Attributes:
        port: path of the serial port at which the firmware listens.
    """

    def __init__(
        self,
        firmware: Sequence[str],
        spec: RobotSpec,
        plant: Plant,
        *,
        log: Path | None = None,
        paced: bool = False,
        unplug_at: tuple[int, int] | None = None,
        store: Path | None = None,
    ) -> None:
        self._plant = plant
        self._n_sensors = len(spec.sensors)
        self._request = struct.Struct(f"<BBHIQ{len(spec.actuators)}i")
        self._release_seconds = spec.watchdog.release_ms / 1000.0
        self._torque_on = False
        self._log: IO[str] | None = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket = ours
        command = [*firmware, "--plant-fd", str(theirs.fileno())]
        if paced:
            command.append("--paced")
        if unplug_at is not None:
            command += ["--unplug-at", f"{unplug_at[0]}:{unplug_at[1]}"]
        if store is not None:
            command += ["--store", str(store)]
        try:
            if log is not None:
                self._log = log.open("w", encoding="utf-8")
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, pass_fds=[theirs.fileno()]
            )
        except OSError as error:
            ours.close()
            self._close_log()
            raise LinkError(
                f"the firmware {' '.join(firmware)} cannot be started or its log not written: "
                f"{error.strerror or error}. "
                "Build the firmware for this machine again, and check the log's folder."
            ) from error
        finally:
            theirs.close()
        try:
            self.port = self._await_port()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """Of the firmware process; None while it runs."""
        return self._child.poll()

    def _await_port(self) -> str:
        """Serve the plant until the firmware has printed its port."""
        assert self._child.stdout is not None
        out = self._child.stdout.fileno()
        line = b""
        end = time.monotonic() + START_SECONDS
        while not line.endswith(b"\n") and time.monotonic() < end:
            plant = self._socket.fileno()
            ready, _, _ = select.select([plant, out], [], [], max(0.0, end - time.monotonic()))
            if plant in ready and not self._serve_one():
                break
            if out in ready:
                piece = os.read(out, 4096)
                if not piece:
                    break
                line += piece
        try:
            return str(json.loads(line)["port"])
        except (ValueError, KeyError, TypeError) as error:
            raise LinkError(
                f"the firmware did not say within {START_SECONDS:g} s at which port it listens: it printed "
                f"{line[:80]!r}, exit code {self._child.poll()}. Build it again; if that does not help, run it by hand."
            ) from error

    def serve(self, stop_fds: Sequence[int] = ()) -> None:
        """Answer plant requests until the firmware ends, or until one of `stop_fds` is readable or closed.

        Told to stop while the actuators have torque, it goes on until the firmware's watchdog has released them: a
        robot does not vanish because its host did.
        """
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        for stop_fd in stop_fds:
            poller.register(stop_fd, select.POLLIN)
        while True:
            for fd, _ in poller.poll():
                if fd in stop_fds:
                    self._await_release()
                    return
                if not self._serve_one():
                    return

    def _await_release(self) -> None:
        """Serve on until the torque is off, at most for the watchdog's time and a grace."""
        end = time.monotonic() + self._release_seconds + RELEASE_GRACE_SECONDS
        while self._torque_on and (left := end - time.monotonic()) > 0:
            if not select.select([self._socket], [], [], left)[0] or not self._serve_one():
                return

    def _serve_one(self) -> bool:
        """Answer one request; False once the firmware has closed its end."""
        try:
            # requests are small and the socket is local, but a stream may split them nevertheless
            data = self._socket.recv(self._request.size, socket.MSG_WAITALL)
            if len(data) < self._request.size:
                return False
            kind, torque_on, _, episode_seed, time_us, *actuators = self._request.unpack(data)
            if kind == _RESET:
                sensors = self._plant.reset(episode_seed)
            elif kind == _STEP:
                sensors = self._plant.step(np.array(actuators, dtype=np.int32), bool(torque_on))
            else:
                raise LinkError(
                    f"the firmware sent a plant request of unknown kind {kind}; build it with this version."
                )
            counts = [int(v) for v in sensors]
            if len(counts) != self._n_sensors:
                raise LinkError(f"the plant gave {len(counts)} sensor counts; the robot has {self._n_sensors}.")
            self._socket.sendall(struct.pack(f"<{len(counts)}i", *counts))
        except (ConnectionError, BrokenPipeError):
            return False
        self._torque_on = bool(torque_on)
        if self._log is not None:
            record = {
                "kind": chr(kind),
                "time_us": time_us,
                "torque_on": bool(torque_on),
                "actuators": actuators,
                "sensors": counts,
                **({"episode_seed": episode_seed} if kind == _RESET else {}),
            }
            self._log.write(json.dumps(record) + "\n")
            self._log.flush()
        return True

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None

    def close(self) -> None:
        """End the firmware process, whatever it is doing, and close the log."""
        for insist in (self._child.terminate, self._child.kill):
            if self._child.poll() is None:
                insist()
                with suppress(subprocess.TimeoutExpired):
                    self._child.wait(STOP_SECONDS)
        self._socket.close()
        if self._child.stdout is not None:
            self._child.stdout.close()
        self._close_log()

"""The firmware as a child process, and its plant requests answered.

The wire is what firmware_export/boards/common/record.h describes: fixed little-endian records over a socket that the
child inherits. The child owns the clock; this side only answers. A servo bus is another socket, of bytes.
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

from esmaml_robot.errors import ConfigError, LinkError
from esmaml_robot.robot_spec import RobotSpec

from .dynamixel.body import ServoBody, ServoFault
from .dynamixel.description import load_bus
from .plant import I32, Plant

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
        bus: file that describes the robot's servo bus, where it has one on this board; the plant must then be one of
            servos (dynamixel.body.ServoPlant).
        servo_fault: what happens to one of the servos, or None.

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
        bus: Path | None = None,
        servo_fault: ServoFault | None = None,
    ) -> None:
        self._plant = plant
        self._n_sensors = len(spec.sensors)
        self._servos = None
        if bus is not None:
            self._servos = ServoBody(spec, plant, load_bus(bus, spec), servo_fault)
        elif servo_fault is not None:
            raise ConfigError(f"a servo fault needs a servo bus, which robot {spec.name} does not have on this board.")
        self._request = struct.Struct(f"<BBHIQ{0 if bus is not None else len(spec.actuators)}i")
        self._release_seconds = spec.watchdog.release_ms / 1000.0
        self._torque_on, self._time_us = False, 0
        self._log: IO[str] | None = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket = ours
        inherited = [theirs]
        command = [*firmware, "--plant-fd", str(theirs.fileno())]
        self._bus_socket: socket.socket | None = None
        if bus is not None:
            self._bus_socket, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            inherited.append(far)
            command += ["--bus-fd", str(far.fileno())]
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
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, pass_fds=[s.fileno() for s in inherited]
            )
        except OSError as error:
            self._close_sockets()
            self._close_log()
            raise LinkError(
                f"the firmware {' '.join(firmware)} cannot be started or its log not written: "
                f"{error.strerror or error}. "
                "Build the firmware for this machine again, and check the log's folder."
            ) from error
        finally:
            for end_of_theirs in inherited:
                end_of_theirs.close()
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
            ready, _, _ = select.select([*self._sockets(), out], [], [], max(0.0, end - time.monotonic()))
            if not self._serve_ready(ready):
                break
            if out in ready:
                piece = os.read(out, 4096)
                if not piece:
                    break
                line += piece
        try:
            return str(json.loads(line)["port"])
        except (ValueError, KeyError, TypeError) as error:
            silent = not line and self._child.poll() is None
            advice = (
                "A board of your own has to open a pseudo-terminal, as boards/host does by common/line.c; one for "
                "a chip needs an [emulator] in its board.toml."
                if silent
                else "Build it again; if that does not help, run it by hand."
            )
            raise LinkError(
                f"the firmware did not say within {START_SECONDS:g} s at which port it listens: it printed "
                f"{line[:80]!r}, exit code {self._child.poll()}. {advice}"
            ) from error

    def serve(self, stop_fds: Sequence[int] = ()) -> None:
        """Answer plant requests until the firmware ends, or until one of `stop_fds` is readable or closed.

        Told to stop while the actuators have torque, it goes on until the firmware's watchdog has released them: a
        robot does not vanish because its host did. Nor do servos vanish because their controller did: when the firmware
        ends while they have torque, time goes on until they have stopped by themselves.
        """
        poller = select.poll()
        for fd in (*self._sockets(), *stop_fds):
            poller.register(fd, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poller.poll()]
            if any(fd in stop_fds for fd in ready):
                self._await_release()
                return
            if not self._serve_ready(ready):
                self._outlive_the_controller()
                return

    def _outlive_the_controller(self) -> None:
        servos = self._servos
        if servos is None or self._socket.fileno() < 0:
            return
        for _ in range(servos.watchdog_periods):
            if not servos.torque_on:
                return
            self._time_us += servos.period_us
            counts = servos.step().tolist()
            self._write_log(_STEP, 0, servos.commands().tolist(), servos.torque_on, counts)

    def _await_release(self) -> None:
        """Serve on until the torque is off, at most for the watchdog's time and a grace."""
        end = time.monotonic() + self._release_seconds + RELEASE_GRACE_SECONDS
        while self._torque_on and (left := end - time.monotonic()) > 0:
            ready = select.select(self._sockets(), [], [], left)[0]
            if not ready or not self._serve_ready(ready):
                return

    def _sockets(self) -> list[int]:
        return [self._socket.fileno(), *([self._bus_socket.fileno()] if self._bus_socket is not None else [])]

    def _serve_ready(self, ready: Sequence[int]) -> bool:
        """Answer what has come over the sockets among `ready`; False once firmware or `close` closed an end."""
        if self._socket.fileno() < 0:  # closed by another thread: what is ready now is nobody's
            return False
        if self._bus_socket is not None and self._bus_socket.fileno() in ready and not self._serve_bus():
            return False
        return self._socket.fileno() not in ready or self._serve_one()

    def _serve_bus(self) -> bool:
        """Let the servos hear all that has been sent to them; False once the board has closed its end."""
        assert self._bus_socket is not None
        assert self._servos is not None
        try:
            while data := self._bus_socket.recv(4096, socket.MSG_DONTWAIT):
                self._bus_socket.sendall(self._servos.bus.exchange(data))
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        return False

    def _move(self, kind: int, episode_seed: int, actuators: list[int], torque_on: bool) -> I32:
        """The body's answer to a request."""
        if kind not in (_RESET, _STEP):
            raise LinkError(f"the firmware sent a plant request of unknown kind {kind}; build it with this version.")
        if self._servos is not None:
            return self._servos.reset(episode_seed) if kind == _RESET else self._servos.step()
        if kind == _RESET:
            return self._plant.reset(episode_seed)
        return self._plant.step(np.array(actuators, dtype=np.int32), torque_on)

    def _serve_one(self) -> bool:
        """Answer one request; False once the firmware has closed its end."""
        try:
            # requests are small and the socket is local, but a stream may split them nevertheless
            data = self._socket.recv(self._request.size, socket.MSG_WAITALL)
            if len(data) < self._request.size:
                return False
            if self._servos is not None and not self._serve_bus():  # sent before the request
                return False
            kind, wanted, _, episode_seed, time_us, *actuators = self._request.unpack(data)
            counts = [int(v) for v in self._move(kind, episode_seed, actuators, bool(wanted))]
            if len(counts) != self._n_sensors:
                raise LinkError(f"the plant gave {len(counts)} sensor counts; the robot has {self._n_sensors}.")
            torque_on = bool(wanted)
            if self._servos is not None:
                actuators, torque_on = self._servos.commands().tolist(), self._servos.torque_on
                self._socket.sendall(bytes([kind]))
            else:
                self._socket.sendall(struct.pack(f"<{len(counts)}i", *counts))
        except (ConnectionError, BrokenPipeError):
            return False
        self._torque_on, self._time_us = torque_on, time_us
        self._write_log(kind, episode_seed, actuators, torque_on, counts)
        return True

    def _write_log(
        self, kind: int, episode_seed: int, actuators: list[int], torque_on: bool, sensors: list[int]
    ) -> None:
        if self._log is None:
            return
        record = {
            "kind": chr(kind),
            "time_us": self._time_us,
            "torque_on": torque_on,
            "actuators": actuators,
            "sensors": sensors,
            **({"episode_seed": episode_seed} if kind == _RESET else {}),
            **(self._servos.record() if self._servos is not None else {}),
        }
        self._log.write(json.dumps(record) + "\n")
        self._log.flush()

    def _close_sockets(self) -> None:
        self._socket.close()
        if self._bus_socket is not None:
            self._bus_socket.close()

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
        self._close_sockets()
        if self._child.stdout is not None:
            self._child.stdout.close()
        self._close_log()

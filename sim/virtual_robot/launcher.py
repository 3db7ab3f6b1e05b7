"""VirtualRobot: starts a virtual robot process and always ends it again."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from esmaml_robot.errors import LinkError

#: A cold import of the simulator takes seconds on a loaded machine.
START_SECONDS = 60.0
STOP_SECONDS = 5.0


class VirtualRobot:
    """A virtual robot, for as long as the `with` block lasts.

        with VirtualRobot("rover_uno", firmware, seed=3) as robot:
            RobotController.open(robot.port, ...)

    Args:
        robot: name or YAML file of the robot.
        firmware: program that runs the firmware of that robot, for an emulated board followed by the chip's image.
        seed: what is hidden.
        task: the task as JSON text in place of one drawn from the seed.
        log: file for one JSON line per plant request.
        paced: real time in place of lock-step.
        unplug_at: "EPISODE:TICK", the cable is pulled there.
        store: file of what the board remembers over a power cut; without it, it forgets.
        bus: description of the robot's servo bus, which goes with a firmware that has one.
        servo_fault: "KIND:ID:EPISODE:TICK", a servo is unplugged ("unplug") or shuts itself down ("overload") there.
        command: the process to start; another one brings its own plant.

    Raises LinkError when the process does not come up in time, with its own words.
    """

    def __init__(
        self,
        robot: str,
        firmware: Path | Sequence[Path | str],
        seed: int = 0,
        *,
        task: str | None = None,
        log: Path | None = None,
        paced: bool = False,
        unplug_at: str | None = None,
        store: Path | None = None,
        bus: Path | None = None,
        servo_fault: str | None = None,
        command: Sequence[str] = (sys.executable, "-m", "sim.virtual_robot"),
    ) -> None:
        words = [firmware] if isinstance(firmware, Path | str) else firmware
        self._command = [*command, "--robot", robot, "--seed", str(seed), "--firmware", *map(str, words)]
        for option, value in (
            *(("--task", task), ("--log", log), ("--unplug-at", unplug_at)),
            *(("--store", store), ("--bus", bus), ("--servo-fault", servo_fault)),
        ):
            if value is not None:
                self._command += [option, str(value)]
        if paced:
            self._command.append("--paced")
        self._process: subprocess.Popen[bytes] | None = None
        self._port = ""

    @property
    def port(self) -> str:
        """Path of the serial port; known inside the `with` block."""
        return self._port

    @property
    def exit_code(self) -> int | None:
        """Of the process; None while it runs or before it was started."""
        return None if self._process is None else self._process.poll()

    def __enter__(self) -> Self:
        with tempfile.TemporaryFile() as words:
            try:
                self._process = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, start_new_session=True
                )
            except OSError as error:
                raise LinkError(f"the virtual robot cannot be started: {error}. Check the installation.") from error
            try:
                self._port = self._await_port()
            except BaseException as error:
                self.close()
                words.seek(0)
                said = words.read().decode("utf-8", "replace").strip().splitlines()
                if isinstance(error, LinkError) and said:
                    # what the board itself said is nearer to the cause than that it did not start
                    cause = next((line for line in said if line.startswith("board: ")), said[-1])
                    raise LinkError(f"the virtual robot did not start: {cause}") from error
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _await_port(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        out = self._process.stdout.fileno()
        end = time.monotonic() + START_SECONDS
        line = b""
        while not line.endswith(b"\n") and time.monotonic() < end:
            if not select.select([out], [], [], max(0.0, end - time.monotonic()))[0]:
                break
            piece = os.read(out, 4096)
            if not piece:
                break
            line += piece
        try:
            return str(json.loads(line)["port"])
        except (ValueError, KeyError, TypeError) as error:
            raise LinkError(
                f"the virtual robot named no port within {START_SECONDS:g} s (it printed {line[:80]!r}). "
                "Run its command by hand to see more: " + " ".join(self._command)
            ) from error

    def press_reset(self) -> None:
        """Press the controller's reset button: it starts anew in a moment, while the world goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)

    def wait(self, seconds: float) -> int | None:
        """Wait until the process has ended by itself, at most so long; its exit code, or None."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """End the process: ask, then insist."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        for insist in (process.terminate, process.kill):
            try:
                process.wait(STOP_SECONDS)
                break
            except subprocess.TimeoutExpired:
                insist()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

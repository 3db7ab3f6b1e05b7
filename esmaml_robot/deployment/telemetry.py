"""Telemetry of a robot session as MCAP, which Foxglove and PlotJuggler open.

One channel, /robot/telemetry, JSON messages: episode, tick, sensors and actuators by name in SI units. Times are the
controller's clock. A resumed session writes telemetry.1.mcap, telemetry.2.mcap and so on beside the first.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from mcap.writer import Writer

from ..bridge.episode import EpisodeRecord
from ..errors import CheckpointError
from ..robot_spec import RobotSpec
from ..signals import Signals


def _free_name(path: Path) -> Path:
    number, candidate = 0, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}.{number}{path.suffix}")
    return candidate


def _schema(spec: RobotSpec) -> dict[str, Any]:
    def group(signals: Any) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {s.name: {"type": "number", "description": s.unit} for s in signals},
        }

    return {
        "type": "object",
        "properties": {
            "episode": {"type": "integer"},
            "tick": {"type": "integer"},
            "sensors": group(spec.sensors),
            "actuators": group(spec.actuators),
        },
    }


class TelemetryLog:
    """An MCAP file that is opened at the first episode and finished on exit."""

    def __init__(self, path: Path, spec: RobotSpec) -> None:
        self._path, self._spec, self._signals = _free_name(path), spec, Signals(spec)
        self._file: BinaryIO | None = None
        self._writer: Writer | None = None
        self._channel = 0

    def _open(self) -> Writer:
        try:
            self._file = self._path.open("xb")
        except OSError as error:
            raise CheckpointError(f"cannot write {self._path}: {error.strerror}; free some space.") from error
        writer = Writer(self._file)
        writer.start(library="esmaml-robot")
        schema = writer.register_schema("esmaml.Telemetry", "jsonschema", json.dumps(_schema(self._spec)).encode())
        self._channel = writer.register_channel("/robot/telemetry", "json", schema)
        self._writer = writer
        return writer

    def write(self, episode: int, record: EpisodeRecord) -> None:
        """Add all ticks of one episode, valid or not."""
        writer = self._writer or self._open()
        sensors = self._signals.to_si(np.asarray(record.sensors, np.int32).T).T
        actuators = self._signals.commands_si(np.asarray(record.actuators, np.int32).T).T
        for tick, time_us in enumerate(np.asarray(record.controller_times_us).tolist()):
            message = {
                "episode": episode,
                "tick": tick,
                "sensors": {s.name: float(v) for s, v in zip(self._spec.sensors, sensors[tick], strict=True)},
                "actuators": {a.name: float(v) for a, v in zip(self._spec.actuators, actuators[tick], strict=True)},
            }
            stamp = int(time_us) * 1000
            writer.add_message(self._channel, stamp, json.dumps(message).encode(), stamp)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.finish()
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> TelemetryLog:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

"""Telemetry of a robot session as MCAP, which Foxglove and PlotJuggler open.

One channel, /robot/telemetry, JSON messages: episode, tick, sensors and actuators by name in SI units. The log's times
are the controller's clock; host_time is the same moment by this computer's, in seconds since 1970, and host_time_bound
how far off that may be, null where the controller's time is virtual. With them a camera's or a tracker's record is
joined to the robot's. A resumed session writes telemetry.1.mcap, telemetry.2.mcap and so on beside the first.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from mcap.writer import Writer

from ..bridge.episode import EpisodeRecord
from ..errors import CheckpointError
from ..files import free_name
from ..robot_spec import RobotSpec
from ..signals import Signals


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
            "host_time": {"type": "number", "description": "s since 1970"},
            "host_time_bound": {"type": ["number", "null"], "description": "s, to either side"},
            "sensors": group(spec.sensors),
            "actuators": group(spec.actuators),
        },
    }


class TelemetryLog:
    """An MCAP file that is opened at the first episode and finished on exit."""

    def __init__(self, path: Path, spec: RobotSpec) -> None:
        self._path, self._spec, self._signals = free_name(path), spec, Signals(spec)
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
        unix_us = (time.time_ns() - time.monotonic_ns()) / 1000.0
        for tick, time_us in enumerate(np.asarray(record.controller_times_us).tolist()):
            bound = float(record.host_bounds_us[tick])
            message = {
                "episode": episode,
                "tick": tick,
                "host_time": (float(record.host_times_us[tick]) + unix_us) / 1e6,
                "host_time_bound": bound / 1e6 if math.isfinite(bound) else None,
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

"""A sensor on the bus: a device whose registers are the counts of sensors."""

from __future__ import annotations

from collections.abc import Sequence

from .device import Device
from .table import sensor_table


class SensorDevice(Device):
    """A device of `count` read-only registers of 4 bytes."""

    def __init__(self, device_id: int, count: int) -> None:
        super().__init__(sensor_table(count), device_id)

    def show(self, counts: Sequence[int]) -> None:
        """What its registers say from now on."""
        for i, count in enumerate(counts):
            self[f"sensor_{i}"] = count

"""A policy in integers as the host knows it: an architecture and a format, and no parameters that could be changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from . import identity
from .policy_spec import PolicySpec

#: Formats of a policy in firmware; the first is the one that adapts.
Arithmetic = Literal["float32", "int16", "int8"]
ARITHMETICS: tuple[Arithmetic, ...] = ("float32", "int16", "int8")


@dataclass(frozen=True)
class FrozenLayout:
    """What stands in HELLO in place of a PolicySpec's: the architecture that was quantised, and to what."""

    origin: PolicySpec
    arithmetic: Arithmetic

    @property
    def dimension(self) -> int:
        """Number of parameters that can be changed."""
        return 0

    @property
    def layout_hash(self) -> str:
        return identity.digest(f"{self.origin.layout_hash} {self.arithmetic}".encode())

    def describe(self) -> str:
        return f"{self.origin.describe()}, frozen in {self.arithmetic}"

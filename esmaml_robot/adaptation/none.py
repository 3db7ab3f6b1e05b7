"""No adaptation: U(theta, T) = theta. With it the meta-loop is plain ES over tasks, that is domain randomisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .base import Adapted, Proposals, stay

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class NoAdaptationState:
    """theta (d,) float32."""

    theta: F32
    seed: int


@dataclass(frozen=True)
class NoAdaptation:
    name: str = "none"

    @property
    def episodes(self) -> int:
        return 0

    def start(self, theta: F32, seed: int) -> NoAdaptationState:
        return NoAdaptationState(np.array(theta, np.float32), seed)

    def ask(self, state: NoAdaptationState) -> Proposals:
        return stay(state.theta, np.zeros(0, np.uint32))

    def tell(self, state: NoAdaptationState, returns: F32) -> NoAdaptationState:
        return state

    def done(self, state: NoAdaptationState) -> bool:
        return True

    def result(self, state: NoAdaptationState) -> Adapted:
        return Adapted(state.theta, float("nan"), float("nan"), 0, ())

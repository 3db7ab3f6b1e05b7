"""Episodes a control period at a time: of robots, of Gymnasium's environments, of supervised problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from esmaml_robot.evaluation import Task, TaskFamily

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]
Bool = npt.NDArray[np.bool_]


class SteppedEpisodes(Protocol):
    """B episodes side by side; sim.rollout.Episodes describes the attributes, arrays (B,)."""

    reward: F32
    total: F32
    steps: I32
    valid: Bool
    running: Bool
    aborted: Bool

    @property
    def length(self) -> int:
        """Control periods of an episode that nothing ends early."""
        ...

    @property
    def rate_hz(self) -> float:
        """Control periods a second: what real time is."""
        ...

    def begin(self, tasks: Sequence[Task], episode_seeds: U32) -> F32:
        """Begin; returns the first observations, (inputs, B)."""
        ...

    def advance(self, actions: F32) -> F32:
        """One control period under actions (outputs, B) in [-1, 1]; returns the next observations."""
        ...


@runtime_checkable
class StepwiseFamily(TaskFamily, Protocol):
    """A TaskFamily whose episodes can be run by whoever brings actions of its own."""

    def episodes(self) -> SteppedEpisodes: ...

    def close(self) -> None: ...

"""The physics engine: pybullet, imported here and nowhere else, and the settings of its solver."""

from __future__ import annotations

import importlib
import os
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


def _import_quietly() -> Any:
    """Import pybullet without the build-time line that it writes to standard error."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as sink:
        os.dup2(sink.fileno(), 2)
    try:
        return importlib.import_module("pybullet")
    finally:
        os.dup2(kept, 2)
        os.close(kept)


bullet = _import_quietly()


class PhysicsSettings(BaseModel):
    """Solver settings that change the physics. The defaults are Bullet's own.

    Families choose fewer iterations for speed; `python -m benchmarks.solver_settings` measures what that costs in
    accuracy, per body, against these defaults.

    Attributes:
        solver_iterations: at most this many sweeps of the constraint solver a step.
        cone_friction: the implicit friction cone instead of a pyramid.
        self_collision: collisions between links of the robot, those that touch by construction excepted.
        merge_fixed_links: links behind fixed joints become one rigid body with their parent.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    solver_iterations: Annotated[int, Field(ge=1, le=1000)] = 50
    cone_friction: bool = True
    self_collision: bool = False
    merge_fixed_links: bool = True

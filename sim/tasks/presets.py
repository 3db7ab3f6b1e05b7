"""Training settings, one set a task family; those of four_corners are measured by benchmarks/four_corners.

The gain and the two sigmas belong together. A hill-climbing step of sigma moves the place that the policy steers to by
about sigma over the weights of the first layer, and the gain of the layer above decides how fast it gets there.
docs/learning.md has what was tried.
"""

from __future__ import annotations

from typing import Any

_PLANAR_GOAL: dict[str, Any] = {
    "policy": {"hidden": [8]},
    "initial": "rest",
    "initial_gain": 8.0,
    "operator": {"name": "hill_climb", "queries": 20, "sigma": 0.15},
    "meta": {"pairs": 64, "sigma": 0.05, "learning_rate": 0.04, "learning_rate_final": 0.004},
    "episodes": 300_000,
}

PRESETS: dict[str, dict[str, Any]] = {"four_corners": _PLANAR_GOAL, "nav2d": _PLANAR_GOAL}

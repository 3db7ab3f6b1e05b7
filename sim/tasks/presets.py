"""Training settings that are known to work, one set a task family.

The gain and the two sigmas belong together. With a first layer at zero, a hill-climbing step of sigma moves the goal
that the policy steers to by about sigma over the weights of that layer, and the gain of the layers above decides how
fast it gets there; meta-training grows the first layer into that feedback. docs/learning.md has the measurements.
"""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "four_corners": {
        "policy": {"hidden": [8]},
        "initial": "rest",
        "initial_gain": 8.0,
        "operator": {"name": "hill_climb", "queries": 20, "sigma": 0.15},
        "meta": {"pairs": 32, "sigma": 0.05, "learning_rate": 0.02, "learning_rate_final": 0.002},
        "episodes": 300_000,
    },
    "nav2d": {
        "policy": {"hidden": [8]},
        "initial": "rest",
        "initial_gain": 8.0,
        "operator": {"name": "hill_climb", "queries": 20, "sigma": 0.15},
        "meta": {"pairs": 32, "sigma": 0.05, "learning_rate": 0.02, "learning_rate_final": 0.002},
        "episodes": 300_000,
    },
}

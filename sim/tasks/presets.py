"""Training settings that are known to work, one set a task family; measured by benchmarks/four_corners."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "four_corners": {
        "policy": {"hidden": [8]},
        "initial": "rest",
        "initial_gain": 4.0,
        "operator": {"name": "hill_climb", "queries": 20, "sigma": 0.15},
        "meta": {"pairs": 64, "sigma": 0.05, "learning_rate": 0.04, "learning_rate_final": 0.004},
        "episodes": 200_000,
    },
    "nav2d": {
        "policy": {"hidden": [8]},
        "initial": "rest",
        "initial_gain": 4.0,
        "operator": {"name": "hill_climb", "queries": 20, "sigma": 0.15},
        "meta": {"pairs": 64, "sigma": 0.05, "learning_rate": 0.04, "learning_rate_final": 0.004},
        "episodes": 200_000,
    },
}

"""Task families by name; a user's own by `module:Class`; any Gymnasium environment by `gym:ID`."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from esmaml_robot.errors import ConfigError, EsmamlError
from esmaml_robot.evaluation import TaskFamily
from esmaml_robot.own_code import failure, place_of, what_happened

#: name -> module and class; a family's module is imported when the family is made
FAMILIES: dict[str, tuple[str, str]] = {
    "four_corners": ("sim.tasks.beacon", "FourCorners"),
    "nav2d": ("sim.tasks.beacon", "Nav2d"),
    "combo": ("sim.tasks.combo", "Combo"),
    "cheetah_direction": ("sim.tasks.cheetah", "CheetahDirection"),
    "cheetah_velocity": ("sim.tasks.cheetah", "CheetahVelocity"),
    "ant_direction": ("sim.tasks.ant", "AntDirection"),
    "cartpole_sensors": ("sim.tasks.cartpole", "CartpoleSensors"),
    "quadruped_dynamics": ("sim.tasks.quadruped", "QuadrupedDynamics"),
    "quadruped_direction": ("sim.tasks.quadruped", "QuadrupedDirection"),
    "minitaur_dynamics": ("sim.tasks.quadruped", "MinitaurDynamics"),
    "reacher_payload": ("sim.tasks.reacher", "ReacherPayload"),
    "sinusoid": ("sim.tasks.sinusoid", "Sinusoid"),
}


def family_class(name: str) -> Any:
    """The class of a family by name or by `module:Class`; ConfigError with the known names otherwise."""
    if name in FAMILIES:
        module, attribute = FAMILIES[name]
        return getattr(importlib.import_module(module), attribute)
    if ":" in name:
        return _own_class(name)
    near = difflib.get_close_matches(name, FAMILIES, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(FAMILIES)}; or module:Class for your own."
    raise ConfigError(f"no task family {name!r}: {hint}")


def _own_class(name: str) -> Any:
    module_name, _, attribute = name.partition(":")
    here = os.getcwd()
    if here not in sys.path:  # a console script does not look into the folder that it is started in
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:  # ValueError: no module's name at all
        raise ConfigError(
            f"task family {name!r}: cannot import {module_name!r} ({error}); run from the folder that holds it, or "
            "install it."
        ) from error
    except EsmamlError as error:  # a law that cannot be
        raise ConfigError(f"task family {name!r}: {error} ({place_of(error)})") from error
    except Exception as error:
        message = f"task family {name!r}: {what_happened(error)}; {module_name!r} cannot be imported."
        raise failure(ConfigError, message, error) from error
    found = getattr(module, attribute, None)
    if not isinstance(found, type) or not callable(getattr(found, "evaluate", None)):
        raise ConfigError(
            f"task family {name!r}: {module_name} has no class {attribute!r} with `sample` and `evaluate`; derive it "
            "from sim.family.RobotFamily."
        )
    return found


def make_family(name: str, options: Mapping[str, Any] | None = None) -> TaskFamily:
    """The task family called `name`, with its options. Raises ConfigError."""
    if name.startswith("gym:"):
        made: TaskFamily = importlib.import_module("sim.tasks.gymnasium_family").GymnasiumFamily(name[4:], options)
        return made
    family: TaskFamily = family_class(name)(options=options or {})
    return family

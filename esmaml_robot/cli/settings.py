"""RunConfig out of a preset, a few flags and any number of --set key=value."""

from __future__ import annotations

import importlib
from typing import Any

import yaml

from ..checkpoint import RunConfig, parse_run_config
from ..errors import ConfigError
from ..identity import require_match
from ..robot_spec import RobotSpec
from .common import own_package


def _assign(values: dict[str, Any], assignment: str) -> None:
    key, equals, text = assignment.partition("=")
    if not equals:
        raise ConfigError(f"--set {assignment!r}: expected key=value, for example --set operator.sigma=0.2")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise ConfigError(f"--set {assignment!r}: {text!r} is not a number, a word or a [list]") from error
    at = values
    *path, last = key.split(".")
    for part in path:
        at = at.setdefault(part, {})
        if not isinstance(at, dict):
            raise ConfigError(f"--set {assignment!r}: {part!r} is not a group of settings")
    at[last] = value


def run_config(
    family_name: str,
    spec: RobotSpec,
    *,
    seed: int,
    episodes: int | None = None,
    policy: str | None = None,
    settings: tuple[str, ...] = (),
) -> RunConfig:
    """The preset of a family, with overrides. Raises ConfigError naming the option."""
    own_package("sim")
    presets: dict[str, dict[str, Any]] = importlib.import_module("sim.tasks.presets").PRESETS
    preset = presets.get(family_name, {})
    values: dict[str, Any] = {k: dict(v) if isinstance(v, dict) else v for k, v in preset.items()}
    values |= {"family": family_name, "robot": spec.name, "spec_hash": spec.spec_hash, "seed": seed}
    values.setdefault("policy", {}).update(inputs=len(spec.observed), outputs=len(spec.actuators))
    if policy == "linear":
        values["policy"]["hidden"] = []
    elif policy is not None and policy.startswith("mlp:"):
        try:
            values["policy"]["hidden"] = [int(n) for n in policy[4:].split("-")]
        except ValueError as error:
            raise ConfigError(f"--policy {policy!r}: expected sizes such as mlp:8 or mlp:16-16") from error
    elif policy not in (None, "mlp"):
        raise ConfigError(f"--policy {policy!r}: known are linear, mlp, and mlp:8-8 with hidden sizes")
    if episodes is not None:
        values["episodes"] = episodes
    for assignment in settings:
        _assign(values, assignment)
    return parse_run_config(values)


def check_robot(config: RunConfig, spec: RobotSpec) -> None:
    """Refuse a robot whose description is not the one that the run was made for. Raises SpecMismatch."""
    require_match(
        "spec_hash",
        config.spec_hash,
        spec.spec_hash,
        our_name=f"the run (made for {config.robot})",
        their_name=f"robot {spec.name}",
        advice="Use the robot file that the run was made with, or train again for this one.",
    )


def baseline_config(config: RunConfig) -> RunConfig:
    """Domain randomisation with the same policy, start, outer loop and total number of training episodes."""
    return config.model_copy(update={"operator": config.operator.model_copy(update={"name": "none"})})

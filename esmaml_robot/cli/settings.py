"""RunConfig out of a preset, a few flags and any number of --set key=value."""

from __future__ import annotations

import copy
from typing import Any

import yaml

from ..checkpoint import RunConfig, parse_run_config
from ..errors import ConfigError
from .common import family_factory


def assign(values: dict[str, Any], assignment: str) -> None:
    """Put `key.key=value` into nested values. Raises ConfigError."""
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
    *,
    seed: int,
    episodes: int | None = None,
    policy: str | None = None,
    settings: tuple[str, ...] = (),
) -> RunConfig:
    """The preset of a family, with overrides. Raises ConfigError naming the option."""
    changes: dict[str, Any] = {}
    for assignment in settings:
        assign(changes, assignment)
    options = changes.get("options", {})
    if not isinstance(options, dict):
        raise ConfigError(f"--set options={options!r}: expected options.KEY=VALUE")
    family = family_factory()(family_name, options)
    values: dict[str, Any] = copy.deepcopy(dict(family.preset))
    robot = family.spec.name if family.spec else ""
    values |= {"family": family_name, "robot": robot, "spec_hash": family.interface_hash, "seed": seed}
    values.setdefault("policy", {}).update(inputs=family.inputs, outputs=family.outputs)
    preset = copy.deepcopy(values)
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
        assign(values, assignment)
    values["options"] = family.options.model_dump(mode="json")  # whole: a default that changes later is not this run's
    try:
        return parse_run_config(values)
    except ConfigError as error:
        if str(error) == _refusal(preset):
            error.add_note(f"It stands in the preset of task family {family_name}.")
        raise


def _refusal(values: dict[str, Any]) -> str | None:
    """Why these are no settings; None where they are."""
    try:
        parse_run_config(values)
    except ConfigError as error:
        return str(error)
    return None


def baseline_config(config: RunConfig) -> RunConfig:
    """Domain randomisation with the same policy, start, outer loop and total number of training episodes.

    Without an adaptation step there is nothing to differentiate, so first_order_hessian becomes first_order.
    """
    changes: dict[str, Any] = {"operator": config.operator.model_copy(update={"name": "none"})}
    if config.meta.method == "first_order_hessian":
        changes["meta"] = config.meta.model_copy(update={"method": "first_order"})
    return config.model_copy(update=changes)

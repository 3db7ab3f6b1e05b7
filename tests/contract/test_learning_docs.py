"""docs/learning.md: its table of settings is the configuration's, with the defaults that it has."""

from __future__ import annotations

import json
import re
from pathlib import Path

from esmaml_robot.checkpoint import RunConfig, ValidationConfig
from esmaml_robot.meta import MetaConfig

TEXT = (Path(__file__).parents[2] / "docs" / "learning.md").read_text(encoding="utf-8")


def as_set(value: object) -> str:
    """A value as `--set KEY=` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def test_every_setting_of_training_is_documented_with_its_default():
    table = TEXT.partition("## What can be set")[2].partition("\n## ")[0]
    documented = dict(re.findall(r"^\| `([\w.]+)` \| `([^`]*)` \|", table, re.MULTILINE))
    groups = {"meta.": MetaConfig, "validation.": ValidationConfig}
    fields = {prefix + name: field for prefix, group in groups.items() for name, field in group.model_fields.items()}
    # the others are named by the command: family, seed, episodes, ...; or are documented on pages of their own
    fields |= {name: RunConfig.model_fields[name] for name in ("normalise", "initial", "initial_gain")}
    assert documented == {name: as_set(field.default) for name, field in fields.items()}

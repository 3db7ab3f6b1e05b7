"""docs/baselines.md: its table of settings is the configuration's."""

import json
import re
from pathlib import Path

from esmaml_robot.baselines.pg_run import PGConfig

TEXT = (Path(__file__).parents[2] / "docs" / "baselines.md").read_text(encoding="utf-8")
#: What every run has, documented elsewhere.
SHARED = {"family", "options", "robot", "spec_hash", "policy", "episodes", "seed"}


def test_every_setting_is_documented_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`|]*)` \|", TEXT, re.MULTILINE))
    assert list(rows) == [key for key in PGConfig.model_fields if key not in SHARED]
    for key, default in rows.items():
        value = PGConfig.model_fields[key].default
        assert default == (value if isinstance(value, str) else json.dumps(value)), key

"""docs/operators.md: its table of settings is the configuration's, and its program prints what it says it prints."""

import contextlib
import io
import re
from pathlib import Path

from esmaml_robot.adaptation import OperatorConfig

TEXT = (Path(__file__).parents[2] / "docs" / "operators.md").read_text(encoding="utf-8")


def test_every_setting_is_documented_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|", TEXT, re.MULTILINE))
    assert list(rows) == list(OperatorConfig.model_fields)
    for key, default in rows.items():
        value = OperatorConfig.model_fields[key].default
        expected = str(value).lower() if isinstance(value, bool) else str(value)
        assert default.split(" (")[0].strip("`") == expected, key


def test_the_program_prints_what_the_document_shows():
    program, shown = re.search(r"```python\n(import numpy.*?)```\n\n```text\n(.*?)```", TEXT, re.DOTALL).groups()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "operators.md", "exec"), {})
    assert printed.getvalue() == shown

"""A minute of libFuzzer on the whole firmware, from the corpus that is kept; `scripts/fuzz` runs it for longer."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 60


@pytest.mark.slow
def test_a_minute_without_a_finding(tmp_path):
    done = subprocess.run(
        [str(ROOT / "scripts" / "fuzz"), str(SECONDS)],
        capture_output=True,
        text=True,
        timeout=SECONDS + 240,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    runs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert runs, done.stderr[-1000:]
    assert int(runs[1]) > 1000

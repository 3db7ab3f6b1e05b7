"""`esmaml export --report`: what a policy takes on each chip in each format, measured, as one table.

A chip whose compiler or emulator is not installed, and a format that a policy has no form in, leave their rows without
figures, with the reason; nothing else fails for it. What an image answers has the bits of numpy, or its row says so and
has no figures.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from esmaml_robot import __version__
from esmaml_robot.errors import EsmamlError, ExportError
from esmaml_robot.files import atomic_write_bytes, atomic_write_text, make_folder
from esmaml_robot.policy import Policy
from esmaml_robot.policy_frozen import ARITHMETICS, Arithmetic
from esmaml_robot.robot_spec import RobotSpec

from .frozen_policy import FrozenPolicy
from .report_plot import plot, short
from .report_policy import ROWS, VECTORS, PolicyCase, case_of, sources_of
from .report_sources import Sources
from .report_targets import HOST, TARGETS, DidNotRun, Target, build_image, measure, require_tools, run_again

REPORT_FILES = ("report.md", "report.json", "report.png")
#: As users call them.
CHIPS: Mapping[str, Target] = {"host": HOST, "cortex-m4f": TARGETS[0], "atmega328p": TARGETS[1]}
#: Images of this machine are run so often, and the fastest call counts.
_HOST_RUNS = 20


@dataclass(frozen=True)
class Row:
    """One format on one chip.

    Attributes:
        target, arithmetic: what was measured.
        flash, ram: bytes of the policy, with its share of the robot's numbers; of the image without it the less.
        stack: bound in bytes, from the compiler's figures of each function; None where there is none.
        unit: of `most`: instructions (cortex-m4f), cycles (atmega328p), ns (host).
        least, most: over the vectors.
        microseconds: `most` at the chip's clock; for instructions at one a clock cycle, which is the least it can be.
        max_error: largest error of a command against float64, in half ranges, rounding to whole counts included.
        missing: why there are no figures.
    """

    target: str
    arithmetic: Arithmetic
    flash: int = 0
    ram: int = 0
    stack: int | None = None
    unit: str = ""
    least: int = 0
    most: int = 0
    microseconds: float = 0.0
    max_error: float = 0.0
    missing: str = ""


@dataclass(frozen=True)
class Report:
    """All rows, and where they were written."""

    robot: str
    policy: str
    policy_hash: str
    half_count: float
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """The content of report.json."""
        return {
            "format": 1,
            "producer": f"esmaml-robot {__version__}",
            "robot": self.robot,
            "policy": self.policy,
            "policy_hash": self.policy_hash,
            "half_count": self.half_count,
            "vectors": VECTORS,
            "rows_for_errors": ROWS,
            "clocks_hz": {name: target.hz for name, target in CHIPS.items()},
            "rows": [asdict(row) for row in self.rows],
        }


def _fastest(chip: Target, case: PolicyCase, folder: Path, sources: Sources) -> int:
    """The fastest call of many, in ns: whatever else this machine does only makes it slower."""
    image = build_image(chip, case, sources, folder)
    counts = [min(run_again(chip, case, sources, folder, image).counts) for _ in range(_HOST_RUNS)]
    return round(min(counts))


def _measured(row: Row, policy: Policy, spec: RobotSpec, frozen: FrozenPolicy | None, case: PolicyCase) -> Row:
    chip, sources = CHIPS[row.target], sources_of(policy, spec, frozen)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(chip, case, sources, Path(folder))
        if found.stack_bound is not None and found.stack_bound < found.stack - chip.return_bytes:
            raise DidNotRun(
                f"its stack was {found.stack} bytes deep, and the bound is {found.stack_bound}; report this"
            )
        if found.max_error != 0:
            raise DidNotRun("it answered with other bits than numpy; please report this, with the policy")
        least, most = found.least, found.most
        if chip.hz is None:
            least = most = _fastest(chip, case, Path(folder), sources)
    micro = most / 1000 if chip.hz is None else 1e6 * most / chip.hz
    return replace(
        row, flash=found.flash, ram=found.ram, stack=found.stack_bound, unit=chip.unit, least=least, most=most,
        microseconds=micro, max_error=case.max_error,
    )  # fmt: skip


def measure_policy(
    policy: Policy,
    spec: RobotSpec,
    freeze: Callable[[Arithmetic], FrozenPolicy],
    targets: Sequence[str] = tuple(CHIPS),
    told: Callable[[str], None] = lambda what: None,
) -> Report:
    """Measure a policy on every chip in every format.

    Args:
        freeze: the policy in int16 or int8; an ExportError of it leaves the format out.
        targets: keys of CHIPS.
        told: called with what is being done.
    """
    rows: list[Row] = []
    forms: dict[Arithmetic, tuple[FrozenPolicy | None, PolicyCase] | str] = {}
    for arithmetic in ARITHMETICS:
        try:
            frozen = None if arithmetic == "float32" else freeze(arithmetic)
            forms[arithmetic] = frozen, case_of(policy, spec, frozen)
        except ExportError as refusal:
            forms[arithmetic] = str(refusal)
    for target in targets:
        for arithmetic, form in forms.items():
            row = Row(target, arithmetic)
            told(f"measuring {arithmetic} on {target}")
            try:
                if isinstance(form, str):
                    raise DidNotRun(form)
                require_tools(CHIPS[target])
                rows.append(_measured(row, policy, spec, *form))
            except (DidNotRun, EsmamlError) as problem:
                rows.append(replace(row, missing=str(problem)))
    half_count = max(0.5 * abs(a.scale) / (0.5 * (a.range[1] - a.range[0])) for a in spec.actuators)
    return Report(spec.name, policy.spec.describe(), policy.policy_hash, half_count, tuple(rows))


def _count(row: Row) -> str:
    if row.unit == "ns":
        return "-"
    least, most = f"{row.least:,}", f"{row.most:,}"
    return f"{most if least == most else f'{least} .. {most}'} {row.unit}"


def cells_of(row: Row) -> tuple[str, ...]:
    """A row of the table in words: target, format, flash, RAM, stack, count, time, error."""
    if row.missing:
        return row.target, row.arithmetic, row.missing, "", "", "", "", ""
    stack = "no bound" if row.stack is None else f"{row.stack:,}"
    count, time = _count(row), short(row.microseconds)
    return row.target, row.arithmetic, f"{row.flash:,}", f"{row.ram:,}", stack, count, time, f"{row.max_error:.1e}"


HEADINGS = ("target", "format", "flash, bytes", "RAM, bytes", "stack bound, bytes", "an inference", "µs", "max error")


def to_markdown(report: Report) -> str:
    """report.md."""
    lines = [f"| {' | '.join(HEADINGS)} |", f"| --- | --- |{' ---: |' * (len(HEADINGS) - 2)}"]
    lines += [f"| {' | '.join(cells_of(row))} |" for row in report.rows]
    table = "\n".join(lines)
    clocks = ", ".join(f"{name} {target.hz / 1e6:g} MHz" for name, target in CHIPS.items() if target.hz)
    return f"""# {report.robot}: what the policy takes

{report.policy}; policy {report.policy_hash}. Written by `esmaml export --report`.

{table}

![Time, flash and error by chip and format](report.png)

- **an inference**: counts of the sensors to counts of the actuators, as the firmware has it in a control period; the
  fewest and the most of {VECTORS}. Instructions are counted by QEMU, cycles by simavr, both exactly. In each the chip
  gave the bits of numpy.
- **µs**: the most, at the chip's clock ({clocks}). For instructions it is a lower bound, at one a clock cycle: wait
  states of the flash and dependent operations come on top. On the host it is the fastest call of many.
- **flash**, **RAM**: what the image has more than one without a policy: code and constants; data. float32 keeps its
  parameters in RAM, where they can adapt; integers are frozen in flash. **stack bound**: the worst case of an
  inference, from what the compiler says of each function (`-fstack-usage`).
- **max error**: of a command against the same policy in float64, over {ROWS} random situations, in half ranges of the
  actuator, rounding to whole counts included. That rounding alone is up to {report.half_count:.1e}.
"""


def write_report(report: Report, folder: Path) -> list[Path]:
    """report.md, report.json and report.png into a folder, created if missing. Raises ExportError."""
    folder = make_folder(Path(folder), error=ExportError)
    texts = {"report.md": to_markdown(report), "report.json": json.dumps(report.to_json(), indent=2) + "\n"}
    paths = [atomic_write_text(folder / name, text, error=ExportError) for name, text in texts.items()]
    if any(not row.missing for row in report.rows):
        paths.append(atomic_write_bytes(folder / "report.png", plot(report.rows, report.half_count), error=ExportError))
    return paths

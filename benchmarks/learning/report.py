"""docs/results.md out of the JSON files of all seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from esmaml_robot.scoring import Estimate, estimate

from .experiments import EXPERIMENTS, Experiment, Table

MINUS, SIGMA = "\N{MINUS SIGN}", "\N{GREEK SMALL LETTER SIGMA}"

HEAD = """# Learning results

Every table comes from `python -m benchmarks.learning`, which trains what is not there, compares, and writes this page;
`python -m benchmarks.learning FAMILY` does one family. `docs/learning.md` says what was tried and what did not work,
`docs/baselines.md` how the controls are made.

- A cell is the mean return over held-out tasks after adaptation, ± its 95 % interval over tasks (Student's t). The last
  column is the mean over training seeds with its interval over seeds.
- Every line uses the same operator and the same number of adaptation episodes. **ES-MAML** and **domain randomisation**
  used the same total number of training episodes, adaptation, validation and warm starts included.
- \\* at the inner step size that suits the line best, chosen on validation tasks.
- All seeds that were run with these settings are shown.
- Intervals are apart where ES-MAML's ends above the upper end of every other line, the controls at their best steps
  among them; at the step that it was trained with, or, where that makes a difference, at its own best.
"""


def _load(folder: Path, experiment: Experiment) -> list[dict[str, Any]]:
    files = sorted(folder.glob(f"{experiment.family}_seed*.json"))
    return [json.loads(f.read_text(encoding="utf-8")) for f in files]


def _cell(value: dict[str, Any]) -> str:
    return str(Estimate(value["mean"], value["half_width_95"], value["count"])).replace("-", MINUS)


def _table_of(content: dict[str, Any], table: Table) -> dict[str, Any] | None:
    for found in content["tables"]:
        if found["queries"] == table.queries and found["split"] == table.split:
            return dict(found)
    return None


def verdict(table: Table, lines: dict[str, list[dict[str, Any]]]) -> tuple[bool, str]:
    """Whether the table shows what it is meant to: the bar, or ES-MAML above all controls with intervals apart."""

    def mean(label: str) -> float:
        return float(estimate([r["after"]["mean"] for r in lines[label]]).mean)

    def apart(label: str) -> int:
        """Seeds on which this line of ours is above the upper end of every control."""
        return sum(
            ours["after"]["mean"] - ours["after"]["half_width_95"]
            > max(
                rows[i]["after"]["mean"] + rows[i]["after"]["half_width_95"]
                for control, rows in lines.items()
                if not control.startswith("ES-MAML")
            )
            for i, ours in enumerate(lines[label])
        )

    seeds = len(next(iter(lines.values())))
    own, best = apart("ES-MAML"), apart("ES-MAML *")
    words = f"intervals apart from every control on {own} of {seeds} seeds"
    if best != own:
        words += f", at its best step on {best}"
    whole = max(own, best) == seeds
    return (whole if table.bar is None else table.bar(mean) and (whole or not table.apart)), words


def _section(experiment: Experiment, contents: Sequence[dict[str, Any]]) -> list[str]:
    first = contents[0]
    out = [f"\n## {experiment.family}\n"]
    for table in experiment.tables:
        found = [t for t in (_table_of(c, table) for c in contents) if t is not None]
        if not found:
            continue
        labels = [row["label"] for row in found[0]["rows"]]
        lines = {label: [next(r for r in t["rows"] if r["label"] == label) for t in found] for label in labels}
        reached, words = verdict(table, lines)
        episodes = table.queries + 1
        where = "bodies outside the training range" if table.split == "outside" else "held-out tasks"
        out.append(
            f"{first['policy']}; {episodes} adaptation episodes; {first['tasks']} {where}; "
            f"{'return: sum of rewards' if experiment.unit == '1' else f'return in {experiment.unit}'}.\n"
        )
        seeds = [c["seed"] for c in contents]
        out.append(
            "| | " + " | ".join(f"seed {s}" for s in seeds) + " | over seeds | ended early | training episodes |"
        )
        out.append("|---|" + "---|" * (len(seeds) + 3))
        for label, rows in lines.items():
            over = estimate([r["after"]["mean"] for r in rows])
            early = estimate([r["ended_early"] for r in rows]).mean
            name = f"**{label}**" if label == "ES-MAML" else label.replace("*", "\\*")
            cells = [f"{_cell(r['after'])} ({SIGMA} {r['inner_sigma']:g})" for r in rows]
            both = str(over).replace("-", MINUS) if len(rows) > 1 else "one seed"
            out.append(f"| {name} | {' | '.join(cells)} | {both} | {early:.0%} | {rows[0]['training_episodes']:,} |")
        wanted = table.wanted.replace(" -", f" {MINUS}")
        out.append(f"\nWanted: {wanted}. **{'Reached' if reached else 'Not reached'}**; {words}.\n")
    if experiment.remarks:
        out.append(experiment.remarks + "\n")
    return out


def render(folder: Path) -> str:
    """The whole page, out of the JSON files in `folder`."""
    out = [HEAD]
    missing = []
    for experiment in EXPERIMENTS.values():
        contents = _load(folder, experiment)
        if contents:
            out += _section(experiment, contents)
        else:
            missing.append(experiment.family)
    if missing:
        out.append(f"\n## Not measured yet\n\n{', '.join(missing)}.\n")
    return "\n".join(out)

"""Faults on the line, injected at random points of episodes, and what came of each. Counts, not seconds.

    python -m benchmarks.faults                                  1,000 of each kind on the host board
    python -m benchmarks.faults --count host=1000 mps2_an386=50 atmega328p=50 --publish
    python -m benchmarks.faults --kinds "cable unplugged" --count host=100

Each injection is one episode on a virtual robot with one fault at a random message of it, towards the controller or
towards this program. Afterwards must hold, or the injection counts as a failure:

    released    the world saw no torque later than the watchdog's time (and a control period) after the last sign of
                life that reached the controller
    right       an episode that is called valid has the return, sensors and commands of the undisturbed one
    answered    what did not end as a valid episode ended as an invalid one that says why, or as an error that does
    recovered   the controller answers, and is armed and running again with at most one new session

Injections run in batches, each in a process of its own with a robot of its own. --publish writes
docs/results/faults.json and the table of docs/link.md; a board that is not run this time keeps its part.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from esmaml_robot.files import atomic_write_text

from .fault_bench import Batch, build, run_batch
from .fault_kinds import KINDS

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results" / "faults.json"
DOCUMENT = ROOT / "docs" / "link.md"
BATCH, BATCH_EMULATED = 50, 10
_PLACE = re.compile(r"(<!-- generated: faults -->\n).*?(\n<!-- end: faults -->)", re.DOTALL)


def counts_of(words: list[str]) -> dict[str, int]:
    """BOARD=COUNT, or COUNT for the host board."""
    found: dict[str, int] = {}
    for word in words:
        board, _, number = word.rpartition("=")
        found[board or "host"] = int(number)
    return found


def run(counts: dict[str, int], kinds: list[str], seed: int, parallel: int) -> Iterator[tuple[str, Batch]]:
    """Batches as they end, with their board."""
    with (
        tempfile.TemporaryDirectory() as temporary,
        ProcessPoolExecutor(parallel, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        asked = {}
        for board, count in counts.items():
            folder = Path(temporary) / board
            folder.mkdir()
            command = build(board, folder)
            size = BATCH if board == "host" else BATCH_EMULATED
            for start, kind in itertools.product(range(0, count, size), kinds):  # cut short, all kinds have had as many
                name = f"{seed}/{board}/{kind}/{start}"
                asked[pool.submit(run_batch, command, kind, min(size, count - start), name)] = board
        for future in as_completed(asked):
            yield asked[future], future.result()


def gathered(batches: Iterator[tuple[str, Batch]], path: Path | None = None) -> dict[str, Any]:
    """Board -> kind -> injections, endings, promises broken; the file and a line on standard error after each batch."""
    found: dict[str, dict[str, Any]] = {}
    for board, batch in batches:
        row = found.setdefault(board, {}).setdefault(batch.kind, {"injected": 0, "endings": {}, "broken": {}})
        row["injected"] += batch.endings.total()
        row["endings"] = dict(Counter(row["endings"]) + batch.endings)
        row["broken"] = dict(Counter(row["broken"]) + batch.broken)
        for note in batch.notes:
            print(f"{board}: {note}", file=sys.stderr)
        print(f"{board}: {batch.kind}: {row['injected']}, broken {row['broken'] or 0}", file=sys.stderr, flush=True)
        if path is not None:
            atomic_write_text(path, json.dumps(found, indent=1) + "\n")
    return found


def table(results: dict[str, Any]) -> str:
    """The results as Markdown: a row a kind and board."""
    lines = ["| fault | board | injected | how it ended | promises broken |", "|---|---|---|---|---|"]
    for kind in KINDS:
        for board in sorted(results, key=lambda b: (b != "host", b)):
            if (row := results[board].get(kind)) is not None:
                ends = ", ".join(f"{k} {v:,}" for k, v in sorted(row["endings"].items(), key=lambda e: (-e[1], e[0])))
                broken = ", ".join(f"{k} {v:,}" for k, v in row["broken"].items()) or "none"
                lines.append(f"| {kind} | {board} | {row['injected']:,} | {ends} | {broken} |")
    return "\n".join(lines)


def publish(results: dict[str, Any]) -> None:
    """Into the results and the document, beside the boards and kinds that were not run this time."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for board, rows in results.items():
        known[board] = known.get(board, {}) | rows
    atomic_write_text(RESULTS, json.dumps(known, indent=1, sort_keys=True) + "\n")
    text = DOCUMENT.read_text(encoding="utf-8")
    if not _PLACE.search(text):
        raise SystemExit(f"{DOCUMENT} has no place for the table (<!-- generated: faults -->)")
    atomic_write_text(DOCUMENT, _PLACE.sub(lambda m: m[1] + "\n" + table(known) + "\n" + m[2], text))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", nargs="+", default=["host=1000"], metavar="BOARD=COUNT", help="of each kind")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parallel", type=int, default=2, help="processes")
    parser.add_argument("--json", type=Path, default=None, help="the counts so far go here after each batch")
    parser.add_argument("--publish", action="store_true", help="into docs/results and docs/link.md")
    options = parser.parse_args()
    batches = run(counts_of(options.count), options.kinds, options.seed, options.parallel)
    results = gathered(batches, options.json)
    print(table(results))
    if options.publish:
        publish(results)
    failures = sum(sum(row["broken"].values()) for rows in results.values() for row in rows.values())
    print(f"\n{failures} promises broken")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())

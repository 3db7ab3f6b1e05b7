"""Train, compare and report: the learning results of every family.

    python -m benchmarks.learning                         every family, three seeds, docs/results.md; many hours
    python -m benchmarks.learning four_corners nav2d      these families only
    python -m benchmarks.learning four_corners --seeds 0  one seed
    python -m benchmarks.learning --report-only           the page again, out of the JSON files that are there

Runs are kept in --out and picked up where they stopped; JSON files of finished seeds are kept beside the page.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from esmaml_robot.errors import CheckpointError
from esmaml_robot.files import atomic_write_text

from .experiments import EXPERIMENTS
from .one_seed import run_seed
from .report import render

RESULTS = Path("docs/results")
PAGE = Path("docs/results.md")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", help=f"of {', '.join(EXPERIMENTS)}; all by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/learning"), help="run folders")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON files go")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--episodes", type=int, default=None, help="another training budget, for a quick look")
    parser.add_argument(
        "--jobs", type=int, default=2, help="seeds side by side, a process each; with 1, two workers train one seed"
    )
    parser.add_argument("--report-only", action="store_true")
    options = parser.parse_args()
    unknown = sorted(set(options.families) - set(EXPERIMENTS))
    if unknown:
        parser.error(f"no experiment {unknown[0]!r}; there are: {', '.join(EXPERIMENTS)}")
    if not options.report_only:
        jobs = [(family, seed) for family in options.families or EXPERIMENTS for seed in options.seeds]
        where = (options.out, options.results)
        if options.jobs == 1:
            for family, seed in jobs:
                print(run_seed(family, seed, *where, 2, options.episodes), flush=True)
        else:
            with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
                running = [pool.submit(run_seed, family, seed, *where, 1, options.episodes) for family, seed in jobs]
                for future in running:
                    print(future.result(), flush=True)
    atomic_write_text(options.page, render(options.results), error=CheckpointError)
    print(f"wrote {options.page}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

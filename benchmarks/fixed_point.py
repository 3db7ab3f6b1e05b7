"""Fixed point: the same bits everywhere, over many networks; how exact it is, on three of them.

    python -m benchmarks.fixed_point
    python -m benchmarks.fixed_point --nets 200 --json docs/results/fixed_point.json --table docs/fixed_point.md

First the three networks of `benchmarks/fixed_nets.py`: largest error against float64 relative to the range of the
outputs; what they cost on a chip, `python -m benchmarks.inference` measures beside other exporters. Then random
networks, every second one with weights of 8 bits, with every kernel: a number that depends on all outputs has to be
that of the numpy model. 200 of them are a thousand compilations: five minutes of a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from esmaml_robot.errors import ExportError
from firmware_export.fixed_model import input_values, output_values, run
from firmware_export.fixed_plan import FixedNetwork
from firmware_export.fixed_quantise import quantise

from .fixed_images import MACHINES, build_image, build_runner, expected, rows_of, run_image
from .fixed_nets import WIDTHS, Case, measured_case, random_case, uniform_rows

BITS = (16, 8)
#: Rows for the error of the three networks, and for each random network on each machine.
ERROR_ROWS = 100_000
ROWS = {"host": 1000, "cortex_m4f": 500, "atmega328p": 100}
#: Networks in one image: flash, and the length of a compiler's queue.
BATCH = {"host": 40, "cortex_m4f": 40, "atmega328p": 4}
WIDEST = {"host": 24, "cortex_m4f": 24, "atmega328p": 12}


def quantised(case: Case, bits: Any) -> FixedNetwork:
    return quantise(case.network, case.inputs, case.outputs, case.calibration, bits)


def error_of(case: Case, plan: FixedNetwork, uniform: bool) -> float:
    """Largest error over the inputs' ranges, or with every input at an end of its range; share of the output range."""
    width = len(plan.inputs)
    if uniform:
        values = uniform_rows(case.inputs, ERROR_ROWS, 99)
        counts = np.rint(values / [i.scale for i in case.inputs]).astype(np.int64)
    else:
        counts = np.where(rows_of(width, ERROR_ROWS) < 0, -32768, 32767)
    exact = case.network.forward(input_values(plan, counts))
    return float(np.abs(output_values(plan, run(plan, counts)) - exact).max() / 2)  # the outputs' range is [-1, 1]


def measure() -> list[dict[str, Any]]:
    """The three networks: a row for each number of bits."""
    found = []
    for name in WIDTHS:
        case = measured_case(name)
        for bits in BITS:
            plan = quantised(case, bits)
            row: dict[str, Any] = {
                "network": name,
                "bits": bits,
                "products": plan.products,
                "error": error_of(case, plan, True),
                "error_at_corners": error_of(case, plan, False),
                "accumulator_bits_used": float(
                    np.log2(max(float(max(-low.min(), high.max())) for low, high in plan.accumulators()))
                ),
            }
            print(
                f"{name:14} int{bits:<2}  error {row['error']:.1e} (corners {row['error_at_corners']:.1e})", flush=True
            )
            found.append(row)
    return found


def batches(machine: str, nets: int) -> Iterator[tuple[dict[str, FixedNetwork], list[str]]]:
    """Random networks, as many as one image holds, every second one with weights of 8 bits; and what was refused."""
    for first in range(0, nets, BATCH[machine]):
        plans: dict[str, FixedNetwork] = {}
        refused = []
        for seed in range(first, min(first + BATCH[machine], nets)):
            case = random_case(seed, WIDEST[machine])
            bits = BITS[seed % 2]
            try:
                plans[f"net{seed}"] = quantised(case, bits)
            except ExportError as problem:
                refused.append(f"{seed}, int{bits}: {problem}")
        yield plans, refused


def prove(machine: str, nets: int, scratch: Path) -> dict[str, Any]:
    """All random networks on one machine."""
    runner = build_runner(scratch)
    kernels = ("plain",) if machine == "host" else ("plain", "fast")
    compared, different, failed, refusals = 0, [], [], []
    for number, (plans, refused) in enumerate(batches(machine, nets)):
        refusals += refused
        folder = scratch / f"{machine}_{number}"
        image = build_image(machine, plans, folder, ROWS[machine], kernels)
        found = run_image(machine, image, 600, runner)
        for name, plan in plans.items():
            wanted = expected(plan, ROWS[machine])
            for kernel in kernels:
                outcome = found[f"{name}_{kernel}"]
                compared += 1
                if outcome.total != wanted:
                    different.append(f"{name}_{kernel}")
                if outcome.selftest:
                    failed.append(f"{name}_{kernel}")
        print(f"  {machine}: {compared} programs, {len(different)} differ", end="\r", flush=True)
    print(
        f"{machine}: {compared} programs on {ROWS[machine]} rows each, {len(different)} differ, "
        f"{len(failed)} selftests fail, {len(refusals)} networks refused"
    )
    return {
        "machine": machine, "networks": nets, "programs": compared, "rows_each": ROWS[machine],
        "inferences": compared * ROWS[machine], "different": different, "selftests_failed": failed,
        "refused": refusals,
    }  # fmt: skip


def figures(measured: list[dict[str, Any]]) -> str:
    """The three networks as Markdown."""
    lines = [
        "| network | weights | error, inputs anywhere | error, inputs at their ends |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['network']} | int{row['bits']} | {row['error']:.1e} | {row['error_at_corners']:.1e} |"
        for row in measured
    ]
    return "\n".join(lines)


def proven(proofs: list[dict[str, Any]]) -> str:
    """The random networks as Markdown."""
    lines = ["| machine | networks | programs | inferences | not the bits of the model |", "|---|---|---|---|---|"]
    lines += [
        f"| {p['machine']} | {p['networks'] - len(p['refused'])} | {p['programs']} | {p['inferences']:,} "
        f"| {len(p['different'])} |"
        for p in proofs
    ]
    return "\n".join(lines)


def write_table(path: Path, mark: str, text: str) -> None:
    """Put figures between the marks of a document."""
    begin, end = (f"<!-- {mark}: {which} -->" for which in ("begin", "end"))
    before, _, rest = path.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{path} has no place for the {mark}: {begin} ... {end}")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=int, default=20, help="random networks")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--table", type=Path, help="write the table into this document")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = measure()
        proofs = [prove(machine, arguments.nets, Path(folder)) for machine in ("host", *MACHINES)]
    if arguments.json:
        arguments.json.write_text(json.dumps({"measured": measured, "proofs": proofs}, indent=1) + "\n")
    if arguments.table:
        write_table(arguments.table, "figures", figures(measured))
        write_table(arguments.table, "proofs", proven(proofs))
    if any(p["different"] or p["selftests_failed"] for p in proofs):
        raise SystemExit("not the same bits everywhere")


if __name__ == "__main__":
    main()

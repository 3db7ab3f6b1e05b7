"""Search directions and decoders: how well an ES gradient points along the true one, at equal numbers of episodes.

    python -m benchmarks.directions --json docs/results/directions.json

The gradient is the one of the operator es_gradient: K episodes after the pivot, which are K directions, or K/2 with
their mirror images. Closed-form returns around a point at distance 1 from the top of an elongated quadratic (curvatures
from 0.1 to 1), sigma 0.05: without noise; with noise as large as the return changes along a typical perturbation; and
with noise where a tenth of the parameters matter. Cosines to the true gradient, means over repetitions with 95 %
intervals of them. About a minute and a half on two cores.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from esmaml_robot.adaptation import OperatorConfig
from esmaml_robot.adaptation.base import materialise
from esmaml_robot.adaptation.es_gradient import ESGradient
from esmaml_robot.directions import directions, fold, fold_many
from esmaml_robot.scoring import Estimate, estimate

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

SIGMA = 0.05
DIMENSIONS, QUERIES = (6, 42, 200), (8, 20, 40)

#: Settings of the operator by label.
KINDS: dict[str, dict[str, str]] = {
    "gaussian": {"kind": "plain"},
    "orthogonal": {"kind": "plain", "directions": "orthogonal"},
    "dpp": {"kind": "plain", "directions": "dpp"},
    "antithetic": {"kind": "antithetic"},
    "antithetic + orthogonal": {"kind": "antithetic", "directions": "orthogonal"},
    "antithetic + dpp": {"kind": "antithetic", "directions": "dpp"},
    "antithetic, ridge": {"kind": "antithetic", "decoder": "ridge"},
    "antithetic, lasso": {"kind": "antithetic", "decoder": "lasso"},
    "antithetic + orthogonal, ridge": {"kind": "antithetic", "directions": "orthogonal", "decoder": "ridge"},
}
OBJECTIVES = ("quadratic", "noisy quadratic", "noisy and sparse")


@dataclass(frozen=True)
class Hill:
    """-1/2 sum_i h_i x_i^2 around a point, with noise of so many times sigma |gradient|."""

    curvatures: F64
    at: F64
    noise: float

    @property
    def gradient(self) -> F64:
        return -self.curvatures * self.at

    def returns(self, candidates: F32, seeds: npt.NDArray[np.uint32]) -> F32:
        x = candidates.astype(np.float64)
        noise = directions(fold_many(7, seeds), 1)[:, 0] * self.noise * SIGMA * np.linalg.norm(self.gradient)
        values: F32 = (-0.5 * (self.curvatures * x * x).sum(axis=1) + noise).astype(np.float32)
        return values


def hill(objective: str, dimension: int, seed: int) -> Hill:
    """One objective, its point drawn from the seed."""
    curvatures = np.geomspace(0.1, 1.0, dimension)
    at = directions([fold(seed, 1)], dimension)[0].astype(np.float64)
    if objective == "noisy and sparse":
        curvatures = np.where(np.arange(dimension) % 10 == 0, curvatures, 0.0)
    return Hill(curvatures, at / np.linalg.norm(at), 0.0 if objective == "quadratic" else 1.0)


def cosines(dimension: int, queries: int, repetitions: int) -> dict[str, dict[str, Estimate]]:
    """Cosine to the true gradient, by objective and kind."""
    found: dict[str, dict[str, Estimate]] = {}
    for objective in OBJECTIVES:
        for label, settings in KINDS.items():
            config = {"name": "es_gradient", "queries": queries, "sigma": SIGMA, "normalise": False} | settings
            operator = OperatorConfig.model_validate(config).build()
            assert isinstance(operator, ESGradient)
            values = [cosine(operator, hill(objective, dimension, seed), seed) for seed in range(repetitions)]
            found.setdefault(objective, {})[label] = estimate(values)
    return found


def cosine(operator: ESGradient, place: Hill, seed: int) -> float:
    """Of the operator's gradient and the true one; 0 where the operator found none."""
    state = operator.start(place.at.astype(np.float32), seed)
    asked = operator.ask(state)
    found = operator.gradient(operator.tell(state, place.returns(materialise([asked]), asked.episode_seeds)))
    sizes = float(np.linalg.norm(found) * np.linalg.norm(place.gradient))
    return float((found * place.gradient).sum()) / sizes if sizes > 0 else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, default=None, help="write the tables here as JSON")
    options = parser.parse_args()
    cells = [(d, k) for d in DIMENSIONS for k in QUERIES]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(cosines, d, k, options.repetitions) for d, k in cells]
        outcomes = [job.result() for job in jobs]
    console = Console(width=160)
    content: dict[str, Any] = {"repetitions": options.repetitions}
    for objective in OBJECTIVES:
        table = Table(title=f"{objective}: cosine to the true gradient, {options.repetitions} repetitions")
        table.add_column("directions, decoder", no_wrap=True)
        for d, k in cells:
            table.add_column(f"d {d}\nK {k}", justify="right")
        for label in KINDS:
            row = [outcome[objective][label] for outcome in outcomes]
            table.add_row(label, *(f"{e.mean:.2f} ± {e.half_width:.2f}" for e in row))
            content.setdefault(objective, {})[label] = {
                f"d {d}, K {k}": e.to_json() for (d, k), e in zip(cells, row, strict=True)
            }
        console.print(table)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

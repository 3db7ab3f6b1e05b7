"""Adaptation operators U(theta, T), one a file, and their configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..search import DirectionKind, Search
from .base import Operator
from .batch_hill_climb import BatchHillClimb
from .confirmed_hill_climb import ConfirmedHillClimb
from .decode import Decoder, DecoderKind
from .es_ascent import ESAscent
from .es_gradient import ESGradient
from .hill_climb import HillClimb
from .none import NoAdaptation

OperatorName = Literal["hill_climb", "batch_hill_climb", "confirmed_hill_climb", "es_gradient", "es_ascent", "none"]

#: Largest pool of directions for dpp; choosing takes its third power in time.
LARGEST_POOL = 500
#: Below this a confirmation leaves nothing to search with.
LEAST_CONFIRMED = 5


class OperatorConfig(BaseModel):
    """Which operator, and its numbers; those that an operator does not use are ignored by it.

    queries: episodes after the pivot, or rounds after it (batch_hill_climb); es_ascent has steps and pairs in place.
    sigma: inner standard deviation.
    shrink: factor on sigma with each step taken (hill_climb, confirmed_hill_climb).
    parallel, mode: batch_hill_climb.
    alpha, kind, normalise: es_gradient.
    directions, rho: how directions are drawn, see search.py.
    decoder, regularisation: how es_gradient and es_ascent read the gradient out of differences, see decode.py.
    steps, pairs, length: es_ascent.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: OperatorName = "hill_climb"
    queries: Annotated[int, Field(ge=1, le=10000)] = 20
    sigma: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 0.1
    shrink: Annotated[float, Field(gt=0, le=1)] = 1.0
    parallel: Annotated[int, Field(ge=1, le=1000)] = 5
    mode: Literal["batch", "average"] = "batch"
    alpha: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.05
    kind: Literal["plain", "antithetic"] = "antithetic"
    normalise: bool = True
    directions: DirectionKind = "gaussian"
    rho: Annotated[int, Field(ge=2, le=20)] = 5
    decoder: DecoderKind = "mc"
    regularisation: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 0.1
    steps: Annotated[int, Field(ge=1, le=1000)] = 2
    pairs: Annotated[int, Field(ge=1, le=1000)] = 4
    length: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 1.0

    @model_validator(mode="after")
    def _check(self) -> OperatorConfig:
        if self.name == "es_gradient" and self.kind == "antithetic" and self.queries % 2:
            raise ValueError(f"queries is {self.queries}; antithetic pairs need an even number")
        if self.name == "confirmed_hill_climb" and self.queries < LEAST_CONFIRMED:
            raise ValueError(f"queries is {self.queries}; confirmed_hill_climb needs {LEAST_CONFIRMED} or more")
        if self.name in ("es_gradient", "es_ascent") and self.decoder == "lasso" and self.regularisation >= 1:
            raise ValueError(f"regularisation is {self.regularisation:g}; from 1 on, lasso finds no slope at all")
        if self.directions == "dpp" and self.rho * self._drawn_together > LARGEST_POOL:
            raise ValueError(
                f"directions dpp choose {self._drawn_together} of {self.rho * self._drawn_together}; "
                f"{LARGEST_POOL} is the most, take a smaller rho or fewer directions at once"
            )
        return self

    @property
    def _drawn_together(self) -> int:
        """Directions that are chosen as one set."""
        if self.name == "es_ascent":
            return self.pairs
        if self.name == "es_gradient" and self.kind == "antithetic":
            return self.queries // 2
        if self.name == "batch_hill_climb" and self.mode == "batch":
            return self.parallel
        return 0 if self.name == "none" else self.queries

    def build(self) -> Operator:
        """The operator. Raises ConfigError where it needs an optional package that is not installed."""
        search = Search(self.directions, self.rho)
        if self.name == "hill_climb":
            return HillClimb(self.queries, self.sigma, search, self.shrink)
        if self.name == "batch_hill_climb":
            return BatchHillClimb(self.queries, self.parallel, self.sigma, self.mode, search)
        if self.name == "confirmed_hill_climb":
            return ConfirmedHillClimb(self.queries, self.sigma, search, self.shrink)
        if self.name == "es_gradient":
            decoder = Decoder(self.decoder, self.regularisation)
            return ESGradient(self.queries, self.sigma, self.alpha, self.kind, self.normalise, search, decoder)
        if self.name == "es_ascent":
            decoder = Decoder(self.decoder, self.regularisation)
            return ESAscent(self.steps, self.pairs, self.sigma, self.length, search, decoder)
        return NoAdaptation()

"""Adaptation operators U(theta, T), one a file, and their configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .base import Operator
from .batch_hill_climb import BatchHillClimb
from .es_gradient import ESGradient
from .hill_climb import HillClimb
from .none import NoAdaptation

OperatorName = Literal["hill_climb", "batch_hill_climb", "es_gradient", "none"]


class OperatorConfig(BaseModel):
    """Which operator, and its numbers; those that an operator does not use are ignored by it.

    queries: episodes after the pivot (hill_climb, es_gradient), or rounds after it (batch_hill_climb).
    sigma: inner standard deviation. parallel, mode: batch_hill_climb. alpha, kind, normalise: es_gradient.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: OperatorName = "hill_climb"
    queries: Annotated[int, Field(ge=1, le=10000)] = 20
    sigma: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 0.1
    parallel: Annotated[int, Field(ge=1, le=1000)] = 5
    mode: Literal["batch", "average"] = "batch"
    alpha: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.05
    kind: Literal["plain", "antithetic"] = "antithetic"
    normalise: bool = True

    @model_validator(mode="after")
    def _check(self) -> OperatorConfig:
        if self.name == "es_gradient" and self.kind == "antithetic" and self.queries % 2:
            raise ValueError(f"queries is {self.queries}; antithetic pairs need an even number")
        return self

    def build(self) -> Operator:
        if self.name == "hill_climb":
            return HillClimb(self.queries, self.sigma)
        if self.name == "batch_hill_climb":
            return BatchHillClimb(self.queries, self.parallel, self.sigma, self.mode)
        if self.name == "es_gradient":
            return ESGradient(self.queries, self.sigma, self.alpha, self.kind, self.normalise)
        return NoAdaptation()

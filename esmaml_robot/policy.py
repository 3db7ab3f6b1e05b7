"""Policies: a specification with its parameters, and the float32 forward pass of many of them side by side.

The forward pass maps observations in [-1, 1] to actions in [-1, 1]:

    x = clip((obs - mean) * inverse_std, -10, 10)            the normaliser, frozen after training
    x = x and sin, cos of 2 pi tick / clock_steps            with a clock
    x = activation(b + W x)                                  each hidden layer
    p = clip(b + W x, -1, 1)                                 output layer
    a = p                                                    without an action filter
    a = a' + alpha (p - a'),   a' = last action, at first 0  with one

It is written so that C repeats it bit for bit: float32, one rounding an operation, products added to the bias in the
order of the inputs, and functions made of additions, products and divisions (esmaml_robot/float32.py). How W and b
are read out of theta stands in esmaml_robot/policy_layers.py.

The filter begins at zero, the middle of every actuator's range: a robot starts gently, a row that begins anew needs no
memory of whether it has acted, and zeros are all that a graph without state has to be given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import identity
from .errors import PolicyError
from .policy_batch import NORMALISER_CLIP, Normaliser, PolicyBatch, Ticks
from .policy_initial import InitialScheme, initial_theta
from .policy_spec import PolicySpec

F32 = npt.NDArray[np.float32]

__all__ = [
    "NORMALISER_CLIP",
    "InitialScheme",
    "Normaliser",
    "Policy",
    "PolicyBatch",
    "PolicySpec",
    "check_theta",
    "initial_theta",
]


@dataclass(frozen=True)
class Policy:
    """A policy with its parameters: what is deployed.

    Raises PolicyError when theta has the wrong size or holds NaN or infinity.
    """

    spec: PolicySpec
    theta: F32
    normaliser: Normaliser

    def __post_init__(self) -> None:
        object.__setattr__(self, "theta", check_theta(self.spec, self.theta))
        for name in ("mean", "inverse_std"):
            values = np.asarray(getattr(self.normaliser, name))
            if values.shape != (self.spec.inputs,) or not np.isfinite(values).all():
                raise PolicyError(f"the normaliser's {name} needs {self.spec.inputs} finite numbers; train again.")

    @property
    def policy_hash(self) -> str:
        parts = (self.theta, self.normaliser.mean, self.normaliser.inverse_std)
        data = b"".join(np.ascontiguousarray(p, dtype="<f4").tobytes() for p in parts)
        return identity.digest(self.spec.layout_hash.encode() + data)

    def act(self, observations: F32, ticks: Ticks = 0, previous: F32 | None = None) -> F32:
        """One action for each of many situations.

        Args:
            observations: in [-1, 1], shape (B, inputs).
            ticks: control period of the episode, one for all or shape (B,); the clock reads it.
            previous: last actions, shape (B, outputs), zero if not given; the action filter starts from them.

        Returns:
            Actions in [-1, 1], shape (B, outputs).
        """
        batch = PolicyBatch(self.spec, self.theta[None, :], self.normaliser)
        if previous is not None:
            batch.resume(previous.T)
        return batch.act(np.ascontiguousarray(np.asarray(observations, np.float32).T), ticks).T.copy()


def check_theta(spec: PolicySpec, theta: npt.ArrayLike) -> F32:
    """`theta` as a contiguous float32 vector of the right size, or PolicyError."""
    vector = np.ascontiguousarray(theta, dtype=np.float32)
    if vector.shape != (spec.dimension,):
        raise PolicyError(f"theta has shape {vector.shape}; {spec.describe()} needs ({spec.dimension},).")
    bad = np.flatnonzero(~np.isfinite(vector))
    if bad.size:
        raise PolicyError(
            f"theta[{bad[0]}] is {vector[bad[0]]} ({bad.size} of {vector.size} parameters are not finite); "
            "this policy cannot be used: go back to an earlier checkpoint or lower the step size."
        )
    return vector

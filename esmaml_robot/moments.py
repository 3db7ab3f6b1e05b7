"""Running mean and variance of observations, merged exactly, whatever the order of the parts that computed them.

Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979); a merge
with one observation is Welford's update (1962). Float64 throughout. Parts are always merged in the order of their
episodes, so the result has the same bits for any number of workers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .policy import Normaliser

F64 = npt.NDArray[np.float64]

#: An input that varies less, out of [-1, 1], is scaled as if it varied by this: its noise is not blown up.
SMALLEST_STD = 0.01


@dataclass(frozen=True)
class Moments:
    """Count; mean (inputs,); sum of squared deviations from it (inputs,); of observations in [-1, 1]."""

    count: int
    mean: F64
    squares: F64

    @staticmethod
    def empty(inputs: int) -> Moments:
        return Moments(0, np.zeros(inputs), np.zeros(inputs))

    @staticmethod
    def of(observations: npt.ArrayLike) -> Moments:
        """Of observations (n, inputs)."""
        x = np.asarray(observations, dtype=np.float64)
        mean = x.mean(axis=0)
        return Moments(len(x), mean, ((x - mean) ** 2).sum(axis=0))

    @staticmethod
    def of_sums(count: int, total: F64, total_squares: F64) -> Moments:
        """Of plain sums; exact enough because observations are in [-1, 1]: no digits cancel that are not noise."""
        if count == 0:
            return Moments.empty(len(total))
        mean = total / count
        return Moments(count, mean, np.maximum(total_squares - total * mean, 0.0))

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets of observations together."""
        if other.count == 0:
            return self
        count = self.count + other.count
        delta = other.mean - self.mean
        return Moments(
            count,
            self.mean + delta * (other.count / count),
            self.squares + other.squares + delta * delta * (self.count * other.count / count),
        )

    @property
    def std(self) -> F64:
        """Standard deviation (inputs,); 1 before the second observation."""
        if self.count < 2:
            return np.ones_like(self.mean)
        deviation: F64 = np.sqrt(self.squares / self.count)
        return deviation

    def normaliser(self) -> Normaliser:
        """What shifts and scales such observations to mean 0 and standard deviation 1; the identity before any."""
        if self.count < 2:
            return Normaliser.identity(len(self.mean))
        std = np.maximum(self.std, SMALLEST_STD)
        return Normaliser(self.mean.astype(np.float32), (1.0 / std).astype(np.float32))

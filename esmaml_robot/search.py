"""Search directions of several kinds, each row N(0, I) by itself; what differs is how the rows of a set relate.

gaussian:    independent rows.
orthogonal:  rows of a block of at most d are at right angles, with the independent chi_d lengths of Gaussian rows
             (Choromanski et al., "Structured evolution with compact architectures for scalable policy optimization",
             ICML 2018; the lengths as in Yu et al., "Orthogonal random features", NIPS 2016).
dpp:         of rho * count Gaussian rows, `count` that point in different directions, by a k-DPP, as in the code
             published with ES-MAML (Song et al., ICLR 2020), with a kernel of its own; see dpp.py.

Mirrored (antithetic) candidates are not a kind: an operator adds and subtracts the same row. Everything is a function
of its arguments. Gaussian and dpp rows are rebuilt from a seed of four bytes each, which is what a serial link
carries; orthogonal rows depend on each other and travel whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from . import directions
from .dpp import direction_kernel, k_dpp
from .errors import ConfigError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
U32 = npt.NDArray[np.uint32]

DirectionKind = Literal["gaussian", "orthogonal", "dpp"]

CANDIDATES, _DPP = 0x43414E44, 0x4B445050


@dataclass(frozen=True)
class Draw:
    """Directions of one adaptation.

    Attributes:
        seeds: uint32 (count,), a seed a row; row i is direction(seeds[i]) where `rows` is None.
        rows: float32 (count, d), where a seed alone does not give the row.
    """

    seeds: U32
    rows: F32 | None

    def matrix(self, dimension: int) -> F32:
        """The directions themselves, float32 (count, dimension)."""
        return directions.directions(self.seeds, dimension) if self.rows is None else self.rows


@dataclass(frozen=True)
class Search:
    """A kind of directions with its setting: rho, the pool of dpp in multiples of the rows drawn."""

    kind: DirectionKind = "gaussian"
    rho: int = 5

    def draw(self, seed: int, count: int, dimension: int, block: int | None = None) -> Draw:
        """`count` directions, in sets of `block` rows that are chosen together (default: all in one set)."""
        if self.kind == "gaussian":
            return Draw(candidate_seeds(seed, count), None)
        sizes = _block_sizes(count, block or count)
        if self.kind == "orthogonal":
            return _orthogonal(seed, sizes, dimension)
        return Draw(_dpp_seeds(seed, sizes, dimension, self.rho), None)


GAUSSIAN = Search()


def sample_directions(
    kind: DirectionKind, seed: int, count: int, dimension: int, *, rho: int = 5, block: int | None = None
) -> F32:
    """`count` search directions as a function of the arguments, float32 (count, dimension).

    Args:
        kind: "gaussian", "orthogonal" or "dpp".
        seed: any 32-bit number; gaussian rows are directions(candidate_seeds(seed, count)).
        count: rows; orthogonal rows come in blocks of at most `dimension`.
        dimension: d, the number of policy parameters.
        rho: dpp only: rows are chosen among rho times as many.
        block: rows that are chosen together, as in Search.draw; default: all of them.

    Raises:
        ConfigError: the kind is not known.
    """
    if kind not in get_args(DirectionKind):
        raise ConfigError(f"no search directions {kind!r}: known are {', '.join(get_args(DirectionKind))}")
    return Search(kind, rho).draw(seed, count, dimension, block).matrix(dimension)


@lru_cache(maxsize=4096)
def candidate_seeds(seed: int, count: int) -> U32:
    """Direction seeds of an operator that was started with `seed`, shape (count,); a longer list begins the same."""
    return _frozen(directions.fold_many(directions.fold(seed, CANDIDATES), np.arange(count)))


def orthogonal(matrix: F64) -> F64:
    """The rows of a full-rank matrix (the columns, if those are fewer) made orthonormal, by modified Gram-Schmidt."""
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(np.ascontiguousarray(matrix.T)).T
    rows = np.array(matrix)
    for i, row in enumerate(rows):
        row /= np.sqrt((row * row).sum())
        rest = rows[i + 1 :]
        rest -= (rest * row).sum(axis=1)[:, None] * row
    return rows


def _block_sizes(count: int, block: int) -> tuple[int, ...]:
    return tuple(min(block, count - at) for at in range(0, count, block))


@lru_cache(maxsize=256)
def _orthogonal(seed: int, sizes: tuple[int, ...], dimension: int) -> Draw:
    """Gaussian rows, turned until those of a block are at right angles; each keeps its own length.

    Gram-Schmidt reads the orientations of the Gaussian rows only, and length and orientation of a Gaussian vector
    are independent: the lengths are chi_d, independent of the rows that they scale. The first row stays as it was.
    """
    seeds = candidate_seeds(seed, sum(sizes))
    drawn = directions.directions(seeds, dimension).astype(np.float64)
    parts, at = [], 0
    for size in sizes:
        for smaller in _block_sizes(size, dimension):
            part = drawn[at : at + smaller]
            at += smaller
            parts.append(orthogonal(part) * np.sqrt((part * part).sum(axis=1))[:, None])
    rows = np.concatenate(parts).astype(np.float32)
    rows.flags.writeable = False
    return Draw(seeds, rows)


@lru_cache(maxsize=4096)
def _dpp_seeds(seed: int, sizes: tuple[int, ...], dimension: int, rho: int) -> U32:
    """Seeds of the chosen rows, block after block, each block out of a pool of its own."""
    pools = candidate_seeds(seed, rho * sum(sizes))
    parts, at = [], 0
    for block, size in enumerate(sizes):
        pool = pools[rho * at : rho * (at + size)]
        at += size
        uniforms = directions.uniforms(directions.fold(seed, _DPP, block), len(pool) + size)
        kernel = direction_kernel(directions.directions(pool, dimension))
        parts.append(pool[k_dpp(kernel, size, uniforms)])
    return _frozen(np.concatenate(parts))


def _frozen(array: U32) -> U32:
    array.flags.writeable = False
    return array

"""The adaptation operator U(theta, T) as ask/tell with returned, plain state.

    state = operator.start(theta, seed)
    while not operator.done(state):
        proposals = operator.ask(state)              # which episodes to run next
        batch = evaluator.evaluate(materialise([proposals]), ...)
        state = operator.tell(state, batch.returns)
    adapted = operator.result(state)

A proposal is (base, seed, sigma): candidate = base + sigma * direction(seed). It costs eight bytes on a serial link,
and the controller rebuilds the candidate from them. Where a seed does not give the direction, the proposal carries it
(`offsets`), and a robot is sent the candidate whole. `ask` does not change the state: asked again, it proposes the
same, so a robot that was switched off in mid-batch goes on where it was. The state is a frozen dataclass of numbers
and arrays; `state_to_arrays` and `state_from_arrays` save and restore it bit for bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import directions
from ..errors import PolicyError
from ..search import Draw

F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Proposals:
    """Episodes to run: row b is base + sigmas[b] * (offsets[b], or direction(seeds[b]) where there are no offsets).

    Attributes:
        base: float32 (d,).
        seeds: uint32 (B,), direction seeds; with offsets, the seeds they were made from.
        sigmas: float32 (B,); 0 means the base itself, negative the mirrored candidate of an antithetic pair.
        episode_seeds: uint32 (B,), what varies between episodes of one task.
        offsets: float32 (B, d), directions that a controller cannot rebuild from a seed, or None.
    """

    base: F32
    seeds: U32
    sigmas: F32
    episode_seeds: U32
    offsets: F32 | None = None

    def __len__(self) -> int:
        return len(self.seeds)

    def row(self, index: int) -> Proposals:
        """One of the episodes alone."""
        part = slice(index, index + 1)
        offsets = None if self.offsets is None else self.offsets[part]
        return Proposals(self.base, self.seeds[part], self.sigmas[part], self.episode_seeds[part], offsets)


def materialise(proposals: Sequence[Proposals]) -> F32:
    """All candidates of several proposals as one float32 array, shape (sum of B, d)."""
    seeds = np.concatenate([p.seeds for p in proposals])
    sigmas = np.concatenate([p.sigmas for p in proposals])
    lengths = [len(p) for p in proposals]
    candidates = np.repeat(np.stack([p.base for p in proposals]), lengths, axis=0)
    carried = np.repeat([p.offsets is not None for p in proposals], lengths)
    seeded = np.flatnonzero((sigmas != 0) & ~carried)
    if seeded.size:
        rows = directions.directions(seeds[seeded], candidates.shape[1])
        candidates[seeded] = step(candidates[seeded], sigmas[seeded], rows)
    whole = np.flatnonzero((sigmas != 0) & carried)
    if whole.size:
        rows = np.concatenate([p.offsets[p.sigmas != 0] for p in proposals if p.offsets is not None])
        candidates[whole] = step(candidates[whole], sigmas[whole], rows)
    return candidates


def step(base: F32, sigmas: F32, rows: F32) -> F32:
    """Base (B, d) + sigmas (B,) * rows (B, d): one product and one sum in float32, as the controller does it."""
    moved: F32 = base + sigmas[:, None] * rows
    return moved


def propose(base: F32, drawn: Draw, which: slice, sigmas: F32, episodes: U32) -> Proposals:
    """Proposals at base + sigmas * those rows of `drawn` that `which` selects."""
    return Proposals(base, drawn.seeds[which], sigmas, episodes, None if drawn.rows is None else drawn.rows[which])


def stay(base: F32, episodes: U32) -> Proposals:
    """Episodes of the base itself; direction seeds do not matter there."""
    count = len(episodes)
    return Proposals(base, np.zeros(count, np.uint32), np.zeros(count, np.float32), episodes)


@dataclass(frozen=True)
class Adapted:
    """What an operator found.

    Attributes:
        params: float32 (d,), the adapted parameters.
        estimate: the operator's own estimate of their return (of the base, where it has none of the result).
        standard_error: of the estimate; NaN where one episode cannot tell.
        episodes: episodes used, pivots included.
        history: returns in the order in which they were told.
    """

    params: F32
    estimate: float
    standard_error: float
    episodes: int
    history: tuple[float, ...]


class Operator(Protocol):
    """U(theta, T). The state is the operator's own frozen dataclass."""

    @property
    def name(self) -> str: ...

    @property
    def episodes(self) -> int:
        """Episodes that one adaptation takes, pivots included."""
        ...

    def start(self, theta: F32, seed: int) -> Any: ...

    def ask(self, state: Any) -> Proposals:
        """The next proposals; the same ones until `tell` is called."""
        ...

    def tell(self, state: Any, returns: F32) -> Any:
        """The state after the asked episodes returned `returns` (B,), all valid."""
        ...

    def done(self, state: Any) -> bool: ...

    def result(self, state: Any) -> Adapted: ...


#: Stream of an operator's episode seeds, and in search.py of its directions; the C runtime shares both.
EPISODES = 0x45504953


@lru_cache(maxsize=4096)
def episode_seeds(seed: int, count: int) -> U32:
    """Episode seeds of an operator that was started with `seed`, shape (count,)."""
    seeds = directions.fold_many(directions.fold(seed, EPISODES), np.arange(count))
    seeds.flags.writeable = False
    return seeds


def check_returns(asked: int, returns: F32) -> F32:
    """Returns as float32 (asked,), finite; PolicyError otherwise: invalid episodes are repeated, not told."""
    values = np.asarray(returns, dtype=np.float32)
    if values.shape != (asked,):
        raise PolicyError(f"the operator asked for {asked} episodes and was told {values.shape} returns.")
    if not np.isfinite(values).all():
        raise PolicyError("a return that is not finite was told to the operator; repeat the episode instead.")
    return values


def state_to_arrays(state: Any) -> dict[str, npt.NDArray[Any]]:
    """A state dataclass as named arrays, for safetensors or a journal."""
    return {f.name: np.asarray(getattr(state, f.name)) for f in dataclasses.fields(state)}


def state_from_arrays(kind: type[Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Any:
    """The inverse of `state_to_arrays` for the state class `kind`."""
    values: dict[str, Any] = {}
    for f in dataclasses.fields(kind):
        array = np.asarray(arrays[f.name])
        values[f.name] = array.item() if f.type in ("int", "float") else array.copy()
    return kind(**values)

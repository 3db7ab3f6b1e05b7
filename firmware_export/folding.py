"""Scales folded into one another and into the matrices beside them, in float64, where that costs no digits.

A scale (x - c) g before a matrix becomes W g and b - W (c g). Where c g is large, as for a pressure of 101325 +- 10 Pa,
x - c is a small difference of large numbers that only the subtraction gets right, so such a scale stays what it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .network import Dense, Layer, Scale

#: Largest |centre * gain| that is folded: so many standard deviations a mean may be away from zero.
LARGEST_OFFSET = 4.0


def folded(layers: Sequence[Layer]) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """The layers with scales folded, and what was done, in words."""
    out: list[Layer] = []
    done: dict[str, None] = {}
    for layer in layers:
        while out and (merged := _merge(out[-1], layer)) is not None:
            before = out.pop()
            if isinstance(before, Scale) and isinstance(layer, Dense):
                done["A scaling before a matrix was folded into it."] = None
            layer = merged
        out.append(layer)
    return tuple(out), tuple(done)


def _small(scale: Scale) -> bool:
    return bool((np.abs(scale.centre.astype(np.float64) * scale.gain) <= LARGEST_OFFSET).all())


def _merge(first: Layer, second: Layer) -> Layer | None:
    """One layer that does what two do, or None."""
    if isinstance(first, Dense) and isinstance(second, Scale):
        gain = second.gain.astype(np.float64)
        return _dense(first.weight * gain[:, None], (first.bias - second.centre.astype(np.float64)) * gain)
    if not isinstance(first, Scale):
        return None
    centre, gain = first.centre.astype(np.float64), first.gain.astype(np.float64)
    if isinstance(second, Dense) and _small(first):
        weight = second.weight.astype(np.float64) * gain
        return _dense(weight, second.bias - weight @ centre)
    if isinstance(second, Scale) and gain.all() and (_small(first) or not second.centre.any()):
        return _scale(centre + second.centre / gain, gain * second.gain)
    return None


def _dense(weight: np.ndarray, bias: np.ndarray) -> Dense | None:
    with np.errstate(over="ignore"):
        made = Dense(weight.astype(np.float32), bias.astype(np.float32))
    return made if np.isfinite(made.weight).all() and np.isfinite(made.bias).all() else None


def _scale(centre: np.ndarray, gain: np.ndarray) -> Scale | None:
    with np.errstate(over="ignore"):
        made = Scale(centre.astype(np.float32), gain.astype(np.float32))
    return made if np.isfinite(made.centre).all() and np.isfinite(made.gain).all() else None

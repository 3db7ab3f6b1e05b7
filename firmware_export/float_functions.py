"""tanh, sigmoid, elu and softsign of exported networks in float32: the same bits in numpy, on a Cortex-M and on an AVR.

One rounding an operation, and additions, products and divisions alone. All of them but softsign rest on expm1(y) =
e^y - 1, which keeps its digits near zero:

    n = the integer next to y / ln 2,  r = y - n ln 2,  q = expm1(r) by a polynomial,  expm1(y) = 2^n q + (2^n - 1)

n is found by adding 1.5 * 2^23, where float32 has no digits behind the point, and 2^n is made of its bits.

Largest differences from the true function over all float32 (`python -m benchmarks.float_functions`), in units of 2^-23,
the spacing of float32 just above 1: tanh 0.75, sigmoid 1.0, elu 0.36 times alpha, softsign 0.63. NaN stays NaN, and
tanh and sigmoid never leave their range.

Policies of this project have a tanh of their own (esmaml_robot/float32.py), whose bits training depends on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .network import Activation

F32 = npt.NDArray[np.float32]

_f = np.float32

#: expm1(r) = r + r^2 (C[0] + C[1] r + ...) on |r| <= ln(2) / 2: a fit of the relative error, 1.4e-8 before rounding.
POLYNOMIAL = (0.4999999701976776, 0.1666654646396637, 0.04166743531823158, 0.00836626160889864, 0.0013870656257495284)
INVERSE_LN2 = float(_f(1.4426950408889634))
LN2 = float(_f(0.6931471805599453))
ROUND = 12582912.0  # 1.5 * 2^23
#: Where the functions have reached their limits in float32; no exponent leaves its range before.
TANH_LIMIT, LOWEST, HIGHEST = 9.5, -18.0, 87.0


def expm1(y: F32) -> F32:
    """e^y - 1 for y in [LOWEST, HIGHEST]; NaN stays NaN."""
    z = y * _f(INVERSE_LN2)
    z = z + _f(ROUND)
    n = z - _f(ROUND)
    r = n * _f(LN2)
    r = y - r
    q = r * _f(POLYNOMIAL[-1])
    for c in POLYNOMIAL[-2:0:-1]:
        q = q + _f(c)
        q = q * r
    q = q + _f(POLYNOMIAL[0])
    q = q * r
    q = q * r
    q = q + r
    power: F32 = ((z.view(np.uint32) << np.uint32(23)) + np.uint32(0x3F800000)).view(np.float32)
    q = q * power
    less: F32 = power - _f(1)
    return np.asarray(q + less, np.float32)


def _least(x: F32, limit: float) -> F32:
    """min(x, limit), NaN staying NaN."""
    return np.where(x > _f(limit), _f(limit), x)


def tanh(x: F32) -> F32:
    """Of any float32."""
    a = _least(np.abs(x), TANH_LIMIT)
    e = expm1(a + a)
    return np.copysign(e / (e + _f(2)), x)


def sigmoid(x: F32) -> F32:
    """Of any float32."""
    y = -x
    y = _least(np.where(y < _f(LOWEST), _f(LOWEST), y), HIGHEST)
    return np.asarray(_f(1) / (expm1(y) + _f(2)), np.float32)


def elu(x: F32, alpha: np.float32) -> F32:
    """Of any float32: itself above zero, alpha (e^x - 1) below."""
    y = _least(np.where(x < _f(LOWEST), _f(LOWEST), x), 0.0)
    below = expm1(y) * alpha
    return np.where(x > 0, x, below)


def softsign(x: F32) -> F32:
    """Of any float32: x / (1 + |x|); of an infinity NaN, as the formula says."""
    a = np.where(x < 0, -x, x)
    return np.asarray(x / (a + _f(1)), np.float32)


def activate(layer: Activation, x: F32) -> F32:
    """A layer's activation, entry by entry, float32 in and out."""
    with np.errstate(all="ignore"):
        if layer.kind == "tanh":
            y = tanh(x)
        elif layer.kind == "sigmoid":
            y = sigmoid(x)
        elif layer.kind == "relu":
            y = np.where(x <= 0, _f(0), x)
        elif layer.kind == "leaky_relu":
            y = np.where(x < 0, x * _f(layer.alpha), x)
        elif layer.kind == "elu":
            y = elu(x, _f(layer.alpha))
        else:
            y = softsign(x)
    return y

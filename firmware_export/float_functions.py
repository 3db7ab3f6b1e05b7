"""tanh, sigmoid, elu and softsign of exported networks in float32: the same bits in numpy, on a Cortex-M and on an AVR.

One rounding an operation, and additions, products and divisions alone. All of them but softsign rest on one function,
(e^2h - 1) / 2, which keeps its digits near zero; with it tanh(h) is E / (E + 1), and no argument has to be doubled:

    n = the integer next to 2h / ln 2,  r = h - n ln(2)/2,  q = (e^2r - 1) / 2 by a polynomial,  E = 2^n q + (2^n - 1)/2

n is found by adding 1.5 * 2^23, where float32 has no digits behind the point, and 2^n is made of its bits.

Largest differences from the true function over all float32 (`python -m benchmarks.float_functions`), in units of 2^-23,
the spacing of float32 just above 1: tanh 0.75, sigmoid 1.0, elu 0.36 times alpha, softsign 0.75. NaN stays NaN, and
tanh and sigmoid never leave their range.

Policies of this project have a tanh of their own (esmaml_robot/float32.py), whose bits training depends on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .network import Activation

F32 = npt.NDArray[np.float32]

_f = np.float32

#: (e^2r - 1) / 2 = r + r^2 (C[0] + C[1] r + ...) on |r| <= ln(2) / 4, relative error 1.4e-8 before rounding.
POLYNOMIAL = (0.9999999403953552, 0.6666618585586548, 0.33333948254585266, 0.1338601857423782, 0.04438610002398491)
TWO_OVER_LN2 = float(_f(2.8853900817779268))
HALF_LN2 = float(_f(0.34657359027997264))
ROUND = 12582912.0  # 1.5 * 2^23
#: Where the functions have reached their limits in float32; no exponent leaves its range before. Of h.
TANH_LIMIT, LOWEST, HIGHEST = 9.5, -9.0, 43.5


def half_expm1(h: F32) -> F32:
    """(e^2h - 1) / 2 for h in [LOWEST, HIGHEST]; NaN stays NaN."""
    z = h * _f(TWO_OVER_LN2)
    z = z + _f(ROUND)
    n = z - _f(ROUND)
    r = n * _f(HALF_LN2)
    r = h - r
    q = r * _f(POLYNOMIAL[-1])
    for c in POLYNOMIAL[-2:0:-1]:
        q = q + _f(c)
        q = q * r
    q = q + _f(POLYNOMIAL[0])
    q = q * r
    q = q * r
    q = q + r
    exponent = z.view(np.uint32) << np.uint32(23)
    power: F32 = (exponent + np.uint32(0x3F800000)).view(np.float32)
    half: F32 = (exponent + np.uint32(0x3F000000)).view(np.float32)
    q = q * power
    less: F32 = half - _f(0.5)
    return np.asarray(q + less, np.float32)


def _least(x: F32, limit: float) -> F32:
    """min(x, limit), NaN staying NaN."""
    return np.where(x > _f(limit), _f(limit), x)


def _within(h: F32, high: float) -> F32:
    return _least(np.where(h < _f(LOWEST), _f(LOWEST), h), high)


def tanh(x: F32) -> F32:
    """Of any float32."""
    e = half_expm1(_least(np.abs(x), TANH_LIMIT))
    return np.copysign(e / (e + _f(1)), x)


def sigmoid(x: F32) -> F32:
    """Of any float32."""
    e = half_expm1(_within(x * _f(-0.5), HIGHEST))
    return np.asarray(_f(0.5) / (e + _f(1)), np.float32)


def elu(x: F32, alpha: np.float32) -> F32:
    """Of any float32: itself above zero, alpha (e^x - 1) below."""
    below = half_expm1(_within(x * _f(0.5), 0.0)) * _f(2 * alpha)
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

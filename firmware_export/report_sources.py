"""What is measured: C sources, an adapter that makes one inference of them, and the numbers that go in and come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: One rounding an operation, which makes results the same bits everywhere.
EXACT = ("-std=c99", "-ffp-contract=off")


class Refused(Exception):
    """Something cannot be measured; the text says why, in the words of whoever refused."""


class Case(Protocol):
    """Inputs (vectors, inputs) and the exact outputs (vectors, outputs) that they should give."""

    @property
    def inputs(self) -> Array: ...

    @property
    def outputs(self) -> Array: ...


def _as_float32(values: Array) -> Array:
    return np.asarray(values, np.float32)


def _as_float64(values: Array) -> Array:
    return np.asarray(values, np.float64)


@dataclass(frozen=True)
class Sources:
    """One inference in C.

    Attributes:
        files: name -> text; every .c among them is compiled and counted in the sizes.
        adapter: C that includes their headers and defines
                     void bench_prepare(void)                                      once, before all vectors
                     void bench_infer(const bench_input *x, bench_output *y)       one inference
        input, output: C type of x and of y: "float", "int32_t", "int16_t" or "int8_t".
        encode: inputs (vectors, n) -> numbers of the type `input`.
        decode: numbers of the type `output` (vectors, n) -> float64 outputs.
        expected: exact outputs -> what this should give, where it limits them, say.
        flags: of the compiler, besides the target's.
    """

    files: dict[str, str]
    adapter: str
    input: str = "float"
    output: str = "float"
    encode: Callable[[Array], Array] = _as_float32
    decode: Callable[[Array], Array] = _as_float64
    expected: Callable[[Array], Array] = _as_float64
    flags: tuple[str, ...] = field(default=())

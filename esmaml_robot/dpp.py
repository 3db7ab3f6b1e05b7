"""Exact sampling of a k-DPP: k of n items, a set S with probability proportional to det(kernel[S, S]).

A determinantal point process prefers sets whose items differ. Source: Kulesza and Taskar, "k-DPPs: fixed-size
determinantal point processes" (ICML 2011), algorithms 7 and 8; the projection step by Gram-Schmidt as in Tremblay,
Barthelme and Amblard, "Optimized algorithms to sample determinantal point processes" (2018).

Which items are chosen must not depend on the number of threads. A LAPACK eigensolver gives no such promise, and
where eigenvalues coincide it may return any basis. The eigenvectors here come from a pivoted Cholesky factorisation
and one-sided Jacobi rotations (Veselic and Hari, "A note on a one-sided Jacobi algorithm", 1989), written with
element-wise products and numpy's own sums, whose order is fixed. O(n^3): some 50 ms for n = 100,
seconds for n = 500.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: Weight of the identity in the kernel: keeps it positive definite where items outnumber what the dimension can tell.
NUGGET = 1e-3
#: Cosine of two rows before the last sweep; convergence is quadratic, so the sweep leaves rounding only.
_NEARLY_ORTHOGONAL = 1e-11
_MAX_SWEEPS = 60
_TINY = np.finfo(np.float64).tiny


def direction_kernel(rows: F32) -> F64:
    """RBF kernel of directions (n, d), length left out: exp(-|u_i - u_j|^2 / 2 h^2) of the unit vectors u, (n, n).

    The bandwidth h is twice the root mean squared distance of two independent directions, h^2 = 4 * 2 in every
    dimension (for directions of length sqrt(d), h = 2 sqrt(2 d)). A fixed bandwidth on directions as they are turns
    the kernel into the identity above some hundred parameters, and the choice into a uniform one. As wide as this, the
    kernel is nearly linear in the cosine, which in high dimensions tells directions apart as well as a kernel can.
    Seen by angle only, a chosen direction keeps a uniform orientation and its independent chi_d length, so it is
    N(0, I) as before.
    """
    units = rows.astype(np.float64)
    units /= np.sqrt((units * units).sum(axis=1))[:, None]
    cosines = np.stack([(units * one).sum(axis=1) for one in units])
    kernel: F64 = np.exp((np.minimum(cosines, 1.0) - 1.0) / 8.0)
    np.fill_diagonal(kernel, 1.0 + NUGGET)
    return kernel


def k_dpp(kernel: F64, count: int, uniforms: F64) -> I64:
    """Indices of the chosen items, ascending.

    Args:
        kernel: (n, n), symmetric and positive definite.
        count: k, at most n.
        uniforms: (n + k,) independent numbers in [0, 1), the only source of chance.
    """
    n = len(kernel)
    if count == n:
        return np.arange(n)
    values, vectors = eigen(kernel)
    return _by_projection(vectors[_choose_vectors(values, count, uniforms[:n])], uniforms[n:])


def eigen(kernel: F64) -> tuple[F64, F64]:
    """Eigenvalues (n,), in no order, and unit eigenvectors as rows (n, n) of a positive definite matrix."""
    n = len(kernel)
    rows = np.zeros((n + n % 2, n))  # rounds are played by pairs; an odd one out plays against nothing
    rows[:n] = _cholesky_columns(kernel)
    half = len(rows) // 2
    # everybody meets everybody in len(rows) - 1 rounds: the first stays, the others move on by one place
    turn = np.concatenate([[0, half], np.arange(1, half - 1), np.arange(half + 1, 2 * half), [half - 1]])
    if half == 1:
        turn = np.arange(2)
    for _ in range(_MAX_SWEEPS):
        worst = 0.0
        norms = (rows * rows).sum(axis=1)
        for _ in range(max(1, len(rows) - 1)):
            x, y, xx, yy = rows[:half], rows[half:], norms[:half], norms[half:]
            xy = (x * y).sum(axis=1)
            worst = max(worst, float((np.abs(xy) / np.sqrt(np.maximum(xx * yy, _TINY))).max()))
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                zeta = (yy - xx) / (2 * xy)
                tangent = np.copysign(1.0, zeta) / (np.abs(zeta) + np.sqrt(1 + zeta * zeta))
            tangent = np.where(xy == 0, 0.0, tangent)
            cosine = (1 / np.sqrt(1 + tangent * tangent))[:, None]
            sine = cosine * tangent[:, None]
            norms = np.concatenate([xx - tangent * xy, yy + tangent * xy])[turn]
            rows = np.concatenate([cosine * x - sine * y, sine * x + cosine * y])[turn]
        if worst <= _NEARLY_ORTHOGONAL:
            break
    else:
        raise ArithmeticError(f"eigenvectors of a {n} x {n} kernel did not settle in {_MAX_SWEEPS} sweeps")
    values = (rows * rows).sum(axis=1)
    kept = np.argsort(values == 0, kind="stable")[:n]  # without the row that only filled up
    return values[kept], rows[kept] / np.sqrt(values[kept])[:, None]


def _cholesky_columns(kernel: F64) -> F64:
    """Rows r_j with sum_j r_j r_j^T = kernel: columns of the Cholesky factor, the largest pivot first."""
    rest, columns = kernel.copy(), np.zeros_like(kernel)
    for j in range(len(kernel)):
        at = int(np.argmax(np.diagonal(rest)))
        columns[j] = rest[at] / np.sqrt(rest[at, at])
        rest -= columns[j][:, None] * columns[j]
        rest[at], rest[:, at] = 0.0, 0.0
    return columns


def _choose_vectors(values: F64, count: int, uniforms: F64) -> I64:
    """Which eigenvectors span the projection: each set J of `count` with probability ~ the product of its values.

    Elementary symmetric polynomials e_l of the first m values by their recursion, kept as logarithms: as plain
    numbers they leave the range of float64 for a few hundred items.
    """
    logs = np.log(values)
    polynomials = np.full((len(values) + 1, count + 1), -np.inf)
    polynomials[:, 0] = 0.0
    for m, log in enumerate(logs):
        polynomials[m + 1, 1:] = np.logaddexp(polynomials[m, 1:], log + polynomials[m, :-1])
    chosen: list[int] = []
    for m in range(len(values) - 1, -1, -1):
        wanted = count - len(chosen)
        if wanted == 0:
            break
        share = np.exp(logs[m] + polynomials[m, wanted - 1] - polynomials[m + 1, wanted])
        if uniforms[m] < share:
            chosen.append(m)
    return np.array(chosen, dtype=np.int64)


def _by_projection(vectors: F64, uniforms: F64) -> I64:
    """One item for each of the orthonormal rows (k, n), by the DPP whose kernel projects on their span."""
    k, n = vectors.shape
    weights = (vectors * vectors).sum(axis=0)
    done = np.zeros((k, n))
    chosen = np.zeros(k, dtype=np.int64)
    for j in range(k):
        total = np.cumsum(weights)
        item = int(np.searchsorted(total, uniforms[j] * total[-1], side="right"))
        chosen[j] = item
        column = (vectors[:, item, None] * vectors).sum(axis=0) - (done[:j, item, None] * done[:j]).sum(axis=0)
        done[j] = column / np.sqrt(weights[item])
        weights = np.maximum(weights - done[j] * done[j], 0.0)
        weights[chosen[: j + 1]] = 0.0
    return np.sort(chosen)

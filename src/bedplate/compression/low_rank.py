"""Matrices of low rank: a weight [out, in] as the product of [out, rank] and [rank, in].

A dense layer of rank r costs r·(out + in) products in place of out·in, so it can only be faster below the rank
out·in / (out + in) (`break_even`). Whether it is, is measured elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Factors = tuple[np.ndarray, np.ndarray]
"""left [out, rank] and right [rank, in]; their product stands for the weight."""


def break_even(rows: int, columns: int) -> int:
    """Return the largest rank at which two factors hold fewer numbers than the matrix."""
    return max(0, (rows * columns - 1) // (rows + columns))


def rank_for_energy(singular: np.ndarray, energy: float) -> int:
    """Return the least rank, from 1, whose singular values (descending) hold a share `energy` of the squares' sum."""
    squares = np.asarray(singular, np.float64) ** 2
    if not 0 < energy <= 1:
        raise ValueError(f"energy is a share above 0 and at most 1, received {energy}")
    total = squares.sum()
    if total == 0:
        return 1
    return int(np.searchsorted(np.cumsum(squares) / total, energy - 1e-12) + 1)


def _checked(weight: np.ndarray, rank: int) -> np.ndarray:
    if weight.ndim != 2 or not 1 <= rank <= min(weight.shape):
        raise ValueError(f"a matrix of {weight.shape} has no factors of rank {rank}")
    return np.asarray(weight, np.float64)


def truncated_svd(weight: np.ndarray, rank: int) -> Factors:
    """Return the factors nearest to the weight in the sum of squares.

    W = U Σ Vᵀ, of which the largest `rank` singular values are kept. Eckart and Young 1936, "The approximation of one
    matrix by another of lower rank".
    """
    u, s, vt = np.linalg.svd(_checked(weight, rank), full_matrices=False)
    return u[:, :rank] * s[:rank], vt[:rank]


def randomised_svd(
    weight: np.ndarray, rank: int, *, oversampling: int = 8, iterations: int = 2, seed: int = 0
) -> Factors:
    """Return nearly those factors, sooner for large matrices of low rank.

    The range of W is found from (W Wᵀ)^q W Ω with random Ω [in, rank + oversampling]; the small rest is exact.
    Halko, Martinsson and Tropp 2011, "Finding structure with randomness", algorithm 4.4.
    """
    matrix = _checked(weight, rank)
    wide = min(rank + oversampling, min(matrix.shape))
    basis, _ = np.linalg.qr(matrix @ np.random.default_rng(seed).standard_normal((matrix.shape[1], wide)))
    for _ in range(iterations):
        other, _ = np.linalg.qr(matrix.T @ basis)
        basis, _ = np.linalg.qr(matrix @ other)
    u, s, vt = np.linalg.svd(basis.T @ matrix, full_matrices=False)
    return basis @ (u[:, :rank] * s[:rank]), vt[:rank]


def pivoted_qr(weight: np.ndarray, rank: int) -> Factors:
    """Return factors whose left one has orthonormal columns, by QR with column pivoting.

    W P = Q R with falling |Rᵢᵢ|; the first `rank` columns of Q and rows of R Pᵀ are kept. Businger and Golub 1965,
    "Linear least squares solutions by Householder transformations".
    """
    from scipy.linalg import qr  # takes a third of a second to load, and few need it

    q, r, order = qr(_checked(weight, rank), mode="economic", pivoting=True)
    right = np.empty_like(r[:rank])
    right[:, order] = r[:rank]
    return q[:, :rank], right


def weighted_svd(weight: np.ndarray, rank: int, inputs: np.ndarray) -> Factors:
    """Return the factors whose outputs on these inputs [rows, in] are nearest to the weight's.

    With S Sᵀ = XᵀX + ε, the sum of squares of X (W − L R)ᵀ is that of (W − L R) S; so W S is cut off as `truncated_svd`
    does and S taken out of the right factor again. ε (a millionth of the mean variance) bounds S⁻¹ where inputs are
    never used. Wang et al. 2024, "SVD-LLM: Truncation-aware Singular Value Decomposition", section 3.
    """
    matrix = _checked(weight, rank)
    rows = np.asarray(inputs, np.float64)
    if rows.ndim != 2 or rows.shape[1] != matrix.shape[1]:
        raise ValueError(f"inputs of {rows.shape} don't fit a weight of {matrix.shape}")
    moments = rows.T @ rows / len(rows)
    ridge = 1e-6 * float(np.trace(moments)) / len(moments) or 1.0
    root = np.linalg.cholesky(moments + ridge * np.eye(len(moments)))
    left, right = truncated_svd(matrix @ root, rank)
    return left, np.linalg.solve(root.T, right.T).T


METHODS: dict[str, Callable[[np.ndarray, int], Factors]] = {
    "svd": truncated_svd, "randomised-svd": randomised_svd, "qr": pivoted_qr,
}  # fmt: skip
"""Those that need the weight alone."""

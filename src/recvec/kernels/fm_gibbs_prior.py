"""The normal laws that features of one group share, drawn along with the features.

Each group g has a mean and a precision for each coordinate, the bias among them::

    v_fk ~ N(mu_gk, 1 / lambda_gk),   mu_gk ~ N(0, 1 / lambda_gk),   lambda_gk ~ Gamma(1/2, c_g / 2)

so that one draw needs only the number of features in the group, their sum and their sum of squares. c_g counts as one more feature
with the square c_g: the variance of n features is hardly drawn below c_g / n. With c = 1 this is nothing for thousands of ids, but
for the few levels of an attribute it is far more than they explain.

Source: Freudenthaler, Schmidt-Thieme, Rendle, "Bayesian factorization machines", 2011, with all constants 1 and means 0.
"""

import numpy as np

from recvec.kernels.compiled import compiled
from recvec.types import F32, F64, I32

Laws = tuple[F32, F32, F32, F32]
"""mu and lambda of the factors, (groups, width); of the biases, (groups,)."""


def first_laws(n_groups: int, width: int) -> Laws:
    """Return means 0 and precisions 1."""
    zeros, ones = np.zeros((n_groups, width), np.float32), np.ones((n_groups, width), np.float32)
    return zeros, ones, zeros[:, 0].copy(), ones[:, 0].copy()


def draw_laws(groups: I32, linear: F32, factors: F32, laws: Laws, rank: int, scales: F64, rng: np.random.Generator) -> Laws:
    """Draw precisions given the means, then means, of all groups.

    Parameters
    ----------
    groups : I32, shape (n_features,)
        Group of each feature.
    linear, factors : F32, shapes (n_features,) and (n_features, width)
        Present biases and factors.
    laws : Laws
        Present laws; not changed.
    rank : int
        Columns of `factors` that count; the laws of the others have mean 0 and precision 1.
    scales : F64, shape (groups,)
        c.
    rng : numpy.random.Generator
        Drawn from: groups times (rank + 1) gamma and normal numbers.
    """
    sums, squares = _sums(groups, linear, factors, len(laws[0]))
    width, n = factors.shape[1], np.bincount(groups, minlength=len(sums))[:, None]
    mean: F64 = np.column_stack([laws[0], laws[2]]).astype(np.float64)
    near = squares - 2 * mean * sums + n * mean**2  # sum of (v - mu)^2
    shape, rate = np.broadcast_to((n + 2) / 2, mean.shape), (near + mean**2 + scales[:, None]) / 2
    precision = rng.gamma(shape, 1 / rate)
    drawn = sums / (n + 1) + rng.standard_normal(mean.shape) / np.sqrt((n + 1) * precision)
    precision[:, rank:width], drawn[:, rank:width] = 1, 0
    mu, lam = drawn.astype(np.float32), precision.astype(np.float32)
    return mu[:, :width].copy(), lam[:, :width].copy(), mu[:, width].copy(), lam[:, width].copy()


@compiled
def _sums(groups, linear, factors, n_groups):
    """Return sums and sums of squares of the features of each group, the bias in the last column."""
    width = factors.shape[1]
    sums, squares = np.zeros((n_groups, width + 1)), np.zeros((n_groups, width + 1))
    for f in range(len(groups)):
        g = groups[f]
        for k in range(width):
            v = np.float64(factors[f, k])
            sums[g, k] += v
            squares[g, k] += v * v
        w = np.float64(linear[f])
        sums[g, width] += w
        squares[g, width] += w * w
    return sums, squares

"""What draws of a factorization machine say about observations: the mean of the predictions, and how far they spread."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from recvec.errors import ValueRangeError
from recvec.kernels.blocks import even_blocks
from recvec.kernels.compiled import compiled, compiled_exactly
from recvec.kernels.fm_blocks import Relations
from recvec.kernels.fm_gibbs_moments import aligned, write_half_squares
from recvec.kernels.fm_gibbs_random import below_normal
from recvec.kernels.fm_gibbs_sides import Parameters, row_vectors
from recvec.kernels.simd import LANES, add_scaled, borrowed, dot, load
from recvec.types import F32, F64, Executor

_TASK = 1 << 15  # observations


@dataclass(frozen=True, eq=False)
class Posterior:
    """S draws of a factorization machine of second order.

    Parameters
    ----------
    bias : F64, shape (S,)
        Of all observations; zeros for "ordered".
    linear : F32, shape (S, n_features)
        w.
    factors : F32, shape (S, n_features, rank)
        v.
    noise : F64, shape (S,)
        Precision of an observation given its score; 1 for "probit" and "ordered".
    cutpoints : F64, shape (S, K - 1)
        Of "ordered", ascending; one 0 for "probit"; none for "normal".
    likelihood : str
        As `fm_gibbs.draw` was told.
    pairs_within : bool
        Whether features of the same row of a block interact. If not, the score of an observation is bias, linear terms, and
        the pairs of features of different blocks.
    """

    bias: F64
    linear: F32
    factors: F32
    noise: F64
    cutpoints: F64
    likelihood: str = "normal"
    pairs_within: bool = True


def predict(posterior: Posterior, relations: Relations, *, executor: Executor) -> tuple[F32, F32]:
    """Return mean and standard deviation of the target of each observation, given what was learned.

    Parameters
    ----------
    posterior : Posterior
        Draws.
    relations : Relations
        n observations over blocks with the features that were learned from; rows may be others.
    executor : Executor
        Runs parts of the observations.

    Returns
    -------
    mean, deviation : F32, each of shape (n,)
        Of the target: the real number; for "probit" the probability of 1 and how far it spreads over the draws; for "ordered"
        the level. For "normal" and "ordered" the deviation holds the noise of an observation as well, not only what is
        not known about the machine.

    Notes
    -----
    Cost: for each draw, one multiply-add for each entry of the blocks and column, and ``n rank`` of them.
    """
    n_features = posterior.linear.shape[1]
    if relations.n_features != n_features:
        raise ValueRangeError(f"the blocks have {relations.n_features} features; allowed: {n_features}, those that were learned from")
    total, squares = np.zeros(len(relations)), np.zeros(len(relations))
    for s in range(len(posterior.bias)):
        found = scores_of_draw(posterior, s, relations, executor=executor)
        _add_draw(posterior, s, found, total, squares, executor)
    mean = total / len(posterior.bias)
    deviation = np.sqrt(np.maximum(squares / len(posterior.bias) - mean**2, 0))
    return mean.astype(np.float32), deviation.astype(np.float32)


def scores_of_draw(posterior: Posterior, draw: int, relations: Relations, *, executor: Executor) -> F32:
    """Return the scores (n,) of one draw."""
    linear, factors = posterior.linear[draw], posterior.factors[draw]
    rank = factors.shape[1]
    wide = aligned(len(factors), -(-rank // LANES) * LANES)
    wide[:, :rank] = factors
    vectors, own = [], []
    for block, first in zip(relations.blocks, relations.starts[:-1], strict=True):
        mine = slice(first, first + block.n_features)
        summed, score = row_vectors(block, linear[mine], wide[mine], pairs=posterior.pairs_within, executor=executor)
        vectors.append(summed)
        own.append(score)
    known = np.concatenate(vectors), np.concatenate(own)
    now = Parameters(float(posterior.bias[draw]), linear, wide, *known, np.empty(len(known[1]), np.float32))
    write_half_squares(now.chunks, now.vectors, now.half)
    return scores(relations, now, executor=executor)


def scores(relations: Relations, parameters: Parameters, *, executor: Executor) -> F32:
    """Return the scores (n,) of observations, from the sums and own scores of their rows."""
    first = np.cumsum([0, *(block.n_rows for block in relations.blocks)])
    rows = np.column_stack([rows + np.int32(start) for rows, start in zip(relations.rows, first, strict=False)]).astype(np.int32)
    known, out = (parameters.vectors, parameters.own, parameters.half), np.empty(len(rows), np.float32)
    chunks, bias = parameters.chunks, np.float32(parameters.bias)
    executor.map(lambda at: _scores(chunks, rows[at], known, bias, out[at]), even_blocks(len(rows), _TASK))
    return out


@compiled
def _scores(chunks, rows, known, bias, out):
    vectors, own, half = borrowed(known)
    zero, count = load(chunks, aligned(1, vectors.shape[1]), 0), rows.shape[1]
    for e in range(len(rows)):
        s, q = bias, zero
        if count == 2:
            i, j = np.int64(rows[e, 0]), np.int64(rows[e, 1])
            out[e] = s + own[i] + own[j] + dot(load(chunks, vectors, i), load(chunks, vectors, j))
            continue
        for b in range(count):
            i = np.int64(rows[e, b])
            q = add_scaled(q, np.float32(1), load(chunks, vectors, i))
            s += own[i] - half[i]
        out[e] = s + np.float32(0.5) * dot(q, q)


def _add_draw(posterior: Posterior, draw: int, found: F32, total: F64, squares: F64, executor: Executor) -> None:
    """Add the mean of the target given the draw, and the mean of its square: for "probit" the square of its mean."""
    s = found.astype(np.float64)
    if posterior.likelihood == "normal":
        total += s
        squares += s**2 + 1 / posterior.noise[draw]
        return
    for level, cutpoint in enumerate(posterior.cutpoints[draw]):
        above = np.empty_like(s)
        executor.map(partial(_below, s - cutpoint, above), even_blocks(len(s), _TASK))
        total += above
        squares += above**2 if posterior.likelihood == "probit" else (2 * level + 1) * above


def _below(x: F64, out: F64, at: slice) -> None:
    _fill_below(x[at], out[at])


@compiled_exactly
def _fill_below(x, out):
    for e in range(len(x)):
        out[e] = below_normal(x[e])

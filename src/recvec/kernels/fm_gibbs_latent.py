"""Probit observations: what is seen is between which two cutpoints a hidden number ``score + N(0, 1)`` lies.

Clicks have one cutpoint, 0. Stars with K levels have K - 1 of them, which are drawn as well: given the scores, with the hidden
numbers integrated out, by a Metropolis-Hastings step whose proposal is a step of Newton's method and a normal number with the
curvature there. With many observations their law is nearly normal, and almost every proposal is accepted. The cutpoints have a flat
law; they take the place of the bias.

Sources: Albert, Chib, "Bayesian analysis of binary and polychotomous response data", JASA 1993; Cowles, "Accelerating Monte Carlo
Markov chain convergence for cumulative-link generalized linear models", 1996, for integrating out the hidden numbers.
"""

import math

import numpy as np

from recvec.kernels.blocks import even_blocks
from recvec.kernels.compiled import compiled_exactly
from recvec.kernels.fm_gibbs_random import SMALLEST, below_normal, normal_between, unit
from recvec.kernels.sampling import STEP, stream
from recvec.types import F32, F64, I32, Executor

_TASK = 1 << 15  # observations
_DENSITY = 1 / math.sqrt(2 * math.pi)


def draw_hidden(scores: F32, levels: I32, cutpoints: F64, key: np.uint64, executor: Executor) -> F32:
    """Draw the hidden number of each observation (n,) given its score and its level, 0 ... K - 1."""
    hidden, edges = np.empty(len(scores), np.float32), np.concatenate([[-np.inf], cutpoints, [np.inf]])
    executor.map(lambda at: _draw_hidden(scores, levels, edges, key, at.start, at.stop, hidden), even_blocks(len(scores), _TASK))
    return hidden


@compiled_exactly
def _draw_hidden(scores, levels, edges, key, first, last, hidden):
    for e in range(first, last):
        s, level = np.float64(scores[e]), levels[e]
        u = unit(stream(key, e) + STEP)
        hidden[e] = s + normal_between(u, edges[level] - s, edges[level + 1] - s)


def first_cutpoints(levels: I32) -> F64:
    """Return the cutpoints (K - 1,) that the shares of the levels give where all scores are 0."""
    counts = np.bincount(levels)
    shares = np.cumsum(counts)[:-1] / len(levels)
    return _quantiles(shares)


@compiled_exactly
def _quantiles(shares):
    answer = np.empty(len(shares))
    for k in range(len(shares)):
        low, high = -40.0, 40.0
        for _ in range(80):
            middle = 0.5 * (low + high)
            if below_normal(middle) < shares[k]:
                low = middle
            else:
                high = middle
        answer[k] = middle
    return answer


def draw_cutpoints(scores: F32, levels: I32, cutpoints: F64, rng: np.random.Generator, executor: Executor) -> F64:
    """Draw the cutpoints (K - 1,) given the scores, starting from the present ones. Cost: two passes over the observations."""
    here = _curve(scores, levels, cutpoints, executor)
    centre, root = _newton(cutpoints, here)
    z = rng.standard_normal(len(cutpoints))
    proposed = centre + np.linalg.solve(root.T, z)  # precision root root'
    luck = np.log(rng.uniform())
    if (np.diff(proposed) <= 0).any():
        return cutpoints
    there = _curve(scores, levels, proposed, executor)
    back_centre, back_root = _newton(proposed, there)
    back = back_root.T @ (cutpoints - back_centre)
    log_forth = np.log(root.diagonal()).sum() - z @ z / 2
    log_back = np.log(back_root.diagonal()).sum() - back @ back / 2
    return proposed if luck < there[0] - here[0] + log_back - log_forth else cutpoints


def _newton(cutpoints: F64, curve: tuple[float, F64, F64]) -> tuple[F64, F64]:
    """Return where a step of Newton's method leads, and the Cholesky factor of the curvature there."""
    _, slope, curvature = curve
    root: F64 = np.linalg.cholesky(curvature + 1e-9 * np.eye(len(slope))).astype(np.float64)
    return cutpoints + np.linalg.solve(root.T, np.linalg.solve(root, slope)), root


def _curve(scores: F32, levels: I32, cutpoints: F64, executor: Executor) -> tuple[float, F64, F64]:
    """Return the log likelihood of the cutpoints, its gradient, and its curvature with the sign changed."""
    edges = np.concatenate([[-np.inf], cutpoints, [np.inf]])
    parts = executor.map(lambda at: _curve_part(scores, levels, edges, at.start, at.stop), even_blocks(len(scores), _TASK))
    k = len(cutpoints)
    total = np.sum(parts, axis=0)
    curvature = np.diag(total[1 + k : 1 + 2 * k])
    beside = total[1 + 2 * k : 3 * k]
    return float(total[0]), total[1 : 1 + k], curvature + np.diag(beside, 1) + np.diag(beside, -1)


@compiled_exactly
def _curve_part(scores, levels, edges, first, last):
    """Return log likelihood, gradient, diagonal of the curvature, and what stands beside it: 3 K - 3 numbers."""
    k = len(edges) - 2
    out = np.zeros(3 * k)
    for e in range(first, last):
        s, level = np.float64(scores[e]), levels[e]
        low, high = edges[level] - s, edges[level + 1] - s
        if low > 0:
            p = below_normal(-low) - below_normal(-high)
        else:
            p = below_normal(high) - below_normal(low)
        p = max(p, SMALLEST)
        at_low = _DENSITY * math.exp(-0.5 * low * low) / p if level > 0 else 0.0
        at_high = _DENSITY * math.exp(-0.5 * high * high) / p if level < k else 0.0
        out[0] += math.log(p)
        if level < k:
            out[1 + level] += at_high
            out[1 + k + level] += high * at_high + at_high * at_high
        if level > 0:
            out[level] -= at_low
            out[k + level] += at_low * at_low - low * at_low
        if 0 < level < k:
            out[2 * k + level] -= at_low * at_high
    return out

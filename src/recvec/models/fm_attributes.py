"""What attributes explain of ids, settled after the draws.

A chain learns the sum of a row's id and attributes well, but moves slowly between the two: an attribute and the mean of the ids
that have it may trade places without a change of any score. Whoever is known gets the sum; whoever comes without an id gets the
attributes alone, as they happened to stand. So the draws are settled: the sums of the rows are regressed on the attributes, the
attributes take what is predicted, the ids the rest. No score of a known row changes. The ridge is that of the model itself, an
attribute g of the law N(0, rho_g s) against ids of N(0, s), and the rho_g that make the sums likeliest are found by MacKay's fixed
point, one for all draws and coordinates: expectation maximization needs hundreds of steps to reach the 0 of an idle attribute.

What was measured on validation parts (`benchmarks/tuning/fm_attributes.json`): predictions for new users are hurt by attributes
where these are free to be larger than what they explain. Two things free them: the usual prior, which hardly allows the few levels
of an attribute a variance below 1 / n_levels, and a ridge of one row in this regression. `ATTRIBUTE_SCALE` and rho hold them.

Source of the fixed point: MacKay, "Bayesian interpolation", Neural Computation 4, 1992.
"""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from recvec.kernels.fm_vectors import Machine
from recvec.models.fm_problem import Problem
from recvec.types import F32, F64, I32, I64

ATTRIBUTE_SCALE = 0.01  # of the prior variance of attributes, see `kernels.fm_gibbs_prior`; ids have 1
MOST = 2000  # attributes that are settled; with more of them the normal equations would not be small
STEPS = 15  # of the fixed point


def scales(problem: Problem, features: I64) -> F64:
    """Return the scale of the prior variance of each group that the given features are in, in their order."""
    groups = problem.groups
    side = np.searchsorted(problem.starts, features, side="right") - 1
    local = features - problem.starts[side]
    ids = np.array([coder.attributes_start for coder in problem.coders])[side]
    met = np.array([coder.met_start for coder in problem.coders])[side]
    attribute = (local >= ids) & (local < met)
    _, first = np.unique(groups[features], return_index=True)
    return np.where(attribute[first], ATTRIBUTE_SCALE, 1.0)


def settled(machine: Machine, problem: Problem, side: int) -> Machine:
    """Return the machine with attributes that explain what they can of the rows of a side that were learned from.

    Parameters
    ----------
    machine : Machine
        Of second order, without field weights.
    problem : Problem
        What it was learned from.
    side : int
        Users or items.

    Notes
    -----
    Cost: a few times ``n_attributes^3``, and ``2 S d`` multiply-adds for each entry and step.
    """
    coder, trained = problem.coders[side], np.unique(problem.rows[side])
    n_attributes = coder.attributes.n_features
    if not 0 < n_attributes <= MOST:
        return machine
    x = sp.csr_array(problem.attributes[side][trained]).astype(np.float64)  # (n, a)
    squares, groups = x.multiply(x).tocsr(), coder.attributes.groups
    ids: I64 = problem.starts[side] + trained.astype(np.int64)
    at = slice(int(problem.starts[side]) + coder.attributes_start, int(problem.starts[side]) + coder.met_start)
    v, w = _flat(machine.factors[:, at]), machine.linear[:, at].T.astype(np.float64)  # (a, S d), (a, S)
    mine, alone = _flat(machine.factors[:, ids]), machine.linear[:, ids].T + x @ w  # (n, S d), (n, S)
    split, rest = explained(x, groups, mine + x @ v)
    if machine.within:
        alone += (_lengths(rest, split, squares, machine.n_draws) - _lengths(mine, v, squares, machine.n_draws)) / 2
    weights, left = explained(x, groups, alone)
    linear, factors = machine.linear.copy(), machine.factors.copy()
    shape = (-1, machine.n_draws, machine.rank)
    factors[:, at], factors[:, ids] = split.reshape(shape).transpose(1, 0, 2), rest.reshape(shape).transpose(1, 0, 2)
    linear[:, at], linear[:, ids] = weights.T, left.T
    return replace(machine, linear=linear, factors=factors)


def explained(x: sp.csr_array, groups: I32, totals: F64) -> tuple[F64, F64]:
    """Return what the attributes predict of the totals, around their mean, and what is left to the rows.

    Parameters
    ----------
    x : csr_array, shape (n, a)
        Attributes.
    groups : I32, shape (a,)
        Attribute of each feature.
    totals : F64, shape (n, k)
        Sums of the rows.

    Returns
    -------
    F64, shapes (a, k) and (n, k)
        v and ``totals - x v``, with v the mean of its law given the totals, for rho as above.
    """
    gram, pull = (x.T @ x).toarray(), x.T @ (totals - totals.mean(axis=0))
    around = ((totals - totals.mean(axis=0)) ** 2).sum(axis=0)
    sizes = np.bincount(groups)
    rho, found = np.full(len(sizes), 0.1), np.zeros_like(pull)
    for _ in range(STEPS):
        inverse = np.linalg.inv(gram + np.diag(1 / rho[groups]))
        found = inverse @ pull
        left = around - 2 * np.einsum("ak,ak->k", found, pull) + np.einsum("ak,ab,bk->k", found, gram, found, optimize=True)
        free = max(len(totals) - float(np.einsum("ab,ab->", inverse, gram)), 1.0)
        spread = np.maximum(left / free, 1e-12)  # s of each column
        told = np.maximum(sizes - np.bincount(groups, weights=np.diag(inverse)) / rho, 1e-9)  # levels that the rows tell of
        rho = np.clip(np.bincount(groups, weights=(found**2 / spread).mean(axis=1)) / told, 1e-6, 10)
    return found, totals - x @ found


def _flat(vectors: F32) -> F64:
    """Return (S, n, d) as (n, S d)."""
    flat: F64 = vectors.transpose(1, 0, 2).reshape(vectors.shape[1], -1).astype(np.float64)
    return flat


def _lengths(ids: F64, attributes: F64, squares: sp.csr_array, n_draws: int) -> F64:
    """Return the sum of x^2 |v|^2 over the id and the attributes of each row, (n, S)."""
    own, other = ((v**2).reshape(len(v), n_draws, -1).sum(axis=2) for v in (ids, attributes))
    total: F64 = own + squares @ other
    return total

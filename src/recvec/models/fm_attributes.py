"""What attributes explain of ids, settled after the draws.

A chain learns the sum of a row's id and attributes well, but moves slowly between the two: an attribute and the mean of the ids
that have it may trade places without a change of any score. Whoever is known gets the sum; whoever comes without an id gets the
attributes alone, as they happened to stand. So each draw is settled: the sums of the rows are regressed on the attributes, with
one row's worth of ridge, the attributes take what is predicted, the ids the rest. No score of a known row changes.
"""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from recvec.kernels.fm_vectors import Machine
from recvec.models.fm_problem import Problem
from recvec.types import F64, I64

MOST = 4000  # attributes that are settled; with more of them the normal equations would not be small


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
    Cost: ``n_attributes^3 / 3`` once, and ``2 S d`` multiply-adds for each entry.
    """
    coder, trained = problem.coders[side], np.unique(problem.rows[side])
    n_attributes = coder.attributes.n_features
    if not 0 < n_attributes <= MOST:
        return machine
    x = sp.csr_array(problem.attributes[side][trained]).astype(np.float64)  # (n, a)
    ids: I64 = problem.starts[side] + trained.astype(np.int64)
    at = slice(int(problem.starts[side]) + coder.attributes_start, int(problem.starts[side]) + coder.met_start)
    system = (x.T @ x).toarray() + np.eye(n_attributes)
    squares = x.multiply(x).tocsr()
    linear, factors = machine.linear.copy(), machine.factors.copy()
    for s in range(machine.n_draws):
        v, w = factors[s].astype(np.float64), linear[s].astype(np.float64)
        totals = v[ids] + x @ v[at]
        split, rest = _explained(x, system, totals)
        within = _lengths(v[ids], v[at], squares)
        alone = w[ids] + x @ w[at] + ((_lengths(rest, split, squares) - within) / 2 if machine.within else 0)
        weights, left = _explained(x, system, alone[:, None])
        factors[s, at], factors[s, ids] = split, rest
        linear[s, at], linear[s, ids] = weights[:, 0], left[:, 0]
    return replace(machine, linear=linear, factors=factors)


def _explained(x: sp.csr_array, system: F64, totals: F64) -> tuple[F64, F64]:
    """Return what the attributes predict of the totals, around their mean, and what is left to the rows."""
    found: F64 = np.linalg.solve(system, x.T @ (totals - totals.mean(axis=0)))
    return found, totals - x @ found


def _lengths(ids: F64, attributes: F64, squares: sp.csr_array) -> F64:
    """Return the sum of x^2 |v|^2 over the id and the attributes of each row, (n,)."""
    total: F64 = (ids**2).sum(axis=1) + squares @ (attributes**2).sum(axis=1)
    return total

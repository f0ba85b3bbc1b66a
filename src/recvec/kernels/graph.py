"""The graph of users and items that an interaction matrix is, and the propagation of vectors along its edges.

With R the weights (n_users, n_items), D the sums of its rows and columns, and exponents a, b of the degrees::

    A = [ 0  S ]      S = D_u^-a R D_i^-b            x^(k+1) = A x^(k)            mean = (x^(0) + ... + x^(L)) / (L + 1)
        [ S' 0 ]

A is symmetric, and so is the mean as a function of x^(0): it is its own adjoint. So a slope at propagated vectors becomes one at
those before by the same propagation. With a = b = 1/2 this is LightGCN's. Duplicate edges are one with the sum of their weights;
what has no edge gets nothing by a layer and keeps ``x^(0) / (L + 1)``.

Cost of a layer: two sparse products, ``4 nnz d`` operations, bound by the gathering of rows (`kernels.factorization.sparse_dense`).

Source: He et al., "LightGCN", SIGIR 2020, equations 3-8.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from recvec.errors import ValueRangeError
from recvec.kernels.factorization import sparse_dense
from recvec.types import F32, Array, Executor


@dataclass(frozen=True, eq=False)
class Graph:
    """Edges with their normalized weights.

    Parameters
    ----------
    to_users : csr_array, float32, shape (n_users, n_items)
        S: what users receive from items.
    to_items : csr_array, float32, shape (n_items, n_users)
        Its transpose.
    """

    to_users: sp.csr_array
    to_items: sp.csr_array

    def layer(self, users: F32, items: F32, executor: Executor) -> tuple[F32, F32]:
        """Return what users (n_users, d) and items (n_items, d) receive from each other."""
        return sparse_dense(self.to_users, items, executor=executor), sparse_dense(self.to_items, users, executor=executor)

    def mean_of_layers(self, users: F32, items: F32, n_layers: int, executor: Executor) -> tuple[F32, F32]:
        """Return the mean of the vectors before and after each of `n_layers` layers; also its own adjoint."""
        here, of_users, of_items = (users, items), users.copy(), items.copy()
        for _ in range(n_layers):
            here = self.layer(*here, executor)
            of_users += here[0]
            of_items += here[1]
        share = np.float32(1 / (n_layers + 1))
        of_users *= share
        of_items *= share
        return of_users, of_items


def graph_of(weights: sp.csr_array, *, user_exponent: float = 0.5, item_exponent: float = 0.5) -> Graph:
    """Return the graph of a matrix of weights (n_users, n_items).

    Raises
    ------
    ValueRangeError
        Where a weight is below 0 or not finite.
    """
    if weights.nnz and not (weights.data.min() >= 0 and np.isfinite(weights.data).all()):
        raise ValueRangeError("weights of edges are below 0 or not finite; allowed: 0 or a finite number above")
    merged = weights.astype(np.float32)
    merged.sum_duplicates()
    of_users, of_items = (_inverse(np.asarray(merged.sum(axis=axis)), power) for axis, power in ((1, user_exponent), (0, item_exponent)))
    data = merged.data * np.repeat(of_users, np.diff(merged.indptr)) * of_items[merged.indices]
    to_users = sp.csr_array((data, merged.indices, merged.indptr), shape=merged.shape)
    to_items = to_users.T.tocsr()
    to_items.sort_indices()
    return Graph(to_users, sp.csr_array(to_items))


def _inverse(degrees: Array, power: float) -> F32:
    """Return ``degrees ** -power``, and 0 for what has no edge."""
    return np.where(degrees > 0, np.where(degrees > 0, degrees, 1.0) ** -power, 0).astype(np.float32)

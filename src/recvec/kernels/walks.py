"""Random walks over the graph of users and items: item to user to item, each step with a probability in proportion to the weights.

With X the interactions (n_users, n_items), d_u and d_i the sums of its rows and columns, a walk at item i goes to user u with
probability x_ui / d_i and on to item j with x_uj / d_u. The matrix of both steps is similar to a symmetric one::

    P = D_i^-1 X' D_u^-1 X = D_i^-1/2 (R' R) D_i^1/2,     R = D_u^-1/2 X D_i^-1/2

so that one sparse factor, R', serves walks of any length (`recvec.kernels.gram`).

A walk of a person with the history h, shares of 1, starts at the person. Before each step it ends with probability a; its
first step goes to an item of h. It is at item j so many times on average, in at most 1 + 2 t steps::

    v = (1 - a) sum_{k = 0 ... t} (1 - a)^2k  h P^k

With t without bound, a v are the entries of personalised PageRank over all nodes of the graph that go home with
probability a; they say the same as a random walk with restart, looked at after a long time.

Sources: Page, Brin, Motwani, Winograd 1999 (PageRank); Tong, Faloutsos, Pan, ICDM 2006 (random walk with restart);
Eksombatchai et al., "Pixie", WWW 2018 (walks that are drawn).
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from recvec.kernels.compiled import compiled_exactly
from recvec.kernels.factorization import sparse_dense
from recvec.kernels.gram import SIDE_BY_SIDE, spread, turn
from recvec.kernels.sampling import STEP, below, high_unit, mixed, stream
from recvec.kernels.sparse_products import best_of_columns, best_of_products
from recvec.types import F32, I32, I64, Array, Executor


class Normalized(NamedTuple):
    """A graph, each edge divided by the roots of the degrees of its ends.

    Parameters
    ----------
    by_item, by_user : csr_array, float32, shapes (n_items, n_users) and (n_users, n_items)
        R' and R.
    item_root : F32, shape (n_items,)
        d_i^-1/2, and 0 for an item without edges.
    """

    by_item: sp.csr_array
    by_user: sp.csr_array
    item_root: F32


def normalized(by_user: sp.csr_array) -> Normalized:
    """Return R of the interactions X (n_users, n_items), no entry of which is negative."""
    user_root, item_root = (_inverse_root(by_user.sum(axis=axis, dtype=np.float64)) for axis in (1, 0))
    data = by_user.data * np.repeat(user_root, np.diff(by_user.indptr)) * item_root[by_user.indices]
    scaled = sp.csr_array((data, by_user.indices, by_user.indptr), shape=by_user.shape)
    return Normalized(sp.csr_array(scaled.T.tocsr()), scaled, item_root)


def _inverse_root(sums: Array) -> F32:
    return np.where(sums > 0, np.where(sums > 0, sums, 1) ** -0.5, 0).astype(np.float32)


def inverse(values: F32) -> F32:
    """Return 1 / value, and 0 for 0."""
    return np.where(values > 0, 1 / np.where(values > 0, values, 1), 0).astype(np.float32)


# ---------------------------------------------------------------- expected visits


def visits(graph: Normalized, starts: sp.csr_array, restart: float, rounds: int) -> F32:
    """Return v for each row of `starts`, shape (B, n_items), in the calling thread.

    Parameters
    ----------
    graph : Normalized
        The graph.
    starts : csr_array, float32, shape (B, n_items)
        Histories, none of whose weights is negative; rows without a positive one get zeros.
    restart : float
        a, from 0 to 1.
    rounds : int
        t, at least 1.

    Notes
    -----
    Cost: ``4 nnz(R) B`` operations a round, half of that for the first. Memory: ``4 (2 n_items + n_users)`` bytes for
    each of 64 rows. The bits of a row do not depend on the others.
    """
    out = np.empty(starts.shape, np.float32)
    begin, go_on = shares(starts), np.float32((1 - restart) ** 2)
    begin.data *= graph.item_root[begin.indices]
    back = np.float32(1 - restart) * inverse(graph.item_root)
    for first in range(0, len(out), SIDE_BY_SIDE):
        some = begin[first : first + SIDE_BY_SIDE]
        found = sparse_dense(graph.by_item, spread(some, graph.by_item), executor=None)  # (n_items, B): one round
        rows = np.repeat(np.arange(some.shape[0]), np.diff(some.indptr))
        for _ in range(rounds - 1):  # Horner: v = h + (1 - a)^2 (h + ...) P
            found *= go_on
            found[some.indices, rows] += some.data
            found = sparse_dense(graph.by_item, sparse_dense(graph.by_user, found, executor=None), executor=None)
        found *= go_on
        found[some.indices, rows] += some.data
        found *= back[:, None]
        turn(found, out[first : first + some.shape[0]])
    return out


def shares(matrix: sp.csr_array) -> sp.csr_array:
    """Return each row divided by its sum; rows whose sum is 0 become zeros."""
    sums = np.repeat(matrix.sum(axis=1, dtype=np.float64), np.diff(matrix.indptr))
    data = np.where(sums > 0, matrix.data / np.where(sums > 0, sums, 1), 0).astype(np.float32)
    return sp.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


# ---------------------------------------------------------------- walks that are drawn


class Roads(NamedTuple):
    """Where a walk may go from each node of one side, as compressed rows.

    Parameters
    ----------
    indptr : I64, shape (n + 1,)
    ends : I32, shape (n_edges,)
        The other side.
    upto : F32, shape (n_edges,), or (0,)
        Share of a row's weight up to and with each entry; empty where all weights are the same. 0 in rows without weight.
    """

    indptr: I64
    ends: I32
    upto: F32


def roads(matrix: sp.csr_array) -> Roads:
    """Return the roads of each row of a matrix without negative entries."""
    indptr = matrix.indptr.astype(np.int64, copy=False)
    same = matrix.nnz == 0 or (matrix.data[0] > 0 and (matrix.data == matrix.data[0]).all())
    return Roads(indptr, matrix.indices, np.empty(0, np.float32) if same else _running_shares(indptr, matrix.data))


@compiled_exactly
def _running_shares(indptr: I64, data: F32) -> F32:
    upto = np.zeros(len(data), np.float32)
    for r in range(len(indptr) - 1):
        total = 0.0
        for e in range(indptr[r], indptr[r + 1]):
            total += np.float64(data[e])
        running = 0.0
        for e in range(indptr[r], indptr[r + 1]):
            running += np.float64(data[e])
            if total > 0:
                upto[e] = running / total
    return upto


def drawn_visits(starts: Roads, from_user: Roads, from_item: Roads, restart: float, rounds: int, n_walks: int, seed: int, out: F32) -> None:
    """Write an estimate of v, without bias, of `n_walks` walks for each person, in the calling thread.

    The numbers of a walk come from the seed, the items of the history and the number of the walk alone: equal histories
    get equal lists, in any batch.

    Parameters
    ----------
    starts : Roads
        Histories of B people.
    from_user, from_item : Roads
        The graph.
    restart, rounds
        As in `visits`.
    n_walks, seed : int
        How many, and which.
    out : F32, shape (B, n_items)
        What was there is lost.

    Notes
    -----
    Cost: a walk takes ``1 / restart`` steps at most on average, each at a random place of the graph; it does not depend on
    the size of the graph. The error of v is ``sqrt(v / n_walks)`` at least.
    """
    out[:] = 0
    _draw(*starts, *from_user, *from_item, np.float32(1 - restart), rounds, n_walks, np.uint64(seed), out)
    out /= np.float32(n_walks)


@compiled_exactly
def _draw(
    start_bounds, start_items, start_upto, user_bounds, user_items, user_upto, item_bounds, item_users, item_upto,
    go_on, rounds, n_walks, seed, out,
):  # fmt: skip
    for b in range(len(out)):
        person = np.uint64(seed)
        for e in range(start_bounds[b], start_bounds[b + 1]):
            person = mixed(person + np.uint64(start_items[e]) * STEP + STEP)
        for walk in range(n_walks):
            state = stream(person, walk)
            bounds, ends, upto, node = start_bounds, start_items, start_upto, np.int64(b)
            for step in range(1 + 2 * rounds):
                state += STEP
                if high_unit(mixed(state)) >= go_on:
                    break
                state += STEP
                at = _taken(mixed(state), bounds[node], bounds[node + 1], upto)
                if at < 0:
                    break
                node = np.int64(ends[at])
                if step % 2 == 0:
                    out[b, node] += 1
                    bounds, ends, upto = item_bounds, item_users, item_upto
                else:
                    bounds, ends, upto = user_bounds, user_items, user_upto


@compiled_exactly
def _taken(bits, first, last, upto):
    """Return the entry of a row that is taken, -1 where there is none."""
    if first == last:
        return np.int64(-1)
    if len(upto) == 0:
        return first + below(bits, last - first)
    if upto[last - 1] == 0:
        return np.int64(-1)
    unit = high_unit(bits)
    low, high = first, last - 1
    while low < high:  # the first entry whose share lies above
        middle = (low + high) // 2
        if upto[middle] > unit:
            high = middle
        else:
            low = middle + 1
    return low


# ---------------------------------------------------------------- three steps, popular ends divided out


def three_steps(
    by_user: sp.csr_array, *, alpha: float, beta: float, n_neighbours: int, normalize: bool, executor: Executor
) -> sp.csr_array:
    """Return the matrix between items of RP3beta: multiply, select, normalize, select.

    ::

        W_ij = sum_u P_iu^alpha P_uj^alpha / d_j^beta     for i != j,       0 for i = j

    Parameters
    ----------
    by_user : csr_array, float32, shape (n_users, n_items)
        X.
    alpha, beta, n_neighbours, normalize
        See `recvec.models.rp3beta`.
    executor : Executor
        Runs blocks of rows.
    """
    by_item = sp.csr_array(by_user.T.tocsr())
    degrees = np.asarray(by_item.sum(axis=1), dtype=np.float32)
    popularity = np.where(degrees > 0, degrees, 1) ** np.float32(beta)
    steps = _probabilities(by_item, alpha), _probabilities(by_user, alpha)
    weights = best_of_products(*steps, n_neighbours, column_scale=popularity, executor=executor)
    if normalize:
        weights = _divided(weights, weights.sum(axis=1))
    return best_of_columns(weights, n_neighbours, executor=executor)


def _probabilities(matrix: sp.csr_array, alpha: float) -> sp.csr_array:
    """Return the probabilities of a step from each row, to the power alpha."""
    steps = _divided(matrix, matrix.sum(axis=1))
    steps.data **= np.float32(alpha)
    return steps


def _divided(matrix: sp.csr_array, sums: Array) -> sp.csr_array:
    """Return the matrix with each row divided by its sum; rows without entries stay so."""
    divisor: F32 = np.repeat(np.where(sums > 0, sums, 1), np.diff(matrix.indptr)).astype(np.float32)
    return sp.csr_array((matrix.data / divisor, matrix.indices, matrix.indptr), shape=matrix.shape)

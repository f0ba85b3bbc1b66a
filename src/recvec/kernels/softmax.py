"""The softmax over a catalogue, for all pairs of many users at once: loss and slopes, by products of matrices.

With s_ui = h_u . v_i, w_ui the weight of an observed pair and W_u the sum of a user's weights::

    L = [ sum_u W_u log( n_items / |J| sum_{j in J} exp s_uj )  -  sum_{(u,i) observed} w_ui s_ui ]  /  sum_u W_u

J are items drawn for all users alike (or all items, which makes the loss exact). The log-sum-exp does not depend on the item
observed, so it is taken once a user, not once a pair: that is what a step costs, ``6 n_users |J| d`` operations in products and an
exponential for each user and drawn item. The observed pairs cost two sparse products, ``4 nnz d``.

Slopes are those of ``-L sum W``: the direction of ascent, ``sum_i w_ui v_i - W_u sum_j softmax_j v_j`` for a user.

Sources: Jean et al., "On using very large target vocabulary for neural machine translation", ACL 2015 (shared negatives); Wu et al.,
"BSL", ICDE 2024, and Yang et al., "SL@K", 2025 (softmax on cosine for recommendation; weights of the observed pairs).
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from recvec.errors import ValueRangeError
from recvec.kernels.blocks import even_blocks
from recvec.kernels.compiled import compiled
from recvec.kernels.factorization import sparse_dense
from recvec.kernels.negatives import draw_unmet
from recvec.types import F32, I64, Executor

SLICE = 256  # users whose scores are there at the same time: a slice and its products stay in a core's cache
BLOCKS = 16  # partial sums over users, added in order


@dataclass(frozen=True, eq=False)
class Observed:
    """The observed pairs of some users, and the same pairs by item.

    Parameters
    ----------
    by_user : csr_array, float32, shape (n_users, n_items)
        Weights, none below 0.
    by_item : csr_array, float32, shape (n_items, n_users)
        Its transpose.
    place : I64, shape (nnz,)
        Where in `by_user` each entry of `by_item` stands.
    totals : F32, shape (n_users,)
        W.
    """

    by_user: sp.csr_array
    by_item: sp.csr_array
    place: I64
    totals: F32

    @classmethod
    def of(cls, by_user: sp.csr_array) -> "Observed":
        """Transpose a matrix (n_users, n_items) of weights."""
        numbered = sp.csr_array((np.arange(by_user.nnz, dtype=np.int64), by_user.indices, by_user.indptr), shape=by_user.shape)
        turned = numbered.T.tocsr()
        turned.sort_indices()
        by_item = sp.csr_array((by_user.data[turned.data], turned.indices, turned.indptr), shape=turned.shape)
        return cls(by_user, by_item, turned.data, np.asarray(by_user.sum(axis=1), np.float32))

    def weighted(self, weights: F32) -> "Observed":
        """Return the same pairs with other weights, in the order of `by_user`, shape (nnz,)."""
        n, by_user, by_item = self.by_user.shape, self.by_user, self.by_item
        left = sp.csr_array((weights, by_user.indices, by_user.indptr), shape=n)
        right = sp.csr_array((weights[self.place], by_item.indices, by_item.indptr), shape=n[::-1])
        return replace(self, by_user=left, by_item=right, totals=np.asarray(left.sum(axis=1), np.float32))


def softmax_slopes(users: F32, items: F32, drawn: I64, observed: Observed, executor: Executor) -> tuple[float, F32, F32]:
    """Return the loss and its slopes.

    Parameters
    ----------
    users : F32, shape (n_users, d)
        h.
    items : F32, shape (n_items, d)
        v, the temperature included.
    drawn : I64, shape (|J|,)
        Distinct items.
    observed : Observed
        The pairs.
    executor : Executor
        Runs blocks of users; the bits do not depend on it.

    Returns
    -------
    loss : float
        The mean over the weights.
    of_users : F32, shape (n_users, d); of_items : F32, shape (n_items, d)
        Slopes of the sum, uphill.

    Raises
    ------
    ValueRangeError
        Where shapes do not fit, or there is no weight.
    """
    weight = float(observed.totals.sum(dtype=np.float64))
    if observed.by_user.shape != (len(users), len(items)) or not len(drawn) or not weight > 0:
        raise ValueRangeError(
            f"pairs of shape {observed.by_user.shape} with a total weight of {weight:g}, {len(drawn)} items drawn; "
            f"allowed: shape {(len(users), len(items))}, a weight above 0 and one item or more"
        )
    of_users = sparse_dense(observed.by_user, items, executor=executor)
    of_items = sparse_dense(observed.by_item, users, executor=executor)
    value, of_drawn = _subtract_expected(users, items[drawn], observed.totals, of_users, executor)
    of_items[drawn] -= of_drawn
    return value / weight + float(np.log(len(items) / len(drawn))), of_users, of_items


def bpr_slopes(users: F32, items: F32, observed: Observed, seed: int, executor: Executor) -> tuple[float, F32, F32]:
    """Return the loss of pairs of items, ``log(1 + exp(s_uj - s_ui))`` with one unmet j drawn for each observed (u, i), and its slopes.

    Parameters and returns are those of `softmax_slopes`; the seed draws j. Cost: four sparse products, ``8 nnz d``.

    Source: Rendle et al., "BPR", UAI 2009.
    """
    pairs, n_items = observed.by_user, len(items)
    rows = np.repeat(np.arange(len(users), dtype=np.int32), np.diff(pairs.indptr))
    met = pairs.indptr.astype(np.int64), pairs.indices.astype(np.int32)
    unmet = draw_unmet(met, rows, 1, n_items, seed=seed, executor=executor)[:, 0]
    others = sp.csr_array((pairs.data, unmet, pairs.indptr), shape=pairs.shape)
    gaps = scores_of_pairs(users, items, others) - scores_of_pairs(users, items, pairs)  # s_uj - s_ui
    loss = float((pairs.data * np.logaddexp(0, gaps)).mean(dtype=np.float64) / pairs.data.mean(dtype=np.float64))
    pull = (pairs.data / (1 + np.exp(-gaps))).astype(np.float32)
    up, down = observed.weighted(pull), Observed.of(sp.csr_array((pull, unmet, pairs.indptr), shape=pairs.shape))
    of_users, of_items = sparse_dense(up.by_user, items, executor=executor), sparse_dense(up.by_item, users, executor=executor)
    of_users -= sparse_dense(down.by_user, items, executor=executor)
    of_items -= sparse_dense(down.by_item, users, executor=executor)
    return loss, of_users, of_items


def scores_of_pairs(users: F32, items: F32, pairs: sp.csr_array) -> F32:
    """Return the product of user and item for each entry of a matrix (n_users, n_items), in its order, shape (nnz,)."""
    scores = np.empty(pairs.nnz, np.float32)
    _score_pairs(pairs.indptr, pairs.indices, users, items, scores)
    return scores


@compiled
def _score_pairs(indptr, indices, users, items, scores):
    for u in range(len(users)):
        for e in range(indptr[u], indptr[u + 1]):
            total = np.float32(0)
            for a in range(users.shape[1]):
                total += users[u, a] * items[indices[e], a]
            scores[e] = total


def expected(users: F32, drawn: F32) -> tuple[F32, F32]:
    """Return the mean of the drawn vectors under each user's softmax, (n, d), and the log-sum-exp, (n,); for few users."""
    scores = users @ drawn.T
    most = scores.max(axis=1)
    np.exp(scores - most[:, None], out=scores)
    total = scores.sum(axis=1)
    return (scores @ drawn) / total[:, None], np.log(total) + most


def _subtract_expected(users: F32, drawn: F32, totals: F32, slopes: F32, executor: Executor) -> tuple[float, F32]:
    """Take ``W_u sum_j softmax_j v_j`` from the slopes of users, in place.

    The slopes are what ``sum_i w_ui v_i`` was. Returns ``sum_u W_u logsumexp - sum w_ui s_ui``, and the slopes of the drawn (|J|, d).
    """

    def one(block: slice) -> tuple[float, F32]:
        value, of_drawn = 0.0, np.zeros_like(drawn)
        for start in range(block.start, block.stop, SLICE):
            at = slice(start, min(start + SLICE, block.stop))
            mine = users[at]
            scores = mine @ drawn.T  # (b, |J|)
            most = scores.max(axis=1)
            scores -= most[:, None]
            np.exp(scores, out=scores)
            total = scores.sum(axis=1)
            value += float(totals[at].astype(np.float64) @ (np.log(total.astype(np.float64)) + most))
            value -= float(np.vdot(mine, slopes[at]))
            share = (totals[at] / total)[:, None]  # (b, 1)
            slopes[at] -= (scores @ drawn) * share
            of_drawn += scores.T @ (mine * share)
        return value, of_drawn

    parts = executor.map(one, even_blocks(len(users), -(-len(users) // BLOCKS)))
    return sum(value for value, _ in parts), sum((part for _, part in parts[1:]), parts[0][1])

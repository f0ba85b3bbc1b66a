"""Who takes part in learning a ranking, and by which features: one side of the whole-data squared loss and of the softmax.

Rows without interactions take no part: nobody knows whether a new item was met by nobody or not yet there to be met, so its
pairs are no observations. A feature that no row in part has keeps the zero vector.

A group of features that gives each row a feature of its own is the id; the others are shared. Where rows known by nothing but
shared features matter, they take part a second time without their ids: rows that are then alike are merged to one, which
counts as often as there are rows behind it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from recvec.errors import ValueRangeError
from recvec.kernels.fm_blocks import Block
from recvec.types import F32, I32, I64, Array


@dataclass(frozen=True, eq=False)
class People:
    """The rows of one side that take part: n with ids, and behind them those without, n' in all.

    Parameters
    ----------
    rows : I64, shape (n,)
        Which rows of the block.
    own_features : I32, shape (n,) or (0,)
        The id feature of each; none where the block has no ids.
    own : F32, shape (n',)
        Its value; 0 where there is none.
    shared_features : I32, shape (k,)
        Features of other groups that a row in part has.
    shared : csr_array, float32, shape (n', k)
        Their values.
    members : csr_array, float32, shape (n', n)
        How much each of the n rows counts in each of the n'.
    """

    rows: I64
    own_features: I32
    own: F32
    shared_features: I32
    shared: sp.csr_array
    members: sp.csr_array

    @cached_property
    def times(self) -> F32:
        """How many rows each stands for, shape (n',)."""
        times: F32 = np.asarray(self.members.sum(axis=1), np.float32)
        return times

    def merged(self, values: Array) -> Array:
        """Return the sums of values (n,) over the rows that each of the n' stands for."""
        return np.asarray(self.members @ values)

    def scattered(self, own: F32, shared: F32, n_features: int) -> F32:
        """Return vectors of all features of the block, shape (n_features, ...)."""
        out = np.zeros((n_features, *own.shape[1:]), np.float32)
        out[self.own_features] = own[: len(self.own_features)]
        out[self.shared_features] = shared
        return out

    def gathered(self, vectors: F32) -> tuple[F32, F32]:
        """Return the vectors of ids (n', ...), zeros where there is none, and of shared features: the way back."""
        own = np.zeros((len(self.own), *vectors.shape[1:]), np.float32)
        own[: len(self.own_features)] = vectors[self.own_features]
        return own, vectors[self.shared_features]


def people_of(block: Block, counts: Array, *, cold_weight: float = 0.0) -> People:
    """Return who of a block takes part.

    Parameters
    ----------
    block : Block
        Features of all rows.
    counts : array, shape (n_rows,)
        Interactions of each.
    cold_weight : float
        How much a row without its id counts beside the same row with it; 0: they take no part.
    """
    rows = np.flatnonzero(counts)
    features = sp.csr_array(block.features[rows])
    features.eliminate_zeros()
    is_id = _id_features(features, block.groups)
    entries = features.indptr[:-1]
    if is_id.any():
        own_at = np.flatnonzero(is_id[features.indices])  # one entry a row, in the order of rows
        own_features, own = features.indices[own_at].astype(np.int32), features.data[own_at].astype(np.float32)
    else:
        own_features, own = np.zeros(0, np.int32), np.zeros(len(entries), np.float32)
    met = np.bincount(features.indices, minlength=block.n_features) > 0
    shared_features = np.flatnonzero(met & ~is_id).astype(np.int32)
    shared = sp.csr_array(features[:, shared_features], dtype=np.float32)
    members = sp.csr_array(sp.eye_array(len(rows), format="csr", dtype=np.float32))
    if cold_weight and len(own_features) and len(shared_features):
        kinds, of_row = _distinct(shared)
        alike = sp.csr_array((np.full(len(rows), cold_weight, np.float32), (of_row, np.arange(len(rows)))), shape=(len(kinds), len(rows)))
        members = sp.csr_array(sp.vstack([members, alike], format="csr"))
        shared = sp.csr_array(sp.vstack([shared, shared[kinds]], format="csr"))
        own = np.concatenate([own, np.zeros(len(kinds), np.float32)])
    return People(rows, own_features, own, shared_features, narrow(shared), members)


def check_shape(users: Block, items: Block, interactions: sp.csr_array) -> None:
    """Refuse a table whose rows and columns are not those of the blocks."""
    if interactions.shape != (users.n_rows, items.n_rows):
        raise ValueRangeError(f"interactions are {interactions.shape}; allowed: {(users.n_rows, items.n_rows)}, as the blocks have rows")


def interactions_between(users: People, items: People, interactions: sp.csr_array) -> sp.csr_array:
    """Return the weights of all pairs of those who take part, shape (n_users', n_items').

    Raises
    ------
    ValueRangeError
        Where no interaction has a weight, or one is negative or not finite.
    """
    if not (np.isfinite(interactions.data).all() and (interactions.data >= 0).all() and interactions.data.any()):
        raise ValueRangeError("interactions must have finite weights of 0 or more, and some above 0; correct them or leave them out")
    part = sp.csr_array(interactions[users.rows][:, items.rows], dtype=np.float32)
    return narrow(sp.csr_array(users.members @ part @ items.members.T))


def narrow(matrix: sp.csr_array) -> sp.csr_array:
    """Return the matrix with sorted int32 indices, as kernels read it."""
    matrix.sort_indices()
    return sp.csr_array((matrix.data, matrix.indices.astype(np.int32), matrix.indptr.astype(np.int64)), shape=matrix.shape)


def _id_features(features: sp.csr_array, groups: I32) -> Array:
    """Say which features are ids: those of the first group that gives each row one feature, and none to two rows."""
    counts = np.bincount(features.indices, minlength=len(groups))
    n_groups = int(groups.max(initial=-1)) + 1
    most = np.zeros(n_groups, np.int64)
    np.maximum.at(most, groups, counts)
    entries = np.bincount(groups, weights=counts, minlength=n_groups)
    row_of = np.repeat(np.arange(features.shape[0]), np.diff(features.indptr))
    for group in np.flatnonzero((most == 1) & (entries == features.shape[0])):
        mine = groups == group
        if len(np.unique(row_of[mine[features.indices]])) == features.shape[0]:
            return np.asarray(mine)
    return np.zeros(len(groups), bool)


def _distinct(shared: sp.csr_array) -> tuple[I64, I64]:
    """Return one row of each kind, in the order of their first rows, and the kind of each row."""
    keys: dict[bytes, int] = {}
    first: list[int] = []
    kind = np.empty(shared.shape[0], np.int64)
    for row, (begin, end) in enumerate(zip(shared.indptr[:-1], shared.indptr[1:], strict=True)):
        key = shared.indices[begin:end].tobytes() + b"|" + shared.data[begin:end].tobytes()
        kind[row] = keys.setdefault(key, len(keys))
        if kind[row] == len(first):
            first.append(row)
    return np.asarray(first, np.int64), kind

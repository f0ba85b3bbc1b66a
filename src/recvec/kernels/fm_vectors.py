"""A factorization machine as dot products: what a user, an item and a context each bring, and how the three meet.

A row of features x is cut into the blocks of user, item and context. What a block brings to machine s is

- ``own = sum_f x_f w_f`` and all products of its features with each other: ``(|P|^2 - sum_f x_f^2 |v_f|^2) / 2``, P = sum_f x_f v_f;
- sums that meet those of the other blocks, in the columns of its vector.

The score of user u and item i is ``own(u) + own(i) + P_u . Q_i``, and the dot product of ``(P_u, 1, own(u))`` and ``(Q_i, own(i), 1)``.
A context c changes the query to ``(P_u + C, 1, own(u) + own(c) + P_u . C)``: whoever has the query needs the features no more.

=================== ================================================ ==========================================
machine             columns of the user                              columns of the item
=================== ================================================ ==========================================
second order        P                                                Q
S draws, their mean P of each, over sqrt(S)                          Q of each, over sqrt(S)
field weights       sum_a r_ab U_a for each field b of item, context U_b for each field of the item; else 0
third order         P, e1, e2                                        Q, e2, e1
=================== ================================================ ==========================================

Fields: U_a is the sum over the features of field a, and a pair of features counts r of its two fields. Third order: e1, e2, e3
are the elementary symmetric polynomials of ``x_f u_f``, coordinate by coordinate; a block's own part holds the sum of e3.
Behind these columns stand S ones and S own parts (of the item: own parts and ones), over sqrt(S).

Sources: Rendle, "Factorization machines", ICDM 2010; Pan et al., "Field-weighted factorization machines", WWW 2018;
Blondel et al., "Higher-order factorization machines", NIPS 2016.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from recvec.kernels.factorization import sparse_dense
from recvec.types import F32, F64, I32, I64, Executor

USER, ITEM, CONTEXT = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Machine:
    """S factorization machines over the same features; what is predicted is their mean.

    Parameters
    ----------
    bias : F64, shape (S,)
        Of all observations.
    linear : F32, shape (S, n_features)
        w.
    factors : F32, shape (S, n_features, d)
        v.
    starts : I64, shape (4,)
        First feature of the user, the item and the context, and the number of all.
    groups : I32, shape (n_features,)
        Group of each feature, numbered through the blocks, each a range of features.
    third : F32, shape (n_features, d3), optional
        u, of a machine of third order; S is 1 then.
    fields : F32, shape (n_groups, n_groups), optional
        r, symmetric, of a field-weighted machine; S is 1 then.
    within : bool
        Whether features of the same side meet each other, as in a standard machine; only without field weights and third order.
    """

    bias: F64
    linear: F32
    factors: F32
    starts: I64
    groups: I32
    third: F32 | None = None
    fields: F32 | None = None
    within: bool = True

    @property
    def n_draws(self) -> int:
        """Number of machines, S."""
        return len(self.bias)

    @property
    def rank(self) -> int:
        """Length of the factors, d."""
        return int(self.factors.shape[2])

    @property
    def width(self) -> int:
        """Number of columns of a vector without the 2 S last ones."""
        if self.fields is not None:
            return len(self.met_fields) * self.rank
        return self.n_draws * self.rank + 2 * (0 if self.third is None else self.third.shape[1])

    @cached_property
    def met_fields(self) -> I32:
        """Fields that a user meets: those of the item, then those of the context."""
        return np.unique(self.groups[self.starts[ITEM] :])

    @cached_property
    def sides(self) -> I32:
        """Side of each group, shape (n_groups,)."""
        _, first = np.unique(self.groups, return_index=True)
        return np.searchsorted(self.starts, first, side="right").astype(np.int32) - 1

    def of(self, side: int) -> slice:
        """Return the features of a block."""
        return slice(int(self.starts[side]), int(self.starts[side + 1]))

    def with_features(self, at: int, linear: F32, factors: F32) -> "Machine":
        """Return the machine with the parameters of one feature set, (S,) and (S, d); it has no part in third order."""
        weights, vectors = self.linear.copy(), self.factors.copy()
        weights[:, at], vectors[:, at] = linear, factors
        return replace(self, linear=weights, factors=vectors)


class Sums(NamedTuple):
    """What n rows of one block bring.

    Parameters
    ----------
    own : F32, shape (n, S)
        Own parts.
    pairs : F32, shape (n, k, d)
        P of each of S draws, or U of each of the block's fields.
    first, second : F32, shape (n, d3)
        e1 and e2; no columns below third order.
    """

    own: F32
    pairs: F32
    first: F32
    second: F32


def sums(machine: Machine, side: int, rows: sp.csr_array, executor: Executor) -> Sums:
    """Return what rows of features (n, features of the block) bring."""
    at, n = machine.of(side), rows.shape[0]
    squares = sp.csr_array((rows.data**2, rows.indices, rows.indptr), shape=rows.shape)
    vectors = machine.factors[:, at]  # (S, f, d)
    flat = np.ascontiguousarray(vectors.transpose(1, 0, 2)).reshape(at.stop - at.start, -1)  # (f, S d)
    lengths = np.ascontiguousarray(np.einsum("sfd,sfd->fs", vectors, vectors))
    own = sparse_dense(rows, np.ascontiguousarray(machine.linear[:, at].T), executor=executor)  # (n, S)
    if machine.fields is None:
        pairs = sparse_dense(rows, flat, executor=executor).reshape(n, machine.n_draws, machine.rank)
        if machine.within:
            own += (np.einsum("nsd,nsd->ns", pairs, pairs) - sparse_dense(squares, lengths, executor=executor)) / 2
    else:
        pairs, within = _by_field(machine, at, rows, squares, flat, lengths, executor)
        own += within
    if machine.third is None:
        return Sums(own, pairs, *(np.zeros((n, 0), np.float32),) * 2)
    first, second, cubes = _polynomials(rows, machine.third[at], executor)
    own += cubes[:, None]
    return Sums(own, pairs, first, second)


def _by_field(
    machine: Machine, at: slice, rows: sp.csr_array, squares: sp.csr_array, flat: F32, lengths: F32, executor: Executor
) -> tuple[F32, F32]:
    """Return U of each field of the block, (n, fields, d), and the products within the block, (n, 1)."""
    groups = machine.groups[at]
    present = np.unique(groups)
    weights = machine.fields[np.ix_(present, present)]  # type: ignore[index]
    panels = np.zeros((rows.shape[0], len(present), machine.rank), np.float32)
    within = np.zeros((rows.shape[0], 1), np.float32)
    for k, group in enumerate(present):
        own = np.flatnonzero(groups == group)
        columns = slice(int(own[0]), int(own[-1]) + 1)
        panels[:, k] = sparse_dense(sp.csr_array(rows[:, columns]), flat[columns], executor=executor)
        within -= weights[k, k] * sparse_dense(sp.csr_array(squares[:, columns]), lengths[columns], executor=executor)
    within[:, 0] += np.einsum("nad,ab,nbd->n", panels, weights, panels, optimize=True)
    within /= 2
    return panels, within


def _polynomials(rows: sp.csr_array, third: F32, executor: Executor) -> tuple[F32, F32, F32]:
    """Return e1, e2 (n, d3), and the sum of e3 over the coordinates (n,), by Newton's identities."""
    p1, p2, p3 = (
        sparse_dense(sp.csr_array((rows.data**k, rows.indices, rows.indptr), shape=rows.shape), third**k, executor=executor)
        for k in (1, 2, 3)
    )
    e2: F32 = (p1 * p1 - p2) * np.float32(1 / 2)
    e3: F32 = (p1 * p1 * p1 - 3 * p1 * p2 + 2 * p3) * np.float32(1 / 6)
    return p1, e2, e3.sum(axis=1)


def as_users(machine: Machine, found: Sums) -> F32:
    """Return query vectors, shape (n, width + 2 S)."""
    n, root = len(found.own), np.float32(1 / np.sqrt(machine.n_draws))
    pairs = found.pairs * root if machine.fields is None else _met(machine, USER, found.pairs)
    ones = np.full_like(found.own, root)
    return np.concatenate([pairs.reshape(n, -1), found.first, found.second, ones, found.own * root], axis=1)


def as_items(machine: Machine, found: Sums) -> F32:
    """Return item vectors, shape (n, width + 2 S)."""
    n, root = len(found.own), np.float32(1 / np.sqrt(machine.n_draws))
    pairs = found.pairs * root
    if machine.fields is not None:
        pairs = np.zeros((n, len(machine.met_fields), machine.rank), np.float32)
        pairs[:, : found.pairs.shape[1]] = found.pairs
    ones = np.full_like(found.own, root)
    return np.concatenate([pairs.reshape(n, -1), found.second, found.first, found.own * root, ones], axis=1)


def _met(machine: Machine, side: int, panels: F32) -> F32:
    """Return ``sum_a r_ab U_a`` over the fields a of a block, for each field b that users meet: (n, fields met, d)."""
    mine = np.unique(machine.groups[machine.of(side)])
    weights = machine.fields[np.ix_(mine, machine.met_fields)]  # type: ignore[index]
    return np.ascontiguousarray(np.einsum("nad,ab->nbd", panels, weights))


def in_context(machine: Machine, queries: F32, context: Sums) -> F32:
    """Return the queries (n, width + 2 S) in a context each.

    Parameters
    ----------
    machine : Machine
        Whose queries they are.
    queries : F32, shape (n, width + 2 S)
        As `as_users` gives them.
    context : Sums
        Of n rows of context.
    """
    s, d, n = machine.n_draws, machine.rank, len(queries)
    root, third, shifted = np.float32(1 / np.sqrt(s)), context.first.shape[1], queries.copy()
    n_pairs = machine.width - 2 * third
    pairs = queries[:, :n_pairs].reshape(n, -1, d)
    if machine.fields is None:
        shifted[:, :n_pairs] += (context.pairs * root).reshape(n, -1)
        own = np.einsum("nsd,nsd->ns", pairs, context.pairs) / root  # per machine: the query holds P over sqrt(S)
    else:
        shifted[:, :n_pairs] += _met(machine, CONTEXT, context.pairs).reshape(n, -1)
        own = np.einsum("nbd,nbd->n", pairs[:, -context.pairs.shape[1] :], context.pairs)[:, None]
    if third:
        e1, e2 = queries[:, n_pairs : n_pairs + third], queries[:, n_pairs + third : n_pairs + 2 * third]
        own = own + (np.einsum("nd,nd->n", e2, context.first) + np.einsum("nd,nd->n", e1, context.second))[:, None]
        shifted[:, n_pairs : n_pairs + third] += context.first
        shifted[:, n_pairs + third : n_pairs + 2 * third] += e1 * context.first + context.second
    shifted[:, -s:] += (own + context.own) * root
    return shifted


def draw_scores(machine: Machine, queries: F32, items: F32) -> F32:
    """Return the score of each pair by each machine, bias included, shape (n, S); their mean is the model's.

    Only for machines of second order without field weights, or a single one.
    """
    s, n = machine.n_draws, len(queries)
    if s == 1:
        return np.einsum("nd,nd->n", queries, items)[:, None] + machine.bias.astype(np.float32)
    pairs = np.einsum("nsd,nsd->ns", *(v[:, : machine.width].reshape(n, s, -1) for v in (queries, items)))
    tails = (queries[:, machine.width :] * items[:, machine.width :]).reshape(n, 2, s).sum(axis=1)
    scores: F32 = (pairs + tails) * np.float32(s) + machine.bias.astype(np.float32)
    return scores

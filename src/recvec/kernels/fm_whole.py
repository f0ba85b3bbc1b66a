"""Factorization machines for ranking by the squared loss over the whole table, unobserved pairs included.

Objective, with P = F_u V_u and Q = F_i V_i the sums of the features' vectors (ids are features like any other), ``w`` the linear
terms of the item's features, c = F_i w, and a weight of each observed pair::

    L = sum_{(u,i) observed} weight (s_ui - 1)^2  +  a0 sum_{all (u,i)} s_ui^2                         s_ui = P_u . Q_i + c_i
        + reg [ sum_{ids of users} (n_u + a0 n_items)^nu |z_u|^2  +  sum_{ids of items} (n_i + a0 n_users)^nu |z_i|^2 ]
        + shared_reg [ the mean of (n_u + a0 n_items)^nu * sum_{shared features f} |v_f|^2  +  likewise of items ]

The sum over all pairs is a product of two Gramians. a0 = `unobserved_weight`, nu = `reg_exponent`. Without shared features and
linear terms this is the objective of implicit ALS. The linear terms of items are one coordinate more of their vectors, against
ones on the side of users; they are regularized like the others. A bias and linear terms of users are left out: they rank nothing,
and against a table that is nearly all zeros they have nothing to explain. So are products of two features of the same side: for
a user they rank nothing, and the id of an item would hold them anyway. So the score of a ranking machine is ``P_u . Q_i + c_i`` and
no more, and its bias is 0.

Users and items are improved in turn by a few steps of conjugate gradient on all their features at once (`fm_whole_side`).
An id is regularized for its row, a shared feature only once: whatever shared features can explain they do, and ids hold what is
left, so that a row known by its attributes has about the mean vector of rows like it. `cold_weight` adds the same loss of rows
without their ids to the objective, for users, items, and pairs of both (as if ids were dropped out, in expectation).

Cost of an epoch: ``8 nnz d (cg_steps + 1)`` operations for the entries, as for alternating least squares, and three products
with the features a step. Start: N(0, (0.1 / sqrt(d))^2).

Sources: Hu, Koren, Volinsky, ICDM 2008; Bayer, He, Kanagal, Rendle, "A generic coordinate descent framework for learning from
implicit feedback", WWW 2017 (the loss with features); Rendle, Krichene, Zhang, Koren, RecSys 2022 (regularization by counts);
Agarwal and Chen, "Regression-based latent factor models", KDD 2009 (ids around what attributes predict); Volkovs, Yu, Poutanen,
"DropoutNet", NIPS 2017.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from recvec.errors import DivergedError, ValueRangeError
from recvec.kernels.blocks import even_blocks
from recvec.kernels.fm_blocks import Block, Factors
from recvec.kernels.fm_whole_people import People, check_shape, interactions_between, narrow, people_of
from recvec.kernels.fm_whole_rows import RowLosses, explain_entries
from recvec.kernels.fm_whole_side import Coupling, Side, Vectors
from recvec.kernels.least_squares import FixedSide, gramian
from recvec.types import F32, F64, I64, Executor

OnEpoch = Callable[[int, Factors], None]
_Coupled = tuple[Side, Coupling]
_PAIRS = 1 << 20  # pairs whose scores are made at a time
_ENTRIES = 1 << 16  # entries whose linear weights are made at a time


@dataclass(frozen=True, kw_only=True)
class WholeLoss:
    """What the loss weighs; see the module's objective.

    Parameters
    ----------
    unobserved_weight : float
        a0, above 0.
    reg, shared_reg : float
        Regularization of ids and of shared features, above 0.
    reg_exponent : float
        nu.
    linear : bool
        Whether items have linear terms.
    cold_weight : float
        Weight of the loss of rows without their ids; 0: none.
    """

    unobserved_weight: float
    reg: float
    shared_reg: float
    reg_exponent: float = 1.0
    linear: bool = True
    cold_weight: float = 0.0

    def __post_init__(self) -> None:
        for name in ("unobserved_weight", "reg", "shared_reg"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueRangeError(f"{name} is {getattr(self, name):g}; allowed: a finite number above 0")
        if not 0 <= self.cold_weight < np.inf:
            raise ValueRangeError(f"cold_weight is {self.cold_weight:g}; allowed: 0 or a finite number above")

    def side(self, people: People, scale: F64) -> Side:
        """Return the features of one side with their regularization; `scale` (n',) is how much each row's loss weighs."""
        powers = scale**self.reg_exponent
        one = float(powers[: len(people.rows)].mean())  # of an average row
        return Side(
            people.own,
            people.shared,
            (self.reg * powers).astype(np.float32),
            np.full(len(people.shared_features), self.shared_reg * one, np.float32),
            scale.astype(np.float32),
        )


def solve_whole(
    users: Block,
    items: Block,
    interactions: sp.csr_array,
    *,
    rank: int,
    loss: WholeLoss,
    n_epochs: int = 12,
    cg_steps: int = 2,
    rng: np.random.Generator,
    executor: Executor,
    on_epoch: OnEpoch | None = None,
    start: Factors | None = None,
    done: int = 0,
) -> Factors:
    """Learn a ranking machine.

    Parameters
    ----------
    users, items : Block
        Features of all rows; those without interactions take no part (`fm_whole_people`).
    interactions : csr_array, float32, shape (n_users, n_items)
        Weights of the observed pairs, 0 or more.
    rank : int
        Length of the feature vectors, d.
    loss : WholeLoss
        The objective.
    n_epochs : int
        Passes over both sides.
    cg_steps : int
        Steps of conjugate gradient for each side in each pass.
    rng : numpy.random.Generator
        Draws the start; used only there.
    executor : Executor
        Runs blocks of rows; the bits do not depend on it.
    on_epoch : callable, optional
        ``on_epoch(epoch, factors)`` after each pass, the first being number 1.
    start : Factors, optional
        Where to begin; what ``on_epoch`` was given in pass number `done` goes on as if there had been no break.
    done : int
        Passes that are done.

    Returns
    -------
    Factors
        Features of users first, then those of items; bias and linear terms of users are 0. Features that nobody in part
        has are zero.

    Raises
    ------
    ValueRangeError
        Where shapes do not fit, or no weight is above 0.
    DivergedError
        Where numbers became infinite.
    """
    problem = _Problem.of(users, items, interactions, loss)
    state = problem.start(rank, rng) if start is None else problem.split(start)
    sides = loss.side(problem.users, problem.scale_of_users), loss.side(problem.items, problem.scale_of_items)
    of_users, of_items = ((side, side.coupling(executor)) for side in sides)
    for epoch in range(done + 1, n_epochs + 1):
        state = problem.improve(*state, of_users, of_items, cg_steps, executor)
        if not np.isfinite(state[1].own).all():
            raise DivergedError(f"fm left the finite numbers in epoch {epoch}; raise reg (it is {loss.reg:g})")
        if on_epoch is not None:
            on_epoch(epoch, problem.join(*state))
    return problem.join(*state)


def whole_loss(factors: Factors, users: Block, items: Block, interactions: sp.csr_array, loss: WholeLoss, *, executor: Executor) -> float:
    """Return the objective L of a machine, regularization included; parameters as in `solve_whole`.

    Cost: one pass over the entries and two Gramians.
    """
    problem = _Problem.of(users, items, interactions, loss)
    state = problem.split(factors)
    total = 0.0
    scales = problem.scale_of_users, problem.scale_of_items
    rows = []
    for vectors, people, scale in zip(state, (problem.users, problem.items), scales, strict=True):
        side = loss.side(people, scale)
        rows.append(side.rows(vectors, executor).astype(np.float64))
        total += float(side.own_reg @ (vectors.own**2).sum(axis=1) + side.shared_reg @ (vectors.shared**2).sum(axis=1))
    if loss.linear:
        rows[0] = np.column_stack([rows[0], np.ones(len(rows[0]))])
    pairs = problem.by_user.tocoo()
    for at in range(0, pairs.nnz, _PAIRS):
        some = slice(at, at + _PAIRS)
        scores = np.einsum("nd,nd->n", rows[0][pairs.coords[0][some]], rows[1][pairs.coords[1][some]])
        total += float(pairs.data[some].astype(np.float64) @ (scores - 1) ** 2)
    grams = [(p * people.times[:, None]).T @ p for p, people in zip(rows, (problem.users, problem.items), strict=True)]
    return total + loss.unobserved_weight * float((grams[0] * grams[1]).sum())


@dataclass(frozen=True, eq=False)
class _Problem:
    """Who takes part, and what they met."""

    loss: WholeLoss
    blocks: tuple[Block, Block]
    users: People
    items: People
    by_user: sp.csr_array
    by_item: sp.csr_array
    scale_of_users: F64
    scale_of_items: F64

    @classmethod
    def of(cls, users: Block, items: Block, interactions: sp.csr_array, loss: WholeLoss) -> "_Problem":
        """Find who takes part."""
        check_shape(users, items, interactions)
        met = sp.csr_array((np.ones(interactions.nnz, np.float32), interactions.indices, interactions.indptr), shape=interactions.shape)
        people, things = (
            people_of(block, np.asarray(met.sum(axis=axis)), cold_weight=loss.cold_weight) for block, axis in ((users, 1), (items, 0))
        )
        by_user = interactions_between(people, things, interactions)
        part = sp.csr_array(met[people.rows][:, things.rows])
        return cls(
            loss,
            (users, items),
            people,
            things,
            by_user,
            narrow(sp.csr_array(by_user.T.tocsr())),
            _scale(people, things, part, loss.unobserved_weight),
            _scale(things, people, sp.csr_array(part.T.tocsr()), loss.unobserved_weight),
        )

    def start(self, rank: int, rng: np.random.Generator) -> tuple[Vectors, Vectors]:
        """Draw vectors."""
        return tuple(  # type: ignore[return-value]
            Vectors(
                _drawn(len(people.own), width, rank, rng) * (people.own != 0)[:, None], _drawn(people.shared.shape[1], width, rank, rng)
            )
            for people, width in ((self.users, rank), (self.items, rank + self.loss.linear))
        )

    def improve(
        self, users: Vectors, items: Vectors, of_users: _Coupled, of_items: _Coupled, steps: int, executor: Executor
    ) -> tuple[Vectors, Vectors]:
        """Improve users, then items."""
        a0, d = self.loss.unobserved_weight, users.own.shape[1]
        rows = of_items[0].rows(items, executor)
        met = np.diff(self.by_item.indptr)
        losses = _losses(self.by_user, self.users.times, rows[:, :d], self.items.times, met, rows[:, d:].sum(axis=1), a0, executor)
        users = of_users[0].improve(users, losses, of_users[1], steps=steps, executor=executor)
        rows = of_users[0].rows(users, executor)
        if self.loss.linear:
            rows = np.concatenate([rows, np.ones((len(rows), 1), np.float32)], axis=1)
        nothing = np.zeros(len(rows), np.float32)
        losses = _losses(self.by_item, self.items.times, rows, self.users.times, np.diff(self.by_user.indptr), nothing, a0, executor)
        return users, of_items[0].improve(items, losses, of_items[1], steps=steps, executor=executor)

    def join(self, users: Vectors, items: Vectors) -> Factors:
        """Return the machine over all features of both blocks."""
        d = users.own.shape[1]
        mine, theirs = (
            people.scattered(vectors.own, vectors.shared, block.n_features)
            for people, vectors, block in zip((self.users, self.items), (users, items), self.blocks, strict=True)
        )
        linear = np.concatenate([np.zeros(len(mine), np.float32), theirs[:, d:].sum(axis=1)])
        return Factors(0.0, linear, np.concatenate([mine, theirs[:, :d]]))

    def split(self, factors: Factors) -> tuple[Vectors, Vectors]:
        """Return the vectors of those who take part."""
        first = self.blocks[0].n_features
        items = factors.factors[first:]
        if self.loss.linear:
            items = np.column_stack([items, factors.linear[first:]])
        return Vectors(*self.users.gathered(factors.factors[:first])), Vectors(*self.items.gathered(items))


def _drawn(n: int, width: int, rank: int, rng: np.random.Generator) -> F32:
    return rng.standard_normal((n, width), dtype=np.float32) * np.float32(0.1 / np.sqrt(rank))


def _scale(people: People, others: People, met: sp.csr_array, unobserved_weight: float) -> F64:
    """Return ``n_u + a0 n_items`` of each row, those counted that stand for others; shape (n',)."""
    copies = np.asarray(others.members.sum(axis=0), np.float64)  # (n_others,)
    everyone = float(others.times.sum(dtype=np.float64))
    scale: F64 = people.merged(met @ copies) + unobserved_weight * everyone * people.times.astype(np.float64)
    return scale


def _losses(
    entries: sp.csr_array, times: F32, fixed: F32, fixed_times: F32, met: I64, own: F32, unobserved_weight: float, executor: Executor
) -> RowLosses:
    """Return the losses of rows against a fixed side (m', d) whose rows have terms `own` (m',) and so many entries as `met` (m',) says."""
    weighted = fixed if (fixed_times == 1).all() else fixed * np.sqrt(fixed_times)[:, None]
    gram = np.float32(unobserved_weight) * gramian(weighted, executor=executor)
    side = FixedSide.of(np.ascontiguousarray(fixed), gram, executor=executor)
    shift = np.float32(-unobserved_weight) * np.einsum("i,ia->a", fixed_times * own, side.turned)
    square = np.einsum("i,ia,ia->a", met / max(1, met.sum()), side.turned, side.turned).astype(np.float32)
    linear = entries.data
    if own.any():
        linear = np.empty_like(linear)

        def one(at: slice) -> None:
            explain_entries(entries.indices[at], entries.data[at], own, linear[at])

        executor.map(one, even_blocks(len(linear), _ENTRIES))
    return RowLosses(entries.indptr, entries.indices, entries.data, linear, shift, times, side, square)

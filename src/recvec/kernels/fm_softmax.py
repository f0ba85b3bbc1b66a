"""Factorization machines for ranking by softmax: the chance that of all items a user picks this one.

Objective, with P = F_u V_u and Q = F_i V_i the sums of the features' vectors, c = F_i w the linear terms of the items, and W_u the sum
of a user's weights::

    L = sum_u W_u log sum_i exp(s_ui)  -  sum_{(u,i) observed} weight s_ui                             s_ui = P_u . Q_i + c_i
        + reg [ sum_{ids of users} n_u |z_u|^2  +  sum_{ids of items} n_i |z_i|^2 ]
        + shared_reg [ mean n_u * sum_{shared features of users} |v_f|^2  +  likewise of items ]

Linear terms are regularized like one coordinate more, so that shared features explain popularity where they can. Terms of users
alone cancel in it, so they are 0, and so is the bias. As in `fm_whole` there are no products of two features of the same side, rows
without interactions take no part, and `cold_weight` adds the loss of users without their ids.

The log-sum-exp is needed once a user, not once a pair, because all pairs of a user share it. With `n_negatives` below the number of
items it runs over as many of them, drawn anew for all users in each step without replacement, times the inverse of their share.
Learning takes full steps of Adam, the step length falling to zero along a cosine. Start: vectors N(0, (0.1 / sqrt(d))^2), linear
terms of ids the logarithm of the item's weights less the mean of these logarithms, so that an unseen item without attributes is an
average one.

Cost of a step: ``6 n_users n_negatives d`` operations in matrix products, an exponential for each user and negative, and ``4 nnz d``
operations for the observed pairs.

Sources: Rendle, "Factorization machines", ICDM 2010; Jean et al., "On using very large target vocabulary", ACL 2015 (shared
negatives); Kingma and Ba, "Adam", ICLR 2015.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from recvec.errors import DivergedError, ValueRangeError
from recvec.kernels.blocks import even_blocks
from recvec.kernels.factorization import sparse_dense
from recvec.kernels.fm_blocks import Block, Factors
from recvec.kernels.fm_whole_people import People, check_shape, interactions_between, narrow, people_of
from recvec.types import F32, F64, I64, Executor

OnStep = Callable[[int, Factors, Mapping[str, F32]], None]
BETAS = (0.9, 0.99)  # of Adam: full steps are hardly noisy
EPSILON = 1e-8
SLICE = 256  # users whose scores are there at the same time
BLOCKS = 16  # partial gradients of the items, added in order


@dataclass(frozen=True, kw_only=True)
class Softmax:
    """What the loss weighs; see the module's objective.

    Parameters
    ----------
    reg, shared_reg : float
        Regularization of ids and of shared features, 0 or more.
    cold_weight : float
        Weight of the loss of users without their ids; 0: none.
    """

    reg: float
    shared_reg: float
    cold_weight: float = 0.0

    def __post_init__(self) -> None:
        for name in ("reg", "shared_reg", "cold_weight"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueRangeError(f"{name} is {getattr(self, name):g}; allowed: 0 or a finite number above")


def solve_softmax(
    users: Block,
    items: Block,
    interactions: sp.csr_array,
    *,
    rank: int,
    loss: Softmax,
    n_negatives: int = 1024,
    n_steps: int = 200,
    learning_rate: float = 0.03,
    rng: np.random.Generator,
    executor: Executor,
    on_step: OnStep | None = None,
    resume: Mapping[str, F32] | None = None,
    done: int = 0,
) -> Factors:
    """Learn a ranking machine.

    Parameters
    ----------
    users, items, interactions, rank
        As in `fm_whole.solve_whole`.
    loss : Softmax
        The objective.
    n_negatives : int
        Items in the log-sum-exp of a step; all of them where there are no more.
    n_steps : int
        Steps of Adam.
    learning_rate : float
        Length of the first step in each coordinate, above 0.
    rng : numpy.random.Generator
        Draws the start, then the negatives of each step.
    executor : Executor
        Runs blocks of users; the bits do not depend on it.
    on_step : callable, optional
        ``on_step(step, factors, state)`` after each step, the first being number 1; the arrays of the state are copies.
    resume : mapping of str to F32, optional
        The state after step number `done`: with the generator as it was then, learning goes on as if there had been no break.
    done : int
        Steps that are done.

    Returns
    -------
    Factors
        As from `fm_whole.solve_whole`.

    Raises
    ------
    ValueRangeError
        Where shapes or numbers do not fit, or no weight is above 0.
    DivergedError
        Where numbers became infinite.
    """
    if not (n_negatives > 0 and learning_rate > 0):
        raise ValueRangeError(f"n_negatives is {n_negatives}, learning_rate {learning_rate:g}; allowed: both above 0")
    problem = SoftmaxProblem.of(users, items, interactions, rank, loss)
    state = {"parameters": problem.start(rng), "first": problem.zeros(), "second": problem.zeros()} if resume is None else _copied(resume)
    n_items = len(problem.items.rows)
    for step in range(done + 1, n_steps + 1):
        drawn = np.sort(rng.permutation(n_items)[:n_negatives]) if n_negatives < n_items else np.arange(n_items)
        value, slope = problem.gradient(state["parameters"], drawn, executor)
        if not np.isfinite(value):
            raise DivergedError(f"fm left the finite numbers in step {step}; lower learning_rate (it is {learning_rate:g})")
        _adam(state, slope / np.float32(problem.unit), step, learning_rate * (1 + np.cos(np.pi * (step - 1) / n_steps)) / 2)
        if on_step is not None:
            on_step(step, problem.join(state["parameters"]), _copied(state))
    return problem.join(state["parameters"])


def _copied(state: Mapping[str, F32]) -> dict[str, F32]:
    return {name: array.copy() for name, array in state.items()}


def _adam(state: dict[str, F32], slope: F32, step: int, rate: float) -> None:
    """Take one step, in place."""
    for name, beta, moment in (("first", BETAS[0], slope), ("second", BETAS[1], slope * slope)):
        state[name] *= np.float32(beta)
        state[name] += np.float32(1 - beta) * moment
    first, second = state["first"] / np.float32(1 - BETAS[0] ** step), state["second"] / np.float32(1 - BETAS[1] ** step)
    state["parameters"] -= np.float32(rate) * first / (np.sqrt(second) + np.float32(EPSILON))


@dataclass(frozen=True, eq=False)
class SoftmaxProblem:
    """The objective as a function of one vector of parameters: ids and shared features of users, then those of items.

    Parameters
    ----------
    blocks : tuple of Block
        Users and items.
    users, items : People
        Who takes part; items never without their ids.
    by_user, by_item : csr_array, float32
        Weights of the pairs, and their transpose.
    weights : F32, shape (n_users',)
        W.
    regs : tuple of F32
        Regularization of each vector: ids of users, shared features of users, ids of items, shared features of items.
    rank : int
        d.
    """

    blocks: tuple[Block, Block]
    users: People
    items: People
    by_user: sp.csr_array
    by_item: sp.csr_array
    weights: F32
    regs: tuple[F32, F32, F32, F32]
    rank: int

    @classmethod
    def of(cls, users: Block, items: Block, interactions: sp.csr_array, rank: int, loss: Softmax) -> "SoftmaxProblem":
        """Find who takes part."""
        check_shape(users, items, interactions)
        counts = np.diff(interactions.indptr), np.bincount(interactions.indices, minlength=items.n_rows)
        people, things = people_of(users, counts[0], cold_weight=loss.cold_weight), people_of(items, counts[1])
        by_user = interactions_between(people, things, interactions)
        regs: list[F32] = []
        for side, of_rows in ((people, counts[0]), (things, counts[1])):
            mine = side.merged(of_rows[side.rows])
            level = float(mine[: len(side.rows)].mean())
            regs += [(loss.reg * mine).astype(np.float32), np.full(len(side.shared_features), loss.shared_reg * level, np.float32)]
        weights = np.asarray(by_user.sum(axis=1), np.float32)
        by_item = narrow(sp.csr_array(by_user.T.tocsr()))
        return cls((users, items), people, things, by_user, by_item, weights, (regs[0], regs[1], regs[2], regs[3]), rank)

    @property
    def unit(self) -> float:
        """By what gradients are divided: the weight of an average user."""
        return float(self.weights.mean(dtype=np.float64))

    def zeros(self) -> F32:
        """Return a vector of zeros for all parameters."""
        return np.zeros(sum(n * width for n, width in self._shapes), np.float32)

    @property
    def _shapes(self) -> list[tuple[int, int]]:
        d = self.rank
        sides = ((self.users, d), (self.items, d + 1))
        return [(n, width) for side, width in sides for n in (len(side.own), len(side.shared_features))]

    def parts(self, parameters: F32) -> list[F32]:
        """Return views of the parameters: ids and shared features of users, of items; linear terms are the last column of items."""
        views, at = [], 0
        for n, width in self._shapes:
            views.append(parameters[at : at + n * width].reshape(n, width))
            at += n * width
        return views

    def start(self, rng: np.random.Generator) -> F32:
        """Draw vectors; linear terms of ids begin with the items' popularity."""
        parameters = self.zeros()
        parts = self.parts(parameters)
        for view, has in zip(parts, (self.users.own != 0, None, self.items.own != 0, None), strict=True):
            view[:, : self.rank] = rng.standard_normal((len(view), self.rank), dtype=np.float32) * np.float32(0.1 / np.sqrt(self.rank))
            if has is not None:
                view[~has] = 0
        weight = np.asarray(self.by_item.sum(axis=1), np.float64)
        met = (weight > 0) & (self.items.own != 0)
        level = np.log(weight[met])
        parts[2][met, self.rank] = (level - level.mean()) / self.items.own[met] if met.any() else 0
        return parameters

    def rows(self, parameters: F32, executor: Executor) -> tuple[F32, F32]:
        """Return vectors of users (n', d) and of items with their linear terms (m, d + 1)."""
        z, v, y, q = self.parts(parameters)
        users = self.users.own[:, None] * z + sparse_dense(self.users.shared, v, executor=executor)
        return users, self.items.own[:, None] * y + sparse_dense(self.items.shared, q, executor=executor)

    def gradient(self, parameters: F32, drawn: I64, executor: Executor) -> tuple[float, F32]:
        """Return the objective and its gradient, the log-sum-exp over the drawn items alone.

        Parameters
        ----------
        parameters : F32, shape (n_parameters,)
            Where.
        drawn : I64, shape (n_drawn,)
            Items in the log-sum-exp, ascending; all for the exact objective.
        executor : Executor
            Runs blocks of users.
        """
        p, items = self.rows(parameters, executor)
        ones = np.concatenate([p, np.ones((len(p), 1), np.float32)], axis=1)  # (n', d + 1)
        value, of_users, of_drawn = self._normalizers(ones, items[drawn], len(items) / len(drawn), executor)
        of_items = -sparse_dense(self.by_item, ones, executor=executor)
        value += float(np.einsum("id,id->", of_items.astype(np.float64), items))
        of_items[drawn] += of_drawn
        of_users -= sparse_dense(self.by_user, np.ascontiguousarray(items[:, : self.rank]), executor=executor)
        out = self.zeros()
        views = self.parts(out)
        for side, rows, own, shared in ((self.users, of_users, views[0], views[1]), (self.items, of_items, views[2], views[3])):
            own[:] = side.own[:, None] * rows
            shared[:] = sparse_dense(narrow(sp.csr_array(side.shared.T.tocsr())), rows, executor=executor)
        for view, vectors, reg in zip(views, self.parts(parameters), self.regs, strict=True):
            value += float(reg.astype(np.float64) @ np.einsum("nd,nd->n", vectors.astype(np.float64), vectors))
            view[:] += 2 * reg[:, None] * vectors
        return value, out

    def _normalizers(self, users: F32, drawn: F32, inverse_share: float, executor: Executor) -> tuple[float, F32, F32]:
        """Return ``sum_u W_u log sum_i exp(s_ui)`` and its gradients for users (n', d) and drawn items (n_drawn, d + 1)."""
        d = self.rank
        of_users, size = np.empty((len(users), d), np.float32), -(-len(users) // BLOCKS)

        def one(block: slice) -> tuple[float, F32]:
            value, of_items = 0.0, np.zeros_like(drawn)
            for start in range(block.start, block.stop, SLICE):
                at = slice(start, min(start + SLICE, block.stop))
                scores = users[at] @ drawn.T  # (b, n_drawn)
                most = scores.max(axis=1)
                np.exp(scores - most[:, None], out=scores)
                total = scores.sum(axis=1)
                logs: F64 = np.log(total.astype(np.float64)) + most + np.log(inverse_share)
                value += float(self.weights[at].astype(np.float64) @ logs)
                scores *= (self.weights[at] / total)[:, None]
                np.matmul(scores, drawn[:, :d], out=of_users[at])
                of_items += scores.T @ users[at]
            return value, of_items

        parts = executor.map(one, even_blocks(len(users), max(1, size)))
        return sum(value for value, _ in parts), of_users, sum((g for _, g in parts[1:]), parts[0][1].copy())

    def join(self, parameters: F32) -> Factors:
        """Return the machine over all features of both blocks."""
        z, v, y, q = self.parts(parameters)
        users = self.users.scattered(z, v, self.blocks[0].n_features)
        items = self.items.scattered(y, q, self.blocks[1].n_features)
        linear = np.concatenate([np.zeros(len(users), np.float32), items[:, self.rank]])
        return Factors(0.0, linear, np.concatenate([users, np.ascontiguousarray(items[:, : self.rank])]))

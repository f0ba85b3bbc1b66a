"""The ways in which `fm` learns a machine, one function each: a problem in, a machine over all its features out; see `fm_descent` too."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp

from recvec.contract import Link, Training
from recvec.errors import ValueRangeError
from recvec.kernels.fm_als import descend
from recvec.kernels.fm_blocks import Block, Factors, Relations
from recvec.kernels.fm_gibbs import Likelihood, draw
from recvec.kernels.fm_gibbs_posterior import Posterior
from recvec.kernels.fm_softmax import Softmax, solve_softmax
from recvec.kernels.fm_vectors import ITEM, USER, Machine, as_items, as_users, sums
from recvec.kernels.fm_whole import WholeLoss, solve_whole
from recvec.models.fm_attributes import scales, settled
from recvec.models.fm_history import spread_of_ids
from recvec.models.fm_links import Draws
from recvec.models.fm_problem import Problem
from recvec.types import F32, F64, I64, Array

if TYPE_CHECKING:
    from recvec.models.fm import FM

BALANCE = 10.0  # weight of all pairs over that of the observed ones, as in als
NO_BIAS = 1e8  # regularization of a bias that the machine does not have
LEFT_OUT = 0.25  # share of the draws of a Bayesian machine before the first one that is kept
MOST_LEVELS = 100  # different ratings that an ordered machine takes


@dataclass(frozen=True, eq=False)
class Learned:
    """What a solver found.

    Parameters
    ----------
    machine : Machine
        Over all features of the problem, in the units of the targets.
    reg : F32, shape (S, d + 1)
        Regularization of an id that a history is to find, see `fm_history`.
    link : Link, optional
        From scores to the scale of the task.
    target, other, unobserved_weight, exponent, levels, hidden
        See `fm_history`.
    settled : mapping
        Hyper-parameters that the data decided.
    """

    machine: Machine
    reg: F32
    link: Link | None = None
    target: float = 0.0
    other: float = 0.0
    unobserved_weight: float = 0.0
    exponent: float = 0.0
    levels: F64 = field(default_factory=lambda: np.zeros(0))
    hidden: F64 = field(default_factory=lambda: np.zeros(0))
    settled: Mapping[str, float] = field(default_factory=dict)


class Occurring(NamedTuple):
    """The rows and features of a problem that occur in an observation: a solver sees no others.

    Parameters
    ----------
    relations : Relations
        Blocks of rows that occur, over the features that occur.
    features : I64
        Which features of the problem those are, through the sides.
    """

    relations: Relations
    features: I64


def occurring(problem: Problem) -> Occurring:
    """Leave out users, items and features without an observation: no block of context where there is none."""
    blocks, rows, features = [], [], []
    for matrix, coder, mine, start in zip(problem.features, problem.coders, problem.rows, problem.starts, strict=False):
        if not coder.n_features:
            continue
        present, where = np.unique(mine, return_inverse=True)
        there = matrix[present]
        used = np.unique(there.indices)
        _, groups = np.unique(coder.groups[used], return_inverse=True)
        there = there[:, used]
        there.sort_indices()
        blocks.append(Block(there, groups.astype(np.int32)))
        rows.append(where.astype(np.int32))
        features.append(used + start)
    return Occurring(Relations(tuple(blocks), tuple(rows)), np.concatenate(features).astype(np.int64))


def spread_out(problem: Problem, at: I64, bias: Array, linear: F32, factors: F32) -> Machine:
    """Return the machine over all features; those that did not occur are zeros."""
    n, s = int(problem.starts[-1]), len(bias)
    weights, vectors = np.zeros((s, n), np.float32), np.zeros((s, n, factors.shape[2]), np.float32)
    weights[:, at], vectors[:, at] = linear, factors
    return Machine(np.asarray(bias, np.float64), weights, vectors, problem.starts, problem.groups)


def ids_of(problem: Problem, side: int) -> I64:
    """Return the id features of a side that were learned."""
    return problem.starts[side] + np.unique(problem.rows[side]).astype(np.int64)


def gibbs(method: "FM", problem: Problem, training: Training) -> Learned:
    """Draw machines from their posterior law; whoever is unknown has the mean id of each draw."""
    likelihood: Likelihood = "normal" if method.solver == "gibbs" else "probit" if method.task == "click" else "ordered"
    targets, center, unit, levels = standard(problem.targets, likelihood)
    seen = occurring(problem)

    def whole(bias: Array, linear: F32, factors: F32) -> Machine:
        found = in_units(spread_out(problem, seen.features, bias, linear, factors), center, unit)
        return replace(found, within=method.pairs_within)

    def on_iteration(number: int, now: Factors, state: Mapping[str, Array]) -> None:
        end_epoch(training, number, problem, lambda: whole(np.array([now.bias]), now.linear[None], now.factors[None]), arrays=state)

    done, resume = training.restore()
    n_kept = min(method.n_kept, method.epochs)
    every = max(1, int((1 - LEFT_OUT) * method.epochs) // n_kept)
    found = draw(
        seen.relations, targets, rank=method.embedding_dim, n_iterations=method.epochs, n_kept=n_kept, every=every,
        rng=training.rng, executor=training.runtime.executor, likelihood=likelihood,
        pairs_within=method.pairs_within, scales=scales(problem, seen.features), on_iteration=on_iteration, resume=resume, done=done,
    )  # fmt: skip
    machine = whole(found.bias, found.linear, found.factors)
    for side in (USER, ITEM):
        machine = settled(machine, problem, side)
        mean, variance = spread_of_ids(machine, ids_of(problem, side))
        everyone_else = int(problem.starts[side]) + problem.coders[side].n_ids
        machine = machine.with_features(everyone_else, mean[:, -1], mean[:, :-1])
        if side == USER:
            spread = variance
    noise = found.noise / unit**2
    link = Draws(machine, noise, _cutpoints(found, len(levels)), levels)
    reg = (1 / (spread * noise[:, None])).astype(np.float32)
    if likelihood == "probit":
        return Learned(machine, reg, link, target=1.0, other=-1.0, unobserved_weight=unclicked(problem))
    middles = link.cutpoints.mean(axis=0)
    hidden = np.concatenate([middles[:1] - 1, (middles[1:] + middles[:-1]) / 2, middles[-1:] + 1])
    return Learned(machine, reg, link, levels=levels, hidden=hidden)


def unclicked(problem: Problem) -> float:
    """Return how much of a negative each pair of a user and an item is: the number of negatives over that of the pairs."""
    n_pairs = len(ids_of(problem, USER)) * problem.features[ITEM].shape[0]
    return max(float((problem.targets == 0).sum()) / n_pairs, 1e-6)


def als(method: "FM", problem: Problem, training: Training) -> Learned:
    """Learn one machine for ratings by alternating least squares, feature by feature."""
    targets, center, unit, _ = standard(problem.targets, "normal")
    seen = occurring(problem)

    def whole(now: Factors) -> Machine:
        found = spread_out(problem, seen.features, np.array([now.bias]), now.linear[None], now.factors[None])
        return replace(in_units(found, center, unit), within=method.pairs_within)

    def on_iteration(number: int, now: Factors, state: Mapping[str, Array]) -> None:
        end_epoch(training, number, problem, lambda: whole(now), arrays=state)

    done, resume = training.restore()
    found = descend(
        seen.relations, targets, rank=method.embedding_dim, n_iterations=method.epochs, reg=method.reg, pairs_within=method.pairs_within,
        rng=training.rng, executor=training.runtime.executor, on_iteration=on_iteration, resume=resume, done=done,
    )  # fmt: skip
    reg = np.full((1, method.embedding_dim + 1), method.reg / unit, np.float32)  # factors are longer by the root of the unit
    reg[:, -1] = method.reg / unit**2
    return Learned(whole(found), reg)


def table_of(problem: Problem) -> tuple[Occurring, sp.csr_array, float]:
    """Return what occurs, the weights of its users and items as a table, and the balanced weight of a pair without interaction."""
    seen = occurring(problem)
    users, items = seen.relations.blocks[:2]
    pairs = sp.coo_array((problem.targets, seen.relations.rows[:2]), shape=(users.n_rows, items.n_rows)).tocsr()
    return seen, pairs, BALANCE * float(problem.targets.sum(dtype=np.float64)) / (users.n_rows * items.n_rows)


def squares(method: "FM", problem: Problem, training: Training) -> Learned:
    """Learn one machine for rankings by the squared loss over all pairs; features of one side do not meet, nor do users have biases."""
    seen, pairs, balanced = table_of(problem)
    users, items = seen.relations.blocks[:2]
    weight = method.unobserved_weight or balanced
    loss = WholeLoss(
        unobserved_weight=weight, reg=method.reg, shared_reg=method.shared_reg, linear=method.item_bias, cold_weight=method.cold_weight
    )

    def whole(now: Factors) -> Machine:
        found = spread_out(problem, seen.features, np.zeros(1), now.linear[None], now.factors[None])
        return replace(found, within=False)

    def on_epoch(number: int, now: Factors) -> None:
        end_epoch(training, number, problem, lambda: whole(now), arrays={"linear": now.linear, "factors": now.factors})

    done, arrays = training.restore()
    found = solve_whole(
        users, items, pairs, rank=method.embedding_dim, loss=loss, n_epochs=method.epochs, rng=training.rng,
        executor=training.runtime.executor, on_epoch=on_epoch, done=done,
        start=Factors(0.0, arrays["linear"], arrays["factors"]) if done else None,
    )  # fmt: skip
    reg = np.full((1, method.embedding_dim + 1), method.reg, np.float32)
    reg[:, -1] = NO_BIAS
    return Learned(
        whole(found), reg, target=1.0, unobserved_weight=weight, exponent=loss.reg_exponent, settled={"unobserved_weight": weight}
    )


def softmax(method: "FM", problem: Problem, training: Training) -> Learned:
    """Learn one machine for rankings by softmax over negatives that a step shares; otherwise as `squares`."""
    seen, pairs, balanced = table_of(problem)
    users, items = seen.relations.blocks[:2]

    def whole(now: Factors) -> Machine:
        return replace(spread_out(problem, seen.features, np.zeros(1), now.linear[None], now.factors[None]), within=False)

    def on_step(number: int, now: Factors, state: Mapping[str, F32]) -> None:
        end_epoch(training, number, problem, lambda: whole(now), arrays=state)

    loss = Softmax(reg=method.reg, shared_reg=method.shared_reg, cold_weight=method.cold_weight)
    done, arrays = training.restore()
    state = {name: array for name, array in arrays.items() if name not in ("user_vectors", "item_vectors")}
    found = solve_softmax(
        users, items, pairs, rank=method.embedding_dim, loss=loss, n_negatives=method.shared_negatives,
        n_steps=method.epochs, learning_rate=method.learning_rate, rng=training.rng, executor=training.runtime.executor,
        on_step=on_step, resume=state if done else None, done=done,
    )  # fmt: skip
    machine = whole(found)
    _, variance = spread_of_ids(machine, ids_of(problem, USER))
    reg = (1 / np.maximum(variance, 1e-6)).astype(np.float32)
    reg[:, -1] = NO_BIAS
    return Learned(machine, reg, target=1.0, unobserved_weight=balanced)


def standard(targets: F32, likelihood: Likelihood) -> tuple[F32, float, float, Array]:
    """Return targets as the sampler takes them, what makes ratings of them again, and the values of their levels."""
    if likelihood == "normal":
        center, unit = float(targets.mean(dtype=np.float64)), float(targets.std(dtype=np.float64)) or 1.0
        return ((targets - np.float32(center)) / np.float32(unit)).astype(np.float32), center, unit, np.zeros(0)
    levels, codes = np.unique(targets, return_inverse=True)
    if likelihood == "ordered" and not 1 < len(levels) <= MOST_LEVELS:
        raise ValueRangeError(
            f"there are {len(levels)} different ratings; allowed with solver ordered: 2 to {MOST_LEVELS}; use solver gibbs"
        )
    return codes.astype(np.float32), 0.0, 1.0, levels.astype(np.float64)


def in_units(machine: Machine, center: float, unit: float) -> Machine:
    """Return the machine of targets that are multiplied by `unit` and moved by `center`."""
    return replace(
        machine,
        bias=machine.bias * unit + center,
        linear=machine.linear * np.float32(unit),
        factors=machine.factors * np.float32(np.sqrt(unit)),
    )


def _cutpoints(found: Posterior, n_levels: int) -> Array:
    """Return the cutpoints (S, K - 1); no columns where scores are on the scale of the targets."""
    return np.asarray(found.cutpoints, np.float64).reshape(len(found.bias), max(0, n_levels - 1))


def end_epoch(
    training: Training, number: int, problem: Problem, machine_of: Callable[[], Machine], *, arrays: Mapping[str, Array], **values: float
) -> None:
    """Tell of an epoch; the machine and its vectors are made only for those who look at them."""
    users = items = np.zeros((0, 0), np.float32)
    if training.monitor is not None or training.checkpoint is not None:
        machine, executor = machine_of(), training.runtime.executor
        users = as_users(machine, sums(machine, USER, problem.features[USER], executor))
        items = as_items(machine, sums(machine, ITEM, problem.features[ITEM], executor))
    training.end_epoch(number, users, items, arrays=arrays, **values)

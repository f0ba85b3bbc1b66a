"""`fm` by gradients: clicks, ratings, and rankings against drawn negatives; one machine of any order, with field weights if wanted."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from recvec.contract import Training
from recvec.kernels.fm_gradient import Epoch, learn
from recvec.kernels.fm_gradient import Machine as Found
from recvec.kernels.fm_vectors import ITEM, USER, Machine
from recvec.models.fm_history import spread_of_ids
from recvec.models.fm_links import Logistic
from recvec.models.fm_problem import Problem
from recvec.models.fm_solvers import Learned, Occurring, end_epoch, ids_of, in_units, occurring, spread_out, standard, unclicked
from recvec.types import F32, Array

if TYPE_CHECKING:
    from recvec.models.fm import FM

STEPS = 50  # of an epoch, at least
FEWEST = 64  # observations of a step, however few there are in all
HELD_OUT = 0.1  # share of the observations that decide when to stop


def gradient(method: "FM", problem: Problem, training: Training) -> Learned:
    """Learn by mini-batches; a tenth of the observations finds the number of epochs, then all of them are learned from anew.

    The epochs that are told of, and that a resumed fit goes on from, are those of the second time.
    """
    if method.task == "ranking":
        problem = _with_negatives(problem, method.n_negatives, training.rng)
    center, unit, targets = 0.0, 1.0, problem.targets
    if method.task == "rating":
        targets, center, unit, _ = standard(problem.targets, "normal")
    seen = occurring(problem)
    matrix = seen.relations.stacked()
    keys = training.rng.integers(1, 1 << 63, 2)  # of the numbers drawn to find the epochs, and of those to learn
    parts = _parts(targets, method.task, training.rng) if method.patience else None
    _, state = training.restore()

    def learned(part: Array | None, held: Array | None, n_epochs: int) -> Found:
        return learn(
            matrix if part is None else matrix[part], targets if part is None else targets[part], seen.relations.groups,
            rank=method.embedding_dim, order=3 if method.order == 3 else 2, field_weights=method.field_weights,
            loss="squared" if method.task == "rating" else "logistic", learning_rate=method.learning_rate, reg=method.reg,
            batch_size=min(method.batch_size, max(FEWEST, len(targets) // STEPS)), n_epochs=n_epochs,
            rng=np.random.default_rng(keys[0 if held is not None else 1]), executor=training.runtime.executor,
            valid=None if held is None else (matrix[held], targets[held]), patience=max(1, method.patience),
            on_epoch=on_epoch if part is None else None, resume=state if part is None else None,
        )  # fmt: skip

    def whole(found: Found) -> Machine:
        return in_units(_whole(problem, seen, found), center, unit)

    def on_epoch(epoch: Epoch) -> None:
        arrays = epoch.state() | {"epochs": np.array([epochs])}
        end_epoch(training, epoch.number, problem, lambda: whole(epoch.machine()), arrays=arrays, loss=epoch.curve[-1][0])

    epochs = method.epochs
    if state:
        epochs = int(state["epochs"][0])
    elif parts is not None:
        epochs = 1 + int(np.argmin([held for _, held in learned(*parts, epochs).curve]))
    found = learned(None, None, epochs)
    machine = whole(found)
    return _answer(method, problem, machine, 2 * found.curve[-1][0] * unit**2)


def _parts(targets: F32, task: str, rng: np.random.Generator) -> tuple[Array, Array] | None:
    """Return rows to learn from and rows held out, None where either would miss a label."""
    order = rng.permutation(len(targets))
    n = max(1, round(HELD_OUT * len(order)))
    held, kept = np.sort(order[:n]), np.sort(order[n:])
    if task != "rating" and any(len(np.unique(targets[part])) < 2 for part in (held, kept)):
        return None
    return kept, held


def _whole(problem: Problem, seen: Occurring, found: Found) -> Machine:
    """Return the machine over all features and all groups."""
    machine = spread_out(problem, seen.features, np.array([found.bias]), found.linear[None], found.factors[None])
    third = fields = None
    if found.third is not None:
        third = np.zeros((len(machine.groups), found.third.shape[1]), np.float32)
        third[seen.features] = found.third
    if found.field_weights is not None:
        n_groups, there = int(machine.groups.max()) + 1, np.unique(machine.groups[seen.features])
        fields = np.ones((n_groups, n_groups), np.float32)
        fields[np.ix_(there, there)] = found.field_weights
    return replace(machine, third=third, fields=fields)


def _answer(method: "FM", problem: Problem, machine: Machine, square: float) -> Learned:
    """Return the machine with what a history needs; `square` is the mean squared error of ratings."""
    _, variance = spread_of_ids(machine, ids_of(problem, USER))
    if method.task == "rating":
        return Learned(machine, (square / variance).astype(np.float32))
    if method.task == "ranking":
        machine = replace(machine, bias=np.zeros(1))
    link = Logistic(float(machine.bias[0])) if method.task == "click" else None
    reg = (4 / variance).astype(np.float32)
    return Learned(machine, reg, link, target=2.0, other=-2.0, unobserved_weight=unclicked(problem))


def _with_negatives(problem: Problem, n_negatives: int, rng: np.random.Generator) -> Problem:
    """Return the problem of clicks: every pair, and behind them the same people and contexts with items that they have not met.

    Items are drawn uniformly among those of the training part; where someone has met nearly everything, a few were met after all.
    """
    users, items, moods = problem.rows
    catalogue = np.unique(items)
    people, contexts = np.repeat(users, n_negatives), np.repeat(moods, n_negatives)
    drawn = catalogue[rng.integers(0, len(catalogue), len(people))]
    met = _codes(problem, users, items)
    for _ in range(20):
        again = np.flatnonzero(np.isin(_codes(problem, people, drawn), met))
        if not len(again):
            break
        drawn[again] = catalogue[rng.integers(0, len(catalogue), len(again))]
    return replace(
        problem,
        rows=(np.concatenate([users, people]), np.concatenate([items, drawn]).astype(np.int32), np.concatenate([moods, contexts])),
        targets=np.repeat(np.array([1, 0], np.float32), [len(users), len(people)]),
    )


def _codes(problem: Problem, users: Array, items: Array) -> Array:
    return users.astype(np.int64) * problem.features[ITEM].shape[0] + items

"""Factorization machines learned by gradients: logistic or squared loss, pairs and triples of features, weights by group.

The score of a row x, shape (F,), mostly zeros, is

    bias + sum_f x_f w_f + sum_{f<g} r_{c(f) c(g)} x_f x_g v_f . v_g + sum_{f<g<h} x_f x_g x_h <u_f, u_g, u_h>

with linear weights w (F,), factors v (F, d), and where they are asked for factors u (F, d) of the triples, <., ., .> being the
sum of products number by number, and a symmetric matrix r (G, G) of weights for pairs of groups c(.), learned from ones.

Minimised is ``mean over rows of loss(score, label) + reg / 2 (|v|^2 + |u|^2) + reg_linear / 2 |w|^2``, the loss being
log(1 + exp(score)) - label score, or (score - label)^2 / 2, by Adam (betas .9 and .999) on mini-batches.

**Lazy rows.** A batch changes only the features that stand in it. A feature's moments and their corrections count the batches
that it was in, not all; and the gradient of its regularization is taken times the number of batches since it was last there:
those that passed it by are made good in one step. Since a feature that is in one of k batches pays k times reg every time, the
gradients still add up to those of the objective. The bias and the weights of groups take a step every batch.

Cost of an epoch: about 8 d multiply-adds an entry for pairs, 14 d more for triples, and 4 d q^2 a row with q groups for field
weights. d and one more are rounded up to a multiple of 16: ranks such as 15, 31, 63 leave nothing unused. Memory: 20 bytes an
entry, 12 bytes for each number that is learned.

Source: Rendle, "Factorization machines", ICDM 2010; Blondel, Fujino, Ueda, Ishihata, "Higher-order factorization machines",
NIPS 2016; Pan et al., "Field-weighted factorization machines for click-through rate prediction", WWW 2018; Kingma, Ba, "Adam",
ICLR 2015.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp

from recvec.errors import DivergedError, ValueRangeError
from recvec.kernels.fm_gradient_batches import TASKS, Batches, Rows, by_row, deal
from recvec.kernels.fm_gradient_rows import LOGISTIC, SQUARED, Weights, packed, scores_of, unpacked
from recvec.kernels.fm_gradient_steps import Moments, Room, Settings, run_epoch
from recvec.types import F32, F64, I32, Array, Executor

FIRST_SPREAD = 0.01  # of the first factors of the pairs
FIRST_TRIPLES = 0.1  # of those of the triples, whose gradients are products of two others
NEWTON_STEPS = 50  # of the bias alone; a few suffice


@dataclass(frozen=True, eq=False)
class Machine:
    """A factorization machine of second or third order.

    Parameters
    ----------
    bias : float
        Of all rows.
    linear : F32, shape (F,)
        w.
    factors : F32, shape (F, d)
        v, of the pairs.
    groups : I32, shape (F,)
        Group of each feature.
    third : F32, shape (F, d), optional
        u, of the triples.
    field_weights : F32, shape (G, G), optional
        r; None means that all are 1.
    curve : tuple of (float, float)
        Mean loss of each epoch while it ran, and on the validation part after it (NaN without one).
    """

    bias: float
    linear: F32
    factors: F32
    groups: I32
    third: F32 | None = None
    field_weights: F32 | None = None
    curve: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Epoch:
    """Where learning stands after an epoch.

    Parameters
    ----------
    curve : tuple of (float, float)
        As in `Machine`, up to this epoch.
    weights, moments, groups, rank
        What was learned so far. They change later: `machine` makes a copy.
    """

    curve: tuple[tuple[float, float], ...]
    weights: Weights
    moments: Moments
    groups: I32
    rank: int

    @property
    def number(self) -> int:
        """Of the epoch, from 1."""
        return len(self.curve)

    def machine(self) -> Machine:
        """Return the machine as it is now."""
        return _machine(self.weights, self.rank, self.groups, self.curve)

    def state(self) -> dict[str, Array]:
        """Return what `learn` takes as `resume`; the arrays change later, so copy what you keep."""
        return _arrays(self.weights, self.moments) | {"losses": np.array([value for value, _ in self.curve])}


def score(matrix: sp.csr_array, machine: Machine, executor: Executor) -> F32:
    """Return the scores of rows, shape (n,): log-odds after logistic loss.

    Parameters
    ----------
    matrix : csr_array, shape (n, F)
        Rows of features.
    machine : Machine
        What was learned.
    executor : Executor
        Runs blocks of rows.
    """
    weights = packed(machine.bias, machine.linear, machine.factors, machine.third, machine.field_weights)
    _check_width(matrix, len(machine.linear))
    return scores_of(by_row(matrix, None if machine.field_weights is None else machine.groups), weights, executor)


def learn(
    matrix: sp.csr_array,
    labels: F32,
    groups: I32,
    *,
    rank: int,
    order: Literal[2, 3] = 2,
    field_weights: bool = False,
    loss: Literal["logistic", "squared"] = "logistic",
    learning_rate: float = 1e-3,
    reg: float = 0.0,
    reg_linear: float | None = None,
    batch_size: int = 4096,
    n_epochs: int = 50,
    rng: np.random.Generator,
    executor: Executor,
    valid: tuple[sp.csr_array, F32] | None = None,
    patience: int = 2,
    on_epoch: Callable[[Epoch], None] | None = None,
    resume: Mapping[str, Array] | None = None,
) -> Machine:
    """Learn a machine; with a validation part, that of the epoch with the lowest loss on it.

    Parameters
    ----------
    matrix : csr_array, shape (n, F)
        Rows of features, n at least 1. A feature comes at most once in a row.
    labels : F32, shape (n,)
        0 and 1 for the logistic loss, both of them there; finite numbers for the squared one.
    groups : I32, shape (F,)
        Group of each feature, from 0; read for field weights only.
    rank : int
        Length d of the factors.
    order : 2 or 3
        Whether triples count.
    field_weights : bool
        Whether to learn a weight for each pair of groups.
    loss : str
        ``"logistic"`` or ``"squared"``.
    learning_rate : float
        Of Adam.
    reg, reg_linear : float
        Regularization of factors, and of linear weights: the same unless given.
    batch_size : int
        Rows of a batch. Rows are dealt into batches once; epochs take the batches in random order.
    n_epochs : int
        At most.
    rng : numpy.random.Generator
        Draws first factors and batches.
    executor : Executor
        Its workers share memory. The result is the same to the bit for any number of them.
    valid : (csr_array, F32), optional
        Matrix and labels that decide when to stop. The bias of a logistic machine is fitted on them at the end, so that its
        probabilities are right in the mean.
    patience : int
        How many epochs may pass without a lower loss on the validation part.
    on_epoch : callable, optional
        Called after each epoch.
    resume : mapping of str to array, optional
        `Epoch.state` of some epoch: with the generator as it was at the *beginning*, learning goes on as if there had been no break.
        Not with a validation part.

    Raises
    ------
    ValueRangeError
        Where shapes do not fit, a label is not allowed, all labels of a logistic machine are the same, or there are both `resume`
        and `valid`.
    DivergedError
        Where the loss leaves the finite numbers.
    """
    logistic, fields = loss == "logistic", groups if field_weights else None
    _check(matrix, labels, valid, resume, len(groups), logistic=logistic)
    weights = _first_weights(len(groups), rank, _first_bias(labels, logistic=logistic), fields, order, rng)
    batches = deal(matrix, fields, batch_size, rng, executor)
    settings = Settings(np.float32(learning_rate), _by_place(weights, rank, reg, reg_linear), LOGISTIC if logistic else SQUARED)
    moments, room, ordered = _moments(weights, len(groups)), _room(batches, weights), labels[batches.order].astype(np.float32)
    told = weights, moments, batches, ordered, groups, room, settings
    judge = _Judge(weights, by_row(valid[0], fields), valid[1], logistic, executor) if valid else None
    curve = _taken(resume or {}, weights, moments)
    for _ in curve:
        rng.permutation(len(batches.bounds) - 1)
    while len(curve) < n_epochs and (judge is None or judge.lost < patience):
        value = run_epoch(*told, rng.permutation(len(batches.bounds) - 1), executor)
        held = judge.after_epoch() if judge else float("nan")
        curve.append((value, held))
        _check_loss(value + (held if judge else 0), len(curve), learning_rate)
        (on_epoch or _nothing)(Epoch(tuple(curve), weights, moments, groups, rank))
    return _machine(judge.best() if judge else weights, rank, groups, tuple(curve))


def fitted_bias(scores: F64, labels: F32, bias: float = 0.0) -> float:
    """Return the bias with which logistic probabilities are right in the mean: the minimum of the mean loss over it alone.

    ``mean(1 / (1 + exp(-(scores + bias)))) = mean(labels)``, found by Newton's method, which is safe here: the function is
    monotone, and steps are kept within 1. Scores are without the bias, shape (n,), with both labels among the n.
    """
    scores, wanted = np.asarray(scores, np.float64), float(np.mean(labels, dtype=np.float64))
    for _ in range(NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(scores + bias, -50, 50)))
        step = (wanted - chance.mean()) / max(1e-12, float((chance * (1 - chance)).mean()))
        bias += float(np.clip(step, -1, 1))
        if abs(step) < 1e-10:
            break
    return float(bias)


def corrected_bias(bias: float, kept: float) -> float:
    """Return the bias for all rows, where only a share `kept` of the negatives was learned from.

    Dropping negatives at random multiplies the odds by ``1 / kept`` and changes nothing else, so that the bias is too high
    by ``-log(kept)``. Source: King, Zeng, "Logistic regression in rare events data", Political Analysis 2001, equation 7.
    """
    if not 0 < kept <= 1:
        raise ValueRangeError(f"the share of negatives kept is {kept:g}; allowed: above 0, at most 1")
    return bias + float(np.log(kept))


def mean_loss(scores: F32, labels: F32, *, logistic: bool) -> float:
    """Return the mean of the loss over rows."""
    s, y = scores.astype(np.float64), labels.astype(np.float64)
    return float(np.mean(np.logaddexp(0, s) - s * y) if logistic else np.mean((s - y) ** 2) / 2)


def _nothing(epoch: Epoch) -> None:
    """Stand for a callable that is not given."""


def _taken(state: Mapping[str, Array], weights: Weights, moments: Moments) -> list[tuple[float, float]]:
    """Bring weights and moments to a state, in place, and return the curve up to there; nothing where there is no state."""
    for name, array in _arrays(weights, moments).items() if state else ():
        array[:] = state[name]
    return [(float(value), float("nan")) for value in state.get("losses", ())]


def _arrays(weights: Weights, moments: Moments) -> dict[str, Array]:
    """Return what an epoch changes, by the names that it has in a state."""
    changed = {name: getattr(weights, name) for name in ("second", "third", "fields", "shared")}
    return changed | {f"moments_{name}": array for name, array in moments._asdict().items()}


class _Judge:
    """The validation part, and the best weights so far."""

    def __init__(self, weights: Weights, rows: Rows, labels: F32, logistic: bool, executor: Executor) -> None:  # noqa: FBT001
        self.weights, self.rows, self.labels, self.logistic, self.executor = weights, rows, labels, logistic, executor
        self.lowest, self.lost, self.kept = np.inf, 0, _copied(weights)

    def after_epoch(self) -> float:
        """Return the loss, and keep the weights where it is lower than ever."""
        value = mean_loss(scores_of(self.rows, self.weights, self.executor), self.labels, logistic=self.logistic)
        if value < self.lowest:
            self.lowest, self.lost, self.kept = value, 0, _copied(self.weights)
        else:
            self.lost += 1
        return value

    def best(self) -> Weights:
        """Return the best weights, a logistic bias fitted."""
        if self.logistic and 0 < self.labels.mean() < 1:
            bias = float(self.kept.shared[0])
            scores = scores_of(self.rows, self.kept, self.executor).astype(np.float64)
            self.kept.shared[0] = fitted_bias(scores - bias, self.labels, bias)
        return self.kept


def _copied(weights: Weights) -> Weights:
    second, third, fields, shared, lanes = weights
    return Weights(second.copy(), third.copy(), fields.copy(), shared.copy(), lanes)


def _check_width(matrix: sp.csr_array, n_features: int) -> None:
    if matrix.shape[1] != n_features:
        raise ValueRangeError(f"the matrix has {matrix.shape[1]} columns; allowed: {n_features}, one for each feature")


def _check(
    matrix: sp.csr_array,
    labels: F32,
    valid: tuple[sp.csr_array, F32] | None,
    resume: Mapping[str, Array] | None,
    n_features: int,
    *,
    logistic: bool,
) -> None:
    if resume and valid:
        raise ValueRangeError("learning with a validation part cannot be resumed; leave resume out, or valid")
    for rows, wanted in ((matrix, labels), *([valid] if valid else [])):
        _check_part(rows, wanted, n_features, logistic=logistic)


def _check_loss(value: float, epoch: int, learning_rate: float) -> None:
    if not np.isfinite(value):
        raise DivergedError(f"the loss left the finite numbers in epoch {epoch}; lower learning_rate (it is {learning_rate:g})")


def _check_part(matrix: sp.csr_array, labels: F32, n_features: int, *, logistic: bool) -> None:
    _check_width(matrix, n_features)
    if labels.shape != (matrix.shape[0],) or not len(labels):
        raise ValueRangeError(f"labels have shape {labels.shape}; allowed: ({matrix.shape[0]},), one for each row, and one row or more")
    wrong = ~np.isin(labels, (0, 1)) if logistic else ~np.isfinite(labels)
    if wrong.any():
        allowed = "0 and 1" if logistic else "finite numbers"
        raise ValueRangeError(f"label {labels[wrong][0]:g} of row {int(wrong.argmax())} is not usable; allowed: {allowed}")


def _first_bias(labels: F32, *, logistic: bool) -> float:
    mean = float(np.mean(labels, dtype=np.float64))
    if not logistic:
        return mean
    if mean in (0, 1):
        raise ValueRangeError(f"all labels are {mean:g}; allowed: 0 and 1, both of them there; add rows of the other kind")
    return float(np.log(mean / (1 - mean)))


def _first_weights(n_features: int, rank: int, bias: float, fields: I32 | None, order: int, rng: np.random.Generator) -> Weights:
    factors = rng.standard_normal((n_features, rank), dtype=np.float32) * np.float32(FIRST_SPREAD)
    third = rng.standard_normal((n_features, rank), dtype=np.float32) * np.float32(FIRST_TRIPLES) if order == 3 else None
    n_groups = 0 if fields is None else int(fields.max(initial=-1)) + 1
    ones = None if fields is None else np.ones((n_groups, n_groups), np.float32)
    return packed(bias, np.zeros(n_features, np.float32), factors, third, ones)


def _by_place(weights: Weights, rank: int, reg: float, reg_linear: float | None) -> F32:
    """Return the regularization of each number of a row, shape (k, panel)."""
    k, panel = len(weights.lanes) // 3, weights.lanes.shape[1]
    places = np.zeros(k * panel, np.float32)
    places[:rank], places[rank] = reg, reg if reg_linear is None else reg_linear
    return places.reshape(k, panel)


def _moments(weights: Weights, n_features: int) -> Moments:
    second, third, fields = (np.zeros((2, *matrix.shape), np.float32) for matrix in (weights.second, weights.third, weights.fields))
    return Moments(second, third, fields, np.zeros(n_features, np.int64), np.zeros(n_features, np.int64))


def _room(batches: Batches, weights: Weights) -> Room:
    most, slot_ptr = int(np.diff(batches.bounds).max()), batches.rows.slot_ptr
    slots = int(np.diff(slot_ptr[batches.bounds]).max()) if len(slot_ptr) else most
    k, panel = len(weights.lanes) // 3, weights.lanes.shape[1]
    pulls, triples = np.zeros((slots * k, panel), np.float32), np.zeros((2 * most * k * (len(weights.third) > 0), panel), np.float32)
    sums, fields = np.zeros((TASKS, 2)), np.zeros((TASKS, *weights.fields.shape))
    return Room(np.zeros(most, np.float32), pulls, triples, np.zeros(slots, np.float32), sums, fields)


def _machine(weights: Weights, rank: int, groups: I32, curve: tuple[tuple[float, float], ...]) -> Machine:
    second, third = unpacked(weights, weights.second), unpacked(weights, weights.third)
    return Machine(
        bias=float(weights.shared[0]),
        linear=second[:, rank].copy(),
        factors=second[:, :rank].copy(),
        groups=groups,
        third=third[:, :rank].copy() if len(third) else None,
        field_weights=weights.fields.copy() if len(weights.fields) else None,
        curve=curve,
    )

"""The steps of `kernels.fm_gradient`: what threads do to a batch of rows, in an order that no number of threads changes.

A batch is three phases of tasks: rows (scores, slopes, and what the gradients need of each row), features (the gradient of
each, and its step), shared (bias and field weights). When a phase is over, workers claim tasks of the next, half of them
from the first on, half from the last, so that most features stay with the same processor. A task belongs to fixed rows or features,
so that who runs it makes no difference; and who waits, waits for tasks that somebody runs already: one worker suffices.
"""

import time
from typing import NamedTuple

import numpy as np

from recvec.kernels.atomic import claim, peek
from recvec.kernels.compiled import compiled, compiled_exactly, compiled_into_callers
from recvec.kernels.fm_gradient_batches import TASKS, Batches
from recvec.kernels.fm_gradient_rows import BIAS, FACTORS, ZEROS, Weights, chunks_of, score_rows
from recvec.kernels.simd import LANES, add_product, add_scaled, borrowed, load, store
from recvec.types import F32, F64, I32, I64, Executor

FIRST, SECOND, EPSILON = 0.9, 0.999, 1e-8  # Adam's
_STEPS = np.arange(1, 20_000)  # after which no correction is left in float32
CORRECTIONS = np.concatenate([[[1], [1]], 1 - np.array([[FIRST], [SECOND]]) ** _STEPS], axis=1).astype(np.float32)
BIAS_FIRST, BIAS_SECOND, STEP = 1, 2, 3  # places of `Weights.shared`
LOSS, SLOPE = 0, 1  # columns of `Room.sums`
WORKERS = 32  # that executors may run at the same time
SPINS = 1 << 18  # looks at a counter, some tenths of a millisecond, before a worker lets others have the processor


class Moments(NamedTuple):
    """Adam's memory.

    Parameters
    ----------
    second, third, fields : F32, shapes (2,) + those of `Weights`
        First and second moments.
    steps, last : I64, shape (F,)
        How many steps each feature has taken, and the number of the latest.
    """

    second: F32
    third: F32
    fields: F32
    steps: I64
    last: I64


class Room(NamedTuple):
    """What a batch's rows leave for its features, as `score_rows` says.

    Parameters
    ----------
    scores, pulls, elementary, slopes : F32
        For the largest batch.
    sums : F64, shape (TASKS, 2)
        Loss and slope over the rows of each task.
    fields : F64, shape (TASKS, G, G)
        Derivatives by the field weights, likewise.
    """

    scores: F32
    pulls: F32
    elementary: F32
    slopes: F32
    sums: F64
    fields: F64


class Settings(NamedTuple):
    """How large steps are: learning rate, regularization by place in a row (k, panel), and the loss."""

    learning_rate: np.float32
    reg: F32
    loss: int


def run_epoch(
    weights: Weights,
    moments: Moments,
    batches: Batches,
    labels: F32,
    groups: I32,
    room: Room,
    settings: Settings,
    order: I64,
    executor: Executor,
) -> float:
    """Take a step for every batch, in the given order, and return the mean loss, NaN after overflow.

    Parameters
    ----------
    weights, moments : Weights, Moments
        Changed in place.
    batches, labels : Batches, and F32 of shape (n,)
        Labels in the order of the batches: 0 and 1, or numbers.
    groups : I32, shape (F,)
        Read where there are field weights.
    room : Room
        Written over.
    settings : Settings
        Size of the steps.
    order : I64, shape (n_batches,)
        Of the batches.
    executor : Executor
        Its workers share memory.
    """
    total, chunks, n_phases = np.zeros(1), chunks_of(weights), 3 * len(order)
    taken, done = np.zeros(n_phases * TASKS, np.int64), np.zeros(n_phases, np.int64)

    def work(worker: int) -> None:
        phase = 0
        while phase < n_phases and done[-1] < TASKS:
            phase = _work(
                chunks, worker, phase, taken, done, weights, moments, batches, labels, groups, room, settings, order, CORRECTIONS, total
            )
            time.sleep(0)

    executor.map(work, range(WORKERS))
    return float(total[0]) / max(1, len(labels))


@compiled
def _work(chunks, worker, phase, taken, done, weights, moments, batches, labels, groups, room, settings, order, corrections, total):
    """Run tasks from a phase on, and return the number of phases; or, where others are slow, the phase that waits for them."""
    weights, moments, batches, labels, groups = borrowed((weights, moments, batches, labels, groups))
    room, settings, order, taken, done, corrections = borrowed((room, settings, order, taken, done, corrections))
    while phase < len(done):
        if not _reached(done, phase):
            return phase
        b, kind = order[phase // 3], phase % 3
        for turn in range(TASKS):
            part = turn if worker % 2 == 0 else TASKS - 1 - turn
            if claim(taken, phase * TASKS + part) > 0:
                continue
            if kind == 0:
                _take_rows(chunks, b, part, weights, batches, labels, room, settings)
            elif kind == 1:
                _take_features(chunks, b, part, weights, moments, batches, groups, room, settings, corrections)
            elif part == 0:
                total[0] += _take_shared(batches.bounds[b + 1] - batches.bounds[b], weights, moments, room, settings)
            claim(done, phase)
        phase += 1
    return phase


@compiled_exactly
def _reached(done, phase):
    """Say whether the phase before is over; look for a while."""
    looks = 0
    while phase > 0 and peek(done, phase - 1) < TASKS and looks < SPINS:
        looks += 1
    return looks < SPINS


@compiled_into_callers
def _take_rows(chunks, b, part, weights, batches, labels, room, settings):
    """Score the rows of a task, and leave what the gradients need."""
    base, begin, end = batches.bounds[b], batches.row_cuts[b, part], batches.row_cuts[b, part + 1]
    gradient = room.fields[part]
    gradient[:] = 0
    left = room.scores, room.pulls, room.elementary, room.slopes, gradient
    loss, slope = score_rows(chunks, begin, end, base, batches.rows, weights, labels, settings.loss, *left)
    room.sums[part, LOSS], room.sums[part, SLOPE] = loss, slope


@compiled_into_callers
def _take_features(chunks, b, part, weights, moments, batches, groups, room, settings, corrections):
    """Add up the gradients of the features of a task, and take their steps."""
    columns, step, share = batches.columns, np.int64(weights.shared[STEP]) + 1, np.float32(1 / (batches.bounds[b + 1] - batches.bounds[b]))
    k, panel, most = len(weights.lanes) // 3, LANES * len(chunks), corrections.shape[1] - 1
    gradient = np.empty((k, panel), np.float32)
    for column in range(batches.column_cuts[b, part], batches.column_cuts[b, part + 1]):
        f = np.int64(columns.features[column])
        moments.steps[f] += 1
        lived, age = np.float32(step - moments.last[f]), min(most, moments.steps[f])
        moments.last[f] = step
        rates = settings.learning_rate / corrections[0, age], 1 / corrections[1, age], lived
        own = weights.fields[groups[f], groups[f]] if len(weights.fields) > 0 else np.float32(1)
        _pair_gradient(chunks, column, f, own, share, weights.second, weights.lanes, columns, room.pulls, room.slopes, gradient)
        _move(chunks, f * k, weights.second, gradient, moments.second, rates, settings.reg)
        if len(weights.third) > 0:
            _triple_gradient(chunks, column, f, share, weights.third, weights.lanes, columns, room.elementary, room.slopes, gradient)
            _move(chunks, f * k, weights.third, gradient, moments.third, rates, settings.reg)


@compiled_into_callers
def _pair_gradient(chunks, column, f, own, share, factors, lanes, columns, pulls, slopes, gradient):
    """Write the gradient of a feature's factors and linear weight."""
    k, nothing = len(lanes) // 3, load(chunks, lanes, ZEROS)
    for c in range(k):
        total, square = nothing, np.float32(0)
        for e in range(columns.indptr[column], columns.indptr[column + 1]):
            x, slot = columns.values[e], np.int64(columns.slots[e])
            pull = x * slopes[slot]
            square += x * pull
            total = add_scaled(total, pull, load(chunks, pulls, slot * k + c))
        mine = add_product(nothing, load(chunks, factors, f * k + c), load(chunks, lanes, FACTORS * k + c))
        store(gradient, c, add_scaled(nothing, share, add_scaled(total, -own * square, mine)))


@compiled_into_callers
def _triple_gradient(chunks, column, f, share, factors, lanes, columns, elementary, slopes, gradient):
    """Write the gradient of a feature's factors for triples."""
    k, nothing = len(lanes) // 3, load(chunks, lanes, ZEROS)
    for c in range(k):
        first, second, cube, v = nothing, nothing, np.float32(0), load(chunks, factors, f * k + c)
        for e in range(columns.indptr[column], columns.indptr[column + 1]):
            x, row = columns.values[e], 2 * np.int64(columns.rows[e])
            pull = x * slopes[columns.slots[e]]
            cube += x * x * pull
            second = add_scaled(second, pull, load(chunks, elementary, (row + 1) * k + c))
            first = add_scaled(first, -x * pull, load(chunks, elementary, row * k + c))
        store(gradient, c, add_scaled(nothing, share, add_product(add_product(second, v, first), add_scaled(nothing, cube, v), v)))


@compiled_into_callers
def _move(chunks, start, values, gradient, moments, rates, reg):
    """Take a step of Adam; the regularization of the steps that passed the feature by is in it."""
    size, second_correction, lived = rates
    for c in range(len(gradient)):
        for j in range(LANES * len(chunks)):
            g = gradient[c, j] + lived * reg[c, j] * values[start + c, j]
            first = np.float32(FIRST) * moments[0, start + c, j] + np.float32(1 - FIRST) * g
            second = np.float32(SECOND) * moments[1, start + c, j] + np.float32(1 - SECOND) * g * g
            moments[0, start + c, j], moments[1, start + c, j] = first, second
            values[start + c, j] -= size * first / (np.sqrt(second * second_correction) + np.float32(EPSILON))


@compiled_exactly
def _take_shared(n, weights, moments, room, settings):
    """Take the steps of the bias and of the field weights, and return the loss over the batch."""
    shared, loss, slope = weights.shared, 0.0, 0.0
    for part in range(TASKS):
        loss, slope = loss + room.sums[part, LOSS], slope + room.sums[part, SLOPE] / n
    shared[STEP] += 1
    first, second = 1 - FIRST ** shared[STEP], 1 - SECOND ** shared[STEP]
    shared[BIAS_FIRST] = FIRST * shared[BIAS_FIRST] + (1 - FIRST) * slope
    shared[BIAS_SECOND] = SECOND * shared[BIAS_SECOND] + (1 - SECOND) * slope * slope
    shared[BIAS] -= settings.learning_rate * (shared[BIAS_FIRST] / first) / (np.sqrt(shared[BIAS_SECOND] / second) + EPSILON)
    for g in range(len(weights.fields)):
        for h in range(g + 1):
            pull = 0.0
            for part in range(TASKS):
                pull += room.fields[part, g, h] / n
            moments.fields[0, g, h] = FIRST * moments.fields[0, g, h] + (1 - FIRST) * pull
            moments.fields[1, g, h] = SECOND * moments.fields[1, g, h] + (1 - SECOND) * pull * pull
            change = settings.learning_rate * (moments.fields[0, g, h] / first) / (np.sqrt(moments.fields[1, g, h] / second) + EPSILON)
            weights.fields[g, h] -= change
            weights.fields[h, g] = weights.fields[g, h]
    return loss

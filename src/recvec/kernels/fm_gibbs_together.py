"""Drawing, one after another, the features that many rows share, while several threads divide the rows.

A feature can be drawn only when those before it are, and is done in a few microseconds: far too little to hand out as tasks. So
each thread of the executor enters one kernel and stays there. The first to come leads: it opens a step for each feature, in which
every part of the rows first takes over what was drawn for the feature before, then sums up its entries of this one; it adds up
the parts in their order, and draws. The others help: they take parts of the open step that nobody has taken. The leader
takes them as well, and waits only for parts that a helper has begun, so that nothing depends on there being helpers: an executor
that runs its tasks one after another is led through by the first. The parts depend on the data alone, and so do the bits.

A part is taken by compare-and-swap, from "step before" to "this step"; the numbers only grow, so a helper that looks too late finds
nothing to take. What a thread wrote before it released a flag is seen by who acquired it.
"""

import numpy as np

from recvec.kernels.atomic import peek, publish, take
from recvec.kernels.compiled import compiled, compiled_into_callers
from recvec.kernels.fm_gibbs_features import (
    DELTA,
    N_ROWS,
    POINT,
    SEVERAL,
    add_entries,
    find_step,
    move,
    symmetrize,
    write_residuals,
)
from recvec.kernels.fm_gibbs_moments import EXTRA
from recvec.kernels.simd import LANES, add_scaled, borrowed, load, prefetch, store

N_PARTS = 4  # parts of the rows; also the most threads that find work
HELPERS = 16  # tasks that offer their help; those that come late return at once
_APART = 16  # flags are so many numbers apart: each on cache lines of its own
_LEADER, _STEP, _TAKEN = 0, _APART, 2 * _APART
_DONE = _TAKEN + N_PARTS * _APART
N_FLAGS = _DONE + N_PARTS * _APART
_OVER = np.int64(1) << np.int64(40)
STEP_W = 2  # column of the sums that holds the step of the bias
SUMS = 16  # columns of the sums: each part's on cache lines of their own


@compiled
def draw_together(chunks, flags, entries, pairs, offset, block, known, parameters, prior, alpha, key, dimension, room, out):
    """Draw features one after another, then fill `out` as `residuals` does; called by any number of threads with the same arguments.

    Parameters
    ----------
    chunks, pairs, offset, block, known, parameters, prior, alpha, key, dimension
        See `fm_gibbs_features.draw_private`; moments and scalars are those of all rows of the block.
    flags : int64 (N_FLAGS,)
        Zeros.
    entries : tuple
        ``features`` int32 (m,), in the order in which they are drawn, ``bounds`` int64 (m, N_PARTS + 1), where the entries of
        each part of the rows begin, multiples of the length of `SEVERAL`, ``rows`` int32 and ``values`` float32: the entries;
        ``edges`` int64 (N_PARTS + 1,), the first row of each part.
    room : tuple
        ``systems`` float32 ((N_PARTS + 1) * (width + N_ROWS), width) and ``sums`` float64 (N_PARTS + 1, SUMS).
    """
    flags, entries, block, prior = borrowed(flags), borrowed(entries), borrowed(block), borrowed(prior)
    known, parameters, room, out = borrowed(known), borrowed(parameters), borrowed(room), borrowed(out)
    leads, step = take(flags, _LEADER, 0, 1), np.int64(1)
    while True:
        if leads:
            publish(flags, _STEP, step)
        else:
            step = peek(flags, _STEP)
        if step == _OVER:
            return
        for turn in range(N_PARTS):
            part = turn if leads else N_PARTS - 1 - turn
            if step > 0 and take(flags, _TAKEN + part * _APART, step - 1, step):
                _do_part(chunks, step - 1, part, entries, pairs, offset, block, known, parameters[1], room, out)
                publish(flags, _DONE + part * _APART, step)
        if leads:
            _end_step(chunks, step - 1, flags, entries[0], parameters, prior, alpha, key, dimension, room)
            step = step + 1 if step <= len(entries[0]) else _OVER


@compiled_into_callers
def _end_step(chunks, at, flags, features, parameters, prior, alpha, key, dimension, room):
    """Wait for all parts; then no row needs feature ``at - 1`` as it was, and feature `at` can be drawn."""
    (systems, all_sums), (linear, factors) = room, parameters
    width = len(chunks) * LANES
    total = N_PARTS * (width + N_ROWS)
    for part in range(N_PARTS):
        while peek(flags, _DONE + part * _APART) != at + 1:
            pass
    if at > 0:
        f = np.int64(features[at - 1])
        linear[f] += np.float32(all_sums[N_PARTS, STEP_W])
        step = load(chunks, systems, total + width + DELTA)
        store(factors, f, add_scaled(load(chunks, factors, f), POINT, step))
    if at < len(features):
        _add_up(chunks, systems, all_sums)
        f, sums = np.int64(features[at]), all_sums[N_PARTS]
        sums[STEP_W] = find_step(chunks, systems[total:], sums, f, linear, factors, prior, alpha, key, dimension)


@compiled_into_callers
def _do_part(chunks, at, part, entries, pairs, offset, block, known, factors, room, out):
    """Take over the step of feature ``at - 1`` in one part of the rows, and add up the entries of feature `at`, or end."""
    (features, bounds, rows, values, edges), (systems, all_sums) = entries, room
    width = len(chunks) * LANES
    size = width + N_ROWS
    if at > 0:
        f, drawn = np.int64(features[at - 1]), systems[N_PARTS * size :]
        delta = np.float32(all_sums[N_PARTS, STEP_W])
        for e in range(bounds[at - 1, part], bounds[at - 1, part + 1]):
            move(chunks, values[e], pairs, offset + np.int64(rows[e]), known, factors, f, drawn, delta)
    if at == len(features):
        write_residuals(chunks, edges[part], edges[part + 1], offset, block, known, out)
    else:
        f, system, sums = np.int64(features[at]), systems[part * size : (part + 1) * size], all_sums[part]
        system[: width + DELTA] = 0
        sums[:] = 0
        for e in range(bounds[at, part], bounds[at, part + 1], len(SEVERAL)):
            for i in range(len(SEVERAL)):
                ahead = np.int64(rows[min(e + len(SEVERAL) + i, len(rows) - 1)])
                if ahead - rows[e + i] > len(SEVERAL):  # rows that follow each other the processor brings by itself
                    for k in range(width + EXTRA):
                        prefetch(chunks, block[0], ahead * (width + EXTRA) + k)
            add_entries(chunks, SEVERAL, (rows, values), e, pairs, offset, block, known, factors, f, system, sums)


@compiled_into_callers
def _add_up(chunks, systems, all_sums):
    """Add up the systems of all parts behind them, in their order."""
    width = len(chunks) * LANES
    size = width + N_ROWS
    total = N_PARTS * size
    for k in range(width + DELTA):
        row = load(chunks, systems, k)
        for part in range(1, N_PARTS):
            row = add_scaled(row, POINT, load(chunks, systems, part * size + k))
        store(systems, total + k, row)
    for j in range(2):
        all_sums[N_PARTS, j] = 0.0
        for part in range(N_PARTS):
            all_sums[N_PARTS, j] += all_sums[part, j]
    symmetrize(systems[total:])

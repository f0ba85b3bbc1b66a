"""Drawing the bias and the factors of one feature jointly, from the moments of the rows that it stands in.

The score of a machine is linear in all that belongs to one feature f: with x its value in a row and c = P - x v_f the sum of the
row's other features, an observation's score is ``x (w_f + v_f . (q + c))`` more than without f. So w_f and v_f have a joint normal
law given everything else; with y = q + c, and the residuals r of the present parameters, it has

    precision   M = alpha [ sum x^2 n~   sum x^2 S~' ;  sum x^2 S~   sum x^2 A~ ] + diag(lambda),
    step        M^-1 (alpha sum x (sum r, sum r y) - lambda (theta - mu))   to the mean from the present theta,

where n~, S~, A~ are the moments of y: ``S + n c``, ``A + S c' + c S' + n c c'``. Residual sums come from the moments too. The step to
a draw is ``U^-1 z`` longer, with U'U = M and z standard normal; without it, this is a step of alternating least squares.

Cost: ``width^2`` multiply-adds for each entry of the block, and ``width^3 / 3`` for each feature. A draw of all d + 1 numbers
costs no more than d + 1 draws of one, each of which would change the residual moments of all rows, and it mixes better.

Source of the law: Freudenthaler, Schmidt-Thieme, Rendle, "Bayesian factorization machines", 2011, for one coordinate.
"""

import numpy as np

from recvec.kernels.compiled import compiled_into_callers
from recvec.kernels.fm_gibbs_moments import COUNT, EXTRA, SQUARES, SUM, aligned
from recvec.kernels.fm_gibbs_panels import add_panels
from recvec.kernels.fm_gibbs_random import normal
from recvec.kernels.sampling import stream
from recvec.kernels.simd import LANES, add_scaled, borrowed, dot, load, store

# Rows of a system behind the matrix: sum x^2 S~, sum of x times the residual moments, and the step of the draw
CROSS, PULL, DELTA, ROOM = 0, 1, 2, 3
ZERO = 6  # behind the room of a draw: zeros that are never written
TILE = 7  # for each of some entries: weights, c, what is left of B, and P
ONE, SEVERAL = (0,), (0,) * 4  # as many entries as are added at a time
N_ROWS = TILE + 4 * len(SEVERAL)  # of a system behind the matrix
POINT = np.float32(1)


@compiled_into_callers
def residual_moments(chunks, moments, scalars, row, own, p_row, vectors, room, at):
    """Write ``sum r q`` to row `at` of `room`, and return ``sum r``: r are the residuals of the row's observations."""
    width = len(chunks) * LANES
    first = row * (width + EXTRA)
    p, summed = load(chunks, vectors, p_row), load(chunks, moments, first + width + 1)
    left = add_scaled(load(chunks, moments, first + width), -own, summed)
    for k in range(width):
        left = add_scaled(left, -vectors[p_row, k], load(chunks, moments, first + k))
    store(room, at, left)
    return np.float32(scalars[row, SUM] - own * scalars[row, COUNT] - dot(summed, p))


@compiled_into_callers
def add_entries(chunks, many, entries, e, pairs, offset, block, known, factors, f, system, sums):
    """Add what some entries of a feature bring to its system: as many as `many` is long, the first is number `e`.

    `entries` holds ``rows`` int32, in the block's moments, and ``values`` float32. `system` (width + N_ROWS, width) holds the
    matrix and CROSS and PULL, `sums` (2,) the precision and the pull of the bias. Of the matrix the part ``2 g c'`` is added in place of
    ``g c' + c g'``: `symmetrize` follows when all entries are in. With `pairs` 0 the other features of a row do not interact
    with this one.
    """
    (rows, values), (moments, scalars), (vectors, own) = entries, block, known
    width, n_entries = len(chunks) * LANES, len(many)
    tile, zero, mine = width + TILE, load(chunks, system, width + ZERO), load(chunks, factors, f)
    for i in range(n_entries):
        row, one = np.int64(rows[e + i]), values[e + i]
        first, n, o = row * (width + EXTRA), np.float32(scalars[row, COUNT]), own[offset + row]
        p, summed = load(chunks, vectors, offset + row), load(chunks, moments, first + width + 1)
        c = add_scaled(add_scaled(zero, pairs, p), -pairs * one, mine)
        g = add_scaled(summed, np.float32(0.5) * n, c)
        store(system, tile + i, add_scaled(zero, np.float32(2) * one * one, g))
        store(system, tile + n_entries + i, c)
        store(system, tile + 2 * n_entries + i, add_scaled(load(chunks, moments, first + width), -o, summed))
        store(system, tile + 3 * n_entries + i, p)
    for k in range(0, width, LANES):  # the matrix, and what is left less A P
        add_panels(chunks, many, system, k, tile, moments, rows, values, e)
    pull, cross = load(chunks, system, width + PULL), load(chunks, system, width + CROSS)
    for i in range(n_entries):
        row, one = np.int64(rows[e + i]), values[e + i]
        n, square = np.float32(scalars[row, COUNT]), one * one
        p, summed = load(chunks, vectors, offset + row), load(chunks, moments, row * (width + EXTRA) + width + 1)
        rest, c = np.float32(scalars[row, SUM] - own[offset + row] * n - dot(summed, p)), load(chunks, system, tile + n_entries + i)
        pull = add_scaled(add_scaled(pull, one, load(chunks, system, tile + 2 * n_entries + i)), one * rest, c)
        cross = add_scaled(cross, square, add_scaled(summed, n, c))
        sums[0] += square * n
        sums[1] += one * rest
    store(system, width + PULL, pull)
    store(system, width + CROSS, cross)


@compiled_into_callers
def symmetrize(system):
    """Replace both halves of the matrix by their mean."""
    width = system.shape[1]
    for i in range(width):
        for j in range(i):
            system[j, i] = system[i, j] = np.float32(0.5) * (system[i, j] + system[j, i])


@compiled_into_callers
def move(chunks, x, pairs, p_row, known, factors, f, system, delta_w):
    """Bring the sum and the own score of a row up to a feature's step; `factors` still holds the feature as it was."""
    vectors, own = known
    width = len(chunks) * LANES
    one = np.float32(x)
    p, step = load(chunks, vectors, p_row), load(chunks, system, width + DELTA)
    c = add_scaled(p, -one, load(chunks, factors, f))
    own[p_row] += one * (delta_w + pairs * dot(step, c))
    store(vectors, p_row, add_scaled(p, one, step))


@compiled_into_callers
def find_step(chunks, system, sums, f, linear, factors, prior, alpha, key, dimension):
    """Solve a feature's system: write the step of the factors to row DELTA and return that of the bias.

    `prior` holds the group of each feature, mu and lambda of the factors (groups, width), and of the biases (groups,);
    coordinates from `dimension` on are padding. `key` 0: the step to the mean, without noise.
    """
    groups, mu, lam, mu_w, lam_w = prior
    width, g = len(chunks) * LANES, np.int64(groups[f])
    noisy, state = np.float32(0 if key == 0 else 1), stream(key, f)
    pull, diagonal, step = width + PULL, width + ROOM + 1, width + DELTA
    zero = load(chunks, system, width + ZERO)
    for k in range(width):
        system[pull, k] = alpha * system[pull, k] - lam[g, k] * (factors[f, k] - mu[g, k])
    root = np.float32(1 / np.sqrt(alpha * sums[0] + lam_w[g]))  # the bias first: it is what is left over beside 16 lanes
    y_w = root * np.float32(alpha * sums[1] - lam_w[g] * (linear[f] - mu_w[g]))
    cross = add_scaled(zero, root * alpha, load(chunks, system, width + CROSS))
    store(system, width + CROSS, cross)
    store(system, pull, add_scaled(load(chunks, system, pull), -y_w, cross))
    for k in range(width):
        row = add_scaled(zero, alpha, load(chunks, system, k))
        store(system, k, add_scaled(row, -system[width + CROSS, k], cross))
        system[k, k] += lam[g, k]
    _factor(chunks, system, pull, diagonal)
    z, state = normal(state)
    y_w += noisy * np.float32(z)
    for k in range(dimension):
        z, state = normal(state)
        system[pull, k] += noisy * np.float32(z)
    _back(chunks, system, pull, diagonal, step)
    return root * (y_w - dot(cross, load(chunks, system, step)))


@compiled_into_callers
def _factor(chunks, system, pull, diagonal):
    """Overwrite the matrix with U, U'U the matrix, row `pull` with U'^-1 times it; 1 over the diagonal goes to row `diagonal`."""
    width = system.shape[1]
    zero = load(chunks, system, width + ZERO)
    for k in range(width):
        inverse = np.float32(1) / np.sqrt(system[k, k])
        y = system[pull, k] * inverse
        row = add_scaled(zero, inverse, load(chunks, system, k))
        store(system, k, row)
        for j in range(k + 1, width):
            store(system, j, add_scaled(load(chunks, system, j), -system[k, j], row))
        store(system, pull, add_scaled(load(chunks, system, pull), -y, row))
        system[diagonal, k] = inverse
        system[diagonal + 1, k] = y
    store(system, pull, load(chunks, system, diagonal + 1))


@compiled_into_callers
def _back(chunks, system, pull, diagonal, step):
    """Write ``U^-1`` times row `pull` to row `step`."""
    width = system.shape[1]
    store(system, step, load(chunks, system, width + ZERO))
    for k in range(width - 1, -1, -1):  # row k holds rounding errors left of the diagonal, where the step is still 0
        inside = dot(load(chunks, system, k), load(chunks, system, step))
        system[step, k] = (system[pull, k] - inside) * system[diagonal, k]


@compiled_into_callers
def draw_private(chunks, entries, pairs, first, offset, block, known, parameters, prior, alpha, key, dimension):
    """Draw the features that stand in one row only, for a range of rows: rows may be done in any order, or at once.

    Parameters
    ----------
    chunks : tuple of int
        ``(0,) * (width / LANES)``.
    entries : tuple
        ``indptr`` int64 (n_rows + 1,), ``features`` int32, ``values`` float32: the private features of each row.
    pairs : float32
        1, or 0 where features of one row do not interact.
    first, offset : int
        First row of the range, and the row of `known` where the block begins.
    block : tuple
        Moments and scalars of the range, see `fm_gibbs_moments.gather`.
    known, parameters : tuple
        ``vectors, own`` of the rows of all blocks; ``linear``, ``factors`` of the features of this block. Changed in place.
    prior, alpha, key, dimension
        See `find_step`.
    """
    (indptr, features, values), block, prior = borrowed(entries), borrowed(block), borrowed(prior)
    known, (linear, factors) = borrowed(known), borrowed(parameters)
    width = len(chunks) * LANES
    system, sums = aligned(width + N_ROWS, width), np.zeros(2)
    here, value = np.empty(1, np.int32), np.empty(1, np.float32)
    for row in range(len(block[1])):
        p_row = offset + first + row
        for e in range(indptr[first + row], indptr[first + row + 1]):
            f, x = np.int64(features[e]), values[e]
            system[: width + DELTA] = 0
            sums[:] = 0
            here[0], value[0] = row, x
            add_entries(chunks, ONE, (here, value), 0, pairs, offset + first, block, known, factors, f, system, sums)
            symmetrize(system)
            step = find_step(chunks, system, sums, f, linear, factors, prior, alpha, key, dimension)
            move(chunks, x, pairs, p_row, known, factors, f, system, step)
            linear[f] += step
            store(factors, f, add_scaled(load(chunks, factors, f), POINT, load(chunks, system, width + DELTA)))


@compiled_into_callers
def residuals(chunks, block, known, offset, out):
    """Fill `out` (rows, 2) with the sum and the sum of squares of the residuals of each row of a range."""
    (moments, scalars), (vectors, own) = borrowed(block), borrowed(known)
    width = len(chunks) * LANES
    room = aligned(1, width)
    for row in range(len(out)):
        p_row, o = offset + row, own[offset + row]
        rest = residual_moments(chunks, moments, scalars, row, o, p_row, vectors, room, 0)
        p = load(chunks, vectors, p_row)
        inside = dot(p, load(chunks, moments, row * (width + EXTRA) + width)) + dot(p, load(chunks, room, 0))
        out[row, 0], out[row, 1] = rest, scalars[row, SQUARES] - o * scalars[row, SUM] - o * rest - inside


@compiled_into_callers
def write_residuals(chunks, first, last, offset, block, known, out):
    """Fill `out` for a range of rows, from the moments of all rows of the block."""
    (moments, scalars), size = block, len(chunks) * LANES + EXTRA
    residuals(chunks, (moments[first * size : last * size], scalars[first:last]), known, offset + first, out[first:last])

"""Warm-started, preconditioned conjugate gradient for many rows at once, in the eigenbasis of the Gramian.

There the Gramian is a diagonal, so that a step costs no d x d product, and a diagonal of the whole system is at hand as
preconditioner: two steps do better than three plain ones. All rows of a block take each step together, so that a tile
of the fixed side serves them all while it is in the cache beside the core.

Source: Takacs, Pilaszy, Tikk, "Applications of the conjugate gradient method for implicit feedback collaborative
filtering", RecSys 2011.
"""

import numpy as np

from recvec.kernels.compiled import compiled, compiled_exactly, compiled_inline, compiled_into_callers
from recvec.kernels.simd import LANES, add_product, add_scaled, dot, dot4, four, load, panel, panels, prefetch, store
from recvec.types import F32

UNROLLED = 192  # numbers of a row that are taken as one; longer rows come panel by panel
CACHE_BYTES = 1 << 20  # what the cache beside a core holds
TILED_BYTES = 16 << 20  # of the fixed side: smaller than that, the last cache holds it all, and tiles only cost
TILED_ENTRIES = 8  # fewer entries a row and tile, and moving the rows' own vectors costs more than tiles save
AHEAD = 8  # entries after this one whose vectors are asked for already: those of a large side come late
SOLVED = np.float32(1e-14)  # of the first r' M r: far below rounding, but far above what float32 cannot hold


def row_chunks(width: int) -> tuple[int, ...]:
    """Return `chunks` of a row: the whole of it, or a panel of a long one."""
    return (0,) * (width // LANES) if width <= UNROLLED else panel(width)


def schedule(turned: F32, entries_per_row: float) -> tuple[int, int]:
    """Return how many rows of the fixed side make up a tile, and how many entries a group of rows may have.

    Where rows share tiles, the tile stays in the cache beside the core, and a group is as large as its block. Where
    tiles would not pay, there is one tile, and a group is so small that what it gathers stays in that cache.
    """
    m, width = turned.shape
    tile = max(1, CACHE_BYTES // (4 * width))
    if turned.nbytes > TILED_BYTES and entries_per_row * tile >= TILED_ENTRIES * m:
        return tile, np.iinfo(np.int64).max
    return max(1, m), tile // 2


@compiled
def improve(chunks, tile, group, indptr, indices, quadratic, linear, fixed, spectrum, square, reg, steps, x):
    """Improve x (b, width) by some steps, group by group; all rows of a group take each step together."""
    edges = _groups(indptr, group)
    for g in range(len(edges) - 1):
        at, part = slice(edges[g], edges[g + 1]), x[edges[g] : edges[g + 1]]
        spans = _spans(indptr[edges[g] : edges[g + 1] + 1], indices, tile, len(fixed))
        entries = (spans, indices, quadratic, linear, fixed, spectrum, reg[at])
        residual = _residual(chunks, *entries, np.float32(1), part)
        inverse, direction, solved = _precondition(spans, quadratic, spectrum, square, reg[at], residual)
        for _ in range(steps):
            image = _residual(chunks, *entries, np.float32(0), direction)  # -A p
            _advance(part, residual, direction, image, inverse, solved)


@compiled_into_callers
def _groups(indptr, size):
    """Cut the rows into groups of about `size` entries, a few entries added for the vectors of each row."""
    edges = [0]
    for u in range(1, len(indptr) - 1):
        if indptr[u] - indptr[edges[-1]] + 4 * (u - edges[-1]) >= size:
            edges.append(u)
    edges.append(len(indptr) - 1)
    return edges


@compiled_into_callers
def _spans(indptr, indices, tile, m):
    """Return where the entries of each row begin in each tile: int64 (tiles + 1, b); every entry is in one span."""
    n, tiles = len(indptr) - 1, max(1, (m + tile - 1) // tile)
    spans = np.empty((tiles + 1, n), np.int64)
    for u in range(n):
        entry = indptr[u]
        for t in range(tiles):
            spans[t, u] = entry
            while t < tiles - 1 and entry < indptr[u + 1] and indices[entry] < (t + 1) * tile:
                entry += 1
        spans[tiles, u] = indptr[u + 1]
    return spans


@compiled_into_callers
def _residual(chunks, spans, indices, quadratic, linear, fixed, spectrum, reg, share, x):
    """Return ``share b - A x`` for every row, (b, width), where b is the linear part of the objective."""
    out = np.empty_like(x)
    for u in range(len(x)):
        for a in range(x.shape[1]):
            out[u, a] = -(spectrum[a] + reg[u]) * x[u, a]
    add_entries(chunks, spans, indices, quadratic, linear, fixed, share, x, out)
    return out


@compiled_exactly
def add_entries(chunks, spans, indices, quadratic, linear, fixed, share, x, total):
    """Add ``sum_e (share l_e - q_e x'y_e) y_e`` to the totals (b, width); the entries of row u in tile t begin at ``spans[t, u]``."""
    if x.shape[1] == LANES * len(chunks):
        _add_entries(chunks, spans, indices, quadratic, linear, fixed, share, x, total)
    else:
        _add_entries_in_panels(chunks, spans, indices, quadratic, linear, fixed, share, x, total)


@compiled_exactly
def _add_entries(chunks, spans, indices, quadratic, linear, fixed, share, x, total):
    """Do what `add_entries` does, four entries at a time; all stays in registers."""
    for t in range(len(spans) - 1):
        for u in range(len(x)):
            first, last = spans[t, u], spans[t + 1, u]
            if first == last:
                continue
            until = _until(spans, last)
            x_u, r = load(chunks, x, u), load(chunks, total, u)
            fours = last - (last - first) % 4
            for e in range(first, fours, 4):
                i0, i1, i2, i3 = four(indices, e)
                _ask_for(chunks, fixed, 1, indices, min(e + AHEAD, until))
                q0, q1, q2, q3 = four(quadratic, e)
                l0, l1, l2, l3 = four(linear, e)
                y0, y1 = load(chunks, fixed, i0), load(chunks, fixed, i1)
                y2, y3 = load(chunks, fixed, i2), load(chunks, fixed, i3)
                s0, s1, s2, s3 = dot4(x_u, y0, y1, y2, y3)
                r = add_scaled(r, share * l0 - q0 * s0, y0)
                r = add_scaled(r, share * l1 - q1 * s1, y1)
                r = add_scaled(r, share * l2 - q2 * s2, y2)
                r = add_scaled(r, share * l3 - q3 * s3, y3)
            for e in range(fours, last):
                y = load(chunks, fixed, indices[e])
                r = add_scaled(r, share * linear[e] - quadratic[e] * dot(x_u, y), y)
            store(total, u, r)


@compiled_exactly
def _add_entries_in_panels(chunks, spans, indices, quadratic, linear, fixed, share, x, total):
    """Do what `_add_entries` does for vectors too long for the registers, panel by panel: each is read twice, the second time near."""
    rows, mine, out = panels(chunks, fixed), panels(chunks, x), panels(chunks, total)
    k = len(mine) // max(1, len(x))
    zeros, ones = np.zeros((1, LANES * len(chunks)), np.float32), np.ones((1, LANES * len(chunks)), np.float32)
    nothing, one = load(chunks, zeros, 0), load(chunks, ones, 0)
    for t in range(len(spans) - 1):
        for u in range(len(x)):
            first, last = spans[t, u], spans[t + 1, u]
            until, fours = _until(spans, last), last - (last - first) % 4
            for e in range(first, fours, 4):
                i0, i1, i2, i3 = four(indices, e)
                _ask_for(chunks, rows, k, indices, min(e + AHEAD, until))
                p0, p1, p2, p3 = np.int64(i0) * k, np.int64(i1) * k, np.int64(i2) * k, np.int64(i3) * k
                s0 = s1 = s2 = s3 = nothing
                for c in range(k):
                    z = load(chunks, mine, u * k + c)
                    s0, s1 = add_product(s0, z, load(chunks, rows, p0 + c)), add_product(s1, z, load(chunks, rows, p1 + c))
                    s2, s3 = add_product(s2, z, load(chunks, rows, p2 + c)), add_product(s3, z, load(chunks, rows, p3 + c))
                d0, d1, d2, d3 = dot4(one, s0, s1, s2, s3)
                w0, w1 = share * linear[e] - quadratic[e] * d0, share * linear[e + 1] - quadratic[e + 1] * d1
                w2, w3 = share * linear[e + 2] - quadratic[e + 2] * d2, share * linear[e + 3] - quadratic[e + 3] * d3
                for c in range(k):
                    r = load(chunks, out, u * k + c)
                    r = add_scaled(add_scaled(r, w0, load(chunks, rows, p0 + c)), w1, load(chunks, rows, p1 + c))
                    r = add_scaled(add_scaled(r, w2, load(chunks, rows, p2 + c)), w3, load(chunks, rows, p3 + c))
                    store(out, u * k + c, r)
            for e in range(fours, last):
                p, s = np.int64(indices[e]) * k, nothing
                for c in range(k):
                    s = add_product(s, load(chunks, mine, u * k + c), load(chunks, rows, p + c))
                w = share * linear[e] - quadratic[e] * dot(one, s)
                for c in range(k):
                    store(out, u * k + c, add_scaled(load(chunks, out, u * k + c), w, load(chunks, rows, p + c)))


@compiled_inline
def _until(spans, last):
    """Return where the last four entries begin that follow: of all rows, or of this row where its next ones lie in another tile."""
    return (spans[1, -1] if len(spans) == 2 else last) - 4


@compiled_inline
def _ask_for(chunks, rows, k, indices, at):
    """Begin to bring the vectors of four entries, which are k rows of `rows` each."""
    for i in four(indices, at):
        for c in range(k):
            prefetch(chunks, rows, np.int64(i) * k + c)


@compiled_into_callers
def _precondition(spans, quadratic, spectrum, square, reg, residual):
    """Return M, one over the diagonal of A were all entries average ones; the first directions M r; when to stop.

    The exact diagonal takes more arithmetic in each entry, and converges no faster on real data.
    """
    inverse, direction, solved = np.empty_like(residual), np.empty_like(residual), np.empty(len(reg), np.float32)
    for u in range(len(reg)):
        weight, fit = np.float32(0), np.float32(0)
        for e in range(spans[0, u], spans[-1, u]):
            weight += quadratic[e]
        for a in range(len(spectrum)):
            diagonal = spectrum[a] + reg[u] + weight * square[a]
            m = np.float32(0) if diagonal == 0 else 1 / diagonal  # zero: padding, not regularized
            inverse[u, a], direction[u, a] = m, m * residual[u, a]
            fit += m * residual[u, a] * residual[u, a]
        solved[u] = SOLVED * fit
    return inverse, direction, solved


@compiled_into_callers
def _advance(x, residual, direction, image, inverse, solved):
    """Take one step of conjugate gradient in every row, in place; `image` is -A p. NaN passes every test, and shows."""
    for u in range(len(x)):
        fit, curvature, left = np.float32(0), np.float32(0), np.float32(0)
        for a in range(x.shape[1]):
            fit += residual[u, a] * residual[u, a] * inverse[u, a]
            curvature -= direction[u, a] * image[u, a]
        alpha = np.float32(0) if fit <= solved[u] or curvature <= 0 else fit / curvature
        for a in range(x.shape[1]):
            x[u, a] += alpha * direction[u, a]
            residual[u, a] += alpha * image[u, a]
            left += residual[u, a] * residual[u, a] * inverse[u, a]
        beta = np.float32(0) if fit == 0 else left / fit
        for a in range(x.shape[1]):
            direction[u, a] = residual[u, a] * inverse[u, a] + beta * direction[u, a]

"""The blocks of a factorization machine, made ready for sweeps that draw all their features.

A feature that stands in one row of its block, such as an id, is private: rows are independent given the other blocks, so threads
share out the rows, and each row's moments are used where they have just been summed up. Features that several rows share are
drawn one after another, with the moments of all rows at hand: ``4 n_rows width^2`` bytes, that blocks without such features do not need.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from recvec.kernels.blocks import balanced_blocks
from recvec.kernels.compiled import compiled
from recvec.kernels.factorization import sparse_dense
from recvec.kernels.fm_blocks import Block, Factors, Relations
from recvec.kernels.fm_gibbs_features import N_ROWS, SEVERAL, draw_private, residuals
from recvec.kernels.fm_gibbs_moments import EXTRA, aligned, gather, sorted_by, write_half_squares
from recvec.kernels.fm_gibbs_together import HELPERS, N_FLAGS, N_PARTS, SUMS, draw_together
from recvec.kernels.simd import LANES, borrowed
from recvec.types import F32, F64, I32, I64, Array, Executor

CHUNK = 32  # rows whose moments stay in the second cache
_KEPT = ("linear", "factors", "vectors", "own", "half")  # arrays of `Parameters`

Prior = tuple[I32, F32, F32, F32, F32]
"""Group of each feature, mu and lambda of the factors (groups, width), mu and lambda of the biases (groups,)."""


@dataclass(eq=False)
class Parameters:
    """A machine while it is learned, and the rows of all blocks as they stand in the score.

    Parameters
    ----------
    bias : float
        Of all observations.
    linear, factors : F32, shapes (n_features,) and (n_features, width)
        Of the features of all blocks; columns behind the rank are zeros.
    vectors, own, half : F32, shapes (m, width), (m,), (m,)
        Of the rows of all blocks: sum of the feature vectors, the row's part of the score, half the square of the sum.
    """

    bias: float
    linear: F32
    factors: F32
    vectors: F32
    own: F32
    half: F32

    @classmethod
    def start(cls, relations: Relations, rank: int, spread: float, rng: np.random.Generator | None) -> "Parameters":
        """Return factors from N(0, spread^2), zeros without `rng`, and no biases."""
        width, m = -(-rank // LANES) * LANES, sum(block.n_rows for block in relations.blocks)
        factors = aligned(relations.n_features, width)
        if rng is not None:
            factors[:, :rank] = np.float32(spread) * rng.standard_normal((len(factors), rank), dtype=np.float32)
        rows = np.zeros(m, np.float32), np.zeros(m, np.float32)
        return cls(0.0, np.zeros(len(factors), np.float32), factors, aligned(m, width), *rows)

    @property
    def chunks(self) -> tuple[int, ...]:
        """The width, as `simd` takes it."""
        return (0,) * (self.factors.shape[1] // LANES)

    def machine(self, rank: int) -> Factors:
        """Return a copy, without what belongs to the rows."""
        return Factors(self.bias, self.linear.copy(), self.factors[:, :rank].copy())

    def state(self) -> dict[str, Array]:
        """Return all that learning goes on from: the rows too, whose sums steps bring up to date instead of computing them anew."""
        return {name: getattr(self, name) for name in _KEPT} | {"bias": np.array([self.bias])}

    def take(self, state: Mapping[str, Array]) -> None:
        """Take over a state, in place: arrays stay where they are aligned."""
        self.bias = float(state["bias"][0])
        for name in _KEPT:
            getattr(self, name)[:] = state[name]


@dataclass(frozen=True, eq=False)
class Sweep:
    """What a sweep over a block is told.

    Parameters
    ----------
    prior : Prior
        Normal laws of the groups.
    alpha : float
        Precision of the observations.
    key : int
        Of the random numbers; 0: none, each feature goes to the mean of its law.
    dimension : int
        The rank.
    pairs : bool
        Whether features of one row interact.
    """

    prior: Prior
    alpha: float
    key: np.uint64
    dimension: int
    pairs: bool


@dataclass(frozen=True, eq=False)
class Side:
    """One block, and the observations in the order of its rows.

    Parameters
    ----------
    block : Block
        Its features.
    first_row, first_feature : int
        Where it begins in the rows and the features of all blocks.
    order : I32, shape (n,)
        Observations in the order of the block's rows.
    indptr : I64, shape (n_rows + 1,)
        Where the observations of each row begin.
    others : I32, shape (n, blocks - 1)
        Rows of the other blocks, numbered through the blocks, in that order.
    width : int
        Columns of the vectors.
    """

    block: Block
    first_row: int
    first_feature: int
    order: I32
    indptr: I64
    others: I32
    width: int

    @classmethod
    def of(cls, relations: Relations, at: int, width: int) -> "Side":
        """Sort the observations by their rows in block `at`, and within them by the other blocks'. Cost: linear."""
        sizes = [block.n_rows for block in relations.blocks]
        first = np.cumsum([0, *sizes])
        other = [b for b in range(len(sizes)) if b != at]
        order = np.arange(len(relations), dtype=np.int32)
        for b in [*reversed(other), at]:
            order = sorted_by(relations.rows[b], sizes[b], order)
        others = np.empty((len(order), len(other)), np.int32)
        for column, b in enumerate(other):
            others[:, column] = relations.rows[b][order] + np.int32(first[b])
        indptr = np.concatenate([[0], np.cumsum(np.bincount(relations.rows[at], minlength=sizes[at]))])
        return cls(relations.blocks[at], int(first[at]), int(relations.starts[at]), order, indptr, others, width)

    @cached_property
    def _columns(self) -> tuple[I64, I32, I64, F32]:
        """Entries by feature: where each feature begins, and the rows, features and values of the entries."""
        by_feature = self.block.features.tocsc()
        by_feature.sort_indices()
        indptr = by_feature.indptr.astype(np.int64)
        return indptr, by_feature.indices.astype(np.int32), np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), by_feature.data

    @cached_property
    def private(self) -> tuple[I64, I32, F32]:
        """The private features by row: ``indptr, features, values``. One that stands nowhere goes to some row with value 0."""
        indptr, rows, features, values = self._columns
        counts = np.diff(indptr)
        nowhere, alone = np.flatnonzero(counts == 0), counts[features] == 1
        row = np.concatenate([rows[alone], nowhere % max(1, self.block.n_rows)])
        feature, value = np.concatenate([features[alone], nowhere]), np.concatenate([values[alone], np.zeros(len(nowhere))])
        order = np.argsort(row, kind="stable")
        ends = np.cumsum(np.bincount(row, minlength=self.block.n_rows))
        return np.concatenate([[0], ends]), feature[order].astype(np.int32), value[order].astype(np.float32)

    @cached_property
    def shared(self) -> tuple[I32, I64, I32, F32, I64]:
        """The shared features: what `draw_together` takes as `entries`; rows without observations are left out."""
        indptr, rows, features, values = self._columns
        shared = np.flatnonzero(np.diff(indptr) > 1)
        kept = (np.diff(indptr) > 1)[features] & (np.diff(self.indptr) > 0)[rows]
        rows, values, place = rows[kept], values[kept], np.searchsorted(shared, features[kept])
        entries = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=self.block.n_rows))])
        cuts = np.searchsorted(entries, entries[-1] * np.arange(1, N_PARTS) // N_PARTS)
        part = np.searchsorted(cuts, rows, side="right")
        begins, source, real = _padded(np.bincount(place * N_PARTS + part, minlength=len(shared) * N_PARTS))
        bounds = begins[np.arange(len(shared))[:, None] * N_PARTS + np.arange(N_PARTS + 1)]
        edges = np.array([0, *cuts, self.block.n_rows], np.int64)
        return shared.astype(np.int32), bounds, rows[source], values[source] * real, edges

    @cached_property
    def _tasks(self) -> list[tuple[int, int]]:
        return balanced_blocks(self.indptr, per_entry=40, per_row=1500)

    @cached_property
    def _room(self) -> tuple[F32, F64]:
        """Moments and scalars of all rows where shared features need them, else of none."""
        n = self.block.n_rows if len(self.shared[0]) else 0
        return aligned(n * (self.width + EXTRA), self.width), np.empty((n, 3))

    def refresh(self, parameters: Parameters, *, pairs: bool, executor: Executor) -> None:
        """Compute the sums and own scores of the block's rows anew from its features."""
        rows, mine = self._rows, self.features
        vectors, own = row_vectors(self.block, parameters.linear[mine], parameters.factors[mine], pairs=pairs, executor=executor)
        parameters.vectors[rows], parameters.own[rows] = vectors, own
        self._end(parameters, rows)

    @property
    def _rows(self) -> slice:
        """The block's rows in those of all blocks."""
        return slice(self.first_row, self.first_row + self.block.n_rows)

    @property
    def features(self) -> slice:
        """The block's features in those of all blocks."""
        return slice(self.first_feature, self.first_feature + self.block.n_features)

    def _end(self, parameters: Parameters, rows: slice) -> None:
        if self.others.shape[1] != 1:
            write_half_squares(parameters.chunks, parameters.vectors[rows], parameters.half[rows])

    def draw(self, parameters: Parameters, targets: F32, told: Sweep, executor: Executor) -> F64:
        """Draw all features of the block.

        Parameters
        ----------
        parameters : Parameters
            Changed in place.
        targets : F32, shape (n,)
            In the order of the block's rows.
        told : Sweep
            See there.
        executor : Executor
            Runs parts of the rows.

        Returns
        -------
        F64, shape (n_rows, 2)
            Sum and sum of squares of the residuals of each row's observations, after the draw.
        """
        chunks, width, block = parameters.chunks, self.width, self._room
        rows, mine = self._rows, self.features
        known = parameters.vectors, parameters.own, parameters.half
        machine = parameters.linear[mine], parameters.factors[mine]
        law = told.prior, np.float32(told.alpha), told.key, told.dimension
        pairs, out = np.float32(told.pairs), np.empty((self.block.n_rows, 2))
        observations = self.indptr, self.others, targets

        def rows_of(bound: tuple[int, int]) -> None:
            where = np.array([*bound, self.first_row])
            draw_rows(chunks, where, observations, self.private, pairs, block, known, machine, law, parameters.bias, out)

        executor.map(rows_of, self._tasks)
        if len(block[1]):
            flags = np.zeros(N_FLAGS, np.int64)
            room = aligned((N_PARTS + 1) * (width + N_ROWS), width), np.zeros((N_PARTS + 1, SUMS))

            def help_with(_: int) -> None:
                draw_together(chunks, flags, self.shared, pairs, self.first_row, block, known[:2], machine, *law, room, out)

            executor.map(help_with, range(HELPERS))
        self._end(parameters, rows)
        return out


def _padded(counts: I64) -> tuple[I64, I64, Array]:
    """Return runs of entries as multiples of `SEVERAL`: where each begins, the entry at each place, and 1 where it is not a repetition.

    A repetition gets the value 0 and adds nothing; it is of the run's own last row, which no other part reads.
    """
    lengths = -(-counts // len(SEVERAL)) * len(SEVERAL)
    begins, run = np.concatenate([[0], np.cumsum(lengths)]), np.repeat(np.arange(len(counts)), lengths)
    within = np.arange(begins[-1]) - begins[run]
    source = (np.cumsum(counts) - counts)[run] + np.minimum(within, counts[run] - 1)
    return begins, source, (within < counts[run]).astype(np.float32)


@compiled
def draw_rows(chunks, where, observations, entries, pairs, kept, known, machine, law, bias, out):
    """Gather the moments of a range of rows and draw their private features, a chunk of rows at a time.

    `where` holds the first row, the row behind the last, and the row of `known` where the block begins. `kept` holds room for
    the moments and scalars of all rows of the block, or none: then they are forgotten.
    """
    observations, entries, known = borrowed(observations), borrowed(entries), borrowed(known)
    machine, out = borrowed(machine), borrowed(out)
    (prior, alpha, key, dimension), (vectors, own, _), (all_moments, all_scalars) = law, known, kept
    width, end, offset, forget = len(chunks) * LANES, where[1], where[2], len(all_scalars) == 0
    size = width + EXTRA
    moments = aligned(CHUNK * size if forget else 0, width)
    scalars = np.empty((CHUNK if forget else 0, 3))
    for first in range(where[0], end, CHUNK):
        last = min(end, first + CHUNK)
        if forget:
            block = moments[: (last - first) * size], scalars[: last - first]
        else:
            block = all_moments[first * size : last * size], all_scalars[first:last]
        gather(chunks, observations, known, bias, first, *block)
        draw_private(chunks, entries, pairs, first, offset, block, (vectors, own), machine, prior, alpha, key, dimension)
        if forget:
            residuals(chunks, block, (vectors, own), offset + first, out[first:last])


def row_vectors(block: Block, linear: F32, factors: F32, *, pairs: bool, executor: Executor) -> tuple[F32, F32]:
    """Return the sums (n_rows, width) and the own scores (n_rows,) of the rows of a block.

    The own score is ``sum x_f w_f + (|sum x_f v_f|^2 - sum x_f^2 |v_f|^2) / 2``; with `pairs` false, the linear part alone.
    Cost: one multiply-add for each entry and column.
    """
    features: Any = block.features
    sums = sparse_dense(features, factors, executor=executor)
    own = features @ linear
    if pairs:
        of_features, of_rows = np.empty(len(factors), np.float32), np.empty(len(sums), np.float32)
        for vectors, half in ((factors, of_features), (sums, of_rows)):
            write_half_squares((0,) * (factors.shape[1] // LANES), vectors, half)
        own += of_rows - features.power(2) @ of_features
    return sums, own

"""Steps of Adam on tables of vectors of which the direction alone counts, or the whole vector.

A row x of a table enters a loss as ``h = c x / |x|`` with a number c of its own. With g the slope at h, the slope at x is
``c (g - (g . x) x / |x|^2) / |x|``, and Adam takes a step along it. Everything that belongs to a row is done while the row is in the
cache. The bits do not depend on the number of threads: no row knows of another.

Source: Kingma and Ba, "Adam", ICLR 2015.
"""

from dataclasses import dataclass

import numpy as np

from recvec.kernels.blocks import even_blocks
from recvec.kernels.compiled import compiled
from recvec.types import F32, Executor

BETAS = (0.9, 0.99)  # of Adam: full steps are hardly noisy
EPSILON = 1e-9
ROWS = 512  # of a block: its vectors, slopes and moments stay in the cache of a core
TINY = np.float32(1e-12)


@dataclass(eq=False)
class Table:
    """Vectors, and what Adam remembers of them; steps change it in place.

    Parameters
    ----------
    vectors, first, second : F32, shape (n, d)
        x, the mean slope and the mean squared slope.
    steps : int
        How many were taken.
    """

    vectors: F32
    first: F32
    second: F32
    steps: int = 0

    @classmethod
    def of(cls, vectors: F32) -> "Table":
        """Begin with a copy of the vectors."""
        return cls(vectors.copy(), np.zeros_like(vectors), np.zeros_like(vectors))

    def part(self, rows: slice, steps: int) -> "Table":
        """Return some rows, which have taken so many steps of their own; they share their memory."""
        return Table(self.vectors[rows], self.first[rows], self.second[rows], steps)

    def ascend(self, slopes: F32, rate: float, executor: Executor) -> None:
        """Take a step of length `rate` along slopes (n, d) at the vectors themselves."""
        self.steps += 1
        numbers = self._numbers(rate)

        def one(at: slice) -> None:
            _step(self.vectors[at], self.first[at], self.second[at], slopes[at], *numbers)

        executor.map(one, even_blocks(len(slopes), ROWS))

    def ascend_directions(self, slopes: F32, scales: F32, units: F32, rate: float, executor: Executor) -> None:
        """Take a step along slopes (n, d) at ``h = scales x / |x|``, and write the new h to `units` (n, d)."""
        self.steps += 1
        numbers = self._numbers(rate)

        def one(at: slice) -> None:
            _project(self.vectors[at], scales[at], slopes[at])
            _step(self.vectors[at], self.first[at], self.second[at], slopes[at], *numbers)
            _unit(self.vectors[at], scales[at], units[at])

        executor.map(one, even_blocks(len(slopes), ROWS))

    def _numbers(self, rate: float) -> tuple[np.float32, ...]:
        """Return the betas, the length of the step, the correction of the second moment and epsilon."""
        one, two = BETAS
        length, correction = rate / (1 - one**self.steps), 1 / (1 - two**self.steps)
        return tuple(np.float32(number) for number in (one, two, length, correction, EPSILON))


def directions(vectors: F32, scales: F32, executor: Executor) -> F32:
    """Return ``scales x / |x|`` for each row, zero for zero, shape (n, d)."""
    units = np.empty_like(vectors)
    executor.map(lambda at: _unit(vectors[at], scales[at], units[at]), even_blocks(len(vectors), ROWS))
    return units


def at_vectors(vectors: F32, scales: F32, slopes: F32, executor: Executor) -> None:
    """Turn slopes (n, d) at ``scales x / |x|`` into slopes at x, in place."""
    executor.map(lambda at: _project(vectors[at], scales[at], slopes[at]), even_blocks(len(vectors), ROWS))


@compiled
def _unit(vectors, scales, units):
    for r in range(len(vectors)):
        x, square = vectors[r], np.float32(0)
        for a in range(len(x)):
            square += x[a] * x[a]
        factor = scales[r] / max(np.sqrt(square), TINY)
        for a in range(len(x)):
            units[r, a] = factor * x[a]


@compiled
def _project(vectors, scales, slopes):
    for r in range(len(vectors)):
        x, g, square, along = vectors[r], slopes[r], np.float32(0), np.float32(0)
        for a in range(len(x)):
            square += x[a] * x[a]
            along += x[a] * g[a]
        square = max(square, TINY * TINY)
        factor, along = scales[r] / np.sqrt(square), along / square
        for a in range(len(x)):
            g[a] = factor * (g[a] - along * x[a])


@compiled
def _step(vectors, first, second, slopes, beta_one, beta_two, length, correction, epsilon):
    for r in range(len(vectors)):
        x, m, v, g = vectors[r], first[r], second[r], slopes[r]
        for a in range(len(x)):
            m[a] = beta_one * m[a] + (1 - beta_one) * g[a]
            v[a] = beta_two * v[a] + (1 - beta_two) * g[a] * g[a]
            x[a] += length * m[a] / (np.sqrt(v[a] * correction) + epsilon)

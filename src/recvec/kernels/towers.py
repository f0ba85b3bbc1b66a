"""A network that turns sparse rows of features into vectors, computed without what it was trained with.

::

    z = x A + r M + b_0,   then for each layer k   z = max(0, z) W_k + b_k,   and   out = z + x L

x are the features of a row, r who it met, A and M the vectors of each; L is the linear part, beside the deep one. A network
without layers is x A + r M + b_0, a sum of vectors.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from recvec.errors import ValueRangeError
from recvec.kernels.factorization import sparse_dense
from recvec.types import F32, Array, Executor

ROWS = 256  # of a dense product: always as many, so that the numbers of a row do not depend on how many are asked for


@dataclass(frozen=True, eq=False)
class Tower:
    """Weights of a network over a features and m others, with h units in the first layer and d outputs.

    Parameters
    ----------
    features : F32, shape (a, h)
        A.
    met : F32, shape (m, h)
        M.
    linear : F32, shape (a, d), or (0, d) for none
        L.
    biases : tuple of F32, shapes (h,), ..., (d,)
        b_0, b_1, ...
    weights : tuple of F32, shapes (h, n_1), ..., (n_k, d)
        W_1, ...; none: h is d.
    """

    features: F32
    met: F32
    linear: F32
    biases: tuple[F32, ...]
    weights: tuple[F32, ...]

    @property
    def n_outputs(self) -> int:
        """Length d of what comes out."""
        return len(self.biases[-1])

    def arrays(self) -> dict[str, Array]:
        """Return the weights by name."""
        found: dict[str, Array] = {"features": self.features, "met": self.met, "linear": self.linear}
        found |= {f"bias.{n}": bias for n, bias in enumerate(self.biases)}
        return found | {f"weight.{n}": weight for n, weight in enumerate(self.weights)}

    @classmethod
    def restore(cls, arrays: dict[str, Array]) -> "Tower":
        """Build a tower from such arrays again, checked.

        Raises
        ------
        ValueRangeError
            Where an array is missing, or does not fit the others.
        """
        wanted = ("features", "met", "linear", "bias.0")
        absent = next((name for name in wanted if name not in arrays), None)
        if absent is not None:
            raise ValueRangeError(f"the tower has no array '{absent}'; allowed: {', '.join(wanted)}, bias.1, weight.0, ...")
        n = sum(name.startswith("weight.") for name in arrays)
        names = [*(f"bias.{k}" for k in range(n + 1)), *(f"weight.{k}" for k in range(n))]
        if set(names) != {name for name in arrays if name.startswith(("bias.", "weight."))}:
            raise ValueRangeError(f"the tower has {n} layers, but not the arrays {', '.join(names)}")
        biases, weights = (tuple(arrays[name] for name in part) for part in (names[: n + 1], names[n + 1 :]))
        tower = cls(arrays["features"], arrays["met"], arrays["linear"], biases, weights)
        tower.check()
        return tower

    def check(self) -> None:
        """Refuse arrays that do not fit each other.

        Raises
        ------
        ValueRangeError
            Names the first.
        """
        for name, array, shape in self._shapes():
            if array.dtype != np.float32 or array.shape != shape or not array.flags.c_contiguous:
                raise ValueRangeError(f"the tower's array '{name}' is {array.dtype} of shape {array.shape}; allowed: float32 of {shape}")

    def _shapes(self) -> Iterator[tuple[str, Array, tuple[int, ...]]]:
        """Return each array, and the shape that the one before it asks for."""
        a, m, d = (len(np.atleast_1d(array)) for array in (self.features, self.met, self.biases[-1]))
        width = self.biases[0].size
        yield "bias.0", self.biases[0], (width,)
        yield "features", self.features, (a, width)
        yield "met", self.met, (m, width)
        yield "linear", self.linear, (a if self.linear.size else 0, d)
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases[1:], strict=True)):
            yield f"weight.{k}", weight, (width, bias.size)
            width = bias.size
            yield f"bias.{k + 1}", bias, (width,)


def forward(tower: Tower, features: sp.csr_array, met: sp.csr_array | None, executor: Executor | None) -> F32:
    """Return what comes out for each row, shape (n, d).

    Parameters
    ----------
    tower : Tower
        Weights.
    features : csr_array, float32, shape (n, a)
        x.
    met : csr_array, float32, shape (n, m), optional
        r; nobody where None.
    executor : Executor or None
        Runs blocks of rows; with None the calling thread does it all.

    Notes
    -----
    Cost: ``2 h`` operations for each entry of x and r, and those of the dense layers. The numbers of a row depend neither on
    the other rows nor on the number of threads.
    """
    first = sparse_dense(features, tower.features, executor=executor)
    if met is not None and len(tower.met):
        first += sparse_dense(met, tower.met, executor=executor)
    first += tower.biases[0]
    out = first if not tower.weights else np.empty((len(first), tower.n_outputs), np.float32)

    def one(start: int) -> None:
        rows = first[start : start + ROWS]
        block = np.zeros((ROWS, rows.shape[1]), np.float32)
        block[: len(rows)] = rows
        for weight, bias in zip(tower.weights, tower.biases[1:], strict=True):
            block = np.maximum(block, 0) @ weight + bias
        out[start : start + ROWS] = block[: len(rows)]

    starts = range(0, len(first), ROWS) if tower.weights else range(0)
    if executor is None:
        for start in starts:
            one(start)
    else:
        executor.map(one, starts)
    return out + sparse_dense(features, tower.linear, executor=executor) if len(tower.linear) else out


def of_unit_length(vectors: F32) -> F32:
    """Return the vectors divided by their lengths, shape (n, d); zeros stay zeros."""
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    lengths[lengths == 0] = 1
    return vectors / lengths[:, None]


def unit_rows(matrix: sp.csr_array, keep: Array | None = None) -> sp.csr_array:
    """Return the rows divided by their lengths, float32; entries that are not to be kept are zeros and do not count.

    Parameters
    ----------
    matrix : csr_array, shape (n, m)
        Weights.
    keep : array of bool, shape (nnz,), optional
        Which entries count.
    """
    values = matrix.data.astype(np.float32, copy=False)
    values = values if keep is None else values * keep
    counts = np.diff(matrix.indptr)
    rows = np.repeat(np.arange(len(counts)), counts)
    square = np.bincount(rows, weights=values.astype(np.float64) ** 2, minlength=len(counts))
    scale = (1 / np.sqrt(np.where(square > 0, square, 1))).astype(np.float32)
    return sp.csr_array((values * scale[rows], matrix.indices, matrix.indptr), shape=matrix.shape)

"""What a step of training sees: positive pairs in random order, each with negatives."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recvec.kernels.negatives import draw_unmet
from recvec.types import I32, I64, Executor


class Batch(NamedTuple):
    """Rows of B positive pairs.

    Parameters
    ----------
    users, items : Tensor of int64, shape (B,)
    negatives : Tensor of int64, shape (B, n_negatives)
    """

    users: Tensor
    items: Tensor
    negatives: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Pairs:
    """All positive pairs of a table; `epoch` deals them anew.

    Parameters
    ----------
    indptr : I64, shape (n_users + 1,)
    indices : I32, shape (n,)
        Items of each user, ascending.
    n_items : int
    batch_size : int
        Positives of a step.
    n_negatives : int
        For each positive, drawn uniformly among what its user has not met.
    """

    indptr: I64
    indices: I32
    n_items: int
    batch_size: int
    n_negatives: int

    @classmethod
    def of(cls, matrix: sp.csr_array, *, batch_size: int, n_negatives: int) -> "Pairs":
        """Return the pairs of a matrix (n_users, n_items) whose values are above 0."""
        kept = matrix.copy()
        kept.data = np.where(kept.data > 0, kept.data, 0)
        kept.eliminate_zeros()
        indptr, indices = kept.indptr.astype(np.int64), kept.indices.astype(np.int32)
        return cls(indptr=indptr, indices=indices, n_items=kept.shape[1], batch_size=batch_size, n_negatives=n_negatives)

    @property
    def users(self) -> I32:
        """User of each pair, shape (n,)."""
        return np.repeat(np.arange(len(self.indptr) - 1, dtype=np.int32), np.diff(self.indptr))

    def epoch(self, rng: np.random.Generator, executor: Executor, device: torch.device) -> "Epoch":
        """Return all pairs in a new order, with new negatives."""
        order = rng.permutation(len(self.indices))
        users = self.users[order]
        drawn = draw_unmet(
            (self.indptr, self.indices), users, self.n_negatives, self.n_items, seed=int(rng.integers(1 << 62)), executor=executor
        )
        whole = Batch(*(torch.from_numpy(a.astype(np.int64)).to(device) for a in (users, self.indices[order], drawn)))
        return Epoch(whole, self.batch_size)


@dataclass(frozen=True, eq=False)
class Epoch:
    """The batches of one pass."""

    whole: Batch
    batch_size: int

    def __len__(self) -> int:
        return math.ceil(len(self.whole.users) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for parts in zip(*(torch.split(rows, self.batch_size) for rows in self.whole), strict=True):
            yield Batch(*parts)

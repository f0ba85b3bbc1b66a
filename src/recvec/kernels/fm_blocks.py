"""What factorization machines learn from: observations whose features stand in blocks that many observations share.

A user's features are the same in all of the user's interactions, an item's in all of the item's. Each block holds such a row of
features once, and an observation names one row of every block; so the cost of side features does not grow with the number of
observations. Context that every observation has of its own is a block with as many rows as there are different contexts.

Source: Rendle, "Scaling factorization machines to relational data", VLDB 2013.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from recvec.types import F32, I32, I64


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of features that observations share.

    Parameters
    ----------
    features : csr_array, float32, shape (n_rows, n_features)
        Values of the features, int32 indices sorted within each row.
    groups : I32, shape (n_features,)
        The group of each feature, from 0 and without gaps within the block: the id, an attribute. Features of one group share
        the priors of Bayesian learning, and the field of a field-weighted machine.
    """

    features: sp.csr_array
    groups: I32

    @property
    def n_rows(self) -> int:
        """Number of rows, such as users."""
        return int(self.features.shape[0])

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.features.shape[1])


@dataclass(frozen=True, eq=False)
class Relations:
    """n observations over several blocks; features are numbered through the blocks in order.

    Parameters
    ----------
    blocks : tuple of Block
        Such as users, items, contexts.
    rows : tuple of I32, each of shape (n,)
        Row of each observation in each block.
    """

    blocks: tuple[Block, ...]
    rows: tuple[I32, ...]

    def __len__(self) -> int:
        return len(self.rows[0])

    @property
    def n_features(self) -> int:
        """Number of features of all blocks."""
        return sum(block.n_features for block in self.blocks)

    @cached_property
    def starts(self) -> I64:
        """Number of the first feature of each block, and behind them that of all features; shape (blocks + 1,)."""
        return np.cumsum([0, *(block.n_features for block in self.blocks)])

    @cached_property
    def groups(self) -> I32:
        """Group of each feature, numbered through the blocks; shape (n_features,)."""
        first = np.cumsum([0, *(int(block.groups.max(initial=-1)) + 1 for block in self.blocks)])
        return np.concatenate([block.groups + start for block, start in zip(self.blocks, first, strict=False)]).astype(np.int32)

    def stacked(self) -> sp.csr_array:
        """Return one row of all features for each observation, shape (n, n_features)."""
        parts = [block.features[rows] for block, rows in zip(self.blocks, self.rows, strict=True)]
        return sp.csr_array(sp.hstack(parts, format="csr", dtype=np.float32))


@dataclass(frozen=True, eq=False)
class Factors:
    """A factorization machine of second order.

    ``score = bias + sum_f x_f w_f + sum_{f < g} x_f x_g v_f . v_g``.

    Parameters
    ----------
    bias : float
        Of all observations.
    linear : F32, shape (n_features,)
        w.
    factors : F32, shape (n_features, d)
        v.
    """

    bias: float
    linear: F32
    factors: F32

"""WARP: matrix factorization by pairs of items, where a step weighs the more the lower the item met is ranked.

Loss of a pair (u, i) of the table, with s_ui = p_u . q_i + b_i: negatives j that u has not met are drawn uniformly until one
violates the margin, s_ui - s_uj < 1, at most `max_draws` times. Then, with N draws so far::

    L(rank) (1 - (s_ui - s_uj)),    rank = (n_items - 1) // N,    L(k) = log(1 + k) / log(n_items)

is lowered by one step of stochastic gradient descent, with regularization of each side as in `bpr`. L stands for the sum of
1 / r over the first k ranks, which makes the top of a list count most; it is scaled so that learning rates carry over between
catalogues. A pair whose draws find no violator is left alone: epochs get cheaper to move and dearer to search.

Everything else is as in `bpr`: biases, weights, the falling learning rate, the users learned once more at the end so that
folding in a training history gives the stored vector to the bit, explanations, and updates.

Cost of an epoch: (10 + 4 draws) n_interactions d. Source: Weston, Bengio, Usunier, "WSABIE: scaling up to large vocabulary
image annotation", IJCAI 2011.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recvec.contract import param
from recvec.kernels.pairwise import VIOLATOR, Choice
from recvec.models.pairwise import Pairwise


@dataclass(frozen=True, kw_only=True)
class WARP(Pairwise):
    """Matrix factorization for rankings by pairs of items, hinge loss weighted by the estimated rank."""

    name: ClassVar[str] = "warp"

    embedding_dim: int = param(64, "length of the vectors", low=1, high=2048, search=(16, 512, "log"))
    epochs: int = param(30, "passes over the interactions", low=1, high=10_000, search=(10, 100, "log"))
    learning_rate: float = param(0.1, "size of the first steps; it falls to zero", low=1e-8, high=1e6, search=(0.01, 0.5, "log"))
    reg_user: float = param(0.01, "regularization of the user", low=0.0, high=1e6, search=(1e-4, 0.1, "log"))
    reg_positive: float = param(0.001, "regularization of the item met", low=0.0, high=1e6, search=(1e-5, 0.1, "log"))
    reg_negative: float = param(0.001, "regularization of the negative item", low=0.0, high=1e6, search=(1e-5, 0.1, "log"))
    max_draws: int = param(30, "most negatives that are looked at in a step", low=1, high=100_000, search=(5, 200, "log"))
    item_bias: bool = param(True, "whether items have a bias")
    user_passes: int = param(10, "passes over a history that end the fit and fold people in", low=1, high=10_000, search=(10, 60, "log"))

    @property
    def choice(self) -> Choice:
        """How the kernels choose negatives."""
        return Choice(VIOLATOR, np.float32(0), self.max_draws)

    @property
    def exponent(self) -> float:
        """Of the counts in the probability of a negative: all alike."""
        return 0.0

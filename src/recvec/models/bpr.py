"""Bayesian personalized ranking (BPR): matrix factorization whose items a person has met score above those they have not.

Objective, over pairs (u, i) of the table and negatives j that u has not met, with s_ui = p_u . q_i + b_i::

    sum log(1 + exp(-(s_ui - s_uj)))  +  half of  reg_user |p_u|^2 + reg_positive (|q_i|^2 + b_i^2) + reg_negative (|q_j|^2 + b_j^2)

by plain stochastic gradient descent (`kernels.pairwise`), one step a pair and epoch, the learning rate falling linearly to
zero. Negatives are drawn uniformly, by a power of the number of interactions, or adaptively: at a geometrically distributed
rank among the items that score high by one factor of the user, ordered anew each epoch (`kernels.sampling`). A weight is how
often a pair is drawn: w over the mean weight times an epoch, on average. Start: N(0, (0.1 / sqrt(d))^2), biases 0.

The fit ends with the users alone: each is learned once more from zero, with the items held fixed, by the very steps that fold
a history in (`kernels.pairwise_rows`). So folding in the training history gives the stored vector, to the bit. The score of a
person is then a sum over the steps taken for the items of their history: an explanation that adds up, with the item's bias.

Shapes: users (n_users, d + 1), the last column 1; items (n_items, d + 1), the last column the bias; d columns without it.
Cost of an epoch: 22 n_interactions d. A person without history has the zero vector: their list is the order of the biases.
An item without interactions moves as a negative only, and ends low.

An update places new items by their users, old items as they are, then folds in everyone who has new interactions; all others
keep their vectors. Negatives of the fold-in stay the items of the fit. A new item is learned by uniform negatives.

Sources: Rendle, Freudenthaler, Gantner, Schmidt-Thieme, "BPR", UAI 2009; Rendle, Freudenthaler, "Improving pairwise learning
for item recommendation from implicit feedback", WSDM 2014 (adaptive negatives); Milogradskii et al., "Revisiting BPR", RecSys
2024 (separate regularization, item biases, plain SGD).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recvec.contract import param
from recvec.kernels.pairwise import BY_RANK, BY_SHARE, Choice
from recvec.models.pairwise import Pairwise


@dataclass(frozen=True, kw_only=True)
class BPR(Pairwise):
    """Matrix factorization for rankings by pairs of items, logistic loss."""

    name: ClassVar[str] = "bpr"

    embedding_dim: int = param(64, "length of the vectors", low=1, high=2048, search=(16, 512, "log"))
    epochs: int = param(60, "passes over the interactions", low=1, high=10_000, search=(20, 200, "log"))
    learning_rate: float = param(0.2, "size of the first steps; it falls to zero", low=1e-8, high=1e6, search=(0.01, 0.5, "log"))
    reg_user: float = param(0.06, "regularization of the user", low=0.0, high=1e6, search=(1e-4, 0.5, "log"))
    reg_positive: float = param(0.018, "regularization of the item met", low=0.0, high=1e6, search=(1e-5, 0.5, "log"))
    reg_negative: float = param(0.06, "regularization of the negative item", low=0.0, high=1e6, search=(1e-5, 0.5, "log"))
    negatives: str = param(
        "adaptive",
        "how negatives are drawn: all alike, by popularity, or high in the user's own order",
        choices=("uniform", "popularity", "adaptive"),
    )
    popularity_exponent: float = param(0.5, "exponent of the counts, of negatives by popularity", low=0.0, high=2.0, search=(0.2, 1.0))
    mean_rank: float = param(
        0.1, "mean rank of adaptive negatives, as a share of all items", low=1e-6, high=10.0, search=(0.01, 0.5, "log")
    )
    item_bias: bool = param(True, "whether items have a bias")
    user_passes: int = param(30, "passes over a history that end the fit and fold people in", low=1, high=10_000, search=(10, 60, "log"))

    @property
    def choice(self) -> Choice:
        """How the kernels choose negatives."""
        return Choice(BY_RANK if self.negatives == "adaptive" else BY_SHARE, np.float32(self.mean_rank), 1)

    @property
    def exponent(self) -> float:
        """Exponent of the counts in the probability of a negative."""
        return self.popularity_exponent if self.negatives == "popularity" else 0.0

"""Convolutional neural collaborative filtering (ConvNCF): a small network of convolutions over the outer product of two vectors.

Objective, over the pairs (u, i) of the table and, for each, an item j that u has not met, drawn anew each epoch::

    E = p_u (x) q_i                                                   (d, d): how each factor of the user meets each of the item
    E_l[a, b] = max(0, b_l + sum_(s, t) W_l[s, t] E_(l-1)[2 a + s, 2 b + t]),   s, t in 0, 1;   log2(d) layers, `channels` each
    s_ui = h . E_last
    mean [ log(1 + exp(s_uj - s_ui))  +  reg (|p_u|^2 + |q_i|^2 + |q_j|^2) ]

by Adam. As in the paper the vectors start from trained matrix factorization: a share `start_share` of the epochs trains
`models.gmf` of the same length, with `start_rate` and `start_reg`. The convolutions start so that the whole gives the very scores of
that factorization: of each layer two channels add up the diagonal, which at the last layer is the dot product, one of them what is above
0 and one what is below; the other channels start at random and count nothing at first. So training can only add to what is known.
`epochs` counts both phases; a fit that is stopped in either goes on from there.

Shapes: users (n_users, d), items (n_items, d), d a power of two. The layers have no overlap, so that each is one product of matrices.
With c channels a pair costs about 2 c d^2 + 2/3 c^2 d^2 / 2 multiply-adds forward, three times that with its gradient; an epoch has two
pairs for each interaction. Lists are exact: a list for a user costs n_items pairs. With `n_candidates` the dot product of the vectors
draws so many items, which are then scored exactly. People are folded in by a linear function of their history that is fitted to the
trained users (`models.ncf.RidgeFoldIn`); the paper has no answer.

Source: He, Du, Wang, Tian, Tang, Chua, "Outer product-based neural collaborative filtering", IJCAI 2018. The start of the
convolutions is ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import scipy.sparse as sp

from recvec.contract import Cost, DataShape, PairModel, Runtime, State, Training, param
from recvec.contract.extras import require
from recvec.errors import HyperparameterError
from recvec.models.ncf import NCF, RidgeFoldIn, pair_model, restored_pair_model
from recvec.types import F32, Array


@dataclass(frozen=True, kw_only=True)
class ConvNCF(NCF):
    """Convolutions over outer products, by pairs of a met and an unmet item."""

    name: ClassVar[str] = "conv-ncf"
    gives: ClassVar[str] = "user and item factors, and convolutions over their outer product"
    likelihood: ClassVar[bool] = False

    embedding_dim: int = param(32, "length of the vectors, a power of two", low=2, high=1024, search=(16, 64, "log"))
    channels: int = param(16, "results of each convolution", low=2, high=1024, search=(8, 64, "log"))
    epochs: int = param(20, "passes over the interactions, both phases together", low=1, high=10_000, search=(10, 60, "log"))
    start_share: float = param(0.85, "share of the epochs that train the factors first", low=0.0, high=1.0, search=(0.5, 0.95))
    start_rate: float = param(0.01, "step of Adam for the factors", low=1e-8, high=1e3, search=(5e-4, 0.02, "log"))
    start_reg: float = param(0.004, "regularization of the factors in the first phase", low=0.0, high=1e6, search=(1e-4, 0.05, "log"))
    learning_rate: float = param(0.0005, "step of Adam for everything", low=1e-8, high=1e3, search=(1e-4, 0.01, "log"))
    batch_size: int = param(512, "pairs of the table in a step of the second phase", low=1, high=1 << 24, search=(128, 2048, "log"))
    n_negatives: int = param(4, "items that the user has not met, for each pair, in the first phase", low=1, high=1000, search=(1, 10))
    reg: float = param(0.001, "regularization of the vectors in the second phase", low=0.0, high=1e6, search=(1e-5, 0.05, "log"))
    n_candidates: int = param(0, "items that the dot product draws for exact scores; 0: all are scored", low=0, high=1 << 30)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.embedding_dim & (self.embedding_dim - 1):
            raise HyperparameterError(f"{self.name}: embedding_dim is {self.embedding_dim}; allowed: a power of two, such as 32 or 64")

    @property
    def gmf_dim(self) -> int:
        """See `NCF.gmf_dim`."""
        return self.embedding_dim

    @property
    def n_apart(self) -> int:
        """Epochs of the first phase."""
        return min(self.epochs - 1, round(self.start_share * self.epochs))

    def _trained(self, pairs: sp.csr_array, training: Training) -> tuple[F32, F32, Mapping[str, Array], tuple[str, ...]]:
        from recvec.models.conv_ncf_network import trained  # noqa: PLC0415  docs/decisions/0027

        return trained(self, pairs, training)

    def _built(self, users: F32, items: F32, arrays: Mapping[str, Array], fold_in: RidgeFoldIn, **kept: Any) -> PairModel:
        from recvec.models.conv_ncf_network import Scorer  # noqa: PLC0415  docs/decisions/0027

        return pair_model(self, users, items, Scorer(arrays), fold_in, n_candidates=self.n_candidates, **kept)

    def restore(self, state: State) -> PairModel:
        """See `Method.restore`."""
        require(self.extra, self.name)
        from recvec.models.conv_ncf_network import Scorer  # noqa: PLC0415  docs/decisions/0027

        return restored_pair_model(self, state, Scorer)

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """Both phases; the second takes nearly all."""
        first, d, c = super().estimate(shape, runtime), self.embedding_dim, self.channels
        share, further = self.n_apart / self.epochs, 2.0 * shape.n_interactions * (self.epochs - self.n_apart)
        layers, rows = d * d * c / 3.0, shape.n_users + shape.n_items
        return Cost(
            operations=share * first.operations + further * (20.0 * layers + 100) + 12.0 * rows * d,
            bytes_moved=share * first.bytes_moved + further * 12.0 * layers,
            memory=first.memory + int(64 * self.batch_size * layers),
            products=further * 6.0 * layers * c,
        )

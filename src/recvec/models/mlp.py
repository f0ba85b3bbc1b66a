"""A multi-layer perceptron over the vectors of a user and an item (MLP), learned as a classifier.

Objective, over the pairs (u, i) of the table and, for each, `n_negatives` items that u has not met, drawn anew each epoch,
with y = 1 for pairs of the table and 0 for drawn ones (He et al. 2017, equations 7 and 10)::

    z_1 = max(0, W_1 [p_u, q_i] + b_1),   z_l = max(0, W_l z_(l-1) + b_l),   s_ui = h . z_L + b
    mean [ log(1 + exp(s)) - y s  +  reg (|p_u|^2 + |q_i|^2) ]

by Adam over batches of pairs, each with its negatives. `hidden` are the widths of the layers. Start: p, q from N(0, .01^2), the
layers as in Glorot, Bengio 2010. `predict` gives the likelihood ``1 / (1 + exp(-s))``.

Shapes: users (n_users, d), items (n_items, d). ``W_1 [p, q]`` is a user's half and an item's half, each computed once; what is left
for a slot of a batch, or for a pair that is scored, is an addition and the layers after the first. With widths h_1, h_2, ... an epoch
costs 6 n_interactions (1 + n_negatives) (h_1 + h_1 h_2 + ...); scoring the whole catalogue for a user 2 n_items (h_1 + h_1 h_2 + ...),
which is exact. People are folded in by a linear function of their history that is fitted to the trained users
(`models.ncf.RidgeFoldIn`); the paper has no answer. Distances between vectors mean what the layers make of them, and no more.

Source: He, Liao, Zhang, Nie, Hu, Chua, "Neural collaborative filtering", WWW 2017.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from recvec.contract import PairModel, State, param
from recvec.contract.extras import require
from recvec.models.ncf import NCF, RidgeFoldIn, pair_model, restored_pair_model, whole_numbers
from recvec.types import F32, Array


@dataclass(frozen=True, kw_only=True)
class MLP(NCF):
    """Dense layers over both vectors, a logistic loss."""

    name: ClassVar[str] = "mlp"
    gives: ClassVar[str] = "user and item vectors, and dense layers over both"

    embedding_dim: int = param(64, "length of the vectors", low=1, high=2048, search=(16, 128, "log"))
    hidden: str = param("128,64", "widths of the dense layers, the first one first")
    epochs: int = param(16, "passes over the interactions", low=1, high=10_000, search=(10, 60, "log"))
    learning_rate: float = param(0.005, "step of Adam", low=1e-8, high=1e3, search=(5e-4, 0.02, "log"))
    batch_size: int = param(
        8192,
        "pairs of the table in a step; fewer where an epoch would have less than 100 steps",
        low=1,
        high=1 << 24,
        search=(256, 8192, "log"),
    )
    n_negatives: int = param(4, "items that the user has not met, for each pair", low=1, high=1000, search=(1, 10))
    reg: float = param(0.001, "regularization of the vectors of each observation", low=0.0, high=1e6, search=(1e-5, 0.05, "log"))

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_numbers(self, "hidden")

    @property
    def mlp_dim(self) -> int:
        """See `NCF.mlp_dim`."""
        return self.embedding_dim

    @property
    def widths(self) -> tuple[int, ...]:
        """See `NCF.widths`."""
        return whole_numbers(self, "hidden")

    def _built(self, users: F32, items: F32, arrays: Mapping[str, Array], fold_in: RidgeFoldIn, **kept: Any) -> PairModel:
        from recvec.models.ncf_network import Scorer  # noqa: PLC0415  docs/decisions/0027

        return pair_model(self, users, items, Scorer(arrays, 0), fold_in, **kept)

    def restore(self, state: State) -> PairModel:
        """See `Method.restore`."""
        require(self.extra, self.name)
        from recvec.models.ncf_network import Scorer  # noqa: PLC0415  docs/decisions/0027

        return restored_pair_model(self, state, lambda layers: Scorer(layers, 0))

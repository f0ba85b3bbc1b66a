"""Neural matrix factorization (NeuMF): GMF and MLP, each with vectors of its own, under one dense layer.

Objective: that of `models.gmf`, with the logit (He et al. 2017, equation 12)::

    s_ui = [h, w] . [p_u * q_i, z_L(p'_u, q'_i)] + b,     likelihood = 1 / (1 + exp(-s))

p, q are the vectors of GMF, p', q' those of MLP, z_L the last of its layers. With `pretrain` the two parts are first trained apart,
each under a dense layer of its own, on the same batches, by Adam: a share `pretrain_share` of the epochs. Then the parts are joined
with the weights alpha and 1 - alpha (equation 13), and trained together by plain stochastic gradient descent, because Adam would
begin without its memory. Without `pretrain` everything is trained together from the start, by Adam. The curve of a fit has the mean
of the losses of both parts in the first phase. `epochs` counts both phases; a fit that is stopped in either goes on from there.

Shapes: `user_vectors` and `item_vectors` have `embedding_dim` columns of GMF, into which h is taken (`models.gmf`), and
`mlp_embedding_dim` of MLP. Cost: that of both parts. Lists are exact: each pair is scored, for which the layer after the first costs
most, 2 h_1 h_2. With `n_candidates` the dot product of the columns of GMF draws so many items, which are then scored exactly;
benchmarks/accuracy/ncf_candidates.py measures how much of the exact lists that finds. People are folded in by a linear function of
their history that is fitted to the trained users (`models.ncf.RidgeFoldIn`); the paper has no answer.

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
class NeuMF(NCF):
    """Products and dense layers, joined in one layer that gives the likelihood of an interaction."""

    name: ClassVar[str] = "neumf"

    embedding_dim: int = param(64, "length of the vectors of GMF", low=1, high=2048, search=(16, 256, "log"))
    mlp_embedding_dim: int = param(64, "length of the vectors of MLP", low=1, high=2048, search=(16, 128, "log"))
    hidden: str = param("128,64", "widths of the dense layers of MLP, the first one first")
    epochs: int = param(20, "passes over the interactions, all phases together", low=1, high=10_000, search=(10, 60, "log"))
    pretrain: bool = param(True, "whether both parts are trained apart first")
    pretrain_share: float = param(0.8, "share of the epochs in which they are", low=0.0, high=1.0, search=(0.5, 0.95))
    alpha: float = param(0.5, "weight of GMF where trained parts are joined", low=0.0, high=1.0, search=(0.3, 0.7))
    learning_rate: float = param(0.01, "step of Adam", low=1e-8, high=1e3, search=(5e-4, 0.02, "log"))
    joint_rate: float = param(0.1, "step of the descent after the parts are joined", low=0.0, high=1e3, search=(0.01, 1.0, "log"))
    batch_size: int = param(
        8192,
        "pairs of the table in a step; fewer where an epoch would have less than 100 steps",
        low=1,
        high=1 << 24,
        search=(256, 8192, "log"),
    )
    n_negatives: int = param(4, "items that the user has not met, for each pair", low=1, high=1000, search=(1, 10))
    reg: float = param(0.006, "regularization of the vectors of each observation", low=0.0, high=1e6, search=(1e-4, 0.05, "log"))
    n_candidates: int = param(0, "items that the vectors of GMF draw for exact scores; 0: all are scored", low=0, high=1 << 30)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_numbers(self, "hidden")

    @property
    def gmf_dim(self) -> int:
        """See `NCF.gmf_dim`."""
        return self.embedding_dim

    @property
    def mlp_dim(self) -> int:
        """See `NCF.mlp_dim`."""
        return self.mlp_embedding_dim

    @property
    def widths(self) -> tuple[int, ...]:
        """See `NCF.widths`."""
        return whole_numbers(self, "hidden")

    @property
    def n_apart(self) -> int:
        """See `NCF.n_apart`."""
        return min(self.epochs - 1, round(self.pretrain_share * self.epochs)) if self.pretrain else 0

    def _built(self, users: F32, items: F32, arrays: Mapping[str, Array], fold_in: RidgeFoldIn, **kept: Any) -> PairModel:
        from recvec.models.ncf_network import Scorer  # noqa: PLC0415  docs/decisions/0027

        d = self.embedding_dim
        return pair_model(self, users, items, Scorer(arrays, d), fold_in, n_candidates=self.n_candidates, n_drawing=d, **kept)

    def restore(self, state: State) -> PairModel:
        """See `Method.restore`."""
        require(self.extra, self.name)
        from recvec.models.ncf_network import Scorer  # noqa: PLC0415  docs/decisions/0027

        return restored_pair_model(self, state, lambda layers: Scorer(layers, self.embedding_dim))

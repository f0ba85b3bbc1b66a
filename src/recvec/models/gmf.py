"""Generalized matrix factorization (GMF): matrix factorization with weighted factors, learned as a classifier.

Objective, over the pairs (u, i) of the table and, for each, `n_negatives` items that u has not met, drawn anew each epoch,
with y = 1 for pairs of the table and 0 for drawn ones (He et al. 2017, equations 7 and 9)::

    s_ui = h . (p_u * q_i) + b
    mean [ log(1 + exp(s)) - y s  +  reg |h| . (p_u * p_u + q_i * q_i) ]

by Adam over batches of pairs, each with its negatives. Start: p, q from N(0, .01^2), h all ones. The penalty is that of the vectors
that a model gives out; a penalty of p and q alone would be void, since h could grow where they shrink. `predict` gives the likelihood
``1 / (1 + exp(-s))``. A model takes the root of |h| into the vectors of both sides and the sign to the users: the score is then a
dot product of what `user_vectors` and `item_vectors` hold, so that everything a DotModel can do is at hand, without torch.

Shapes: users (n_users, d), items (n_items, d). Cost of an epoch: 6 n_interactions (1 + n_negatives) d, and one pass of Adam over
both tables for each batch. A user or item without interactions keeps its start, pulled towards zero. People are folded in by a
linear function of their history that is fitted to the trained users (`models.ncf.RidgeFoldIn`); the paper has no answer.

Source: He, Liao, Zhang, Nie, Hu, Chua, "Neural collaborative filtering", WWW 2017. The penalty: Rendle, Krichene, Zhang,
Anderson, "Neural collaborative filtering vs. matrix factorization revisited", RecSys 2020.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from recvec.contract import DotModel, State, param
from recvec.models.fm_links import Logistic
from recvec.models.ncf import NCF, RidgeFoldIn
from recvec.types import F32, Array


@dataclass(frozen=True, kw_only=True)
class GMF(NCF):
    """Weighted products of factors, a logistic loss."""

    name: ClassVar[str] = "gmf"
    gives: ClassVar[str] = "user and item factors"

    embedding_dim: int = param(64, "length of the vectors", low=1, high=2048, search=(16, 256, "log"))
    epochs: int = param(16, "passes over the interactions", low=1, high=10_000, search=(10, 60, "log"))
    learning_rate: float = param(0.01, "step of Adam", low=1e-8, high=1e3, search=(5e-4, 0.02, "log"))
    batch_size: int = param(
        8192,
        "pairs of the table in a step; fewer where an epoch would have less than 100 steps",
        low=1,
        high=1 << 24,
        search=(256, 8192, "log"),
    )
    n_negatives: int = param(4, "items that the user has not met, for each pair", low=1, high=1000, search=(1, 10))
    reg: float = param(0.006, "regularization of the vectors of each observation", low=0.0, high=1e6, search=(1e-4, 0.05, "log"))

    @property
    def gmf_dim(self) -> int:
        """See `NCF.gmf_dim`."""
        return self.embedding_dim

    def _built(self, users: F32, items: F32, arrays: Mapping[str, Array], fold_in: RidgeFoldIn, **kept: Any) -> DotModel:
        bias = float(arrays["bias"][0])
        explained = replace(fold_in, offset=bias)
        return DotModel(
            method=self, user_vectors=users, item_vectors=items, fold_in=explained, offset=bias, link=Logistic(bias), **kept
        )  # fmt: skip

    def restore(self, state: State) -> DotModel:
        """See `Method.restore`."""
        offset: Any = state.meta["offset"]
        fold_in = RidgeFoldIn.restored(self.name, state.arrays, float(offset))
        return DotModel.restored(self, state, fold_in, Logistic(float(offset)))

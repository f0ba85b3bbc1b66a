"""Matrix factorization by softmax on cosine: of all items, a user picks those that point the user's way.

With the directions h_u = p_u / |p_u| and g_i = q_i / |q_i|, the length c_i = (n_i / typical n) ** item_power of an item met n_i times,
and scores s_ui = c_i g_i . h_u, the objective over the observed pairs is (weights w over their mean, W_u a user's total)::

    L = sum_u W_u log sum_j exp(s_uj / temperature)  -  sum_{(u,i) observed} w_ui s_ui / temperature

The sum over j runs over `n_negatives` items, drawn anew for each step, for all users alike: so it is one product of matrices, and its
logarithm is taken once a user (`kernels.softmax`). Steps are Adam's on all pairs of a batch of users; an epoch has `batches` of
them. Start: singular vectors of the normalized matrix. No propagation over the graph anywhere: this is the bar for methods that
have one. With `list_length` K, pairs weigh by where they stand to the end of the user's top K, beta_u (SL@K)::

    w_ui sigma((s_ui - beta_u) / list_temperature),   beta_u found anew every few epochs.

The fit ends with the users alone: with the items fixed, each is placed once more by `user_steps` steps on the sphere from the sum
of its items, by the very steps that fold a history in, over one fixed set of drawn items. So folding in the training history gives
the stored vector, to the bit. The vector is then a sum over the history less what all drawn items pull: an explanation.

Shapes: users (n_users, d) of length 1, items (n_items, d) of length c. A person without history has the zero vector. An item
without interactions is moved as a negative only, and ends low. Cost of an epoch: ``6 n_users n_negatives d`` in products.

An update places a new item in the mean direction of its users, with its length c, then folds in everyone who has new
interactions; all others keep their vectors.

Sources: Wu et al., "BSL: understanding and improving softmax loss for recommendation", ICDE 2024; Yang et al., "SL@K", 2025; Wu et
al., "On the effectiveness of sampled softmax loss for item recommendation", TOIS 2024.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from recvec.contract import DotModel, State, Training, lengthened, param
from recvec.data.dataset import Dataset
from recvec.data.histories import Histories
from recvec.data.interactions import Interactions
from recvec.errors import ArtifactError
from recvec.kernels.ascent import directions
from recvec.kernels.factorization import sparse_dense
from recvec.models.softmax import Ascent, Softmax, ascend, popularity, positives, typical_count
from recvec.models.softmax_fold_in import SoftmaxFoldIn, drawn_once
from recvec.types import F32, I64


@dataclass(frozen=True, kw_only=True)
class SoftmaxMF(Softmax):
    """Matrix factorization for rankings by softmax on cosine."""

    name: ClassVar[str] = "softmax-mf"
    family: ClassVar[str] = "matrix factorization"
    gives: ClassVar[str] = "user and item factors"

    embedding_dim: int = param(64, "length of the vectors", low=1, high=2048, search=(16, 512, "log"))
    epochs: int = param(120, "passes over the interactions", low=1, high=10_000, search=(20, 400, "log"))
    batches: int = param(1, "steps of an epoch, each over so many-th part of the users", low=1, high=10_000, search=(1, 16, "log"))
    learning_rate: float = param(0.02, "size of the first steps; it falls to zero", low=1e-8, high=1e3, search=(0.005, 0.1, "log"))
    temperature: float = param(0.12, "by what cosines are divided", low=1e-3, high=100.0, search=(0.05, 0.3, "log"))
    item_power: float = param(0.1, "exponent of the counts in the lengths of items", low=0.0, high=2.0, search=(0.0, 0.3))
    n_negatives: int = param(1024, "items drawn for all users of a step", low=1, high=1_000_000, search=(256, 4096, "log"))
    list_length: int = param(0, "K of the lists that pairs are weighed by; 0: pairs weigh alike", low=0, high=10_000)
    list_temperature: float = param(1.0, "how soft the end of such a list is", low=1e-3, high=100.0, search=(0.3, 3.0, "log"))
    user_steps: int = param(12, "steps that end the fit and fold people in", low=1, high=1000, search=(6, 30, "log"))

    @property
    def layers_within(self) -> int:
        """None: this method does not know the graph."""
        return 0

    def _fit(self, dataset: Dataset, training: Training) -> DotModel:
        """Ascend, then place the users once more."""
        pairs = positives(self.name, dataset)
        ascent = Ascent.begin(self, pairs, training)
        notes = ascend(ascent, training)
        executor = training.runtime.executor
        items = ascent.here(executor).unit_items * np.float32(self.temperature)
        fold_in = self._fold_in(items, drawn_once(len(items), training.rng), typical_count(pairs))
        users = fold_in.solve(dataset.histories(), executor)
        return DotModel(
            method=self, user_vectors=users, item_vectors=items, fold_in=fold_in, curve=tuple(training.curve), notes=notes
        )  # fmt: skip

    def _update(self, model: DotModel, dataset: Dataset, new: Interactions | None, training: Training) -> DotModel:
        """Place new users, then new items, then everyone who has new interactions."""
        pairs, executor = dataset.matrix(), training.runtime.executor
        fresh = pairs if new is None else dataset.with_interactions(new).matrix()
        old: SoftmaxFoldIn = model.fold_in  # type: ignore[assignment]
        users, items = lengthened(model.user_vectors, dataset.n_users), lengthened(model.item_vectors, dataset.n_items)
        newcomers = np.arange(model.n_users, dataset.n_users)
        users[newcomers] = old.solve(Histories.from_matrix(sp.csr_array(pairs[newcomers][:, : model.n_items])), executor)
        by_item = sp.csr_array(pairs[:, model.n_items :].T.tocsr())  # (n_new, n_users)
        lengths = popularity(np.diff(by_item.indptr), old.typical, self.item_power)
        items[model.n_items :] = directions(sparse_dense(by_item, users, executor=executor), lengths, executor)
        fold_in = replace(old, item_vectors=items)
        people = np.flatnonzero(np.diff(fresh.indptr))
        users[people] = fold_in.solve(Histories.from_matrix(pairs).take(people), executor)
        return replace(model, user_vectors=users, item_vectors=items, fold_in=fold_in)

    def restore(self, state: State) -> DotModel:
        """See `Method.restore`."""
        items, drawn = state.arrays["item_vectors"], state.arrays["fold_in.drawn"]
        if not len(drawn) or drawn.min() < 0 or drawn.max() >= len(items):
            raise ArtifactError(f"the model names drawn items outside of 0 to {len(items) - 1}, which it has; fit it again")
        return DotModel.restored(self, state, self._fold_in(items, drawn, float(state.arrays["fold_in.typical"][0])))

    def _fold_in(self, items: F32, drawn: I64, typical: float) -> SoftmaxFoldIn:
        return SoftmaxFoldIn(self.name, self.temperature, self.user_steps, items, drawn, typical)

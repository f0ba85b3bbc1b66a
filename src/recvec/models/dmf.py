"""Deep matrix factorization (DMF): two networks read a user's row and an item's column of the matrix of interactions.

With Y the matrix (weights, 0 where there is no interaction), y_u = Y_u / |Y_u| the row of a user and y_i that of an item::

    p_u = f(y_u, a_u),   q_i = g(y_i, b_i),   s_ui = cos(p_u, q_i)

f and g are dense layers (`kernels.towers`): the first is a sum of vectors over the entries of the row, `n_layers` hidden layers
of `hidden_width` units with max(0, x) between them follow, and the last one has `embedding_dim` outputs. Attributes a_u and b_i
enter twice: beside the row into the first layer, where they meet everything else, and by a linear part of low rank added to the
outputs. Without attributes this is the network of the paper.

============= ====================================================================================================================
loss          over the pairs of a step
============= ====================================================================================================================
cross-entropy the paper's: ``-Y/max(Y) log c - (1 - Y/max(Y)) log(1 - c)`` with ``c = max(1e-6, s)``, and all items of the step that
              the user has not met as negatives, together with the weight of `n_negatives` for each pair
softmax       ``-w log(exp(s / temperature) / sum_j exp(s_uj / temperature))``, w the weight over the mean weight, over the whole
              catalogue or a sample of it, corrected for how it was drawn (`models.towers_network`)
============= ====================================================================================================================

A pair's own entry is part of the row and of the column that should predict it. ``dropout`` leaves a share of the pairs of a step out
of both, while the step is asked about all of them: on validation pairs of a quarter of MovieLens-1M's users this ranks better than
reading everything, and than asking about what is left out alone (decision 0030).

A step takes `batch_size` users with all their pairs; a tower computes each of its rows once. Cost of an epoch: 6 `hidden_width`
operations for each pair of the users, and as many for each step and pair of its candidates; 6 operations for each user,
candidate and output. Vectors have unit length, shapes (n_users, d) and (n_items, d). A person who was not there is folded in by
one forward pass, in numpy; that of the training history gives the stored vector, to the bit where the attributes are given too.
People without history and items without interactions get what the network makes of their attributes and an empty row.

Source: Xue, Dai, Zhang, Huang, Chen, "Deep matrix factorization models for recommender systems", IJCAI 2017; attributes beside
the rows as in wide and deep networks (Cheng et al. 2016).
"""

from dataclasses import dataclass
from typing import ClassVar

from recvec.contract import Cost, DataShape, DotModel, Method, Runtime, State, Training, param
from recvec.data.dataset import Dataset
from recvec.models.towers import Recipe, Shape, TowersFoldIn, cost_of


@dataclass(frozen=True, kw_only=True)
class DMF(Method):
    """Deep matrix factorization: networks over rows and columns of the matrix, and attributes."""

    name: ClassVar[str] = "dmf"
    family: ClassVar[str] = "deep matrix factorization"
    gives: ClassVar[str] = "outputs of the two towers, of unit length"
    extra: ClassVar[str] = "torch"
    saves_memory: ClassVar[str] = "lower hidden_width"

    embedding_dim: int = param(64, "length of the vectors", low=1, high=2048, search=(16, 256, "log"))
    hidden_width: int = param(128, "units of the hidden layers", low=1, high=4096, search=(64, 512, "log"))
    n_layers: int = param(1, "hidden layers; 0: a vector is a sum over the row", low=0, high=8, search=(0, 3))
    loss: str = param("softmax", "what is minimised", choices=("softmax", "cross-entropy"))
    temperature: float = param(0.1, "what cosines are divided by in the softmax", low=1e-3, high=100.0, search=(0.05, 0.3, "log"))
    n_sampled: int = param(4096, "items drawn for a step; catalogues of no more than that are whole in each", low=1, high=10_000_000)
    n_negatives: int = param(7, "weight of what was not met for each pair, in the cross-entropy", low=1, high=1000, search=(1, 20))
    dropout: float = param(0.3, "share of the pairs that is asked about without being read", low=0.0, high=0.9, search=(0.0, 0.7))
    cold: float = param(0.0, "share of users and items that are learned from without their row", low=0.0, high=1.0, search=(0.0, 0.5))
    use_attributes: bool = param(True, "whether attributes of users and items enter beside the rows")
    epochs: int = param(20, "passes over the users; the most of them with patience", low=1, high=100_000, search=(5, 100, "log"))
    patience: int = param(0, "epochs without a better order of held-out items, until it stops; all are learned from then; 0: never", low=0)
    batch_size: int = param(
        256,
        "users of a step, at most: an epoch has 16 steps or more",
        low=1,
        high=1_000_000,
        search=(64, 1024, "log"),
    )
    learning_rate: float = param(5e-3, "of Adam, falling linearly to 0", low=1e-9, high=10.0, search=(1e-4, 1e-2, "log"))

    def _fit(self, dataset: Dataset, training: Training) -> DotModel:
        """Learn both towers, and run everyone through them."""
        from recvec.models.towers_network import fitted  # noqa: PLC0415  needs torch

        return fitted(self, self._recipe, dataset, training, patience=self.patience)

    @property
    def _recipe(self) -> Recipe:
        return Recipe(
            shape=self._shape,
            embedding_dim=self.embedding_dim,
            widths=(self.hidden_width,) * self.n_layers,
            ids="none",
            history="both",
            use_attributes=self.use_attributes,
            loss=self.loss,
            n_negatives=self.n_sampled,
            n_per_positive=self.n_negatives,
            dropout=self.dropout,
            cold=self.cold,
            reg=0.0,
            batch_size=self.batch_size,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
        )

    @property
    def _shape(self) -> Shape:
        return Shape(cosine=True, scale=1 / self.temperature, item_bias=False)

    def restore(self, state: State) -> DotModel:
        """See `Method.restore`."""
        return DotModel.restored(self, state, TowersFoldIn.restore(self.name, state, self._shape))

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """All epochs, without attributes, whose cost depends on their number."""
        return cost_of(self._recipe, shape)

"""Two towers: a network for users and one for items, over whatever is known of each; the score is their dot product.

With x_u the features of a user (`encoders.blocks`: the id if wanted, attributes, the items of the history as a bag) and y_i those
of an item::

    p_u = f(x_u),   q_i, b_i = g(y_i),   s_ui = p_u . q_i / temperature + b_i

with p and q of unit length where ``similarity`` is cosine. f and g are dense layers with a linear part beside them
(`kernels.towers`), as in `dmf`. Objective: the softmax over items::

    mean over pairs of  w_ui (-s_ui + log sum_j exp s_uj)  +  reg (mean |p_u|^2 + mean |q_i|^2)

w the weight over the mean weight. The sum runs over the whole catalogue where it has no more than `n_sampled` items, else over the
items of the step's own pairs and `n_sampled` drawn ones, each divided by the probability that it is there (the logQ correction);
the item of the pair itself is there in any case and stays as it is (`models.towers_network`).

The bias of an item with an id begins at the logarithm of its popularity. A share `cold` of users and items is learned from without id and
history, so that the tower knows what to make of those who come without: new users and new items are answered by their attributes.
A share `dropout` of a step's pairs is
left out of histories while the step is asked about all of them.

A user without id is folded in by one forward pass in numpy, from a history, attributes or both: exactly the stored vector where
all that was known is given. Shapes: users (n_users, d + 1), the last column 1; items (n_items, d + 1), the last one b; d columns
without bias. Cost of an epoch: 6 `hidden_width` operations for each entry of a row that a step computes, each row once a step; 6 d for
each user and candidate.

Sources: Covington, Adams, Sargin, "Deep neural networks for YouTube recommendations", RecSys 2016; Yi et al., "Sampling-bias-corrected
neural modeling for large corpus item recommendations", RecSys 2019; Volkovs, Yu, Poutanen, "DropoutNet", NeurIPS 2017.
"""

from dataclasses import dataclass
from typing import ClassVar

from recvec.contract import Cost, DataShape, DotModel, Method, Runtime, State, Training, param
from recvec.data.dataset import Dataset
from recvec.models.towers import CHOICES, Recipe, Shape, TowersFoldIn, cost_of


@dataclass(frozen=True, kw_only=True)
class TwoTower(Method):
    """Two towers over ids, attributes and histories, learned by a sampled softmax."""

    name: ClassVar[str] = "two-tower"
    family: ClassVar[str] = "deep matrix factorization"
    gives: ClassVar[str] = "outputs of the two towers, item biases"
    extra: ClassVar[str] = "torch"
    saves_memory: ClassVar[str] = "lower hidden_width"

    embedding_dim: int = param(64, "length of the vectors", low=1, high=2048, search=(16, 256, "log"))
    hidden_width: int = param(128, "units of the hidden layers", low=1, high=4096, search=(64, 512, "log"))
    n_layers: int = param(1, "hidden layers; 0: a vector is a sum of vectors of features", low=0, high=8, search=(0, 3))
    ids: str = param("items", "whose ids are features", choices=CHOICES)
    history: str = param("users", "whose history is a bag of features: the items of users, the users of items", choices=CHOICES)
    use_attributes: bool = param(True, "whether attributes of users and items are features")
    similarity: str = param("cosine", "whether vectors are brought to unit length", choices=("cosine", "dot"))
    temperature: float = param(0.1, "what products are divided by in the softmax", low=1e-3, high=100.0, search=(0.05, 1.0, "log"))
    item_bias: bool = param(True, "whether an item has a bias, which begins at the logarithm of its popularity")
    n_sampled: int = param(4096, "items drawn for a step; catalogues of no more than that are whole in each", low=1, high=10_000_000)
    dropout: float = param(0.3, "share of the pairs that is asked about without being read", low=0.0, high=0.9, search=(0.0, 0.7))
    cold: float = param(0.1, "share of users and items that are learned from without id and history", low=0.0, high=1.0, search=(0.0, 1.0))
    reg: float = param(0.0, "weight of the mean squared length of the vectors, for dot", low=0.0, high=1e6, search=(1e-4, 1.0, "log"))
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
            ids=self.ids,
            history=self.history,
            use_attributes=self.use_attributes,
            loss="softmax",
            n_negatives=self.n_sampled,
            n_per_positive=0.0,
            dropout=self.dropout if self.history != "none" else 0.0,
            cold=self.cold,
            reg=self.reg,
            batch_size=self.batch_size,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
        )

    @property
    def _shape(self) -> Shape:
        return Shape(cosine=self.similarity == "cosine", scale=1 / self.temperature, item_bias=self.item_bias)

    def restore(self, state: State) -> DotModel:
        """See `Method.restore`."""
        return DotModel.restored(self, state, TowersFoldIn.restore(self.name, state, self._shape))

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """All epochs, without attributes, whose cost depends on their number."""
        return cost_of(self._recipe, shape)

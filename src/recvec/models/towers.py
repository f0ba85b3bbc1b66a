"""What `dmf` and `two-tower` share: features of both sides, vectors from towers, and answers for strangers.

Each side is described by the features of a row (`encoders.blocks`: its id where ids are used, its attributes) and by whom it
met, a row of the matrix of interactions divided by its length. A tower (`kernels.towers`) turns both into a vector.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.contract import Cost, DataShape, FoldIn, Parts, Runtime, State, no_new_items
from recvec.data.dataset import Dataset
from recvec.data.histories import Histories
from recvec.encoders.attributes import AttributeCoder
from recvec.encoders.blocks import SideCoder
from recvec.errors import ArtifactError, InputError, NotSupportedError, RecvecError, ValueRangeError
from recvec.kernels.towers import Tower, forward, of_unit_length, unit_rows
from recvec.types import F32, Array, Executor, Json

USER, ITEM = 0, 1
SIDES = ("user", "item")
CHOICES = ("none", "users", "items", "both")


class Shape(NamedTuple):
    """How outputs of towers become vectors.

    Parameters
    ----------
    cosine : bool
        Whether vectors have unit length.
    scale : float
        What user vectors are multiplied by, so that the score is a logit.
    item_bias : bool
        Whether the last output of an item is a bias.
    """

    cosine: bool
    scale: float
    item_bias: bool

    def vectors(self, side: int, outputs: F32) -> F32:
        """Return vectors (n, d + n_extra) of outputs (n, d), of items (n, d + n_extra)."""
        bias = outputs[:, outputs.shape[1] - int(self.item_bias and side == ITEM) :]
        own = outputs[:, : outputs.shape[1] - bias.shape[1]]
        own = of_unit_length(own) if self.cosine else own
        if side == USER:
            own, bias = own * np.float32(self.scale), np.ones((len(own), int(self.item_bias)), np.float32)
        return np.ascontiguousarray(np.concatenate([own, bias], axis=1))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the networks of both methods are told.

    Parameters
    ----------
    shape : Shape
        How outputs become vectors.
    embedding_dim : int
        d.
    widths : tuple of int
        Of the layers between; none: a tower is a sum of vectors.
    ids, history : str
        Whose rows have an id, and whose have whom they met: ``"none"``, ``"users"``, ``"items"`` or ``"both"``.
    use_attributes : bool
        Whether attributes are features.
    loss : str
        ``"softmax"`` or ``"cross-entropy"``.
    n_negatives : int
        Items drawn for a step beside those of its pairs.
    n_per_positive : float
        Weight of the negatives in the cross-entropy.
    dropout, cold : float
        Share of the pairs that is not read, and of the rows without id and history.
    reg : float
        Penalty on squared lengths.
    batch_size : int
        Users of a step.
    epochs, learning_rate
        See `nn.loop.Plan`; the rate falls linearly to 0.
    deviation : float
        Of the first numbers of tables.
    """

    shape: Shape
    embedding_dim: int
    widths: tuple[int, ...]
    ids: str
    history: str
    use_attributes: bool
    loss: str
    n_negatives: int
    n_per_positive: float
    dropout: float
    cold: float
    reg: float
    batch_size: int
    epochs: int
    learning_rate: float
    deviation: float = 0.1

    @property
    def met(self) -> tuple[bool, bool]:
        """Whether users have the items they met in their row, and items the users."""
        return self.history in ("users", "both"), self.history in ("items", "both")


@dataclass(frozen=True, eq=False)
class Side:
    """One side as a fitted method knows it.

    Parameters
    ----------
    coder : SideCoder
        Numbers ids and attributes.
    tower : Tower
        Weights.
    usual : csr_array, shape (1, n_attributes)
        Mean attributes of the rows of the fit: those of someone of whom none are known.
    """

    coder: SideCoder
    tower: Tower
    usual: sp.csr_array

    @property
    def n_met(self) -> int:
        """Rows of the other side that the tower has vectors for; 0: it does not look at whom someone met."""
        return len(self.tower.met)

    def outputs(self, features: sp.csr_array, met: sp.csr_array | None, executor: Executor) -> F32:
        """Return the outputs for rows of features, and the lengths that whom they met may have."""
        n_met = self.n_met
        others = None if met is None or not n_met else sp.csr_array((met.data, met.indices, met.indptr), shape=(met.shape[0], n_met))
        return forward(self.tower, features, None if others is None else unit_rows(others), executor)


@dataclass(frozen=True, eq=False)
class Problem:
    """A dataset as towers see it.

    Parameters
    ----------
    coders : (SideCoder, SideCoder)
        Of users and items.
    attributes, features : (csr_array, csr_array)
        Attributes, and all features, of every row of both sides.
    pairs : csr_array, shape (n_users, n_items)
        Weights above 0, over the mean weight.
    trained : (array of int, array of int)
        Rows of both sides with a pair.
    """

    coders: tuple[SideCoder, SideCoder]
    attributes: tuple[sp.csr_array, sp.csr_array]
    features: tuple[sp.csr_array, sp.csr_array]
    pairs: sp.csr_array
    trained: tuple[Array, Array]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the coders left out or found unusual."""
        return tuple(note for coder in self.coders for note in coder.attributes.notes)

    @property
    def usual(self) -> tuple[sp.csr_array, sp.csr_array]:
        """Mean attributes of the rows with a pair, each of shape (1, n_attributes)."""
        means = (rows[known].mean(axis=0, dtype=np.float64) for rows, known in zip(self.attributes, self.trained, strict=True))
        users, items = (sp.csr_array(np.asarray(mean).astype(np.float32).reshape(1, -1)) for mean in means)
        return users, items


def positive_pairs(name: str, dataset: Dataset) -> sp.csr_array:
    """Return the pairs with a weight above 0, weights over their mean.

    Raises
    ------
    InputError
        Where there are none.
    """
    pairs = dataset.matrix().copy()
    pairs.data = np.maximum(pairs.data, 0)
    pairs.eliminate_zeros()
    if not pairs.nnz:
        raise InputError(f"{name} needs interactions with a weight above 0, and every weight is 0; correct them or leave them out")
    pairs.data = (pairs.data / pairs.data.mean(dtype=np.float64)).astype(np.float32)
    return sp.csr_array(pairs)


def problem_of(name: str, dataset: Dataset, recipe: Recipe) -> Problem:
    """Return features and pairs; coders are fitted on the rows that have a pair, everyone else has the id of everyone else.

    Raises
    ------
    InputError
        Where there is no pair with a weight above 0, or nothing that a tower could read.
    """
    pairs = positive_pairs(name, dataset)
    trained = np.flatnonzero(np.diff(pairs.indptr)), np.unique(pairs.indices)
    tables = (dataset.user_features, dataset.item_features)
    coders, attributes, features = [], [], []
    for side, (table, known) in enumerate(zip(tables, trained, strict=True)):
        n = pairs.shape[side]
        attributes_of = None if table is None or not recipe.use_attributes else table.take(known)
        coder = SideCoder(AttributeCoder.fit(attributes_of, SIDES[side]), n if recipe.ids in (f"{SIDES[side]}s", "both") else 0)
        if not coder.n_features and not recipe.met[side]:
            raise _nothing_to_read(name, SIDES[side], coder.attributes.notes)
        mine = coder.attributes.encode(table.frame) if table is not None and coder.attributes.columns else coder.nothing(n)
        own = np.full(n, n, np.int32)
        own[known] = known
        coders.append(coder)
        attributes.append(mine)
        features.append(coder.rows(mine, None, own))
    return Problem((coders[0], coders[1]), (attributes[0], attributes[1]), (features[0], features[1]), pairs, trained)


def _nothing_to_read(name: str, side: str, notes: tuple[str, ...]) -> InputError:
    why = f" ({'; '.join(notes)})" if notes else ""
    return InputError(
        f"{name} without ids and history of {side}s needs {side} attributes, which the data do not have{why}; give them by --{side}s, "
        f"set ids or history to {side}s or both, or use a method that needs interactions alone: als, bpr, dmf"
    )


def cost_of(recipe: Recipe, shape: DataShape) -> Cost:
    """Return what all epochs take, attributes left out."""
    width, d = (*recipe.widths, recipe.embedding_dim)[0], recipe.embedding_dim
    steps = -(-shape.n_users // recipe.batch_size)
    of_step = shape.n_interactions / steps
    candidates = min(shape.n_items, recipe.n_negatives + of_step)
    read = shape.n_interactions * (recipe.met[USER] + recipe.met[ITEM] * steps * candidates / shape.n_items)
    dense = sum(a * b for a, b in pairwise((*recipe.widths, d))) * (shape.n_users + steps * candidates)
    numbers = (shape.n_users + shape.n_items) * (width + d)
    return Cost(
        operations=recipe.epochs * (8.0 * read * width + 20.0 * shape.n_users * candidates),
        products=recipe.epochs * 6.0 * (dense + shape.n_users * candidates * d),
        bytes_moved=recipe.epochs * (8.0 * read * width + 40.0 * steps * numbers),
        memory=int(60 * shape.n_interactions + 32 * numbers + 24 * min(recipe.batch_size, shape.n_users) * candidates),
    )


@dataclass(frozen=True, eq=False)
class TowersFoldIn(FoldIn):
    """Everyone by one forward pass: of their history, their attributes, or both.

    Someone without attributes has the mean ones, someone without history an empty row, and nobody new has an id of their own.

    Parameters
    ----------
    name : str
        Method, for messages.
    sides : (Side, Side)
        Users and items.
    shape : Shape
        How outputs become vectors.
    """

    name: str
    sides: tuple[Side, Side]
    shape: Shape

    @property
    def answers_attributes(self) -> bool:  # type: ignore[override]
        """Whether users have attributes that are used."""
        return self.sides[USER].coder.attributes.n_features > 0

    def queries(self, histories: Histories | None, features: pl.DataFrame | None) -> F32:
        """Return the vectors of people by their histories, their attributes, or both; see `FoldIn.queries`."""
        side = self.sides[USER]
        if histories is None and features is None:
            raise InputError("a query needs users, histories or features; give one of them")
        if histories is not None and len(histories.items) and not side.n_met:
            raise NotSupportedError(f"{self.name} was fitted without histories of users; fit it with history=users, or give attributes")
        if features is not None and not self.answers_attributes:
            raise NotSupportedError(f"{self.name} was fitted without attributes of users; give histories, or fit it with them")
        n = len(features) if histories is None else len(histories)  # type: ignore[arg-type]
        if features is not None and len(features) != n:
            raise ValueRangeError(f"there are {n} histories and {len(features)} rows of features; allowed: one each")
        attributes = sp.csr_array(side.usual[np.zeros(n, np.int32)]) if features is None else side.coder.encode(features)
        met = None if histories is None else histories.matrix()
        return self.shape.vectors(USER, side.outputs(side.coder.rows(attributes), met, Runtime().executor))

    def item_queries(self, features: pl.DataFrame) -> F32:
        """Return the vectors of items that nobody has met, by their attributes."""
        side = self.sides[ITEM]
        if not side.coder.attributes.n_features:
            raise no_new_items(self.name)
        return self.shape.vectors(ITEM, side.outputs(side.coder.rows(side.coder.encode(features)), None, Runtime().executor))

    def parts(self, history: Histories, vector: F32) -> Parts:
        """Refuse: what layers make of a history is no sum over it."""
        raise NotSupportedError(
            f"{self.name} scores by networks, and their score has no parts that add up; use a method such as als, fm or ease for reasons"
        )

    def arrays(self) -> Mapping[str, Array]:
        """See `FoldIn.arrays`."""
        found: dict[str, Array] = {}
        for name, side in zip(SIDES, self.sides, strict=True):
            found |= {f"{name}.{key}": array for key, array in side.coder.attributes.arrays().items()}
            found |= {f"{name}.tower.{key}": array for key, array in side.tower.arrays().items()}
            found[f"{name}.usual"] = side.usual.toarray()[0]
        return found

    def meta(self) -> Mapping[str, Json]:
        """See `FoldIn.meta`."""
        return {side: own.coder.meta() for side, own in zip(SIDES, self.sides, strict=True)}

    @classmethod
    def restore(cls, name: str, state: State, shape: Shape) -> "TowersFoldIn":
        """Build the fold-in of a saved model again.

        Raises
        ------
        ArtifactError
            Where arrays do not fit each other.
        """
        meta: Any = state.meta["fold_in"]
        sides = []
        for number, side in enumerate(SIDES):
            prefix = f"fold_in.{side}."
            arrays = {key.removeprefix(prefix): array for key, array in state.arrays.items() if key.startswith(prefix)}
            coder = SideCoder.restore(meta[side], {key: array for key, array in arrays.items() if not key.startswith("tower.")})
            try:
                tower = Tower.restore({key.removeprefix("tower."): a for key, a in arrays.items() if key.startswith("tower.")})
            except RecvecError as error:
                raise ArtifactError(f"the {side} side of the model is damaged: {error}") from error
            _check(number, coder, tower, arrays.get("usual"), state.arrays, shape)
            sides.append(Side(coder, tower, sp.csr_array(arrays["usual"][None])))
        return cls(name, (sides[0], sides[1]), shape)


def _check(side: int, coder: SideCoder, tower: Tower, usual: Array | None, vectors: Mapping[str, Array], shape: Shape) -> None:
    """Refuse a side whose arrays do not fit its features and its vectors."""
    name, other = SIDES[side], len(vectors[f"{SIDES[1 - side]}_vectors"])
    width = tower.n_outputs + int(shape.item_bias and side == USER)
    wrong = len(tower.features) != coder.n_features or len(tower.met) not in (0, other) or tower.linear.shape[1] != tower.n_outputs
    wrong |= usual is None or usual.shape != (coder.attributes.n_features,) or usual.dtype != np.float32
    if wrong or vectors[f"{name}_vectors"].shape[1:] != (width,):
        raise ArtifactError(f"the {name} side of the model does not fit its features or its vectors; fit the model again")

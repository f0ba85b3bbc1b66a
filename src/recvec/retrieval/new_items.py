"""Items that nobody has met yet, in the space of a model that knows items by who met them: a map from content, learned on the others.

With e_i the content vector of an item and v_i the model's, both known for items that people have met, ridge regression gives ::

    v = m + B' (e - mean e) ,    B = (E'E + reg n I)^-1 E'(V - m)

E and V less their means, n the number of these items, reg in units of the mean square length of the content vectors. What counts
is not the vector but the scores that it gives, so errors are measured by ``(v - v_i)' G (v - v_i)``, G = P'P of the user
vectors P: `reg` is the one with the least error on a fifth of the met items that is held out, and the slope of the real on the
predicted deviations from the mean score there is the calibration: predictions are shrunk by it. Then all met items are learned
from. Biases among the columns are predicted like the rest; so popular kinds of items start popular. Cost: ``n c (c + d)``.

Source: Gantner et al., "Learning attribute-to-feature mappings for cold-start recommendations", ICDM 2010.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from recvec.contract import DotModel, Model, Ranked, Runtime, checked_k
from recvec.data.dataset import Dataset
from recvec.errors import InputError, NotSupportedError
from recvec.types import F32, F64, Array

REGS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)
FEWEST = 10  # met items, below which nothing is learned
_PARTS = 5


@dataclass(frozen=True, eq=False, kw_only=True)
class ItemMap:
    """Content vectors to item vectors of a model; frozen.

    Parameters
    ----------
    weights : F32, shape (c, d)
        B, the calibration included.
    from_mean : F32, shape (c,)
        Mean of the content vectors of met items.
    to_mean : F32, shape (d,)
        m, the mean of the model's.
    reg : float
        What was chosen.
    calibration : float
        Slope of real on predicted deviations, on held-out items.
    explained : float
        Share of the held-out square deviations of scores that the map explains, without the calibration; below 0 where the mean is better.
    """

    weights: F32
    from_mean: F32
    to_mean: F32
    reg: float
    calibration: float
    explained: float

    @classmethod
    def fit(
        cls, content: F32, vectors: F32, users: F32, met: Array, *, rng: np.random.Generator, runtime: Runtime | None = None
    ) -> "ItemMap":
        """Learn the map from the met items.

        Parameters
        ----------
        content : F32, shape (n_items, c)
            Content vectors, zeros where nothing is known.
        vectors : F32, shape (n_items, d)
            Item vectors of the model, extra columns included.
        users : F32, shape (n_users, d)
            Its user vectors.
        met : array of int
            Rows of the items that people have met.
        rng : numpy.random.Generator
            Draws the items that are held out.
        runtime : Runtime, optional
            Runs it: linear algebra on one thread.

        Raises
        ------
        InputError
            Where fewer than 10 items were met and have content.
        """
        usable = np.sort(met[np.any(content[met] != 0, axis=1)])
        if len(usable) < FEWEST:
            raise InputError(
                f"{len(usable)} items have both content and interactions; allowed: {FEWEST} or more; give attributes of more items"
            )

        def learn(rows: Array) -> "ItemMap":
            return _learned(content[rows].astype(np.float64), vectors[rows].astype(np.float64), users.astype(np.float64), rng)

        return (runtime or Runtime()).executor.map(learn, [usable])[0]

    def vectors(self, content: F32) -> F32:
        """Return item vectors (n, d) of content vectors (n, c); the mean of the met items where nothing is known."""
        known = np.any(content != 0, axis=1)
        moved = np.where(known[:, None], (content - self.from_mean) @ self.weights, np.float32(0))
        return (moved + self.to_mean).astype(np.float32)


def _learned(e: F64, v: F64, users: F64, rng: np.random.Generator) -> ItemMap:
    gram = users.T @ users / len(users)
    order = rng.permutation(len(e))
    held, kept = order[: max(1, len(e) // _PARTS)], order[max(1, len(e) // _PARTS) :]
    real = v[held] - v[kept].mean(axis=0)
    tried = []
    for reg in REGS:
        made = (e[held] - e[kept].mean(axis=0)) @ _ridge(e[kept], v[kept], reg)
        tried.append((_square(real - made, gram), reg, made))
    error, reg, made = min(tried, key=lambda found: found[0])
    whole = _square(real, gram)
    slope = float(np.einsum("nd,de,ne->", real, gram, made)) / max(_square(made, gram), 1e-300)
    calibration = float(np.clip(slope, 0.0, 1.0)) if whole > 0 else 0.0
    return ItemMap(
        weights=(calibration * _ridge(e, v, reg)).astype(np.float32),
        from_mean=e.mean(axis=0).astype(np.float32),
        to_mean=v.mean(axis=0).astype(np.float32),
        reg=reg,
        calibration=calibration,
        explained=1.0 - error / whole if whole > 0 else 0.0,
    )


def _ridge(e: F64, v: F64, reg: float) -> F64:
    centred = e - e.mean(axis=0)
    square = float(np.einsum("nc,nc->", centred, centred)) / len(e)
    system = centred.T @ centred + max(reg * square, 1e-12) * len(e) / e.shape[1] * np.eye(e.shape[1])
    found: F64 = np.linalg.solve(system, centred.T @ (v - v.mean(axis=0)))
    return found


def _square(deviations: F64, gram: F64) -> float:
    return float(np.einsum("nd,de,ne->", deviations, gram, deviations))


def content_vectors(content: Model) -> F32:
    """Return the item vectors of a content model without their extra columns."""
    return np.ascontiguousarray(content.item_vectors[:, : content.item_vectors.shape[1] - content.n_extra])


def with_new_items(
    model: Model, content: Model, counts: Array, *, seed: int = 0, runtime: Runtime | None = None
) -> tuple[DotModel, ItemMap]:
    """Return a model whose items without interactions have vectors by their content, and the map that made them.

    Parameters
    ----------
    model : DotModel
        Any whose score is a dot product.
    content : Model
        A content model over the same items.
    counts : array of int, shape (n_items,)
        Interactions of each item in training.
    seed : int
        Draws the items that are held out.
    runtime : Runtime, optional
        Runs it.

    Raises
    ------
    NotSupportedError
        For a model of another kind: it scores items by something else than their vectors.
    InputError
        As `ItemMap.fit`, or for models over other items.
    """
    if not isinstance(model, DotModel):
        raise NotSupportedError(f"{model.method.name} scores items by more than their vectors; use als, bpr, svd or fm with a content rung")
    if content.n_items != model.n_items:
        raise InputError(f"the content rung knows {content.n_items} items, the model {model.n_items}; fit it on the same dataset")
    told = content_vectors(content)
    rng = np.random.default_rng(seed)
    made = ItemMap.fit(told, model.item_vectors, model.user_vectors, np.flatnonzero(counts), rng=rng, runtime=runtime)
    new = np.flatnonzero(counts == 0)
    vectors = model.item_vectors.copy()
    vectors[new] = made.vectors(told[new])
    return replace(model, item_vectors=vectors), made


def filled(model: Model, content: Model | None, train: Dataset, runtime: Runtime) -> Model:
    """Return the model with vectors of the items that nobody has met in `train`, where there is a content rung and such an item."""
    if content is None or (train.item_counts > 0).all():
        return model
    return with_new_items(model, content, train.item_counts, runtime=runtime)[0]


def needs_content(model: Model, train: Dataset) -> bool:
    """Return whether a content rung helps: nobody has met some items that have attributes, and the model has nothing for them."""
    new = train.item_counts == 0
    if train.item_features is None or not isinstance(model, DotModel) or not new.any():
        return False
    return not model.item_vectors[new].any() or bool((model.item_vectors[new] == model.item_vectors[new][0]).all())


def vectors_of(model: Model, content: Model | None, train: Dataset, features: pl.DataFrame, runtime: Runtime) -> F32:
    """Return vectors of new items from their attributes: by the model itself, else by the content rung and the map.

    Raises
    ------
    NotSupportedError
        Where neither can.
    """
    try:
        return model.item_queries(features)
    except NotSupportedError:
        if content is None:
            raise
    _, made = with_new_items(model, content, train.item_counts, runtime=runtime)
    found = content.item_queries(features)
    return made.vectors(np.ascontiguousarray(found[:, : found.shape[1] - content.n_extra]))


def audience_of(model: Model, content: Model | None, train: Dataset, attributes: Mapping[str, object], k: int, runtime: Runtime) -> Ranked:
    """Return the `k` users with the largest score for a new item with these attributes, of those who have a training history.

    Raises
    ------
    NotSupportedError
        Where neither the model nor a content rung makes vectors of attributes.
    """
    one = pl.DataFrame({name: [value] for name, value in attributes.items()}, strict=False)
    vectors = vectors_of(model, content, train, one, runtime)
    if not isinstance(model, DotModel):
        raise NotSupportedError(f"{model.method.name} scores items by more than their vectors; use als, bpr, svd or fm with a content rung")
    warm = np.flatnonzero(train.user_counts > 0)
    return replace(model, item_vectors=vectors).audience(np.array([0]), min(checked_k(k), train.n_users), users=warm, runtime=runtime)

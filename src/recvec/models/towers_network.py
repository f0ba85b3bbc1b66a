"""How towers are trained: a step takes some users with their pairs, and each tower computes each of its rows once.

A step asks the tower of users about U users, and the tower of items about C candidates: the whole catalogue where it is no
larger than `n_negatives`, else the items of the users' pairs and `n_negatives` drawn ones. So scores are one product of
matrices (U, C), the softmax of a user is summed up once for all pairs of the user, and every other candidate is a negative.

A share `dropout` of the users' pairs is left out of the rows and the columns that the towers read, while the step is asked about
all pairs: a tower that always read in its input what it should predict would learn to look there. And a share `cold` of the users
and items of a step have neither id nor whom they met, as those who come later.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional

from recvec.contract import DotModel, Method, Training
from recvec.data.dataset import Dataset
from recvec.kernels.towers import unit_rows
from recvec.models.towers import ITEM, USER, Problem, Recipe, Side, TowersFoldIn, problem_of
from recvec.nn.device import computing
from recvec.nn.layers import Bags, TowerNetwork
from recvec.nn.loop import Plan, train
from recvec.nn.stopping import Watch, best_epoch
from recvec.types import F32, F64, I32, I64, Array, Bool, Executor

LEAST_STEPS = 16  # of an epoch, however few the users are
LEAST = 1e-6  # a predicted interaction of the cross-entropy is no less (Xue et al. 2017, equation 13)


class Step(NamedTuple):
    """What a step sees.

    Parameters
    ----------
    users, items : (Bags, Bags)
        Features, and whom they met, of U users and of C candidates.
    rows, columns : Tensor of int64, shape (P,)
        User and candidate of each pair.
    weights : Tensor, shape (P,)
    log_share : Tensor, shape (C,)
        Logarithm of the probability that a candidate is one.
    """

    users: tuple[Bags, Bags]
    items: tuple[Bags, Bags]
    rows: Tensor
    columns: Tensor
    weights: Tensor
    log_share: Tensor


@dataclass(frozen=True, eq=False)
class Steps:
    """The steps of one epoch, dealt one by one.

    Parameters
    ----------
    recipe : Recipe
        How.
    problem : Problem
        Features and pairs.
    rng : numpy.random.Generator
        Draws users, candidates, and what is left out.
    executor : Executor
        Runs the sparse products.
    device : torch.device
        Where tensors are put.
    """

    recipe: Recipe
    problem: Problem
    rng: np.random.Generator
    executor: Executor
    device: torch.device

    def __len__(self) -> int:
        n_users = len(self.problem.trained[USER])
        return min(n_users, max(math.ceil(n_users / self.recipe.batch_size), LEAST_STEPS))

    def __iter__(self) -> Iterator[Step]:
        order = self.rng.permutation(self.problem.trained[USER]).astype(np.int32)
        for users in np.array_split(order, len(self)):
            yield self._step(np.sort(users))

    def _step(self, users: I32) -> Step:
        pairs, dropout = self.problem.pairs, self.recipe.dropout
        at = entries_of(pairs.indptr, users)
        indices, weights, lengths = pairs.indices[at], pairs.data[at], np.diff(pairs.indptr)[users]
        kept = self.rng.random(len(at)) >= dropout if dropout else np.ones(len(at), bool)
        candidates, share = self._candidates(indices, len(users))
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(pairs.indptr.dtype)
        met = unit_rows(sp.csr_array((weights, indices, indptr), shape=(len(users), pairs.shape[1])), kept)
        return Step(
            self._bags(USER, users, Bags(met, self.executor)),
            self._bags(ITEM, candidates, self._who_met(candidates, at[~kept])),
            self._tensor(np.repeat(np.arange(len(users)), lengths)),
            self._tensor(np.searchsorted(candidates, indices)),
            self._tensor(weights),
            self._tensor(np.log(share).astype(np.float32)),
        )

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _candidates(self, own: I32, n_users: int) -> tuple[I32, Array]:
        """Return candidates, ascending, and the probability of each: by a pair of the step's users, or by being drawn."""
        n_items, n = self.problem.pairs.shape[1], self.recipe.n_negatives
        if n >= n_items:
            return np.arange(n_items, dtype=np.int32), np.ones(n_items)
        drawn = self.rng.choice(n_items, n, replace=False).astype(np.int32)
        found = np.union1d(own, drawn).astype(np.int32)
        by_pair = (1 - n_users / len(self.problem.trained[USER])) ** self._counts[found]
        return found, np.maximum(1 - by_pair * (1 - n / n_items), 1e-9)

    def _bags(self, side: int, rows: I32, met: Bags) -> tuple[Bags, Bags]:
        """Return features and whom they met, for a share of the rows without id and history."""
        features = sp.csr_array(self.problem.features[side][rows])
        if self.recipe.cold:
            cold = self.rng.random(len(rows)) < self.recipe.cold
            features = self._without_id(side, features, cold)
            warm, old = np.repeat(~cold, np.diff(met.rows.indptr)), met.rows
            met = Bags(sp.csr_array((old.data * warm, old.indices, old.indptr), shape=old.shape), self.executor)
        return Bags(features, self.executor), met

    def _without_id(self, side: int, features: sp.csr_array, cold: Bool) -> sp.csr_array:
        n_ids = self.problem.coders[side].n_ids
        if not n_ids:
            return features
        indices = features.indices.copy()
        own = features.indptr[:-1][cold]  # ids are the first features of a row
        indices[own] = n_ids
        return sp.csr_array((features.data, indices, features.indptr), shape=features.shape)

    def _who_met(self, items: I32, gone: I64) -> Bags:
        """Return who met each candidate, without the pairs `gone`."""
        n_users, n_items = self.problem.pairs.shape
        if not self.recipe.met[ITEM]:
            return Bags(sp.csr_array((len(items), n_users), dtype=np.float32), self.executor)
        by_item, place, squares = self._by_item
        lost = np.bincount(self.problem.pairs.indices[gone], self.problem.pairs.data[gone].astype(np.float64) ** 2, n_items)
        left = squares - lost
        scale = (1 / np.sqrt(np.where(left > LEAST, left, 1))).astype(np.float32)[items]
        lengths = np.diff(by_item.indptr)[items]
        values = by_item.data.copy()
        values[place[gone]] = 0
        if len(items) < n_items:
            at = entries_of(by_item.indptr, items)
            indptr = np.concatenate([[0], np.cumsum(lengths)])
            some = sp.csr_array((values[at] * np.repeat(scale, lengths), by_item.indices[at], indptr), shape=(len(items), n_users))
            return Bags(some, self.executor)
        values *= np.repeat(scale, lengths)
        pairs = self.problem.pairs
        transposed = sp.csr_array((values[place], pairs.indices, pairs.indptr), shape=pairs.shape)
        return Bags(sp.csr_array((values, by_item.indices, by_item.indptr), shape=by_item.shape), self.executor, transposed)

    @cached_property
    def _counts(self) -> Array:
        return np.bincount(self.problem.pairs.indices, minlength=self.problem.pairs.shape[1])

    @cached_property
    def _by_item(self) -> tuple[sp.csr_array, I64, F64]:
        """Return the transposed pairs, where each pair is in them, and the squared length of each row."""
        pairs = self.problem.pairs
        numbered = sp.csr_array((np.arange(pairs.nnz), pairs.indices, pairs.indptr), shape=pairs.shape).T.tocsr()
        place = np.empty(pairs.nnz, np.int64)
        place[numbered.data] = np.arange(pairs.nnz)
        squares: F64 = np.bincount(pairs.indices, pairs.data.astype(np.float64) ** 2, pairs.shape[1]).astype(np.float64)
        by_item = sp.csr_array((pairs.data[numbered.data], numbered.indices, numbered.indptr), shape=numbered.shape)
        return by_item, place, squares


def entries_of(indptr: Array, rows: I32) -> I64:
    """Return where the entries of some rows of compressed rows are."""
    lengths = np.diff(indptr)[rows]
    found: I64 = np.arange(lengths.sum()) + np.repeat(indptr[rows] - np.cumsum(lengths) + lengths, lengths)
    return found


class Towers(nn.Module):
    """Both towers.

    Parameters
    ----------
    recipe : Recipe
        How.
    problem : Problem
        What for.
    rng : numpy.random.Generator
        Draws the first weights.
    """

    def __init__(self, recipe: Recipe, problem: Problem, rng: np.random.Generator) -> None:
        super().__init__()
        self.recipe = recipe
        n_out = (recipe.embedding_dim, recipe.embedding_dim + int(recipe.shape.item_bias))
        self.sides = nn.ModuleList(
            TowerNetwork(
                problem.coders[side].n_features,
                problem.pairs.shape[1 - side] if recipe.met[side] else 0,
                (*recipe.widths, n_out[side]),
                rng,
                deviation=recipe.deviation,
                with_linear=True,
            )
            for side in (USER, ITEM)
        )
        if recipe.shape.item_bias:
            self._begin_with_popularity(problem)

    def _begin_with_popularity(self, problem: Problem) -> None:
        """Let the bias of an item with an id begin at the logarithm of its share of the pairs."""
        coder, tower = problem.coders[ITEM], self.sides[ITEM]
        if not coder.n_ids:
            return
        counts = np.bincount(problem.pairs.indices, weights=problem.pairs.data, minlength=coder.n_ids)
        level = np.log((counts + 1) / (counts + 1).mean()).astype(np.float32)
        with torch.no_grad():
            table: Tensor = tower.linear if len(tower.linear) else tower.features  # type: ignore[assignment,arg-type]
            table[: coder.n_ids, -1] = torch.from_numpy(level)
            table[coder.n_ids, -1] = float(level[problem.trained[ITEM]].mean())

    def vectors(self, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        """Return user vectors (U, d), item vectors (C, d) and item biases (C,)."""
        users, items = self.sides[USER](*step.users), self.sides[ITEM](*step.items)
        bias = items[:, -1] if self.recipe.shape.item_bias else items.new_zeros(())
        items = items[:, : self.recipe.embedding_dim]
        if self.recipe.shape.cosine:
            users, items = functional.normalize(users), functional.normalize(items)
        return users, items, bias

    def loss(self, step: Step) -> Tensor:
        """Return the mean loss of the pairs of a step."""
        users, items, bias = self.vectors(step)
        scores = (users * self.recipe.shape.scale) @ items.T + bias  # (U, C)
        if self.recipe.loss == "softmax":
            value = softmax(scores, step)
        else:
            value = cross_entropy(scores / self.recipe.shape.scale, step, self.recipe.n_per_positive)
        if self.recipe.reg:
            value = value + self.recipe.reg * (users.square().sum(1).mean() + items.square().sum(1).mean())
        return value


def softmax(scores: Tensor, step: Step) -> Tensor:
    """Return the mean over pairs of ``-log p``, p the share of exp(score) that the pair has among all items.

    The sum over all items is estimated from the candidates, each divided by the probability that it is one (the correction
    named logQ); the item of the pair itself is always there and stays as it is.
    """
    weighed = scores - step.log_share
    total = torch.logsumexp(weighed, dim=1)[step.rows]  # (P,)
    own = scores[step.rows, step.columns]
    log_share = step.log_share[step.columns]
    part = torch.exp(own - log_share - total)
    total = total + torch.log1p(-part * (1 - torch.exp(log_share)).clamp(max=1 - LEAST))
    return ((total - own) * step.weights).sum() / step.weights.sum()


def cross_entropy(cosines: Tensor, step: Step, n_per_positive: float) -> Tensor:
    """Return the normalised cross-entropy: a label is the weight over the largest weight, a prediction max(LEAST, cosine).

    All candidates that a user has not met are negatives; together they weigh `n_per_positive` times the user's pairs, which is
    what so many drawn ones for each pair give in the mean.
    """
    predicted = cosines.clamp(LEAST, 1 - LEAST)
    label = step.weights / step.weights.max()
    own = predicted[step.rows, step.columns]
    positive = label * own.log() + (1 - label) * (1 - own).log()
    apart = (1 - predicted).log()
    n_pairs = torch.bincount(step.rows, minlength=len(cosines))
    met = torch.zeros(len(cosines), device=cosines.device).index_add(0, step.rows, (1 - own).log())
    negative = (apart.sum(1) - met) * (n_pairs / (cosines.shape[1] - n_pairs).clamp(min=1))
    return -(positive.sum() + n_per_positive * negative.sum()) / len(step.rows)


def fitted(method: Method, recipe: Recipe, dataset: Dataset, training: Training, *, patience: int) -> DotModel:
    """Learn both towers, and run everyone through them."""
    problem = problem_of(method.name, dataset, recipe)
    with computing(training.runtime) as device:

        def run(watch: Watch, alone: Training) -> None:
            learned(method.name, recipe, problem_of(method.name, watch.train, recipe), alone, device, watch)

        epochs = best_epoch(run, dataset, training, epochs=recipe.epochs, patience=patience)
        recipe = replace(recipe, epochs=epochs)
        sides, notes = learned(method.name, recipe, problem, training, device)
    users, items = vectors_of(recipe, problem, sides, training.runtime.executor)
    return DotModel(
        method=method,
        user_vectors=users,
        item_vectors=items,
        fold_in=TowersFoldIn(method.name, sides, recipe.shape),
        n_extra=int(recipe.shape.item_bias),
        notes=problem.notes + notes,
        curve=tuple(training.curve),
    )


def learned(
    name: str, recipe: Recipe, problem: Problem, training: Training, device: torch.device, watch: Watch | None = None
) -> tuple[tuple[Side, Side], tuple[str, ...]]:
    """Train both towers, and return them and notes; a watch is asked after each epoch whether to stop."""
    network = Towers(recipe, problem, training.rng).to(device)
    executor = training.runtime.executor

    def sides() -> tuple[Side, Side]:
        users, items = (
            Side(coder, part.tower(), usual)  # type: ignore[operator]
            for coder, part, usual in zip(problem.coders, network.sides, problem.usual, strict=True)
        )
        return users, items

    def stop(epoch: int) -> bool:
        if watch is None:
            return False
        users, items = vectors_of(recipe, problem, sides(), executor)
        watch.scores = lambda rows: users[rows] @ items.T
        return watch(epoch)

    notes = train(
        network,
        lambda: Steps(recipe, problem, training.rng, executor, device),
        network.loss,
        Plan(epochs=recipe.epochs, learning_rate=recipe.learning_rate, schedule="linear"),
        training,
        name=name,
        vectors=lambda: vectors_of(recipe, problem, sides(), executor),
        keep={"epochs": np.array([recipe.epochs])},
        stop=stop,
    )
    return sides(), notes


def vectors_of(recipe: Recipe, problem: Problem, sides: tuple[Side, Side], executor: Executor) -> tuple[F32, F32]:
    """Return the vectors of all users and items, by the forward pass that answers for strangers."""
    met = problem.pairs, sp.csr_array(problem.pairs.T.tocsr())
    users, items = (
        recipe.shape.vectors(side, own.outputs(features, others, executor))
        for side, (own, features, others) in enumerate(zip(sides, problem.features, met, strict=True))
    )
    return users, items

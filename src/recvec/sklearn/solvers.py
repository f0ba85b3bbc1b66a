"""The three ways in which estimators learn a machine of rows of features, behind one call each."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import scipy.sparse as sp

from recvec.contract import Threads
from recvec.kernels.fm_als import descend
from recvec.kernels.fm_blocks import Block, Relations
from recvec.kernels.fm_gibbs import draw
from recvec.kernels.fm_gibbs_posterior import Posterior, predict
from recvec.kernels.fm_gradient import Machine, learn, score
from recvec.types import F32, F64, I32, I64

FEWEST_HELD_OUT = 100  # rows of a validation part; where it would be smaller, there is none
LARGEST_BATCH, SMALLEST_BATCH, BATCHES = 4096, 32, 50  # of the rule for the size of a batch


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the estimators' parameters come to; see `FMClassifier`."""

    rank: int
    order: Literal[2, 3]
    field_weights: bool
    learning_rate: float
    reg: float
    reg_linear: float
    batch_size: int | None
    n_epochs: int
    validation_share: float
    patience: int
    n_iterations: int
    n_kept: int


class Learned(Protocol):
    """A machine that was learned."""

    def scores(self, matrix: sp.csr_array, threads: Threads) -> tuple[F64, F64]:
        """Return the scores of rows and how far they spread, each (n,): log-odds, probabilities or numbers, as was learned."""
        ...


@dataclass(frozen=True, eq=False)
class OneMachine:
    """One machine."""

    machine: Machine

    def scores(self, matrix: sp.csr_array, threads: Threads) -> tuple[F64, F64]:
        """See `Learned`; nothing is known of the spread."""
        found = score(matrix, self.machine, threads).astype(np.float64)
        return found, np.full(len(found), np.nan)


@dataclass(frozen=True, eq=False)
class ByDraws:
    """Draws of machines."""

    posterior: Posterior
    groups: I32

    def scores(self, matrix: sp.csr_array, threads: Threads) -> tuple[F64, F64]:
        """See `Learned`."""
        mean, deviation = predict(self.posterior, observations(matrix, self.groups), executor=threads)
        return mean.astype(np.float64), deviation.astype(np.float64)


def observations(matrix: sp.csr_array, groups: I32) -> Relations:
    """Return rows that share nothing: one block, whose rows are the observations."""
    features = sp.csr_array(matrix, dtype=np.float32)
    features.indptr, features.indices = features.indptr.astype(np.int32), features.indices.astype(np.int32)
    return Relations((Block(features, groups),), (np.arange(matrix.shape[0], dtype=np.int32),))


def by_gradient(
    matrix: sp.csr_array, labels: F32, groups: I32, recipe: Recipe, loss: Literal["logistic", "squared"], seed: int, threads: Threads
) -> OneMachine:
    """Learn until the loss on a validation part rises, then from all rows for as many epochs; without that part for all epochs."""
    n, rng = len(labels), np.random.default_rng(seed)

    def machine(rows: I64, valid: I64, n_epochs: int) -> Machine:
        held = (sp.csr_array(matrix[valid]), labels[valid]) if len(valid) else None
        return learn(
            sp.csr_array(matrix[rows]), labels[rows], groups, rank=recipe.rank, order=recipe.order, field_weights=recipe.field_weights,
            loss=loss, learning_rate=recipe.learning_rate, reg=recipe.reg / len(rows), reg_linear=recipe.reg_linear / len(rows),
            batch_size=recipe.batch_size or int(np.clip(len(rows) // BATCHES, SMALLEST_BATCH, LARGEST_BATCH)), n_epochs=n_epochs,
            rng=rng, executor=threads, valid=held, patience=recipe.patience,
        )  # fmt: skip

    rows, nobody, epochs = np.arange(n), np.arange(0), recipe.n_epochs
    held = _held_out(labels, recipe.validation_share, loss == "logistic", rng)
    if len(held):
        first = machine(np.setdiff1d(rows, held), held, epochs)
        epochs = 1 + int(np.argmin([value for _, value in first.curve]))
    return OneMachine(machine(rows, nobody, epochs))


def _held_out(labels: F32, share: float, by_label: bool, rng: np.random.Generator) -> I64:  # noqa: FBT001
    """Return the rows of the validation part, ascending: of each label its share; none where there would be few."""
    order, parts = rng.permutation(len(labels)), []
    for part in [order[labels[order] == value] for value in np.unique(labels)] if by_label else [order]:
        size = int(share * len(part))
        if not size:
            return np.arange(0)
        parts.append(part[:size])
    held = np.sort(np.concatenate(parts))
    return held if len(held) >= FEWEST_HELD_OUT else np.arange(0)


def by_gibbs(
    matrix: sp.csr_array, labels: F32, groups: I32, recipe: Recipe, likelihood: Literal["normal", "probit"], seed: int, threads: Threads
) -> ByDraws:
    """Draw machines from their posterior."""
    relations = observations(matrix, groups)
    posterior = draw(
        relations, labels, rank=recipe.rank, n_iterations=recipe.n_iterations, n_kept=recipe.n_kept, likelihood=likelihood,
        rng=np.random.default_rng(seed), executor=threads,
    )  # fmt: skip
    return ByDraws(posterior, groups)


def by_als(matrix: sp.csr_array, labels: F32, groups: I32, recipe: Recipe, seed: int, threads: Threads) -> OneMachine:
    """Find the machine of least squares."""
    relations = observations(matrix, groups)
    found = descend(
        relations, labels, rank=recipe.rank, n_iterations=recipe.n_iterations, reg=recipe.reg, linear_reg=recipe.reg_linear / recipe.reg,
        rng=np.random.default_rng(seed), executor=threads,
    )  # fmt: skip
    return OneMachine(Machine(found.bias, found.linear, found.factors, groups))

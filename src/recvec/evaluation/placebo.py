"""Whether the attributes of people and items help, or anybody else's would do."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recvec.contract import Method, Runtime
from recvec.data.dataset import Dataset
from recvec.data.features import FeatureTable
from recvec.data.splits import Split
from recvec.errors import InputError
from recvec.evaluation.protocol import Fit, cross_validate
from recvec.evaluation.report import Evaluation
from recvec.types import Array, Json

N_SHUFFLES = 20


@dataclass(frozen=True, kw_only=True)
class Placebo:
    """A metric with the true attributes beside the same metric with shuffled ones.

    Parameters
    ----------
    metric : str
        What was measured.
    value : float
        With everybody's own attributes.
    shuffled : tuple of float
        With attributes dealt out anew, once for each shuffle.
    p_value : float
        (1 + number of shuffles at least as good) / (1 + number of shuffles).
    """

    metric: str
    value: float
    shuffled: tuple[float, ...]
    p_value: float

    def json(self) -> dict[str, Json]:
        """Return the figures as JSON."""
        return {"metric": self.metric, "value": self.value, "shuffled": list(self.shuffled), "p_value": self.p_value}

    def __str__(self) -> str:
        low, high = min(self.shuffled), max(self.shuffled)
        if low == high == self.value:
            return f"placebo: {self.metric} is {self.value:.4f} with any attributes: the method does not use them"
        return (
            f"placebo: {self.metric} {self.value:.4f} with the true attributes, {low:.4f} to {high:.4f} with "
            f"{len(self.shuffled)} shuffles of them; p = {self.p_value:.3f}"
        )


def placebo(
    method: Method,
    splits: Sequence[Split],
    result: Evaluation,
    *,
    n_shuffles: int = N_SHUFFLES,
    seed: int = 0,
    runtime: Runtime | None = None,
    fit: Fit | None = None,
) -> Placebo:
    """Fit and measure again with attributes that belong to somebody else.

    Attributes are dealt out anew between the people with training rows, between those without, and between the items of
    both kinds likewise. Where the first shuffle changes nothing at all, the method does not read attributes and the
    others are not run.

    Parameters
    ----------
    method : Method
        The recipe.
    splits : sequence of Split
        The splits of `result`.
    result : Evaluation
        What the true attributes gave; its headline is compared.
    n_shuffles : int
        How many placebos.
    seed : int
        Seed of the shuffles, and of the fits.
    runtime, fit
        As in `cross_validate`.

    Raises
    ------
    InputError
        Where the data have no attributes.
    """
    check_attributes(splits[0].train)
    metric = result.headline
    value = result.by_seed[metric][0]
    length = int(metric.partition("@")[2] or 10)
    shuffled: list[float] = []
    for n in range(n_shuffles):
        rng = np.random.default_rng([seed, n])
        dealt = [replace(split, train=_dealt(split.train, rng)) for split in splits]
        shuffled.append(cross_validate(method, dealt, k=length, seeds=(seed,), runtime=runtime, fit=fit).metrics[metric])
        if shuffled == [value]:
            shuffled *= n_shuffles
            break
    as_good = sum(v <= value if metric == "rmse" else v >= value for v in shuffled)
    return Placebo(metric=metric, value=value, shuffled=tuple(shuffled), p_value=(1 + as_good) / (1 + n_shuffles))


def check_attributes(data: Dataset) -> None:
    """Refuse data without attributes, before the fits that would be lost.

    Raises
    ------
    InputError
        Says what to give.
    """
    if data.user_features is None and data.item_features is None:
        raise InputError("a placebo shuffles attributes, and the data have none; give --users or --items, or leave it out")


def _dealt(train: Dataset, rng: np.random.Generator) -> Dataset:
    return replace(
        train,
        user_features=_shuffled(train.user_features, train.user_counts > 0, rng),
        item_features=_shuffled(train.item_features, train.item_counts > 0, rng),
    )


def _shuffled(table: FeatureTable | None, trained: Array, rng: np.random.Generator) -> FeatureTable | None:
    if table is None:
        return None
    order = np.arange(len(trained))
    for group in (np.flatnonzero(trained), np.flatnonzero(~trained)):
        order[group] = rng.permutation(group)
    return FeatureTable(frame=table.frame[order], types=table.types)

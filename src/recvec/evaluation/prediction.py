"""Predictions of one competitor for the test rows of one split: ratings, or the probability of a click."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from recvec.errors import InputError
from recvec.evaluation.answers import Answers
from recvec.evaluation.measured import Measured, Pairs
from recvec.kernels import metrics
from recvec.types import F64


def measure_ratings(answers: Answers) -> Measured:
    """Return the errors of each test rating; predictions are clipped to the range of the training ratings.

    A pair of which the model knows no side is predicted by the mean of the training ratings.

    Raises
    ------
    InputError
        Where the test part or the training part has no ratings.
    """
    truth, known = answers.split.test.rating, answers.split.train.interactions.rating
    if truth is None or known is None:
        part = "test" if truth is None else "training"
        raise InputError(f"the task is rating, but the {part} part has no column 'rating'; add it or use task ranking")
    predicted = _predicted(answers, float(known.mean(dtype=np.float64))).clip(known.min(), known.max())
    error: F64 = predicted - truth.astype(np.float64)
    return _of_rows(answers, {"rmse": error**2, "mae": np.abs(error)})


def measure_clicks(answers: Answers) -> Measured:
    """Return the log loss of each test row; the rows keep label and probability for the area under the curve.

    Raises
    ------
    InputError
        Where the test part has no labels of both kinds, or what is predicted is no probability.
    """
    label = answers.split.test.label
    if label is None or not 0 < (label > 0).sum() < len(label):
        raise InputError("the task is click, but the test part has no column 'label' with both 1 and 0 in it; add it or use task ranking")
    trained = answers.split.train.interactions.label
    probability = _predicted(answers, 0.5 if trained is None else float((trained > 0).mean()))
    if probability.min() < 0 or probability.max() > 1:
        raise InputError(f"{answers.name} predicts {probability.min():g} to {probability.max():g}; allowed: probabilities from 0 to 1")
    terms = {"logloss": metrics.logloss_terms(label, probability)}
    return _of_rows(answers, terms, beside={"label": (label > 0).astype(np.float64), "probability": probability})


def _predicted(answers: Answers, usual: float) -> F64:
    test = answers.split.test
    values = answers.predictions(test).astype(np.float64)
    return np.where(np.isnan(values), usual, values)


def _of_rows(answers: Answers, terms: Mapping[str, F64], beside: Mapping[str, F64] = MappingProxyType({})) -> Measured:
    """Sum terms of rows by user; what stands `beside` them is kept by row."""
    test, train = answers.split.test, answers.split.train
    users, person, counts = np.unique(test.users, return_inverse=True, return_counts=True)
    return Measured(
        users=users.astype(np.int32),
        sums={name: np.bincount(person, values).astype(np.float64) for name, values in terms.items()},
        counts=dict.fromkeys(terms, counts.astype(np.float64)),
        history=answers.known.lengths[users],
        pairs=Pairs(
            users=test.users,
            items=test.items,
            values={**terms, **beside},
            shares=np.ones(len(test)),
            popularity=train.item_counts[test.items],
        ),
        shown={},
        allowed=np.ones(train.n_items, dtype=bool),
    )

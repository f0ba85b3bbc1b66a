"""`FMRegressor` and `FMClassifier`."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import assert_all_finite, check_array, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from recvec.contract import Threads
from recvec.errors import HyperparameterError, InputError
from recvec.sklearn.frames import FrameCoder, is_frame
from recvec.sklearn.solvers import Learned, Recipe, by_als, by_gibbs, by_gradient
from recvec.types import F32, F64, Array


class _Machines(BaseEstimator):
    """What both estimators do."""

    def __init__(
        self,
        *,
        solver: Literal["gradient", "gibbs", "als"] = "gradient",
        rank: int = 15,
        order: Literal[2, 3] = 2,
        field_weights: bool = False,
        learning_rate: float = 0.01,
        reg: float = 2.0,
        reg_linear: float = 2.0,
        batch_size: int | None = None,
        n_epochs: int = 100,
        validation_share: float = 0.1,
        patience: int = 5,
        n_iterations: int = 100,
        n_kept: int = 60,
        types: Mapping[str, str] | None = None,
        numbers: Literal["standardized", "bucketed"] = "standardized",
        hash_bits: int | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self.solver = solver
        self.rank = rank
        self.order = order
        self.field_weights = field_weights
        self.learning_rate = learning_rate
        self.reg, self.reg_linear = reg, reg_linear
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.validation_share = validation_share
        self.patience = patience
        self.n_iterations, self.n_kept = n_iterations, n_kept
        self.types = types
        self.numbers = numbers
        self.hash_bits = hash_bits
        self.random_state = random_state
        self.n_jobs = n_jobs

    def __sklearn_tags__(self) -> Any:
        """Say that sparse matrices are welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _recipe(self, solvers: tuple[str, ...]) -> Recipe:
        """Return the parameters, checked."""
        allowed: dict[str, tuple[Any, ...]] = {"solver": solvers, "order": (2, 3), "numbers": ("standardized", "bucketed")}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise HyperparameterError(f"{name} is {getattr(self, name)!r}; allowed: {', '.join(map(repr, values))}")
        least = {"rank": 1, "n_epochs": 1, "patience": 1, "n_iterations": 1, "n_kept": 1, "batch_size": 1, "hash_bits": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            optional = name in ("batch_size", "hash_bits") and value is None
            if not optional and not (isinstance(value, int | np.integer) and bound <= value):
                raise HyperparameterError(f"{name} is {value!r}; allowed: a whole number, {bound} or more")
        for name in ("learning_rate", "reg", "reg_linear", "validation_share"):
            value, open_end = getattr(self, name), name == "learning_rate" or (self.solver == "als" and name != "validation_share")
            if not (np.isfinite(value) and (value > 0 or (value == 0 and not open_end)) and (name != "validation_share" or value < 1)):
                raise HyperparameterError(
                    f"{name} is {value!r}; allowed: {'above 0' if open_end else '0 or more'}{', below 1' * (name == 'validation_share')}"
                )
        if self.solver != "gradient" and (self.order, self.field_weights) != (2, False):
            raise HyperparameterError(
                f"solver '{self.solver}' learns pairs of features alone; use order=2 and field_weights=False, or 'gradient'"
            )
        names = (
            "rank",
            "order",
            "field_weights",
            "learning_rate",
            "reg",
            "reg_linear",
            "batch_size",
            "n_epochs",
            "validation_share",
            "patience",
        )
        chosen = {name: getattr(self, name) for name in (*names, "n_iterations", "n_kept")}
        return Recipe(**chosen)

    def _learn_rows(self, X: Any) -> sp.csr_array:
        """Settle what the columns become, and return the rows of features."""
        self.notes_: tuple[str, ...] = ()
        if is_frame(X):
            validate_data(self, X, skip_check_array=True)
            self._coder: FrameCoder | None = FrameCoder.fit(X, types=self.types, numbers=self.numbers, hash_bits=self.hash_bits)
            self.groups_, self.notes_ = self._coder.groups, self._coder.notes
            return self._coder.encode(X)
        if self.field_weights:
            raise InputError("field_weights needs a dataframe, whose columns are the fields; X is an array")
        self._coder = None
        matrix = _sparse(validate_data(self, X, accept_sparse="csr", dtype=np.float32))
        self.groups_ = np.zeros(matrix.shape[1], np.int32)
        self._largest = _largest(matrix)
        return _divided(matrix, self._largest)

    def _rows(self, X: Any) -> sp.csr_array:
        """Return the rows of features of someone else's X."""
        check_is_fitted(self)
        if self._coder is None:
            return _divided(_sparse(validate_data(self, X, accept_sparse="csr", dtype=np.float32, reset=False)), self._largest)
        if not is_frame(X):
            raise InputError(f"X is of type {type(X).__name__}; allowed: a dataframe with the columns of the fit; make one")
        validate_data(self, X, skip_check_array=True, reset=False)
        return self._coder.encode(X)

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _threads(self) -> Threads:
        return Threads(None if self.n_jobs == -1 else self.n_jobs or 1)


class FMRegressor(RegressorMixin, _Machines):
    """Factorization machine for numbers; parameters and attributes as in `FMClassifier`.

    What is learned is ``(y - mean) / standard deviation`` of the training rows, so that regularization needs no unit.
    """

    def fit(self, X: Any, y: Any) -> "FMRegressor":
        """Learn from rows.

        Parameters
        ----------
        X : array, sparse matrix or dataframe, shape (n, columns)
            Rows.
        y : array, shape (n,)
            Finite numbers.

        Raises
        ------
        InputError
            Where a parameter or a column is not usable; a ValueError, as everything else that scikit-learn's checks raise.
        """
        recipe, matrix = self._recipe(("gradient", "gibbs", "als")), self._learn_rows(X)
        targets = column_or_1d(check_array(_given(y, self), ensure_2d=False, dtype=np.float64, input_name="y"), warn=True)
        check_consistent_length(matrix, targets)
        self._mean, spread, seed, threads = float(targets.mean()), float(targets.std()), self._seed(), self._threads()
        self._spread = spread if np.isfinite(spread) and spread > 0 else 1.0
        scaled = ((targets - self._mean) / self._spread).astype(np.float32)
        if self.solver == "gibbs":
            self.machines_: list[Learned] = [by_gibbs(matrix, scaled, self.groups_, recipe, "normal", seed, threads)]
        elif self.solver == "als":
            self.machines_ = [by_als(matrix, scaled, self.groups_, recipe, seed, threads)]
        else:
            self.machines_ = [by_gradient(matrix, scaled, self.groups_, recipe, "squared", seed, threads)]
        return self

    def predict(self, X: Any, return_std: bool = False) -> F64 | tuple[F64, F64]:  # noqa: FBT001, FBT002  as in scikit-learn
        """Return predicted numbers, shape (n,); with `return_std` their standard deviations as well, NaN but for ``"gibbs"``."""
        matrix = self._rows(X)
        mean, deviation = self.machines_[0].scores(matrix, self._threads())
        predicted = mean * self._spread + self._mean
        return (predicted, deviation * self._spread) if return_std else predicted


class FMClassifier(ClassifierMixin, _Machines):
    """Factorization machine for classes: one machine for two of them, one against the rest for more.

    The score is ``bias + sum_f x_f w_f + sum_{f<g} x_f x_g v_f . v_g``, see `recvec.kernels.fm_gradient`.

    Parameters
    ----------
    solver : str
        ``"gradient"``: Adam on the logistic loss (`FMRegressor`: squared), stopped by a validation part. ``"gibbs"``: the mean
        over draws from the posterior (probit; normal noise), without regularization to choose: for few rows, or where quality
        is worth the time. ``"als"``: least squares by coordinate descent, for `FMRegressor` alone.
    rank : int
        Length of the factors; 15, 31, 63 take no longer than the numbers just below.
    order : 2 or 3
        3: triples of features have factors of their own. For ``"gradient"``.
    field_weights : bool
        A learned weight for each pair of columns of a dataframe (field-weighted machine). For ``"gradient"``.
    learning_rate : float
        For ``"gradient"``. Where rows are few and levels many, lower it and raise `reg`.
    reg, reg_linear : float
        Regularization of factors and linear weights: ``sum of losses + reg / 2 |v|^2 + reg_linear / 2 |w|^2``, so that `reg`
        is as 1 / C of `sklearn.linear_model.LogisticRegression`. Above 0 for ``"als"``, nothing to ``"gibbs"``.
    batch_size : int, optional
        For ``"gradient"``; by default a fiftieth of the rows, between 32 and 4,096.
    n_epochs : int
        For ``"gradient"``: at most, with a validation part; else so many.
    validation_share : float
        Share of the rows by which the number of epochs is chosen; then all rows are learned from. No part is set
        aside where it would have fewer than 100 rows.
    patience : int
        How many epochs may pass without a lower loss on that part.
    n_iterations, n_kept : int
        For ``"gibbs"`` and ``"als"``: how many, and the last so many of the draws that are kept.
    types : mapping of str to str, optional
        Of columns of a dataframe whose values mislead: ``{"zip": "category"}``; category, number, list, text, vector.
    numbers : str
        What numbers of a dataframe become: ``"standardized"`` or ``"bucketed"`` (by tenths).
    hash_bits : int, optional
        Columns of a dataframe with more than ``2 ** hash_bits`` levels are hashed into so many features. By default every
        level has a feature, and `notes_` says where there are more than 10,000.
    random_state : int, RandomState or None
        Of the batches, the first factors, the draws.
    n_jobs : int, optional
        Threads; None is 1, -1 all that this process may use. The result is the same to the bit for any number.

    Attributes
    ----------
    machines_ : list
        What was learned: one for numbers and for two classes, else one for each class.
    notes_ : tuple of str
        Columns of a dataframe that are left out or unusual, a line each.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    Columns of arrays and sparse matrices are divided by their largest absolute value in training, so that zeros stay zeros.
    Of a dataframe (polars, or pandas with names of columns), text, booleans, dates and columns called ``user_id`` or
    ``item_id`` become a feature for each level, lists one for each value, numbers are standardised, and free text is left
    out, as is a column with one value throughout or none. A missing category is a level of its own; a missing number counts as
    the mean, and a feature says so where training had any. New levels give zero.

    There are no sample weights: scikit-learn wants a row of weight 2 to be exactly two rows, which mini-batches are not. Repeat
    the rows that count for more, and leave out those that count for nothing.
    """

    def fit(self, X: Any, y: Any) -> "FMClassifier":
        """Learn from rows.

        Parameters
        ----------
        X : array, sparse matrix or dataframe, shape (n, columns)
            Rows.
        y : array, shape (n,)
            Classes, two or more.

        Raises
        ------
        InputError
            Where a parameter or a column is not usable, or there is one class only; a ValueError.
        """
        recipe, matrix = self._recipe(("gradient", "gibbs")), self._learn_rows(X)
        labels = column_or_1d(_given(y, self), warn=True)
        assert_all_finite(labels, input_name="y")
        check_classification_targets(labels)
        check_consistent_length(matrix, labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"y has one class, {self.classes_[0]}; allowed: two classes or more; add rows of another")
        targets = [1] if len(self.classes_) == 2 else range(len(self.classes_))
        self.machines_ = [self._machine(matrix, (codes == target).astype(np.float32), recipe) for target in targets]
        return self

    def _machine(self, matrix: sp.csr_array, labels: F32, recipe: Recipe) -> Learned:
        seed, threads = self._seed(), self._threads()
        if self.solver == "gibbs":
            return by_gibbs(matrix, labels, self.groups_, recipe, "probit", seed, threads)
        return by_gradient(matrix, labels, self.groups_, recipe, "logistic", seed, threads)

    def decision_function(self, X: Any) -> F64:
        """Return log-odds, shape (n,) for two classes, else (n, classes)."""
        matrix = self._rows(X)
        found = np.column_stack([machine.scores(matrix, self._threads())[0] for machine in self.machines_])
        if self.solver == "gibbs":
            found = np.clip(found, 1e-7, 1 - 1e-7)
            found = np.log(found) - np.log1p(-found)
        return found[:, 0] if len(self.classes_) == 2 else found

    def predict_proba(self, X: Any) -> F64:
        """Return the probability of each class, shape (n, classes); those of more than two are scaled to add up to 1."""
        scores = self.decision_function(X)
        chances = 1 / (1 + np.exp(-np.clip(scores, -500, 500)))
        if len(self.classes_) == 2:
            return np.column_stack([1 - chances, chances])
        return np.asarray(chances / chances.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> Array:
        """Return the likeliest class of each row, shape (n,)."""
        scores = self.decision_function(X)
        return np.asarray(self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)])


def _given(y: Any, estimator: BaseEstimator) -> Any:
    if y is None:
        raise InputError(f"This {type(estimator).__name__} estimator requires y to be passed, but the target y is None.")
    return y


def _sparse(X: Any) -> sp.csr_array:
    """Return a matrix whose rows name each column at most once, in order."""
    matrix = sp.csr_array(X, copy=sp.issparse(X))
    matrix.sum_duplicates()
    return matrix


def _largest(matrix: sp.csr_array) -> F32:
    """Return the largest absolute value of each column, 1 where it is 0; shape (columns,)."""
    largest = np.zeros(matrix.shape[1], np.float32)
    np.maximum.at(largest, matrix.indices, np.abs(matrix.data))
    return np.where(largest > 0, largest, np.float32(1))


def _divided(matrix: sp.csr_array, largest: F32) -> sp.csr_array:
    """Return the matrix with each column divided by a number of its own."""
    return sp.csr_array((matrix.data / largest[matrix.indices], matrix.indices, matrix.indptr), shape=matrix.shape)

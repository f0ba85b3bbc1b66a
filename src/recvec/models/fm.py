"""Factorization machines (FM): ratings, clicks and rankings from the features of users, items and contexts.

Every observation is a row x of features: the ids of user and item, their attributes, who met whom, the context. The score is::

    bias + sum_f x_f w_f + sum_{f < g} x_f x_g v_f . v_g

so that each feature has a weight and a vector, and two features meet by the product of their vectors. The vector of a user is the
sum of the vectors of the user's features, that of an item likewise, and the score is a dot product (`kernels.fm_vectors`): with
P_u and Q_i the sums and own(u), own(i) what user and item bring alone, users are (P_u, 1, own(u)) and items (Q_i, own(i), 1). With
ids alone this is matrix factorization with biases. ``order=3`` adds all triples with vectors of their own, ``field_weights`` a
weight for each pair of attributes.

========= ========================================================================================================================
solver    what it does
========= ========================================================================================================================
gibbs     ratings: a Bayesian machine, `n_kept` draws from its posterior law; the prediction is their mean, with a deviation
ordered   ratings as levels without a scale: probit with cutpoints, drawn likewise; predicts the expected rating
als       ratings: one machine by alternating least squares, feature by feature
probit    clicks, drawn likewise
gradient  any task, of order 2 or 3, with field weights if wanted: logistic loss (ratings: squared) and lazy Adam, stopped early;
          in rankings each interaction meets `n_negatives` drawn items in the same context
squares   rankings: the squared loss over all pairs of users and items, those without interaction too; features of one side do
          not meet, users have no biases: neither ranks anything
softmax   rankings: every interaction against negatives that a step shares, otherwise as squares; an epoch is one step
========= ========================================================================================================================

Attributes: `encoders.attributes` says what each kind of column becomes; what is left out is in the `notes` of the model. Ids are
always features: attributes explain what they can, the id the rest. A user or item without an interaction has the id of everyone
else: the mean id of a Bayesian machine, zeros else. So a person who is described by attributes gets the vector of a known
person with these attributes and no interactions. A history changes the id by one least-squares problem (`fm_history`), or
speaks for itself where ``history`` makes it a group of features. Context moves the query of a person and nothing else.

Shapes: `embedding_dim` is the rank d of one machine. Vectors have S d columns, S the draws (1 unless Bayesian), 3 d of third
order, d for each field of item and context with field weights, and behind them 2 S columns for own parts. Cost: see the kernels.

Sources: Rendle, "Factorization machines", ICDM 2010; Freudenthaler, Schmidt-Thieme, Rendle, "Bayesian factorization machines",
2011; Pan et al., "Field-weighted factorization machines", WWW 2018; Blondel et al., "Higher-order factorization machines", 2016.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from recvec.contract import Cost, DataShape, DotModel, Link, Method, Runtime, State, Training, param
from recvec.data.dataset import Dataset
from recvec.errors import HyperparameterError
from recvec.kernels.fm_vectors import ITEM, USER, Machine, as_items, as_users, sums
from recvec.models.fm_descent import gradient
from recvec.models.fm_fold_in import FMFoldIn
from recvec.models.fm_history import HistorySolver, spread_of_ids
from recvec.models.fm_links import Draws, Logistic
from recvec.models.fm_problem import Problem, problem_of
from recvec.models.fm_solvers import Learned, als, gibbs, ids_of, softmax, squares
from recvec.types import F32, I64

BY_TASK = {
    "ranking": ("squares", "softmax", "gradient"),
    "rating": ("gibbs", "ordered", "als", "gradient"),
    "click": ("gradient", "probit"),
}
SOLVERS = {"gibbs": gibbs, "ordered": gibbs, "probit": gibbs, "als": als, "gradient": gradient, "squares": squares, "softmax": softmax}
BAYESIAN = ("gibbs", "ordered", "probit")
SUITS = {  # solver: epochs, learning_rate, reg, shared_reg
    "gibbs": (100, 0.0, 0.0, 0.0),
    "ordered": (100, 0.0, 0.0, 0.0),
    "probit": (100, 0.0, 0.0, 0.0),
    "als": (20, 0.0, 5.0, 0.0),
    "gradient": (50, 1e-3, 5e-6, 0.0),
    "squares": (12, 0.0, 0.012, 1.0),
    "softmax": (200, 0.03, 0.03, 1.0),
}


@dataclass(frozen=True, kw_only=True)
class FM(Method):
    """Factorization machine over users, items and contexts with any features."""

    name: ClassVar[str] = "fm"
    family: ClassVar[str] = "factorization machine"
    tasks: ClassVar[tuple[str, ...]] = ("ranking", "rating", "click")
    gives: ClassVar[str] = "sums of feature vectors of users and items, biases; vectors of attributes"

    task: str = param("ranking", "what is learned", choices=("ranking", "rating", "click"))
    embedding_dim: int = param(16, "length of the vector of a feature", low=1, high=2048, search=(4, 128, "log"))
    solver: str = param(
        "auto",
        "how: gibbs, ordered, als or gradient for ratings, gradient or probit for clicks, squares, softmax or gradient for rankings; "
        "auto takes the first, and gradient for rankings with context",
        choices=("auto", *SUITS),
    )
    epochs: int = param(0, "passes, or draws of a Bayesian machine; 0: what suits the solver", low=0, high=100_000)
    n_kept: int = param(32, "draws of a Bayesian machine that are kept, spread over the last three quarters of them", low=1, high=1000)
    learning_rate: float = param(0.0, "size of gradient steps; 0: what suits the solver", low=0.0, high=1e6, search=(1e-4, 1e-1, "log"))
    reg: float = param(0.0, "regularization, unless Bayesian; 0: what suits the solver", low=0.0, high=1e6, search=(1e-6, 10.0, "log"))
    shared_reg: float = param(
        0.0,
        "regularization of attributes and histories, for squares and softmax; 0: what suits the solver",
        low=0.0,
        high=1e6,
        search=(1e-4, 10.0, "log"),
    )
    unobserved_weight: float = param(
        0.0,
        "weight of each pair without interaction in rankings by squares; 0: balanced as in als",
        low=0.0,
        high=1e6,
        search=(1e-3, 1.0, "log"),
    )
    pairs_within: bool = param(
        True, "whether two features of the same user, item or context meet, for gibbs, ordered, probit and als; gradient always lets them"
    )
    item_bias: bool = param(False, "whether features of items have biases in rankings by squares; they help people without any feature")
    cold_weight: float = param(
        0.0,
        "weight of learning each row a second time without its id, for those who come without one; squares and softmax",
        low=0.0,
        high=1e6,
    )
    n_negatives: int = param(4, "negatives drawn for each interaction, in rankings by gradient", low=1, high=1000, search=(1, 10))
    shared_negatives: int = param(
        1024, "items against which softmax sets every interaction in a step, drawn anew for each; all where there are no more", low=1
    )
    batch_size: int = param(4096, "observations of a gradient step, at most: an epoch has fifty steps or more", low=1, high=10_000_000)
    patience: int = param(
        2, "epochs without a lower loss on a tenth held out, until gradient stops; all are learned from then; 0: never", low=0, high=1000
    )
    order: int = param(2, "2: pairs of features; 3: triples too, gradient only", low=2, high=3)
    field_weights: bool = param(False, "whether each pair of attributes has a weight, gradient only")
    use_attributes: bool = param(True, "whether attributes of users and items are features")
    use_context: bool = param(True, "whether context columns are features")
    history: str = param(
        "none", "whose history is a group of features: the items of users, the users of items", choices=("none", "users", "items", "both")
    )
    numbers: str = param(
        "standardized", "numbers become one feature each, or one for each of ten buckets", choices=("standardized", "bucketed")
    )
    hash_levels: int = param(0, "attributes with more levels are hashed into so many; 0: never", low=0, high=10_000_000)

    def __post_init__(self) -> None:
        """Check what depends on each other."""
        super().__post_init__()
        able = BY_TASK[self.task]
        if self.solver not in ("auto", *able):
            raise HyperparameterError(f"fm: solver is {self.solver!r}; allowed for task {self.task}: auto, {', '.join(able)}")
        if self.order == 3 and self.field_weights:
            raise HyperparameterError("fm: order is 3 with field_weights; allowed: one of the two; set order=2 or field_weights=false")
        for name, asked in (("order=3", self.order == 3), ("field_weights", self.field_weights)):
            if asked and self.solver not in ("auto", "gradient"):
                raise HyperparameterError(
                    f"fm: {name} with solver {self.solver!r}; allowed: gradient; set solver=gradient, or leave it out"
                )

    @property
    def n_epochs(self) -> int:
        """Number of epochs as far as it is known before the data are."""
        return self.settled(with_context=False).epochs

    def settled(self, *, with_context: bool) -> "FM":
        """Return the recipe with what is left to the solver filled in."""
        solver = self.solver
        if solver == "auto":
            steps = self.order == 3 or self.field_weights or (self.task == "ranking" and with_context and self.use_context)
            solver = "gradient" if steps else BY_TASK[self.task][0]
        epochs, learning_rate, reg, shared_reg = SUITS[solver]
        return replace(
            self,
            solver=solver,
            epochs=self.epochs or epochs,
            learning_rate=self.learning_rate or learning_rate,
            reg=self.reg or reg,
            shared_reg=self.shared_reg or shared_reg,
            use_context=self.use_context and solver not in ("squares", "softmax"),
            n_kept=min(self.n_kept, max(1, (self.epochs or epochs) // 2)) if solver in BAYESIAN else self.n_kept,
        )

    def _fit(self, dataset: Dataset, training: Training) -> DotModel:
        """Make features, learn their vectors, add them up."""
        method = self.settled(with_context=dataset.interactions.context is not None)
        problem = problem_of(method, dataset)
        learned = SOLVERS[method.solver](method, problem, training)
        unused = dataset.interactions.context is not None and self.use_context and not method.use_context
        return _model(method, problem, learned, training, (f"context is not used by solver {method.solver}; gradient does",) * unused)

    def restore(self, state: State) -> DotModel:
        """See `Method.restore`."""
        fold_in = FMFoldIn.restore(self.name, state)
        link: Link | None = None
        if self.solver in BAYESIAN:
            kept = (state.arrays[f"fold_in.link.{name}"] for name in ("noise", "cutpoints", "levels"))
            link = Draws(fold_in.machine, *kept)
        elif self.task == "click":
            link = Logistic(float(fold_in.machine.bias[0]))
        return DotModel.restored(self, state, replace(fold_in, link=link), link)

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """All epochs over ids alone: what attributes add depends on their number."""
        method = self.settled(with_context=False)
        width, rows = -(-method.embedding_dim // 16) * 16, shape.n_users + shape.n_items
        n_draws = method.n_kept if method.solver in BAYESIAN else 1
        squares = method.solver in (*BAYESIAN, "als", "squares")
        work = 4.0 * shape.n_interactions * (width * width if squares else 8 * width) + (rows * width**3 / 3 if squares else 0.0)
        memory = 96 * shape.n_interactions + 16 * rows * (n_draws * (method.embedding_dim + 2) + 2 * width)
        return Cost(operations=method.epochs * work, bytes_moved=8.0 * method.epochs * shape.n_interactions * width, memory=memory)


def _model(method: FM, problem: Problem, learned: Learned, training: Training, notes: tuple[str, ...]) -> DotModel:
    """Add up the vectors of the features of every user and item."""
    machine, executor = learned.machine, training.runtime.executor
    users = as_users(machine, sums(machine, USER, problem.features[USER], executor))
    items = as_items(machine, sums(machine, ITEM, problem.features[ITEM], executor))
    known = ids_of(problem, USER) - problem.starts[USER]
    numbers = (learned.target, learned.other, learned.unobserved_weight, learned.exponent)
    solver = HistorySolver(machine, items, learned.reg, *numbers, learned.levels, learned.hidden)
    anyone = replace(solver, reg=learned.reg * _narrower(machine, known, users[known]))
    usual = sp.csr_array(problem.attributes[USER][known].mean(axis=0, dtype=np.float64).astype(np.float32)[None])
    return DotModel(
        method=replace(method, **learned.settled),  # type: ignore[arg-type]
        user_vectors=users,
        item_vectors=items,
        n_extra=2 * machine.n_draws,
        offset=0.0 if method.task == "ranking" else float(machine.bias.mean()),
        bounds=(float(problem.targets.min()), float(problem.targets.max())) if method.task == "rating" else None,
        link=learned.link,
        notes=problem.notes + notes,
        fold_in=FMFoldIn(method.name, machine, problem.coders, problem.attributes, usual, solver, anyone, learned.link),
        curve=tuple(training.curve),
    )


def _narrower(machine: Machine, ids: I64, users: F32) -> F32:
    """Return how much narrower ids spread than all that is known of users, as a ratio of variances, (S, d + 1)."""
    _, variance = spread_of_ids(machine, ids)
    if machine.fields is not None or machine.third is not None:
        return np.ones_like(variance)
    s, n = machine.n_draws, len(users)
    pairs, own = users[:, : machine.width].reshape(n, s, -1), users[:, -s:, None]
    whole = np.concatenate([pairs, own], axis=2).astype(np.float64).var(axis=0) * s
    ratio: F32 = (variance / np.maximum(whole, variance)).astype(np.float32)
    return ratio

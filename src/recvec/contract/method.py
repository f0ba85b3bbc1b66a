"""A recipe: frozen hyper-parameters, and `fit`, which turns a dataset into a model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from recvec.contract import hyperparameters
from recvec.contract.extras import require
from recvec.contract.model import Model, State
from recvec.contract.runtime import Runtime
from recvec.data.dataset import Dataset, Value
from recvec.data.interactions import Interactions
from recvec.data.memory import available_memory
from recvec.errors import ArtifactError, InputError, NotSupportedError, ResourceError, ValueRangeError
from recvec.types import F32, Array, Json

Rng = int | np.random.Generator | None
Monitor = Callable[[F32, F32], float]
OnEpoch = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class DataShape:
    """The sizes from which a cost is estimated."""

    n_users: int
    n_items: int
    n_interactions: int

    @classmethod
    def of(cls, dataset: Dataset) -> "DataShape":
        """Return the sizes of a dataset."""
        return cls(n_users=dataset.n_users, n_items=dataset.n_items, n_interactions=len(dataset.interactions))


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a fit will take.

    Parameters
    ----------
    operations : float
        Floating-point operations.
    bytes_moved : float
        Bytes that must come from memory.
    memory : int
        Bytes alive at the same time, the dataset itself left out.
    products : float
        Further operations, those inside large dense matrix products, which run several times faster.
    """

    operations: float
    bytes_moved: float
    memory: int
    products: float = 0.0

    OPERATIONS_PER_SECOND: ClassVar[float] = 1e10  # one core of a small virtual machine, see benchmarks/speed/estimates.py
    PRODUCTS_PER_SECOND: ClassVar[float] = 3.5e10
    BYTES_PER_SECOND: ClassVar[float] = 2.5e9

    def seconds(self, threads: int = 1) -> float:
        """Return a first guess of the wall time: the slower of arithmetic and memory traffic."""
        arithmetic = self.operations / self.OPERATIONS_PER_SECOND + self.products / self.PRODUCTS_PER_SECOND
        return max(arithmetic, self.bytes_moved / self.BYTES_PER_SECOND) / threads

    def told(self, threads: int = 1) -> str:
        """Return time and memory in words, such as ``about 3 minutes and 2.1 GB``."""
        seconds = self.seconds(threads)
        units = ((3600, "hours"), (60, "minutes"), (1, "seconds"))
        size, unit = next((u for u in units if seconds >= 2 * u[0]), units[-1])
        return f"about {max(1, round(seconds / size))} {unit} and {self.memory / 1e9:.1f} GB"


@dataclass(frozen=True, kw_only=True)
class Training:
    """What accompanies one fit, apart from recipe and data.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of randomness.
    runtime : Runtime
        Where it runs.
    valid : Dataset, optional
        Held-out interactions for methods that choose a stopping point.
    monitor : callable, optional
        ``monitor(user_vectors, item_vectors) -> float``, called after each epoch.
    on_epoch : callable, optional
        ``on_epoch(epoch, values)``, called after each epoch with what was measured.
    checkpoint : callable, optional
        ``checkpoint(state)``, called after each epoch with all that a resumed fit needs.
    resume : State, optional
        Where to go on.
    """

    rng: np.random.Generator
    runtime: Runtime
    identity: Mapping[str, Json]
    valid: Dataset | None = None
    monitor: Monitor | None = None
    on_epoch: OnEpoch | None = None
    checkpoint: Callable[[State], None] | None = None
    resume: State | None = None
    curve: list[dict[str, float]] = field(default_factory=list)

    def restore(self) -> tuple[int, Mapping[str, Any]]:
        """Return how many epochs are done and the arrays of the checkpoint; ``(0, {})`` at the beginning."""
        if self.resume is None:
            return 0, {}
        meta: Any = self.resume.meta
        self.rng.bit_generator.state = meta["rng"]
        self.curve.extend(meta["curve"])
        return int(meta["epoch"]), self.resume.arrays

    def end_epoch(self, epoch: int, users: F32, items: F32, *, arrays: Mapping[str, Array] | None = None, **values: float) -> None:
        """Measure, tell and checkpoint after epoch number `epoch` (the first is 1); `arrays` are kept beside the vectors."""
        if self.monitor is not None:
            values["monitor"] = float(self.monitor(users, items))
        self.curve.append({"epoch": epoch, **values})
        if self.on_epoch is not None:
            self.on_epoch(epoch, values)
        if self.checkpoint is not None:
            meta: dict[str, Json] = {**self.identity, "kind": "checkpoint", "epoch": epoch}
            meta |= {"rng": self.rng.bit_generator.state, "curve": [dict(p) for p in self.curve]}  # type: ignore[dict-item]
            more = {name: array.copy() for name, array in (arrays or {}).items()}
            self.checkpoint(State({"user_vectors": users.copy(), "item_vectors": items.copy(), **more}, meta))


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A frozen dataclass of keyword-only hyper-parameters with the class variables below.

    A method file gives ``_fit`` (the algorithm in a page), ``restore`` (the same model from its state) and
    ``estimate``; doors and checks are here.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]] = ("ranking",)
    needs: ClassVar[frozenset[str]] = frozenset({"interactions"})
    gives: ClassVar[str]
    holds_histories: ClassVar[bool] = False  # whether a model of it is made of the training histories, as an ItemModel is
    saves_memory: ClassVar[str] = "lower embedding_dim"
    extra: ClassVar[str] = ""  # optional packages that a fit needs, as in pip install 'recvec[torch]'

    def __post_init__(self) -> None:
        hyperparameters.check(self)

    @property
    def recipe(self) -> dict[str, Json]:
        """All hyper-parameters by name."""
        return asdict(self)

    @property
    def history_value(self) -> Value:
        """What the weights of histories mean to models of this method: strengths, or ratings."""
        return "rating" if getattr(self, "task", "ranking") == "rating" else "weight"

    def fit(
        self,
        dataset: Dataset,
        *,
        valid: Dataset | None = None,
        monitor: Monitor | None = None,
        rng: Rng = None,
        runtime: Runtime | None = None,
        on_epoch: OnEpoch | None = None,
        checkpoint: Callable[[State], None] | None = None,
        resume: State | None = None,
    ) -> Model:
        """Learn from a dataset and return a new, frozen model.

        Parameters
        ----------
        dataset : Dataset
            What to learn from; it is not changed.
        valid, monitor, on_epoch, checkpoint, resume
            See `Training`.
        rng : int or numpy.random.Generator, optional
            Seed; 0 by default, so that two equal calls give equal bits.
        runtime : Runtime, optional
            Threads, device and memory limit.

        Raises
        ------
        MissingExtraError
            Where an optional package that it needs is not installed.
        InputError
            Where the dataset lacks what the method needs.
        ResourceError
            Where the estimated memory exceeds the limit of the runtime, or what is free.
        ArtifactError
            Where `resume` comes from other data, another recipe or another seed.
        """
        runtime = runtime or Runtime()
        if self.extra:
            require(self.extra, self.name)
        self._check(dataset, runtime)
        generator = np.random.default_rng(0 if rng is None else rng)
        identity = self._identity(generator) | {"data": dataset.fingerprint if checkpoint or resume else ""}
        if resume is not None:
            _same_fit(identity, resume.meta)
        training = Training(
            rng=generator, runtime=runtime, identity=identity, valid=valid, monitor=monitor,
            on_epoch=on_epoch, checkpoint=checkpoint, resume=resume,
        )  # fmt: skip
        return self._fit(dataset, training)

    def check_resume(self, state: State, *, rng: Rng = None) -> None:
        """Refuse a checkpoint of another fit as far as can be said before the data are read; `fit` looks at those too.

        Raises
        ------
        ArtifactError
            Where it comes from another method, recipe or seed.
        """
        _same_fit(self._identity(np.random.default_rng(0 if rng is None else rng)), state.meta)

    def _identity(self, rng: np.random.Generator) -> dict[str, Json]:
        start: Any = rng.bit_generator.state
        return {"method": self.name, "recipe": self.recipe, "start": start}

    @abstractmethod
    def _fit(self, dataset: Dataset, training: Training) -> Model:
        """Learn; the dataset has what `needs` names."""

    @abstractmethod
    def restore(self, state: State) -> Model:
        """Build the model of a saved `state` again, to the bit."""

    @abstractmethod
    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """Return operations, bytes moved and memory of a fit, from sizes alone."""

    def update(
        self,
        model: Model,
        dataset: Dataset,
        *,
        new: Interactions | None = None,
        rng: Rng = None,
        runtime: Runtime | None = None,
    ) -> Model:
        """Return a model of the grown dataset, in less time than a fit; `model.method.update` is the way to call it.

        Parameters
        ----------
        model : Model
            Fitted, or updated, by this recipe; it is not changed.
        dataset : Dataset
            Everything: users and items of the model keep their rows, new ones come after them.
        new : Interactions, optional
            Those rows of `dataset` that the model has not seen; without them all rows count as new.
        rng : int or numpy.random.Generator, optional
            Seed, for methods that draw vectors of new items; 0 by default.
        runtime : Runtime, optional
            Threads to use.

        Raises
        ------
        NotSupportedError
            Where the method can only be fitted again.
        InputError
            Where the model is of another recipe, or the dataset has fewer users or items than the model.
        ResourceError
            As in `fit`; an update takes no more memory than that.
        """
        if model.method != self:
            raise InputError(f"the model is of another recipe, {model.method}; update it by its own: model.method.update(model, ...)")
        if dataset.n_users < model.n_users or dataset.n_items < model.n_items:
            raise ValueRangeError(
                f"the data have {dataset.n_users} users and {dataset.n_items} items, the model has {model.n_users} and {model.n_items}; "
                f"allowed: as many or more, old ones in their rows; give the grown table"
            )
        runtime = runtime or Runtime()
        self._check_memory(DataShape.of(dataset), runtime)
        seed = rng if isinstance(rng, np.random.Generator) else [rng or 0, model.n_users, model.n_items]  # not the numbers of the fit
        training = Training(rng=np.random.default_rng(seed), runtime=runtime, identity={})
        return self._update(model, dataset, new, training)

    def _update(self, model: Any, dataset: Dataset, new: Interactions | None, training: Training) -> Model:
        """Learn from the new rows; methods that can do it replace this."""
        raise NotSupportedError(f"{self.name} cannot be updated; fit it again on the grown table")

    def _check(self, dataset: Dataset, runtime: Runtime) -> None:
        missing = sorted(self.needs - dataset.has)
        if missing:
            raise InputError(
                f"{self.name} needs {' and '.join(missing)}, which the data do not have; 'recvec methods' shows what each method needs"
            )
        if dataset.n_users < 2 or dataset.n_items < 2:
            raise ValueRangeError(
                f"the data have {dataset.n_users} user(s) and {dataset.n_items} item(s); allowed: 2 or more of each; give more interactions"
            )
        self._check_memory(DataShape.of(dataset), runtime)

    def _check_memory(self, shape: DataShape, runtime: Runtime) -> None:
        """Refuse what cannot fit, before anything is allocated."""
        memory = self.estimate(shape, runtime).memory
        limit, free, larger = runtime.memory_limit, "", "raise the memory limit"
        if limit is None:
            limit, free, larger = available_memory(), ", which is free", "use a larger machine"
        if limit is not None and memory > limit:
            raise ResourceError(
                f"{self.name} would take about {memory / 1e6:,.0f} MB; allowed: {limit / 1e6:,.0f} MB{free}; "
                f"{self._ways_to_fit(shape, runtime, limit)} or {larger}"
            )

    def _ways_to_fit(self, shape: DataShape, runtime: Runtime, limit: int) -> str:
        """Return what makes a fit smaller; a length of vectors is named only where a shorter one fits."""
        fewer = "fit fewer rows"
        if self.saves_memory != "lower embedding_dim":
            return f"{self.saves_memory}, {fewer}"
        shorter = getattr(self, "embedding_dim", 0)
        least = next((p.metadata["low"] for p in hyperparameters.parameters(self) if p.name == "embedding_dim"), 1)
        while shorter // 2 >= least:
            shorter //= 2
            changed: Any = {"embedding_dim": shorter}
            if replace(self, **changed).estimate(shape, runtime).memory <= limit:
                return f"lower embedding_dim to {shorter}, {fewer}"
        return fewer


def lengthened(vectors: F32, n: int) -> F32:
    """Return a copy of the vectors with zeros for new rows, shape (n, d): where an update begins."""
    return np.concatenate([vectors, np.zeros((n - len(vectors), vectors.shape[1]), np.float32)])


def _same_fit(identity: Mapping[str, Json], found: Mapping[str, Json]) -> None:
    words = {"method": "method", "recipe": "hyper-parameters", "start": "seed", "data": "data"}
    for key, mine in identity.items():
        if mine != found.get(key):
            raise ArtifactError(
                f"the checkpoint is of other {words[key]}; resume with those it was made with, or start anew without resume"
            )

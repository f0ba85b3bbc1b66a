"""What ``fit`` and ``evaluate`` share: a fit with a progress bar and a clock, what protects it, and what is recorded of it."""

import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import recvec as rv
from recvec.artifact.checkpoint import Checkpoints, Found
from recvec.cli import output
from recvec.contract import DataShape, Method, Model, available_cores
from recvec.encoders.word_vectors import WordVectors
from recvec.models import registry
from recvec.types import Json

LONG_SECONDS = 10  # from where on an estimated fit is announced
LARGE_BYTES = 1e9


class Fitted(NamedTuple):
    """A model, the seconds that its fit took, and those of each epoch but the first, which begins before it is an epoch."""

    model: Model
    seconds: float
    epoch_seconds: list[float]


def timed_fit(
    recipe: Method, data: rv.Dataset, seed: int, runtime: rv.Runtime, kept: Checkpoints | None = None, found: Found | None = None
) -> Fitted:
    """Fit with a progress bar on a terminal, from a checkpoint if one was found; what will be long or large is said before."""
    announce(recipe, data, runtime)
    read_vectors(getattr(recipe, "vectors", ""))
    started = time.perf_counter()
    ends: list[float] = []
    with output.progress(f"fitting {recipe.name}", getattr(recipe, "n_epochs", getattr(recipe, "epochs", 1))) as show:

        def on_epoch(epoch: int, values: Mapping[str, float]) -> None:
            ends.append(time.perf_counter())
            show(epoch, values)

        state = None if found is None else found.state
        model = recipe.fit(data, rng=seed, runtime=runtime, on_epoch=on_epoch, checkpoint=kept, resume=state)
    return Fitted(model, time.perf_counter() - started, [b - a for a, b in pairwise(ends)])


def read_vectors(place: str) -> None:
    """Read a file of word vectors with a progress bar, where a recipe names one and it has not been read yet."""
    if place:
        with output.progress(f"reading {place}", 100) as show:
            WordVectors.open(place, progress=lambda share: show(round(100 * share), {}))


def announce(recipe: Method, data: rv.Dataset, runtime: rv.Runtime) -> None:
    """Say on standard error what a fit will take, where it is estimated to be long or large."""
    threads = runtime.threads or available_cores()
    cost = recipe.estimate(DataShape.of(data), runtime)
    if cost.seconds(threads) > LONG_SECONDS or cost.memory > LARGE_BYTES:
        output.warn(f"fitting {recipe.name} is estimated to take {cost.told(threads)} beside the data, on {threads} thread(s)")


def checkpoints(
    recipe: Method, seed: int, out: Path, *, folder: Path | None, every: int | None, resume: bool
) -> tuple[Checkpoints | None, Found | None]:
    """Check the options of checkpoints, and find where to go on; nothing is written yet.

    Raises
    ------
    InputError
        Where the options do not go together, or the method has no epochs.
    ArtifactError
        Where the folder cannot be used, or its checkpoints are of another fit.
    """
    if folder is None:
        if resume or every is not None:
            option = "--resume" if resume else "--checkpoint-every"
            raise rv.InputError(f"{option} is given without --checkpoint; allowed: together; add --checkpoint DIR")
        return None, None
    if not hasattr(recipe, "epochs"):
        able = ", ".join(n for n in registry.names() if hasattr(registry.method_class(n), "epochs"))
        raise rv.InputError(f"{recipe.name} does not learn by epochs, so it has no checkpoints; allowed with: {able}; leave it out")
    place, model = folder.absolute(), out.absolute()
    if place == model or place in model.parents or model in place.parents:
        raise rv.InputError(f"--checkpoint {folder} and --out {out} lie in each other; allowed: two folders apart; give another one")
    kept = Checkpoints(folder, every=every or 1, warn=output.warn)
    found = kept.begin(resume=resume)
    if found is not None:
        recipe.check_resume(found.state, rng=seed)
    return kept, found


def say_where_it_began(folder: Path | None, found: Found | None) -> None:
    """Say what a resumed fit went on from; at the end, for a command that fails prints no result."""
    if found is None:
        output.say(f"{folder} held no checkpoint: started anew")
        return
    for path in reversed(found.damaged):
        output.say(f"{path.name} was damaged and passed over")
    output.say(f"resumed after epoch {found.epoch}, from {found.path.name}")


def record(model: Model, seconds: float, seed: int, runtime: rv.Runtime) -> dict[str, Json]:
    """Return what explains the figures of a fit: the recipe as the model used it, time, memory, versions."""
    return {
        "method": model.method.name,
        "hyperparameters": model.method.recipe,
        "fit_seconds": seconds,
        "seed": seed,
        **setting(runtime),
    }


def setting(runtime: rv.Runtime) -> dict[str, Json]:
    """Return what surrounds a measurement: memory, threads, versions."""
    return {
        "peak_memory_mb": output.peak_memory_mb(),
        "threads": runtime.threads or available_cores(),
        "version": rv.__version__,
        "environment": output.environment(),
    }

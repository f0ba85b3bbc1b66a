"""What ``fit`` and ``evaluate`` share: a fit with a progress bar and a clock, and what is recorded of it."""

import time

import recvec as rv
from recvec.cli import output
from recvec.contract import Method, Model, available_cores
from recvec.types import Json


def timed_fit(recipe: Method, data: rv.Dataset, seed: int, runtime: rv.Runtime) -> tuple[Model, float]:
    """Fit with a progress bar on a terminal; return the model and the seconds it took."""
    started = time.perf_counter()
    with output.progress(f"fitting {recipe.name}", getattr(recipe, "epochs", 1)) as on_epoch:
        model = recipe.fit(data, rng=seed, runtime=runtime, on_epoch=on_epoch)
    return model, time.perf_counter() - started


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

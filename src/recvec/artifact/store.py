"""A recommender as a folder: written beside its place, synced, then renamed; never pickled, never half there."""

import math
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, get_args

import numpy as np
import polars as pl
from polars.exceptions import PolarsError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recvec.artifact import manifest
from recvec.contract import ItemModel, Method, Model, State
from recvec.data.dataset import Dataset, Value
from recvec.data.features import FeatureTable
from recvec.data.files import is_utf8
from recvec.data.histories import Histories
from recvec.data.vocabulary import Vocabulary
from recvec.errors import ArtifactError, NotSupportedError
from recvec.models import registry
from recvec.retrieval.recommender import Recommender
from recvec.types import Array, Json

LARGEST = 1e15  # of a saved number: sums of squares of such vectors are finite in float32


def save(who: Recommender, path: str | Path, *, metrics: Mapping[str, float | None] | None = None, histories: bool = True) -> None:
    """Write a recommender to a new folder.

    Parameters
    ----------
    who : Recommender
        What to keep: the model, its rungs, ids, attributes and histories.
    path : str or Path
        A folder that does not exist yet.
    metrics : mapping, optional
        Measured figures to keep in the manifest; NaN, for one that is not defined, is kept as null.
    histories : bool
        Whether to keep who met what. Without them a model still recommends to histories that it is given, finds
        similar items and has its vectors; it cannot leave out what people know, explain, or be updated.

    Raises
    ------
    ArtifactError
        Where the folder exists or cannot be written; then nothing is left behind.
    NotSupportedError
        Where histories are part of the model itself, so that they cannot be left out.
    """
    place = check_free(path)
    keep = histories and not who.forgotten
    if not keep:
        refuse_histories_inside(who)
    beside, made = None, missing_parents(place)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(mkdtemp(prefix=".recvec-", dir=place.parent))
        _write(who, beside, dict(metrics or {}), keep=keep)
        _sync(beside)
        beside.rename(place)
    except OSError as error:
        raise _unwritable(place, error) from error
    except Exception as error:
        if type(error).__module__.startswith(("safetensors", "polars")):  # both wrap what the disk says
            raise _unwritable(place, error) from error
        raise
    finally:
        _clear(beside, made)


def check_free(path: str | Path) -> Path:
    """Return the place of a new artifact, before the work that would be lost otherwise.

    Raises
    ------
    ArtifactError
        Where something is there already, or no folder can be made there.
    """
    place = Path(path).absolute()
    _check_name(place)
    try:
        taken = place.exists() or place.is_symlink()
    except OSError as error:
        raise _unwritable(place, error) from error
    if taken:
        raise ArtifactError(f"{place} exists; nothing was written; give a new folder or remove it")
    check_writable(place)
    return place


def _check_name(place: Path) -> None:
    if not is_utf8(place):
        raise ArtifactError(f"the path {place} is not UTF-8; allowed: a path in UTF-8; rename it, or give another folder")


def check_writable(place: Path) -> None:
    """Refuse a folder that cannot be written to, or made where it does not exist.

    Raises
    ------
    ArtifactError
        Names what is in the way.
    """
    try:
        there = next(p for p in (place, *place.parents) if p.exists())
        able = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    except OSError as error:
        raise _unwritable(place, error) from error
    if not able:
        raise ArtifactError(f"{place} cannot be written: {there} is not a folder that can be written to; give another folder")


def missing_parents(place: Path) -> list[Path]:
    """Return the folders that will have to be made above a place, the innermost first."""
    return list(takewhile(lambda p: not p.exists(), place.parents))


def _clear(beside: Path | None, made: list[Path]) -> None:
    """Remove what is left beside an artifact: the unfinished folder, and empty parents that were made for it."""
    if beside is None or beside.exists():
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
        for folder in made:
            with suppress(OSError):  # not made, or others use it
                folder.rmdir()


def _unwritable(place: Path, error: Exception) -> ArtifactError:
    reason = getattr(error, "strerror", None) or _first_line(error)
    return ArtifactError(f"{place} cannot be written: {reason}; free space or give another folder")


def load(path: str | Path) -> Recommender:
    """Read a recommender that `save` wrote.

    Raises
    ------
    ArtifactError
        Where anything is missing, damaged, edited, or from a newer version.
    """
    folder = Path(path)
    _check_name(folder)
    try:
        page = manifest.read(folder)
        if page["history_value"] not in get_args(Value):
            raise ValueError(f"history_value is {page['history_value']!r}; allowed: {', '.join(get_args(Value))}")
        remembers = page.get("histories", True)  # artifacts of the first version always do
        users, user_features = _read_side(folder / "users.parquet", "user", page["features"]["user"])
        items, item_features = _read_side(folder / "items.parquet", "item", page["features"]["item"])
        kept = load_file(folder / "histories.safetensors") if remembers else {}
        histories = Histories(n_items=len(items), **kept) if remembers else Histories.empty(len(users), len(items))
        histories.check()
        if len(histories) != len(users):
            raise ValueError(f"there are histories of {len(histories)} people, and {len(users)} users")
        train = Dataset.from_histories(
            histories, users=users, items=items, value=page["history_value"], user_features=user_features, item_features=item_features
        )
        rungs = {name: _read_model(folder / "rungs" / name, manifest.read(folder / "rungs" / name)) for name in page["rungs"]}
        who = Recommender(_read_model(folder, page), train, rungs=rungs)
        who.fingerprint, who.forgotten = page["data"], not remembers
        return who
    except (LookupError, ValueError, TypeError, AttributeError, OverflowError, OSError, SafetensorError, PolarsError) as error:
        raise ArtifactError(f"{folder} is damaged: {_first_line(error)}; {manifest.REMEDY}") from error


def histories_inside(method: Method) -> NotSupportedError:
    """Return the error of methods whose models hold the histories."""
    return NotSupportedError(f"{method.name} scores by the histories themselves, which cannot be left out; use another method, such as als")


def refuse_histories_inside(who: Recommender) -> None:
    """Refuse to save without histories where a model is made of them.

    Raises
    ------
    NotSupportedError
        Names the method.
    """
    for model in (who.model, *who.rungs.values()):
        if isinstance(model, ItemModel):
            raise histories_inside(model.method)


def _write(who: Recommender, folder: Path, metrics: dict[str, float | None], *, keep: bool) -> None:
    if keep:
        _write_histories(who.histories, folder / "histories.safetensors")
    _write_side(folder / "users.parquet", who.users, who.train.user_features)
    _write_side(folder / "items.parquet", who.items, who.train.item_features)
    for name, rung in who.rungs.items():
        below = folder / "rungs" / name
        below.mkdir(parents=True)
        _write_model(rung, below, {})
    extra: dict[str, Json] = {
        "data": who.fingerprint,
        "metrics": {name: None if value is None or math.isnan(value) else value for name, value in metrics.items()},
        "histories": keep,
        "history_value": who.history_value,
        "rungs": list(who.rungs),
        "features": {
            side: None if table is None else dict(table.types)
            for side, table in (("user", who.train.user_features), ("item", who.train.item_features))
        },
    }
    _write_model(who.model, folder, extra)


def _write_histories(histories: Histories, path: Path) -> None:
    kept = {"indptr": histories.indptr, "items": histories.items, "weights": histories.weights}
    kept |= {n: a for n, a in (("times", histories.times), ("order", histories.order)) if a is not None}
    save_file({name: np.ascontiguousarray(a) for name, a in kept.items()}, path)


def _write_model(model: Model, folder: Path, extra: Mapping[str, Json]) -> None:
    state = model.state()
    arrays = {name: np.ascontiguousarray(a) for name, a in state.arrays.items()}
    save_file(arrays, folder / "arrays.safetensors")
    content: dict[str, Json] = {
        "method": model.method.name,
        "hyperparameters": model.method.recipe,
        "model": dict(state.meta),
        "arrays": manifest.describe(arrays),
        **extra,
    }
    manifest.write(folder, content)


def _read_model(folder: Path, page: Mapping[str, Any]) -> Model:
    arrays: dict[str, Array] = load_file(folder / "arrays.safetensors")
    manifest.check_arrays(arrays, page, folder)
    _check_numbers(arrays)
    method = registry.method_class(page["method"])(**page["hyperparameters"])
    model = method.restore(State(arrays, page["model"]))
    _check_vectors(model)
    return model


def _check_numbers(arrays: Mapping[str, Array]) -> None:
    """Refuse numbers whose squares are not finite: no fit leaves any."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and array.size and not max(-float(array.min()), float(array.max())) < LARGEST:  # NaN is not
            raise ValueError(f"array {name} holds numbers that no fit leaves; allowed: below {LARGEST:g}")


def _check_vectors(model: Model) -> None:
    """Refuse what is no matrix of vectors, however well it is sealed: kernels trust types and shapes."""
    users, items = model.user_vectors, model.item_vectors
    if any(v.dtype != np.float32 or v.ndim != 2 for v in (users, items)) or users.shape[1] != items.shape[1]:
        said = " and ".join(f"{v.dtype} of shape {v.shape}" for v in (users, items))
        raise ValueError(f"its vectors are {said}; allowed: float32 vectors of one length")
    if not 0 <= model.n_extra <= users.shape[1]:
        raise ValueError(f"n_extra is {model.n_extra}; allowed: 0 to {users.shape[1]}, the length of the vectors")


def _write_side(path: Path, vocabulary: Vocabulary, features: FeatureTable | None) -> None:
    ids = vocabulary.ids.to_frame()
    table = ids if features is None else pl.concat([ids, features.frame], how="horizontal")
    table.write_parquet(path)


def _read_side(path: Path, side: str, types: Any) -> tuple[Vocabulary, FeatureTable | None]:
    table = pl.read_parquet(path, glob=False)
    vocabulary = Vocabulary(table[f"{side}_id"], side)
    return vocabulary, None if types is None else FeatureTable(frame=table.drop(f"{side}_id"), types=types)


def _sync(folder: Path) -> None:
    """Open all to other accounts for reading, and force it to the disk: the rename must not show what is still to come."""
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o755 if path.is_dir() else 0o644)  # some writers make private files
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

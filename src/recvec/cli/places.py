"""Places that a command reads and writes: what it makes replaces nothing that it reads, and no two results share a place."""

import os
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from recvec.artifact import manifest
from recvec.errors import InputError

_WRITTEN = {"out": "--out", "json_file": "--json", "save": "--save", "picture": "--picture"}


def apart(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command check its places before it begins."""

    @wraps(command)
    def checked(**given: Any) -> None:
        check_apart(given)
        command(**given)

    return checked


def check_apart(given: Mapping[str, Any]) -> None:
    """Refuse a place of a result that is read, is inside of a saved model that is read, or is that of another result.

    Parameters
    ----------
    given : mapping
        The parameters of a command; those in `_WRITTEN` are places of results, other paths are read.

    Raises
    ------
    InputError
        Names the option and the place.
    """
    kept_apart = (*_WRITTEN, "checkpoint")  # checkpoints are looked at where they are made
    read = {os.path.realpath(p) for name, value in given.items() if name not in kept_apart for p in _paths(value)}
    models = [place for place in read if os.path.isfile(os.path.join(place, manifest.NAME))]  # noqa: PTH113, PTH118  Path would raise
    taken: dict[str, str] = {}
    for name, option in _WRITTEN.items():
        for path in _paths(given.get(name)):
            place = os.path.realpath(path)
            if _is_device(place):
                continue
            if place in taken:
                raise InputError(f"{taken[place]} and {option} are both {path}; give each a place of its own")
            if place in read and not os.path.isdir(place):  # noqa: PTH112  a folder is never written over: commands say so
                raise InputError(f"{option} is {path}, which is read and would be written over; give another place")
            if any(Path(model) in Path(place).parents for model in models):
                raise InputError(f"{option} is {path}, inside of a saved model that is read; give a place elsewhere")
            taken[place] = option


def _paths(value: object) -> list[Path]:
    return [v for v in (value if isinstance(value, list | tuple) else [value]) if isinstance(v, Path)]


def _is_device(place: str) -> bool:
    """Whether it takes whatever comes, and is never replaced; a name that is too long is none."""
    return os.path.exists(place) and not (os.path.isfile(place) or os.path.isdir(place))  # noqa: PTH110, PTH112, PTH113  Path would raise

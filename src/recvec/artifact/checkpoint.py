"""A half-done fit on disk: what `fit(checkpoint=..., resume=...)` needs to be killed at any moment and to go on.

A folder holds the last two checkpoints of one fit, each a safetensors file whose name has the epoch and the beginning of
the SHA-256 of its bytes. A checkpoint is written beside, forced to the disk and then renamed, so that it is whole or not
there; one that has been damaged since is passed over, and the one before it is used. While a fit runs, its folder is
locked. On the disk are at most two checkpoints and a third that is being written, each of
``4 (n_users + n_items) embedding_dim`` bytes.
"""

import fcntl
import hashlib
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from recvec.artifact.store import check_writable, missing_parents
from recvec.contract import State
from recvec.errors import ArtifactError

_NAME = re.compile(r"epoch-(\d+)-([0-9a-f]{16})\.safetensors")
_BESIDE = ".recvec-checkpoint"  # one name: a killed fit leaves one such file at most, and the next writes over it
_KEPT = 2


@dataclass(frozen=True)
class Found:
    """The checkpoint to go on from.

    Parameters
    ----------
    state : State
        What `fit` takes as `resume`.
    epoch : int
        Epochs that are done.
    path : Path
        Where it is.
    damaged : list of Path
        Later ones that are not whole.
    """

    state: State
    epoch: int
    path: Path
    damaged: list[Path]


class Checkpoints:
    """The folder of checkpoints of one fit; the object itself is what `fit` takes as `checkpoint`.

    ::

        kept = Checkpoints("half-done")
        found = kept.begin(resume=True)
        with kept:
            model = method.fit(data, checkpoint=kept, resume=found and found.state)
            rv.save(rv.Recommender(model, data), "model")
            kept.clear()

    A checkpoint that cannot be written does not stop the fit, which is what it protects: the first time, it is said.

    Parameters
    ----------
    folder : str or Path
        A folder of its own; it is made when the fit begins.
    every : int
        Epochs from one checkpoint to the next.
    warn : callable, optional
        Takes one line; by default a RuntimeWarning.
    """

    def __init__(self, folder: str | Path, *, every: int = 1, warn: Callable[[str], None] | None = None) -> None:
        self.folder = Path(folder).absolute()
        self.every = every
        self._warn = warn or (lambda line: warnings.warn(line, RuntimeWarning, stacklevel=2))
        self._whole: list[Path] = []  # the oldest first
        self._failed = False
        self._made: list[Path] = []
        self._held = ExitStack()

    def begin(self, *, resume: bool) -> Found | None:
        """Check the folder and find the checkpoint to go on from, before the work that would be lost otherwise.

        Parameters
        ----------
        resume : bool
            Go on from the last whole checkpoint; None where there is none at all. Without it there must be none.

        Raises
        ------
        ArtifactError
            Where the folder cannot be used, holds something else, is in use by another fit, holds checkpoints that nobody
            asked for, holds damaged ones only, or some by another version of the library.
        """
        check_writable(self.folder)
        if not self.folder.exists():
            return None
        with self._locked():
            try:
                there = list(self.folder.iterdir())
            except OSError as error:
                raise _unusable(self.folder, error) from error
            other = sorted(p.name for p in there if not (_NAME.fullmatch(p.name) or p.name.startswith(".")))
            if other:
                raise ArtifactError(f"{self.folder} holds other things than checkpoints, such as '{other[0]}'; give a folder of its own")
            paths = self._listed()
            if paths and not resume:
                said = f"{self.folder} holds checkpoints of an earlier fit, up to epoch {_epoch(paths[-1])}"
                raise ArtifactError(f"{said}; resume to go on with it (--resume), or give another folder")
            return self._last(paths) if paths else None

    def __enter__(self) -> Self:
        """Make the folder and lock it."""
        self._made = [self.folder, *missing_parents(self.folder)] if not self.folder.exists() else []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self.folder, error) from error
        self._held.enter_context(self._locked())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Let the folder go; one that was made and is still empty is removed."""
        self._held.close()
        for folder in self._made:
            with suppress(OSError):
                folder.rmdir()

    def __call__(self, state: State) -> None:
        """Keep a state, if its epoch is one to be kept, and forget all but the last two."""
        meta: Any = state.meta
        if meta["epoch"] % self.every:
            return
        try:
            self._write(state, meta["epoch"])
        except OSError as error:
            with suppress(OSError):  # such as a folder that is gone
                (self.folder / _BESIDE).unlink(missing_ok=True)
            if not self._failed:
                last = f"the last whole one is of epoch {_epoch(self._whole[-1])}" if self._whole else "there is none yet"
                self._warn(
                    f"the checkpoint of epoch {meta['epoch']} was not written to {self.folder}: {error.strerror or error}; "
                    f"the fit goes on, {last}; free space"
                )
            self._failed = True

    def clear(self) -> None:
        """Remove the checkpoints, and the folder if nothing else is in it: the model is saved."""
        for path in [*self._listed(), self.folder / _BESIDE]:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def _write(self, state: State, epoch: int) -> None:
        page = json.dumps({**state.meta, "library": version("recvec")})
        raw = save({name: np.ascontiguousarray(a) for name, a in state.arrays.items()}, metadata={"checkpoint": page})
        beside, place = self.folder / _BESIDE, self.folder / f"epoch-{epoch}-{_digest(raw)}.safetensors"
        with beside.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(place)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._whole = [*(p for p in self._whole if p != place), place][-_KEPT:]
        for path in set(self._listed()) - set(self._whole):
            path.unlink(missing_ok=True)

    def _listed(self) -> list[Path]:
        """Return the checkpoints, the oldest first."""
        return sorted((p for p in self.folder.iterdir() if _NAME.fullmatch(p.name)), key=_epoch)

    def _last(self, paths: list[Path]) -> Found:
        """Return the last checkpoint that is whole."""
        for at in range(len(paths) - 1, -1, -1):
            state = _read(paths[at])
            if state is not None:
                self._whole = [paths[at]]
                return Found(state, _epoch(paths[at]), paths[at], paths[at + 1 :])
        raise ArtifactError(f"{self.folder} holds damaged checkpoints only; remove it and start anew, or restore it from a backup")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep others out; the lock goes with the process, however it ends."""
        try:
            handle = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise _unusable(self.folder, error) from error
        try:
            self._lock(handle)
            yield
        finally:
            os.close(handle)

    def _lock(self, handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArtifactError(f"{self.folder} is in use by another fit; wait for it, or give another folder") from error
        except OSError as error:
            raise _unusable(self.folder, error) from error


def _epoch(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    return int(found[1]) if found else -1


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]


def _read(path: Path) -> State | None:
    """Return a checkpoint, None where its bytes are not those that were written.

    Raises
    ------
    ArtifactError
        Where another version of the library wrote it: its numbers may differ in the last bit.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise _unusable(path, error) from error
    if not path.name.endswith(f"-{_digest(raw)}.safetensors"):
        return None
    try:
        length = int.from_bytes(raw[:8], "little")
        meta = json.loads(json.loads(raw[8 : 8 + length])["__metadata__"]["checkpoint"])
        arrays = load(raw)
    except (ValueError, KeyError, TypeError, SafetensorError):
        return None
    mine = version("recvec")
    if meta.pop("library", None) != mine:
        raise ArtifactError(f"{path} was written by another version of recvec; allowed: {mine}; use that version, or start anew elsewhere")
    return State(arrays, meta)


def _unusable(path: Path, error: OSError) -> ArtifactError:
    return ArtifactError(f"{path} cannot be used for checkpoints: {error.strerror or error}; give another folder")

"""Runs one command line and judges what it did.

What the command line promises, for any input:

1. the exit code is 0 (done), 1 (bad input) or 2 (wrong usage), within the time limit and without a leap of memory;
2. where it is not 0: standard output stays empty, and standard error is one line that starts with ``recvec: `` and holds no
   control character; alone, ``recvec`` shows its help with code 2 instead;
3. where it is 0: standard error is empty or holds remarks, no warning; a table on standard output is rectangular;
4. where it is 0, every output that was asked for is there and can be read back, and nothing else was made or changed;
   otherwise nothing at all was made, changed or removed. One exception: where one output is a device (which may be full only
   when everything is done), another one may be there, whole.
5. nothing temporary stays, and no input changes.
"""

import csv
import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import time
import traceback
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from calls import Output
from polars.exceptions import PanicException, PolarsError

import recvec as rv
from recvec.cli import main as door

Snapshot = dict[str, str]
LEAP_MB = 700  # more than this in addition is a leap; nothing here needs a tenth
_QUIET = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)  # python itself hides these


@dataclass
class Outcome:
    """What a command line did."""

    code: int
    out: str
    err: str
    seconds: float
    grown_mb: float = 0.0
    trouble: list[str] = field(default_factory=list)


# ---------------------------------------------------------------- running


def run_here(words: Sequence[str], out_file: Path, err_file: Path) -> Outcome:
    """Run in this process, in the current folder; what the process writes by itself, as a panic of polars, is caught too."""
    trouble: list[str] = []
    before, started, code = _peak_mb(), time.perf_counter(), 0
    with _redirected(out_file, err_file), _heard(trouble):
        sys.argv = ["recvec", *words]
        try:
            door.main()
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else -1
        except BaseException as error:  # noqa: BLE001  this is what is looked for
            code = -1
            trouble.append(f"uncaught {type(error).__name__}: {error} | {' '.join(traceback.format_exc()[-1500:].split())}")
    seconds = time.perf_counter() - started
    shown = [path.read_bytes().decode("utf-8", "backslashreplace") for path in (out_file, err_file)]
    return Outcome(code, *shown, seconds, _peak_mb() - before, trouble)


def run_apart(words: Sequence[str], timeout: float) -> Outcome:
    """Run in a process of its own, in the current folder, as a shell would."""
    started = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "recvec", *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return Outcome(-1, "", "", timeout, trouble=[f"no end within {timeout:.0f} s"])
    shown = [part.decode("utf-8", "backslashreplace") for part in (done.stdout, done.stderr)]
    grown = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return Outcome(done.returncode, *shown, time.perf_counter() - started, max(0.0, grown - LEAP_MB))


@contextmanager
def _redirected(out_file: Path, err_file: Path) -> Iterator[None]:
    """Send both streams to files, the descriptors and what Python wraps around them."""
    saved, streams = [os.dup(1), os.dup(2)], (sys.stdout, sys.stderr, sys.argv)
    for descriptor, path in ((1, out_file), (2, err_file)):
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        os.dup2(target, descriptor)
        os.close(target)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr, sys.argv = streams
        for descriptor, old in enumerate(saved, start=1):
            os.dup2(old, descriptor)
            os.close(old)


@contextmanager
def _heard(trouble: list[str]) -> Iterator[None]:
    """Note every warning that a person would see."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    trouble += [f"{w.category.__name__}: {w.message}" for w in heard if not issubclass(w.category, _QUIET)]


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# ---------------------------------------------------------------- judging


def snapshot(place: Path) -> Snapshot:
    """Return what is in a folder: kind and content of every path."""
    return {p.relative_to(place).as_posix(): _content(p) for p in sorted(place.rglob("*"))}


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if path.is_dir():
        return "folder"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and os.access(path, os.R_OK) else "other"


def faults(outcome: Outcome, before: Snapshot, place: Path, outputs: Sequence[Output], *, bare: bool = False) -> list[str]:
    """Return every broken promise, one line each."""
    found = list(outcome.trouble)
    if outcome.code not in (0, 1, 2):
        found.append(f"exit code {outcome.code}")
    if outcome.grown_mb > LEAP_MB:
        found.append(f"memory grew by {outcome.grown_mb:.0f} MB")
    if "Traceback" in outcome.err or "Traceback" in outcome.out:
        found.append("a traceback is shown")
    if outcome.code == 0:
        found += _said_on_success(outcome)
    elif not (bare and outcome.code == 2):
        found += _said_on_failure(outcome)
    return found + _written(before, snapshot(place), place, outputs, done=outcome.code == 0)


def _said_on_failure(outcome: Outcome) -> list[str]:
    found = [f"something was printed: {outcome.out[:80]!r}"] if outcome.out else []
    lines = outcome.err.split("\n")
    if len(lines) != 2 or lines[1] or not lines[0].startswith("recvec: ") or not lines[0].removeprefix("recvec: ").strip():
        found.append(f"standard error is not one line of ours: {outcome.err[:300]!r}")
    return found + _control_characters(outcome.err)


def _said_on_success(outcome: Outcome) -> list[str]:
    found = [f"a warning: {line[:200]!r}" for line in outcome.err.splitlines() if "Warning" in line or "panicked" in line]
    found += _control_characters(outcome.err)
    if "\t" in outcome.out.partition("\n")[0]:
        try:
            widths = {len(row) for row in csv.reader(io.StringIO(outcome.out, newline=""), delimiter="\t", strict=True)}
        except csv.Error as error:
            widths = {str(error)}
        if len(widths) != 1:
            found.append(f"the table is not rectangular: {widths}")
    return found


def _control_characters(text: str) -> list[str]:
    bad = sorted({c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Zl", "Zp")})
    return [f"control characters on standard error: {bad}"] if bad else []


def _written(before: Snapshot, after: Snapshot, place: Path, outputs: Sequence[Output], *, done: bool) -> list[str]:
    changed = sorted(p for p in {*before, *after} if before.get(p) != after.get(p))
    found = [f"left behind: {p}" for p in after if p not in before and p.rpartition("/")[2].startswith((".recvec-", "tmp"))]
    places = [(str(place / o.place), o) for o in outputs]
    device = any(_is_device(p) for p, _ in places)
    asked = [Path(f(p)) for p, o in places if done or device or o.spare for f in (os.path.normpath, os.path.realpath)]
    strange = [p for p in changed if not any(_near(place / p, a) for a in asked)]
    found += [f"{_how(p, before, after)}, though {'nobody asked' if done else 'it failed'}: {p}" for p in strange[:5]]
    there = [(Path(p), o) for p, o in places if not o.spare and (done or (device and _exists(p)))]
    return found + [f"{o.place} {reason}" for p, o in there if (reason := unreadable(p, o.ending)) is not None]


def _is_device(path: str) -> bool:
    return _exists(path) and not Path(path).is_file() and not Path(path).is_dir()


def _exists(path: str | Path) -> bool:
    """Whether something is there; nothing is where the name is too long."""
    return os.path.exists(path)  # noqa: PTH110


def _how(path: str, before: Snapshot, after: Snapshot) -> str:
    return "made" if path not in before else "removed" if path not in after else "changed"


def _near(path: Path, asked: Path) -> bool:
    """Whether a path is an output, in it, above it, or beside it under its name (as the ids of exported vectors are)."""
    beside = path.parent == asked.parent and path.name.startswith(asked.stem)
    return path == asked or asked in path.parents or path in asked.parents or (bool(asked.stem) and beside)


def unreadable(path: Path, ending: str) -> str | None:
    """Say why what is in a format cannot be read back; None where it can."""
    if not _exists(path):
        return "holds nothing"
    try:
        return _read_back(path, ending)
    except (PolarsError, PanicException, ValueError, OSError, rv.RecvecError) as error:
        return f"cannot be read back: {type(error).__name__}: {str(error)[:200]}"


def _read_back(path: Path, ending: str) -> str | None:
    if path.is_dir():
        if (path / "manifest.json").exists():
            rv.load(path).item_embeddings()
        return next(
            (f"holds {p.name}, which {r}" for p in path.rglob("*") if p.is_file() and (r := unreadable(p, p.suffix)) is not None), None
        )
    if not path.is_file():
        return None  # a device
    readers: dict[str, Callable[[io.BytesIO], object]] = {
        ".csv": lambda raw: pl.read_csv(raw, infer_schema=False),
        ".tsv": lambda raw: pl.read_csv(raw, separator="\t", infer_schema=False),
        ".ndjson": pl.read_ndjson,
        ".parquet": pl.read_parquet,
        ".npy": np.load,
        ".npz": lambda raw: dict(np.load(raw)),
        ".w2v": _read_word2vec,
        ".json": lambda raw: json.loads(raw.read().decode(), parse_constant=_no_json),
    }
    if path.stat().st_size == 0:
        return "is empty"
    if ending in readers:
        readers[ending](io.BytesIO(path.read_bytes()))
    return None


def _read_word2vec(raw: io.BytesIO) -> None:
    n, d = map(int, raw.readline().split())
    vectors = [line.rstrip(b"\n").split(b" ") for line in raw]
    if len(vectors) != n or any(len([float(x) for x in v[1:]]) != d for v in vectors):
        raise ValueError(f"{len(vectors)} vectors, not {n} of {d} numbers")


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is not JSON")

"""What commands show and write: tables for people on a terminal, tab-separated lines in a pipe, whole files or none."""

import json
import os
import platform
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import mkstemp

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from recvec.errors import ReadError
from recvec.types import Json

OnEpoch = Callable[[int, Mapping[str, float]], None]


def show(frame: pl.DataFrame, title: str = "") -> None:
    """Print a table: drawn on a terminal, as tab-separated lines with a header in a pipe."""
    if not sys.stdout.isatty():
        sys.stdout.write(frame.write_csv(separator="\t"))
        return
    table = Table(title=title or None, title_justify="left")
    for name, dtype in frame.schema.items():
        table.add_column(name, justify="right" if dtype.is_numeric() else "left")
    for row in frame.iter_rows():
        table.add_row(*(f"{v:.4f}" if isinstance(v, float) else "" if v is None else str(v) for v in row))
    Console().print(table)


def say(line: str) -> None:
    """Print one line of result."""
    print(line)


def write_frame(frame: pl.DataFrame, path: Path) -> None:
    """Write a table in the format that the ending names, whole or not at all."""
    writers: dict[str, Callable[[Path], None]] = {
        ".csv": frame.write_csv,
        ".tsv": lambda p: frame.write_csv(p, separator="\t"),
        ".ndjson": frame.write_ndjson,
        ".parquet": frame.write_parquet,
    }
    if path.suffix not in writers:
        raise ReadError(f"--out {path} ends in '{path.suffix}'; allowed: {', '.join(writers)}")
    _write_whole(path, writers[path.suffix])


def write_json(content: Mapping[str, Json], path: Path | None) -> None:
    """Write a result as JSON, whole or not at all; nothing without a path."""
    if path is not None:
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        _write_whole(path, lambda p: p.write_text(text, encoding="utf-8"))


def check_file(path: Path | None) -> None:
    """Refuse a result file that cannot be written, before the work that would be lost."""
    if path is None:
        return
    if path.is_dir():
        raise ReadError(f"{path} is a folder; allowed: a file; give a file name")
    if not path.absolute().parent.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise ReadError(f"{path} cannot be written: {path.absolute().parent} is not a folder that can be written to; give another file")


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    check_file(path)
    handle, name = mkstemp(prefix=f".{path.name}-", dir=path.absolute().parent)
    os.close(handle)
    beside = Path(name)
    try:
        write(beside)
        beside.chmod(0o644)
        beside.replace(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ReadError(
            f"{path} cannot be written: {getattr(error, 'strerror', None) or error}; free space or give another file"
        ) from error
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def progress(label: str, total: int) -> Iterator[OnEpoch]:
    """Show a bar over epochs on a terminal (on stderr, so that a pipe stays clean); yields the `on_epoch` to pass on."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with bar:
        task = bar.add_task(label, total=total)
        yield lambda epoch, _values: bar.update(task, completed=epoch)


def environment() -> dict[str, Json]:
    """Return versions and machine kind, as far as they explain a figure."""
    packages = {name: version(name) for name in ("numpy", "scipy", "numba", "polars")}
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        **packages,
    }


def peak_memory_mb() -> float:
    """Return the largest resident size of this process so far, in MB."""
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6

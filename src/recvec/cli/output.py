"""What commands show and write: tables for people on a terminal, tab-separated lines in a pipe, whole files or none."""

import io
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

from recvec.cli.main import plain
from recvec.data.files import is_utf8
from recvec.errors import ReadError
from recvec.types import Json

_TABLES = (".csv", ".tsv", ".ndjson", ".parquet")

OnEpoch = Callable[[int, Mapping[str, float]], None]


class Stopped(Exception):  # noqa: N818  it is no error that a person presses Ctrl-C
    """Ctrl-C, where there is more to say than that nothing is left half-written."""


def prepare() -> None:
    """Make standard output usable for any id: UTF-8 in a pipe, escapes where a terminal cannot show a letter."""
    if sys.stdout is None:  # closed by the shell (>&-)
        sys.stdout = io.StringIO()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=None if sys.stdout.isatty() else "utf-8", errors="backslashreplace")


def on_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


def show(frame: pl.DataFrame, title: str = "") -> None:
    """Print a table: drawn on a terminal, as tab-separated lines with a header in a pipe."""
    if not on_terminal():
        _emit(frame.write_csv(separator="\t"))
        return
    table = Table(title=plain(title) or None, title_justify="left")
    for name, dtype in frame.schema.items():
        table.add_column(name, justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*(f"{v:.4f}" if isinstance(v, float) else "" if v is None else plain(str(v)) for v in row))
    console = Console(markup=False, emoji=False, highlight=False)  # an id such as '[bold]' is shown as it is
    with console.capture() as drawn:
        console.print(table)
    _emit(drawn.get())


def say(line: str) -> None:
    """Print one line of result."""
    _emit(f"{line}\n")


def warn(line: str) -> None:
    """Print one line of trouble that does not end the command, on standard error, so that a pipe stays clean."""
    if sys.stderr is not None:  # closed by the shell (2>&-)
        print(f"recvec: {plain(line)}", file=sys.stderr)


def _emit(text: str) -> None:
    """Write and flush. A reader that has left is no error; a full disk behind standard output is."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    except OSError as error:
        _forget_stdout()
        raise ReadError(f"standard output cannot be written: {error.strerror}; free space or use another file") from error


def _forget_stdout() -> None:
    """Let whatever is still to be printed go nowhere, what waits in the buffer included."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def write_frame(frame: pl.DataFrame, path: Path) -> None:
    """Write a table in the format that the ending names, whole or not at all."""
    check_frame_file(path)
    writers: dict[str, Callable[[Path], None]] = {
        ".csv": frame.write_csv,
        ".tsv": lambda p: frame.write_csv(p, separator="\t"),
        ".ndjson": frame.write_ndjson,
        ".parquet": frame.write_parquet,
    }
    _write_whole(path, writers[path.suffix])


def write_json(content: Mapping[str, Json], path: Path | None) -> None:
    """Write a result as JSON, whole or not at all; nothing without a path."""
    if path is not None:
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        _write_whole(path, lambda p: p.write_text(text, encoding="utf-8"))


def write_text(text: str, path: Path) -> None:
    """Write a text, whole or not at all."""
    _write_whole(path, lambda p: p.write_text(text, encoding="utf-8"))


def check_frame_file(path: Path | None) -> None:
    """Refuse a file for a table that cannot be written, before the work that would be lost."""
    if path is not None and path.suffix not in _TABLES:
        ends = f"ends in '{path.suffix}'" if path.suffix else "has no ending"
        raise ReadError(f"{path} {ends}; allowed: {', '.join(_TABLES)}; give the file one of these endings")
    check_file(path)
    if path is not None and not is_utf8(path.resolve().parent):
        raise ReadError(f"{path} cannot be written: the path of its folder is not UTF-8; rename the folder, or give another place")


def check_file(path: Path | None) -> None:
    """Refuse a result file that cannot be written, before the work that would be lost."""
    if path is None:
        return
    try:
        place = Path(os.path.realpath(path))  # behind a link
        is_folder, parent = place.is_dir(), place.parent
        able = parent.is_dir() and (os.access(parent, os.W_OK) or (path.exists() and not path.is_file()))
    except OSError as error:
        raise _unwritable(path, error) from error
    if is_folder:
        raise ReadError(f"{path} is a folder; allowed: a file; give a file name")
    if place.is_symlink():
        raise ReadError(f"{path} is a link that leads to itself; allowed: a file; remove the link or give another file")
    if not able:
        raise ReadError(f"{path} cannot be written: {parent} is not a folder that can be written to; give another file")


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside the place, then rename; a device or a pipe is written to as it is, a link is followed."""
    check_file(path)
    beside = None
    try:
        if path.exists() and not path.is_file():
            write(path)
            return
        place = path.resolve()
        handle, name = mkstemp(prefix=".recvec-", dir=place.parent)
        beside = Path(name)
        os.close(handle)
        write(beside)
        beside.chmod(0o644)
        beside.replace(place)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _unwritable(path, error) from error
    finally:
        if beside is not None:
            beside.unlink(missing_ok=True)


def _unwritable(path: Path, error: Exception) -> ReadError:
    reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
    return ReadError(f"{path} cannot be written: {reason}; free space or give another file")


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

"""What goes wrong before a command runs: with files, saved models, and words. One function, one mishap.

Each mishap takes a `Draft` and says whether it found something to change; `mishaps` lists them with their weights.
"""

import gzip
import json
import os
import shutil
import stat
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from calls import ENDLESS, VALUES, Application, Draft, Word, pick
from damage import BYTES, IDS, LINES, TABLES, Rng
from polars.exceptions import PanicException, PolarsError
from safetensors.numpy import load_file, save_file

from recvec.artifact import manifest

Mishap = Callable[[Draft], bool]

WORDS = (
    "", " ", "-1", "0", "-0", "9" * 30, "99999999999", "1e999", "nan", "inf", "-inf", "1.5", "0x10", "\u0663", "abc", "ünï-😀", "\u202eabc",
    "a,b,,c", ",", "=", "a=", "=b", "a=b=c", "a=b,a=c", "x" * 3000, "\x1b[2J", "a\nb", "\r", "\x07", "-", "--", "-x", "--no-such", "true",
    "None", "[]", "\udcff", "%d", "{x}", "*", "?", "a/b", "1,2", "10,-1", "1;2", "|", "||", "embedding_dim=-1", "embedding_dim=",
    "epochs=0", "reg=nan", "task=rating", "rating",
)  # fmt: skip
PLACES = (
    "", ".", "..", "/", "ratings.csv", "model-als", "empty", "none/x.csv", "none/x.json", "ratings.csv/x", "x" * 300, "x" * 250 + ".csv",
    "lists.txt", "lists", ".csv", ".json", "-", "ünï-😀.csv", "a\x1b[31m.json", "a\nb.csv", "nowhere.csv", "loop.csv", "full", "/dev/null",
    "empty/x.json", "model-als/x.csv", "x.PARQUET", "\udcff.csv",
)  # fmt: skip
NAMES = (
    "\udcff",
    "a b",
    "ünï-😀",
    "x[1]",
    "x*",
    "x?",
    "{a}",
    "-x",
    "--out",
    "~",
    "a\nb",
    "\x1b[31m",
    "n" * 200,
    "http:",
    "s3:",
    "a%20b",
    "'",
    '"',
)
UNKNOWN = ("--no-such", "-q", "--", "", "more", "--k=3", "--json=", "--o", "--help", "--version", "--set=a")
ODD_JSON: tuple[Any, ...] = (
    None, -1, 0, 2**63, 1e308, float("nan"), "", "x", "../..", [], {}, True, [None], {"a": 1}, "9" * 5000, 1.5, "svd", "als", ["popular"],
)  # fmt: skip
ODD_JSON: tuple[Any, ...] = (
    None, -1, 0, 2**63, 1e308, float("nan"), "", "x", "../..", [], {}, True, [None], {"a": 1}, "9" * 5000, 1.5, "svd", "als", ["popular"],
)  # fmt: skip
FORMATS = (".csv", ".tsv", ".ndjson", ".parquet", ".csv.gz", ".jsonl", ".txt", "", ".parquet.gz", ".xlsx", ".toml", ".CSV")
WRITTEN = ("new", "json", "lists", "vectors", "checkpoint")  # kinds of values that are places of outputs


# ---------------------------------------------------------------- files


def _file(draft: Draft) -> Path | None:
    """Choose a file that the command reads."""
    paths = [p for w in draft.words if (p := draft.path(w)) is not None and p.is_file() and w.kind not in WRITTEN]
    return pick(draft.rng, paths) if paths else None


def _bytes_mishap(change: Callable[[Rng, bytes], bytes]) -> Mishap:
    def mishap(draft: Draft) -> bool:
        path = _file(draft)
        if path is None:
            return False
        return _rewrite(path, lambda raw: change(draft.rng, raw), inside=draft.rng.random() < 0.6)

    return mishap


def _lines_mishap(change: Callable[[Rng, list[str]], list[str]]) -> Mishap:
    def changed(rng: Rng, raw: bytes) -> bytes:
        lines = raw.decode("utf-8", "surrogateescape").split("\n")
        return "\n".join(change(rng, lines)).encode("utf-8", "surrogatepass")

    def mishap(draft: Draft) -> bool:
        path = _file(draft)
        if path is None or path.suffix in (".parquet", ".zip"):
            return False
        return _rewrite(path, lambda raw: changed(draft.rng, raw), inside=True)

    return mishap


def _rewrite(path: Path, change: Callable[[bytes], bytes], *, inside: bool) -> bool:
    """Change the bytes of a file, or what is zipped in it."""
    raw = path.read_bytes()
    if not raw:
        return False
    with suppress(ValueError, UnicodeError):
        if path.suffix == ".gz" and inside:
            try:
                path.write_bytes(gzip.compress(change(gzip.decompress(raw)), mtime=0))
            except (OSError, EOFError, zlib.error):
                return False
        else:
            path.write_bytes(change(raw))
        return True
    return False


def _table_mishap(change: Callable[[Rng, pl.DataFrame], pl.DataFrame]) -> Mishap:
    readers = {".csv": pl.read_csv, ".ndjson": pl.read_ndjson, ".parquet": pl.read_parquet}
    writers = {".csv": pl.DataFrame.write_csv, ".ndjson": pl.DataFrame.write_ndjson, ".parquet": pl.DataFrame.write_parquet}

    def mishap(draft: Draft) -> bool:
        path = _file(draft)
        if path is None or path.suffix not in readers:
            return False
        beside = path.with_name("beside")
        try:
            table = readers[path.suffix](path)
            writers[path.suffix](change(draft.rng, table), beside)
            beside.replace(path)
        except (PolarsError, PanicException, OSError, ValueError, TypeError, OverflowError, IndexError):
            beside.unlink(missing_ok=True)
            return False
        return True

    return mishap


def _other_ending(draft: Draft) -> bool:
    words = [w for w in draft.words if (p := draft.path(w)) is not None and p.is_file() and w.kind not in WRITTEN]
    if not words:
        return False
    word = pick(draft.rng, words)
    text = word.text.partition(".")[0] + pick(draft.rng, FORMATS)
    if not (draft.place / text).exists():
        (draft.place / word.text).rename(draft.place / text)
    word.text = text
    return True


def _odd_name(draft: Draft) -> bool:
    """Call a file or a model by a name that others stumble over."""
    words = [w for w in draft.words if (p := draft.path(w)) is not None and not p.is_symlink() and w.kind not in WRITTEN]
    if not words:
        return False
    word = pick(draft.rng, words)
    suffixes = "".join(Path(word.text).suffixes)
    text = pick(draft.rng, NAMES) + suffixes
    (draft.place / word.text).rename(draft.place / text)
    word.text = text
    return True


def _other_encoding(draft: Draft) -> bool:
    path = _file(draft)
    if path is None:
        return False
    encoding = pick(draft.rng, ("utf-16", "utf-16-le", "utf-32", "cp500"))
    return _rewrite(path, lambda raw: raw.decode().encode(encoding), inside=True)


def _replaced(make: Callable[[Path], object], *, whole_model: bool = False) -> Mishap:
    """Put something else in the place of a file, or of a model's folder."""

    def mishap(draft: Draft) -> bool:
        path = _model(draft) if whole_model else _file(draft)
        if path is None:
            return False
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        make(path)
        return True

    return mishap


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _nothing(path: Path) -> None:
    path.symlink_to(os.devnull)


def _unreadable(draft: Draft) -> bool:
    path = _file(draft)
    if path is None or os.geteuid() == 0:  # root reads everything
        return False
    path.chmod(0)
    return True


# ---------------------------------------------------------------- saved models


def _model(draft: Draft) -> Path | None:
    folders = [p for w in draft.words if (p := draft.path(w)) is not None and (p / manifest.NAME).is_file()]
    return pick(draft.rng, folders) if folders else None


def _part(draft: Draft) -> Path | None:
    """Choose a file of the model that the command reads."""
    folder = _model(draft)
    files = sorted(p for p in folder.rglob("*") if p.is_file()) if folder is not None else []
    return pick(draft.rng, files) if files else None


def _damaged(change: Callable[[Rng, bytes], bytes]) -> Mishap:
    def mishap(draft: Draft) -> bool:
        path = _part(draft)
        return path is not None and _rewrite(path, lambda raw: change(draft.rng, raw), inside=False)

    return mishap


def _lost(draft: Draft) -> bool:
    path = _part(draft)
    if path is None:
        return False
    path.unlink()
    if draft.rng.random() < 0.5:
        pick(draft.rng, (Path.mkdir, _loop, _nothing))(path)
    return True


def _added(draft: Draft) -> bool:
    folder = _model(draft)
    if folder is None:
        return False
    (folder / pick(draft.rng, ("x.safetensors", "x.parquet", "notes.txt", "rungs/x.safetensors"))).parent.mkdir(exist_ok=True)
    (folder / pick(draft.rng, ("x.safetensors", "x.parquet", "notes.txt"))).write_bytes(b"x")
    return True


def _exchanged(draft: Draft) -> bool:
    """Take a file of another model, or exchange two of one."""
    path, folder = _part(draft), _model(draft)
    if path is None or folder is None:
        return False
    others = sorted(p for m in VALUES["model"] for p in (draft.place / m).rglob("*") if p.is_file() and p != path)
    same_name = [p for p in others if p.name == path.name]
    if not others:
        return False
    shutil.copy(pick(draft.rng, same_name if same_name and draft.rng.random() < 0.8 else others), path)
    return True


def _forged_page(draft: Draft) -> bool:
    """Write another value into a manifest, as someone would who knows how to seal it."""
    folder = _model(draft)
    if folder is None:
        return False

    def change(page: dict[str, Any]) -> None:
        at: Any = page
        for _ in range(int(draft.rng.integers(1, 5))):
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            key = pick(draft.rng, keys)
            if not isinstance(at[key], dict | list) or not at[key] or draft.rng.random() < 0.3:
                break
            at = at[key]
        if draft.rng.random() < 0.2:
            del at[key]
        else:
            at[key] = pick(draft.rng, ODD_JSON)

    return _forge(folder, change)


def _forged_arrays(draft: Draft) -> bool:
    """Change the numbers of a model, and seal it again."""
    folder = _model(draft)
    path = folder and pick(draft.rng, sorted(folder.rglob("*.safetensors")) or [folder])
    if folder is None or not path.is_file():
        return False
    try:
        arrays = load_file(path)
    except Exception:  # noqa: BLE001  damaged by an earlier mishap
        return False
    name = pick(draft.rng, sorted(arrays))
    arrays[name] = np.ascontiguousarray(_other_array(draft.rng, arrays[name]))
    save_file(arrays, path)

    def change(page: dict[str, Any]) -> None:
        if path == folder / "arrays.safetensors":
            page["arrays"] = manifest.describe(arrays)

    if path.parent != folder and not _forge(path.parent, lambda page: page.update(arrays=manifest.describe(arrays))):
        return False
    return _forge(folder, change)


def _other_array(rng: Rng, array: np.ndarray) -> np.ndarray:
    changed = array.copy()
    with np.errstate(all="ignore"):
        if changed.size and rng.random() < 0.6:
            changed.flat[int(rng.integers(changed.size))] = np.array(pick(rng, (-1.0, 1e30, np.nan, np.inf, 2.0**31, 7.0))).astype(
                array.dtype
            )
            return changed
        shapes = (changed[:-1], np.concatenate([changed, changed]), changed[::-1], changed.reshape(-1), changed[None], changed[:0])
        return pick(rng, (*shapes, changed.astype(np.float64), changed.astype(np.int8), np.zeros((), array.dtype)))


def _forge(folder: Path, change: Callable[[dict[str, Any]], None]) -> bool:
    path = folder / manifest.NAME
    try:
        page = json.loads(path.read_text())
        page.pop("sha256")
        change(page)
        if isinstance(page.get("files"), dict):
            page["files"] = {n: manifest.file_hash(folder / n) if (folder / n).is_file() else h for n, h in page["files"].items()}
        page["sha256"] = manifest._seal(page)  # noqa: SLF001
        path.write_text(json.dumps(page))
    except (ValueError, TypeError, KeyError, OSError, AttributeError):
        return False
    return True


# ---------------------------------------------------------------- words


def _value(draft: Draft, kinds: tuple[str, ...] | None = None) -> Word | None:
    words = [w for w in draft.words if w.kind not in ("command", "option") and (kinds is None or w.kind in kinds)]
    return pick(draft.rng, words) if words else None


def _odd_value(draft: Draft) -> bool:
    word = _value(draft)
    if word is None:
        return False
    before = draft.words[draft.words.index(word) - 1].text
    harmless = [w for w in WORDS if not w.strip("9")] if before in ENDLESS else []
    word.text = pick(draft.rng, [w for w in WORDS if w not in harmless])
    return True


def _odd_id(draft: Draft) -> bool:
    word = _value(draft, ("user", "item"))
    if word is None:
        return False
    word.text = pick(draft.rng, IDS)
    return True


def _odd_place(draft: Draft) -> bool:
    """Write to a place that is taken, missing, full, endless, or misnamed."""
    word = _value(draft, WRITTEN)
    if word is None:
        return False
    word.text = pick(draft.rng, PLACES)
    path = draft.place / word.text
    if word.text == "full" and not path.exists():
        word.text = _full(path)
    elif word.text == "loop.csv" and not path.is_symlink():
        path.symlink_to("loop.csv")
    elif word.text == "nowhere.csv" and not path.is_symlink():
        path.symlink_to("none/at/all.csv")
    return True


def _full(path: Path) -> str:
    """Return a device that is always full: for root a copy, because a fault could replace the real one."""
    if os.geteuid() != 0:
        return "/dev/full"
    with suppress(OSError):
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 7))
    return path.name


def _same_place(draft: Draft) -> bool:
    """Let two outputs, or an output and an input, be one place."""
    outputs = [w for w in draft.words if w.kind in WRITTEN]
    others = [w for w in draft.words if w.kind not in ("command", "option")]
    if not outputs or len(others) < 2:
        return False
    word = pick(draft.rng, outputs)
    word.text = pick(draft.rng, [w.text for w in others if w is not word] or [word.text])
    return True


def _other_file(draft: Draft) -> bool:
    """Give a file of another kind."""
    words = [w for w in draft.words if draft.path(w) is not None and w.kind not in WRITTEN]
    if not words:
        return False
    others = ("table", "users", "items", "test", "negatives", "config", "model", "zip", "candidates", "deny")
    pick(draft.rng, words).text = pick(draft.rng, VALUES[pick(draft.rng, others)])
    return True


def _missing_word(draft: Draft) -> bool:
    del draft.words[int(draft.rng.integers(len(draft.words)))]
    return True


def _word_twice(draft: Draft) -> bool:
    at = int(draft.rng.integers(len(draft.words)))
    copied = [Word(w.text, w.kind) for w in draft.words[at : at + 2]]
    draft.words += copied
    return True


def _words_swapped(draft: Draft) -> bool:
    if len(draft.words) < 3:
        return False
    a, b = (int(i) for i in draft.rng.choice(len(draft.words), 2, replace=False))
    draft.words[a], draft.words[b] = draft.words[b], draft.words[a]
    return True


def _unknown_word(draft: Draft) -> bool:
    draft.words.insert(int(draft.rng.integers(len(draft.words) + 1)), Word(pick(draft.rng, UNKNOWN), "word"))
    return True


def _more_options(application: Application) -> Mishap:
    """Add options that may contradict each other."""

    def mishap(draft: Draft) -> bool:
        before = len(draft.words)
        for _ in range(4):
            application.add_option(draft)
        return len(draft.words) > before

    return mishap


# ---------------------------------------------------------------- the list


def mishaps(application: Application) -> dict[str, tuple[float, Mishap]]:
    """Return every mishap by name, with its weight."""
    found: dict[str, tuple[float, Mishap]] = {f"file: {n}": (1.0, _bytes_mishap(c)) for n, c in BYTES.items()}
    found |= {f"file: {n}": (1.0, _lines_mishap(c)) for n, c in LINES.items()}
    found |= {f"table: {n}": (1.2, _table_mishap(c)) for n, c in TABLES.items()}
    found |= {f"model: {n}": (1.0, _damaged(BYTES[n])) for n in ("flip", "truncate", "insert", "delete", "empty", "huge sizes")}
    return found | {
        "file: other ending": (1.5, _other_ending),
        "file: odd name": (2, _odd_name),
        "file: other encoding": (1.0, _other_encoding),
        "file: missing": (0.7, _replaced(lambda path: None)),
        "file: folder instead": (0.7, _replaced(Path.mkdir)),
        "file: link to itself": (0.7, _replaced(_loop)),
        "file: device instead": (0.5, _replaced(_nothing)),
        "file: unreadable": (0.5, _unreadable),
        "model: missing": (0.7, _replaced(lambda path: None, whole_model=True)),
        "model: empty folder": (0.7, _replaced(Path.mkdir, whole_model=True)),
        "model: link to itself": (0.5, _replaced(_loop, whole_model=True)),
        "model: file lost": (3, _lost),
        "model: file added": (2, _added),
        "model: file exchanged": (3, _exchanged),
        "model: page forged": (8, _forged_page),
        "model: arrays forged": (8, _forged_arrays),
        "words: odd value": (12, _odd_value),
        "words: odd id": (8, _odd_id),
        "words: odd place": (8, _odd_place),
        "words: same place": (3, _same_place),
        "words: other file": (5, _other_file),
        "words: missing": (3, _missing_word),
        "words: twice": (3, _word_twice),
        "words: swapped": (2, _words_swapped),
        "words: unknown": (4, _unknown_word),
        "words: more options": (5, _more_options(application)),
    }


def mutate(draft: Draft, known: dict[str, tuple[float, Mishap]]) -> None:
    """Let up to three things go wrong."""
    names = list(known)
    weights = np.array([known[n][0] for n in names])
    for _ in range(int(draft.rng.choice([0, 1, 1, 1, 1, 1, 2, 2, 3]))):
        for _ in range(8):  # until one finds something to change
            name = names[int(draft.rng.choice(len(names), p=weights / weights.sum()))]
            if draft.words and known[name][1](draft):
                draft.mutations.append(name)
                break

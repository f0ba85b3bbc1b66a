"""How the contents of files go wrong: bytes, lines of text, whole tables. Each function returns what is there instead."""

import gzip
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from calls import pick

Rng = np.random.Generator

NUMBERS = (
    "NaN", "nan", "Infinity", "-Infinity", "1e999", "-1e999", "-1", "-0", "1e-320", "3.4e39", "9" * 40, "0x10", "1_000", "\uff11\uff12",
    "\u0661", " 3", "1,5", "1.5", "+3", "007", "true", "null", "None", "", "--", "2024-05-01", "2024-13-45 99:00", "[1]", "{}", '"3"',
)  # fmt: skip
IDS = (
    "", " ", "u999", "007", "1.0", "-1", " u1", "U1", "אבג\u200f", "😀", "e\u0301", "\u202eabc", "a\nb", "a\rb", "--", "-x", "--user",
    "x" * 20_000, "\x1b[31mred", "\x07", "u1,u2", "\u2028", "\ufeffu1", "\udcff", "%s", "{0}", "$(id)", "NULL", "9" * 30, "\t",
)  # fmt: skip
HITS = (1, 1, 1, 2, 5)  # fields that one mishap changes
ODD_FLOATS = (None, float("nan"), float("inf"), -1.0, 1e300, 5e-324, 2.0**53)
TYPES: tuple[Any, ...] = (
    pl.String, pl.Int8, pl.UInt64, pl.Float32, pl.Boolean, pl.Date, pl.Datetime("ns"), pl.Duration("ms"), pl.Time, pl.Categorical,
    pl.Binary, pl.Null, pl.Decimal(10, 2), pl.List(pl.String), pl.Int128,
)  # fmt: skip
TYPES: tuple[Any, ...] = (
    pl.String, pl.Int8, pl.UInt64, pl.Float32, pl.Boolean, pl.Date, pl.Datetime("ns"), pl.Duration("ms"), pl.Time, pl.Categorical,
    pl.Binary, pl.Null, pl.Decimal(10, 2), pl.List(pl.String), pl.Int128,
)  # fmt: skip


# ---------------------------------------------------------------- bytes


def _flip(rng: Rng, raw: bytes) -> bytes:
    changed = bytearray(raw)
    for _ in range(int(rng.integers(1, 9))):
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _flip_end(rng: Rng, raw: bytes) -> bytes:
    tail = min(len(raw), 600)  # the footer of a Parquet file, where sizes and counts stand
    return raw[:-tail] + _flip(rng, raw[-tail:])


def _delete(rng: Rng, raw: bytes) -> bytes:
    start = int(rng.integers(len(raw)))
    return raw[:start] + raw[start + int(rng.integers(1, 60)) :]


def _insert(rng: Rng, raw: bytes) -> bytes:
    at, n = int(rng.integers(len(raw) + 1)), int(rng.integers(1, 20))
    return raw[:at] + rng.bytes(n) + raw[at:]


def _insert_nul(rng: Rng, raw: bytes) -> bytes:
    at = int(rng.integers(len(raw) + 1))
    return raw[:at] + b"\0" * int(rng.integers(1, 4)) + raw[at:]


def _insert_quote(rng: Rng, raw: bytes) -> bytes:
    at = int(rng.integers(len(raw) + 1))
    return raw[:at] + pick(rng, (b'"', b'""', b'"""', b"'", b'"\n', b',"', b'",')) + raw[at:]


def _truncate(rng: Rng, raw: bytes) -> bytes:
    return raw[: int(rng.integers(len(raw)))]


def _huge_sizes(rng: Rng, raw: bytes) -> bytes:
    """Write the largest numbers over some bytes near an end, which may be a count."""
    at = int(rng.integers(min(len(raw), 300)))
    at = at if rng.random() < 0.3 else max(0, len(raw) - at - 8)
    return raw[:at] + pick(rng, (b"\xff" * 8, b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x01", b"\0" * 8)) + raw[at + 8 :]


BYTES: dict[str, Callable[[Rng, bytes], bytes]] = {
    "flip": _flip,
    "flip the end": _flip_end,
    "delete": _delete,
    "insert": _insert,
    "NUL": _insert_nul,
    "quote": _insert_quote,
    "truncate": _truncate,
    "huge sizes": _huge_sizes,
    "twice": lambda rng, raw: raw + raw,
    "empty": lambda rng, raw: b"",
    "white space": lambda rng, raw: pick(rng, (b" ", b"\n\n\n", b"\r\n", b"\t")),
    "BOM": lambda rng, raw: b"\xef\xbb\xbf" * int(rng.integers(1, 3)) + raw,
    "not UTF-8": lambda rng, raw: raw.replace(b"1", b"\xe9", 1),
    "CR only": lambda rng, raw: raw.replace(b"\n", b"\r"),
    "CR LF": lambda rng, raw: raw.replace(b"\n", b"\r\n"),
    "CR CR LF": lambda rng, raw: raw.replace(b"\n", b"\r\r\n"),
    "zip magic": lambda rng, raw: b"PK\x03\x04" + raw,
    "gzip": lambda rng, raw: gzip.compress(raw, mtime=0),
}


# ---------------------------------------------------------------- lines of text


def _some(rng: Rng, lines: list[str]) -> int:
    return int(rng.integers(len(lines)))


def _change_field(rng: Rng, lines: list[str], values: tuple[str, ...]) -> list[str]:
    for _ in range(int(pick(rng, HITS))):
        at = _some(rng, lines)
        separator = pick(rng, [s for s in (",", "\t", ":", "=", " ") if s in lines[at]] or [","])
        fields = lines[at].split(separator)
        fields[int(rng.integers(len(fields)))] = pick(rng, values)
        lines[at] = separator.join(fields)
    return lines


def _swap_fields(rng: Rng, lines: list[str]) -> list[str]:
    at = 0 if rng.random() < 0.6 else _some(rng, lines)
    fields = lines[at].split(",")
    return [*lines[:at], ",".join([*fields[1:], fields[0]]), *lines[at + 1 :]]


def _ragged(rng: Rng, lines: list[str]) -> list[str]:
    at = _some(rng, lines)
    lines[at] = pick(rng, (f"{lines[at]},x", lines[at].rpartition(",")[0], f",{lines[at]}", f"{lines[at]},,,"))
    return lines


def _deep(rng: Rng, lines: list[str]) -> list[str]:
    n = int(pick(rng, (200, 5000, 100_000)))
    nested = "[" * n + "]" * n
    lines[_some(rng, lines)] = pick(rng, ("[" * n, nested, '{"user_id":' * n, f'{{"user_id": "u1", "item_id": {nested}}}'))
    return lines


def _gigantic(rng: Rng, lines: list[str]) -> list[str]:
    at = _some(rng, lines)
    lines[at] = lines[at].replace(pick(rng, tuple("0123456789u")), pick(rng, ("x", "9", "😀")) * 700_000, 1)
    return lines


def _separated(lines: list[str], separator: str) -> list[str]:
    return [line.replace(",", separator) for line in lines]


def _repeat(rng: Rng, lines: list[str]) -> list[str]:
    at = _some(rng, lines)
    return lines[:at] + [lines[at]] * int(pick(rng, (2, 3, 1000))) + lines[at + 1 :]


LINES: dict[str, Callable[[Rng, list[str]], list[str]]] = {
    "odd number": lambda rng, lines: _change_field(rng, lines, NUMBERS),
    "odd id": lambda rng, lines: _change_field(rng, lines, IDS),
    "swap fields": _swap_fields,
    "ragged row": _ragged,
    "deep JSON": _deep,
    "gigantic field": _gigantic,
    "repeat lines": _repeat,
    "header only": lambda rng, lines: lines[:1],
    "no header": lambda rng, lines: lines[1:],
    "header twice": lambda rng, lines: [lines[0], *lines],
    "one column twice": lambda rng, lines: [f"{x},{x.partition(',')[0]}" for x in lines],
    "wrong separator": lambda rng, lines: _separated(lines, pick(rng, (";", "\t", "|", " "))),
    "capitals": lambda rng, lines: [lines[0].upper(), *lines[1:]],
    "spaces": lambda rng, lines: [lines[0].replace(",", ", "), *lines[1:]],
    "shuffle": lambda rng, lines: [lines[0], *(lines[1 + i] for i in rng.permutation(len(lines) - 1))],
}


# ---------------------------------------------------------------- whole tables


def _retype(rng: Rng, table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.col(pick(rng, table.columns)).cast(pick(rng, TYPES), strict=False))


def _nested(rng: Rng, table: pl.DataFrame) -> pl.DataFrame:
    name, n = pick(rng, table.columns), len(table)
    columns = (
        pl.struct(name).alias(name),
        pl.concat_list(name, name).alias(name),
        pl.Series(name, [[]] * n, dtype=pl.List(pl.Float32)),
        table[name].implode().new_from_index(0, n).alias(name),
        table[name].reshape((n, 1)),
    )
    return table.with_columns(pick(rng, columns))


def _set_values(rng: Rng, table: pl.DataFrame) -> pl.DataFrame:
    name = pick(rng, table.columns)
    values: list[Any] = table[name].to_list()
    odd: tuple[Any, ...] = (*IDS[:16], None) if table[name].dtype == pl.String else ODD_FLOATS
    for _ in range(int(pick(rng, HITS))):
        values[int(rng.integers(len(values)))] = pick(rng, odd)
    return table.with_columns(pl.Series(name, values, strict=False))


def _renamed(rng: Rng, table: pl.DataFrame) -> pl.DataFrame:
    return table.rename({pick(rng, table.columns): pick(rng, ("x", "", "Rating", "user_id ", "é" * 300))})


def _power_law(rng: Rng, table: pl.DataFrame) -> pl.DataFrame:
    return table[(rng.pareto(1.0, len(table)) * 3).astype(np.int64).clip(max=len(table) - 1)]


TABLES: dict[str, Callable[[Rng, pl.DataFrame], pl.DataFrame]] = {
    "retype a column": _retype,
    "nested column": _nested,
    "odd values": _set_values,
    "power law": _power_law,
    "rename a column": _renamed,
    "drop a column": lambda rng, table: table.drop(pick(rng, table.columns)),
    "no rows": lambda rng, table: table.clear(),
    "one row": lambda rng, table: table.head(1),
    "all rows alike": lambda rng, table: table[[0] * len(table)],
    "one user": lambda rng, table: table.with_columns(pl.lit(table.row(0)[0]).alias(table.columns[0])),
    "null column": lambda rng, table: table.with_columns(pl.lit(None).alias(pick(rng, table.columns))),
}

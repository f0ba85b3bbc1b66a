"""Files of ``--candidates`` and ``--deny``: read before a model is loaded, then held against what it knows."""

from pathlib import Path
from typing import Any

import polars as pl

import recvec as rv
from recvec.data.readers import read_columns
from recvec.data.vocabulary import shown

Tables = dict[str, tuple[Path, pl.DataFrame]]


def read(candidates: Path | None, deny: Path | None, *, known_users: bool) -> Tables:
    """Read the files that are given; only denials, and only for known users, may name users.

    Raises
    ------
    InputError
        Where one cannot be read, has no column item_id, or names users where it may not.
    """
    given = {"candidates": candidates, "deny": deny}
    tables = {name: (path, read_columns(path, required=["item_id"], optional=["user_id"])) for name, path in given.items() if path}
    for name, (path, table) in tables.items():
        if "user_id" in table.columns and (name == "candidates" or not known_users):
            why = "candidates are for everyone" if name == "candidates" else "a new person is none of them"
            raise rv.InputError(f"{path} has a column user_id, but {why}; allowed: item_id; leave user_id out")
    return tables


def known(who: rv.Recommender, tables: Tables) -> tuple[dict[str, Any], list[str]]:
    """Return what `recommend` takes as ``candidates`` and ``deny``, and lines that tell what was left out as unknown.

    Raises
    ------
    InputError
        Where the model knows none of the candidates: nothing could be listed.
    """
    limits: dict[str, Any] = {}
    lines = []
    for name, (path, table) in tables.items():
        there = pl.Series(who.items.lookup(table["item_id"]) >= 0)
        if "user_id" in table.columns:
            there &= pl.Series(who.users.lookup(table["user_id"]) >= 0)
        limits[name], unknown = table.filter(there), table.filter(~there)
        if len(unknown):
            said = f"{path}: {len(unknown):,} of {len(table):,} rows name what this model does not know, {_such_as(unknown)}"
            if name == "candidates" and not there.any():
                raise rv.InputError(f"{said}; allowed: some of its {len(who.items):,} items; check the ids")
            lines.append(f"{said}; they are left out")
    if "candidates" in limits:
        limits["candidates"] = limits["candidates"]["item_id"]
    return limits, lines


def _such_as(table: pl.DataFrame) -> str:
    """Show the ids of the first row."""
    return "such as " + ", ".join(f"{name} '{shown(value)}'" for name, value in table.row(0, named=True).items())

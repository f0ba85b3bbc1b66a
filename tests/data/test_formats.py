"""Any table, in any script, in any format: the same rows, the same ids, the same dataset, and what is left out adds up."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recvec as rv
from recvec.errors import ReadError

SCRIPTS = st.sampled_from(
    ["abc", "日本語ひらがな", "אבגד", "عربى", "😀👩\u200d💻🏳️", "éß\u0301", "a,b;c|\t", "\"'", " x ", "\n\\", "देव", "\u202e\ufeff"]
)
LETTERS = SCRIPTS.flatmap(lambda letters: st.text(letters, min_size=1, max_size=5))
ODD = st.sampled_from(["007", "0", "-0", "+1", "1.0", "1e3", "NA", "null", "nan", "true", "x" * 2000, str(2**63), "#", "=1+1", "--"])
IDS = st.one_of(
    st.lists(st.one_of(LETTERS, ODD), min_size=1, max_size=20, unique=True),
    st.lists(st.integers(-(10**17), 10**17), min_size=1, max_size=20, unique=True),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5, unique=True),
)


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    """Up to 200 rows; ids by a power law, so that some rows repeat and most ids are rare."""
    n = draw(st.integers(0, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    columns: dict[str, Any] = {}
    for name in ("user_id", "item_id"):
        ids = draw(IDS)
        columns[name] = [ids[min(int(r), len(ids)) - 1] for r in rng.zipf(1.3, n)]
    if draw(st.booleans()):
        columns["rating"] = rng.integers(-3, 6, n) / 2
    if draw(st.booleans()):
        columns["weight"] = rng.random(n).astype(np.float32)
    if draw(st.booleans()):
        columns["timestamp"] = pl.Series(
            [None if gone else int(t) for gone, t in zip(rng.random(n) < 0.3, rng.integers(0, 99, n), strict=True)], dtype=pl.Int64
        )
    if draw(st.booleans()):
        columns["place"] = pl.Series([draw_from[0] for draw_from in rng.choice([["北京"], ["a,b"], ['"q"'], [" "]], n)], dtype=pl.String)
    if draw(st.booleans()):
        columns["note"] = pl.Series(
            [" ".join(rng.choice(["red", "été", "火,", '"'], k)) or None for k in rng.integers(0, 5, n)], dtype=pl.String
        )
    return pl.DataFrame(columns, schema_overrides={} if n else dict.fromkeys(columns, pl.String))


WRITERS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    ".csv": lambda t, p: t.write_csv(p, quote_style="non_numeric"),
    ".tsv": lambda t, p: t.write_csv(p, separator="\t", quote_style="necessary"),
    ".ndjson": lambda t, p: t.write_ndjson(p),
    ".parquet": lambda t, p: t.write_parquet(p),
}


def written(table: pl.DataFrame, folder: Path) -> list[Path]:
    """The table in every format, the text formats gzipped as well."""
    paths = []
    for ending, write in WRITERS.items():
        path = folder / f"t{ending}"
        write(table, path)
        paths.append(path)
        if ending != ".parquet":
            zipped = folder / f"t{ending}.gz"
            zipped.write_bytes(gzip.compress(path.read_bytes(), compresslevel=1))
            paths.append(zipped)
    return paths


@given(table=tables())
@settings(max_examples=60)
def test_a_table_is_the_same_dataset_in_every_format(table: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> None:
    paths = written(table, tmp_path_factory.mktemp("t"))
    choices: dict[str, Any] = {
        "context": ["place"] if "place" in table.columns else None,
        "item_text_from": "note" if "note" in table.columns else None,
        "types": {"place": "category"} if "place" in table.columns else None,
    }
    if not table.height:
        for source in (*paths, table):
            with pytest.raises(ReadError, match=r"has a header but no rows|is empty"):
                rv.read(source, **choices)
        return
    found = [rv.read(source, **choices) for source in (*paths, table)]
    check(found[-1], table)
    assert {d.fingerprint for d in found} == {found[-1].fingerprint}
    assert all(d.left_out == {} for d in found)


def check(data: rv.Dataset, table: pl.DataFrame) -> None:
    rows = data.interactions
    for side, ids, at in (("user_id", data.users.ids, rows.users), ("item_id", data.items.ids, rows.items)):
        assert [str(i) for i in ids[at]] == [str(i) for i in table[side]]
        assert ids.n_unique() == len(ids) == table[side].n_unique()
    for name in ("rating", "weight", "timestamp"):
        column = getattr(rows, name)
        assert (column is not None) == (name in table.columns)
        if column is not None:
            assert np.array_equal(
                column, table[name].cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(column.dtype), equal_nan=True
            )
    if "place" in table.columns:
        assert rows.context.frame["place"].to_list() == table["place"].to_list()
    if "note" in table.columns:
        joined: dict[str, list[str]] = {}
        for item, note in zip(map(str, table["item_id"]), table["note"], strict=True):
            joined.setdefault(item, []).extend([] if note is None else [note])
        assert data.item_features.frame["note"].to_list() == ["\n".join(joined[str(i)]) or None for i in data.items.ids]


@given(table=tables(), per_user=st.none() | st.integers(1, 5), per_item=st.none() | st.integers(1, 5), undated=st.booleans())
@settings(max_examples=60)
def test_rows_in_are_rows_kept_and_rows_left_out(table: pl.DataFrame, per_user: int | None, per_item: int | None, undated: bool) -> None:
    if not table.height:
        return
    undated = undated and "timestamp" in table.columns
    try:
        data = rv.read(table, min_per_user=per_user, min_per_item=per_item, drop_undated=undated)
    except rv.InputError as error:
        counts = str(error).split(": ")[1].split(" are left out")[0].split(", ")
        assert sum(int(c.split()[0]) for c in counts if " rows " in f" {c}") == table.height
        return
    assert len(data.interactions) + sum(n for reason, n in data.left_out.items() if reason.startswith("rows ")) == table.height


@given(table=tables())
@settings(max_examples=30)
def test_columns_of_other_names_are_the_same_dataset(table: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> None:
    if not table.height:
        return
    theirs = {c: f"{c}, of theirs" for c in table.columns}
    expected = rv.read(table, item_text_from="note" if "note" in table.columns else None)
    for path in written(table.rename(theirs), tmp_path_factory.mktemp("t")):
        data = rv.read(path, columns=theirs | {"negative_item_id": "x"}, item_text_from="note" if "note" in table.columns else None)
        assert data.fingerprint == expected.fingerprint


def test_a_bad_id_is_found_under_any_name(tmp_path: Path) -> None:
    """Of JSON, polars alone would make '2' of 2.0 and mix it with the text '2'."""
    path = tmp_path / "t.ndjson"
    path.write_text("\n".join(json.dumps({"uid": u, "item_id": 1, "device_id": 1.5}) for u in ("a", 2.0)))
    with pytest.raises(rv.InputError, match=r"t\.ndjson, row 2 \(line 2\): uid is 2\.0; allowed: text, or an integer below 2\^127"):
        rv.read(path, columns={"user_id": "uid"})
    path.write_text("\n".join(json.dumps({"uid": u, "item_id": 1, "device_id": 1.5}) for u in ("a", "b")))
    assert rv.read(path, columns={"user_id": "uid"}, context=["device_id"]).interactions.context.types == {"device_id": "number"}

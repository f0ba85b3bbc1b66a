"""From files and tables in memory to a dataset: every row kept or refused, ids as they went in, complaints that say where."""

import datetime as dt
import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recvec as rv
from recvec.data import files
from recvec.data.reading import Wanted
from recvec.errors import ColumnError, ReadError, ValueRangeError

HEAD = "user_id,item_id,rating\n"
GOOD = HEAD + "u1,i1,3\nu2,i2,4.5\n"


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw, mtime=0) if name.endswith(".gz") else raw)
    return path


def pairs(data: rv.Dataset) -> list[tuple[Any, Any]]:
    """Ids of every row in file order, as they come back."""
    users, items = data.users.ids, data.items.ids
    return [(users[int(u)], items[int(i)]) for u, i in zip(data.interactions.users, data.interactions.items, strict=True)]


def refusal(source: Any, error: type[rv.InputError], **more: Any) -> str:
    with pytest.raises(error) as caught:
        rv.read(source, **more)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- what is kept


ALPHABET = "aB7 0-,;\t\"'\n|#é日אب😀\u200d\u202e\ufeff\\{["
TEXT_IDS = st.one_of(
    st.text(ALPHABET, min_size=1, max_size=8),
    st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=6),
    st.sampled_from(["007", "-0", "+7", "1.0", "1e3", "nan", "null", "true", "None", "x" * 3000, str(2**63), str(-(2**70)), "NA", "-"]),
    st.integers(-(10**20), 10**20).map(str),
)
INTEGER_IDS = st.integers(-(2**63), 2**63 - 1)


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    n = draw(st.integers(1, 12))
    columns = {}
    for name in ("user_id", "item_id"):
        pool = draw(st.lists(draw(st.sampled_from([TEXT_IDS, INTEGER_IDS])), min_size=1, max_size=n))
        columns[name] = [draw(st.sampled_from(pool)) for _ in range(n)]
    numbers = st.floats(-(2.0**100), 2.0**100, width=32)
    if draw(st.booleans()):
        columns["rating"] = draw(st.lists(numbers, min_size=n, max_size=n))
    if draw(st.booleans()):
        columns["weight"] = draw(st.lists(numbers.map(abs), min_size=n, max_size=n))
    if draw(st.booleans()):
        columns["label"] = draw(st.lists(st.sampled_from([0, 1]), min_size=n, max_size=n))
    if draw(st.booleans()):
        columns["superfluous"] = draw(st.lists(st.text("a,\n\"'", max_size=4) | st.none(), min_size=n, max_size=n))
    if draw(st.booleans()):
        columns["timestamp"] = draw(st.lists(st.none() | st.integers(-(2**53), 2**53), min_size=n, max_size=n))
    names = draw(st.permutations(sorted(columns)))
    schema = {"superfluous": pl.String, "timestamp": pl.Int64}
    return pl.DataFrame([pl.Series(c, columns[c], dtype=schema.get(c)) for c in names])


WRITERS: dict[str, Callable[[pl.DataFrame, Any], object]] = {
    ".csv": lambda t, p: t.write_csv(p, quote_style="non_numeric"),
    ".tsv": lambda t, p: t.write_csv(p, separator="\t", quote_style="non_numeric"),
    ".ndjson": lambda t, p: t.write_ndjson(p),
    ".parquet": lambda t, p: t.write_parquet(p),
}


def same_ids(found: list[Any], given_ids: list[Any]) -> bool:
    """Ids are equal as text; they are integers exactly where all of them are canonical ones of 64 bits."""
    short = all(re.fullmatch(r"0|-?[1-9][0-9]{0,18}", str(v)) and -(2**63) <= int(v) < 2**63 for v in given_ids)
    return [str(v) for v in found] == [str(v) for v in given_ids] and all(isinstance(v, int) for v in found) == short


@given(table=tables())
@settings(max_examples=60)
def test_any_table_comes_back_from_any_format(table: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("any")
    for ending, writer in WRITERS.items():
        path = folder / f"t{ending}"
        writer(table, path)
        sources: list[Any] = [path]
        if ending != ".parquet":
            sources.append(write(folder, path.name + ".gz", path.read_bytes()))
        for source in sources:
            check(rv.read(source), table)
    for source in (table, table.lazy(), table.to_arrow(), table.to_pandas(use_pyarrow_extension_array=True)):
        check(rv.read(source), table)


def check(data: rv.Dataset, table: pl.DataFrame) -> None:
    found = pairs(data)
    assert same_ids([u for u, _ in found], table["user_id"].to_list())
    assert same_ids([i for _, i in found], table["item_id"].to_list())
    for name in ("rating", "weight", "label"):
        column = getattr(data.interactions, name)
        assert (column is not None) == (name in table.columns)
        if column is not None:
            assert np.array_equal(column, table[name].to_numpy().astype(np.float32))
    if "timestamp" in table.columns:
        expected = table["timestamp"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        assert np.array_equal(data.interactions.timestamp, expected, equal_nan=True)
    else:
        assert data.interactions.timestamp is None


@given(
    rows=st.lists(st.lists(st.sampled_from(["a", '"', '""', ",", "\n", '","', " ", '"x"', "\r\n"]), max_size=12).map("".join), max_size=4)
)
@settings(max_examples=300)
def test_csv_is_read_as_the_standard_library_reads_it_or_refused(rows: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    raw = "user_id,item_id\n" + "\n".join(["a,b", *rows])
    path = write(tmp_path_factory.getbasetemp(), "quotes.csv", raw)
    try:
        table, _ = files.load_file(path, Wanted())
    except ReadError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert re.search(r"(row \d+ \(line \d+\)|header): ", refused)
        return
    expected = [row or ["", ""] for row in files.csv.reader(io.StringIO(raw.rstrip("\r\n") + "\n", newline=""), strict=True)][1:]
    assert [[value or "" for value in row] for row in table.rows()] == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("007,a\n8,a\n", ["007", "8"]),
        ("7,a\nx,a\n", ["7", "x"]),
        ("9007199254740993,a\n-5,a\n", [9007199254740993, -5]),
        ("9223372036854775808,a\n1,a\n", ["9223372036854775808", "1"]),
        (" 7 ,a\n7,a\n", [" 7 ", "7"]),
        ('"x\ny",a\n"q""z",a\n', ["x\ny", 'q"z']),
        ("😀👩\u200d💻,a\nאבג,a\n", ["😀👩\u200d💻", "אבג"]),
        ("y" * 300_000 + ",a\n", ["y" * 300_000]),
        ("#1,a\nNA,a\nnull,a\n", ["#1", "NA", "null"]),
    ],
)
def test_ids_come_back_as_they_went_in(tmp_path: Path, body: str, expected: list[Any]) -> None:
    data = rv.read(write(tmp_path, "t.csv", "user_id,item_id\n" + body))
    assert [u for u, _ in pairs(data)] == expected


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bom.csv", "\ufeff" + GOOD),
        ("bomquoted.csv", "\ufeff" + GOOD.replace("user_id", '"user_id"')),
        ("crlf.csv", GOOD.replace("\n", "\r\n")),
        ("noend.csv", GOOD.rstrip()),
        ("blankend.csv", GOOD + "\n\r\n\n"),
        ("blankbegin.csv", "\n\n" + GOOD),
        ("order.csv", "x,rating,item_id,y,user_id\n1,3,i1,,u1\n2,4.5,i2,,u2\n"),
        ("UPPER.CSV", GOOD),
        ("t.TSV.GZ", GOOD.replace(",", "\t")),
        ("t.jsonl", '{"user_id":"u1","item_id":"i1","rating":3}\r\n\n{"rating":"4.5","item_id":"i2","user_id":"u2","x":{}}'),
        ("bom.ndjson", '\ufeff{"user_id":"u1","item_id":"i1","rating":3}\n{"user_id":"u2","item_id":"i2","rating":4.5}\n'),
    ],
)
def test_harmless_variants_read_alike(tmp_path: Path, name: str, content: str) -> None:
    path = write(tmp_path, name.lower() if name.endswith("GZ") else name, content)
    if name.endswith("GZ"):
        path = path.rename(tmp_path / name)
    data = rv.read(path)
    assert pairs(data) == [("u1", "i1"), ("u2", "i2")]
    assert data.interactions.rating.tolist() == [3, 4.5]


def test_a_path_may_hold_wildcards(tmp_path: Path) -> None:
    (tmp_path / "a[1]*").mkdir()
    path = tmp_path / "a[1]*" / "t.parquet"
    pl.DataFrame({"user_id": [1], "item_id": [2]}).write_parquet(path)
    assert pairs(rv.read(path)) == [(1, 2)]
    assert pairs(rv.read(str(path))) == [(1, 2)]


def test_nothing_is_left_beside(tmp_path: Path) -> None:
    rv.read(write(tmp_path, "t.csv.gz", GOOD))
    refusal(write(tmp_path, "bad.csv.gz", HEAD), ReadError)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.csv.gz", "t.csv.gz"]


# ---------------------------------------------------------------- files that are refused


ENDINGS = r"\.csv, \.tsv, \.ndjson, \.jsonl, \.parquet \(text formats also with \.gz\)"
PARQUET = io.BytesIO()
pl.DataFrame({"user_id": range(500), "item_id": range(500)}).write_parquet(PARQUET)
ZIPPED = gzip.compress((HEAD + "".join(f"{i},{i * 7919 % 1009},{i % 5}\n" for i in range(5000))).encode(), mtime=0)
EMPTY = "is empty; allowed: a header and at least one row; check how the file was written"
UNREADABLE = "; it may be damaged or not in the format that its name says"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("e.csv", b"", EMPTY),
        ("e.parquet", b"", EMPTY),
        ("nl.csv", b"\n\r\n\n", EMPTY),
        ("bom.csv", b"\xef\xbb\xbf", EMPTY),
        ("e.csv.gz", gzip.compress(b"", mtime=0), EMPTY),
        ("e.ndjson", b"\n\n", EMPTY),
        ("h.csv", HEAD.encode(), "has a header but no rows; allowed: at least one row; check how the file was written"),
        ("h2.tsv", b"user_id\titem_id", "has a header but no rows; allowed"),
        ("bin.csv", bytes(range(256)), "is binary; allowed: UTF-8 text; "),
        ("latebin.csv", (GOOD * 3000).encode() + b"\0,1,1\n", "is binary; allowed"),
        ("latin.csv", HEAD.encode() + b"1,2,3\n\xfc,2,3\n", "latin.csv, line 3: byte 0xfc is not UTF-8; save the file as UTF-8"),
        ("cutletter.csv", HEAD.encode() + b"1,\xe2\x82", "line 2: byte 0xe2 is not UTF-8"),
        ("utf16.csv", GOOD.encode("utf-16"), "is UTF-16; save it as UTF-8"),
        ("zip.csv", b"PK\x03\x04rest", "is a zip archive or a spreadsheet; save the table itself as .csv"),
        ("pq.csv", PARQUET.getvalue(), "is a Parquet file; let its name end in .parquet"),
        ("gz.csv", ZIPPED, "is gzipped; let its name end in .gz after the format"),
        ("gzgz.csv.gz", gzip.compress(ZIPPED, mtime=0), "is gzipped; let its name end in .gz after the format"),
        ("csv.parquet", GOOD.encode(), "is not a Parquet file; allowed: .csv"),
        ("gz.parquet", ZIPPED, "is not a Parquet file; allowed"),
        ("csv.csv.gz", GOOD.encode(), "cannot be read: Not a gzipped file (b'us')" + UNREADABLE),
        ("half.csv.gz", ZIPPED[: len(ZIPPED) // 2], "cannot be read: Compressed file ended before the end-of-stream marker was reached" + UNREADABLE),
        ("tail.csv.gz", ZIPPED[:-3], "cannot be read: Compressed file ended before"),
        ("half.ndjson.gz", gzip.compress(b'{"user_id":1,"item_id":2}\n' * 999, mtime=0)[:-9], "cannot be read: Compressed file ended before"),
        ("half.parquet", PARQUET.getvalue()[: len(PARQUET.getvalue()) // 2], "cannot be read: parquet: "),
        ("tail.parquet", PARQUET.getvalue()[:-2], "cannot be read: parquet: "),
        ("short.parquet", b"PAR1", "cannot be read: parquet: "),
        ("t.txt", GOOD.encode(), "ends in '.txt'; allowed: .csv"),
        ("none", GOOD.encode(), "has no ending; allowed: .csv"),
        ("t.parquet.gz", gzip.compress(PARQUET.getvalue(), mtime=0), "ends in '.gz'; allowed: .csv"),
        ("cr.csv", GOOD.replace("\n", "\r").encode(), "ends its lines with a carriage return alone; allowed: newlines; save it with"),
        ("semi.csv", b"user_id;item_id;rating\n1;2;3,5\n", "is separated by semicolons; allowed: commas for this ending; save it with commas"),
        ("sep.csv", b"sep=;\nuser_id;item_id\n1;2\n", "is separated by semicolons; allowed: commas"),
        ("tab.csv", b"user_id\titem_id\n1\t2\n", "is separated by tabs; allowed: commas for this ending; let its name end in .tsv"),
        ("comma.tsv", GOOD.encode(), "is separated by commas; allowed: tabs for this ending; let its name end in .csv"),
        ("bar.csv", b"user_id|item_id\n1|2\n", "is separated by '|'; allowed: commas for this ending; save it with commas"),
    ],
)  # fmt: skip
def test_an_unusable_file_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    said = refusal(path, ReadError)
    assert said.startswith(str(path))
    assert message in said


def test_a_flipped_byte_in_gzip_is_refused(tmp_path: Path) -> None:
    for share in (0.2, 0.5, 0.9):
        raw = bytearray(ZIPPED)
        raw[int(len(raw) * share)] ^= 0x10
        (tmp_path / "t.csv.gz").write_bytes(raw)
        assert "cannot be read: " in refusal(tmp_path / "t.csv.gz", ReadError)


def test_a_folder_and_a_missing_file_are_said(tmp_path: Path) -> None:
    (tmp_path / "d.csv").mkdir()
    assert re.search(rf"d\.csv is a folder; allowed: a file that ends in {ENDINGS}; give a file$", refusal(tmp_path / "d.csv", ReadError))
    write(tmp_path, "ratings.csv", GOOD)
    assert refusal(tmp_path / "rating.csv", ReadError).endswith(
        "rating.csv does not exist (nearest: 'ratings.csv', 'd.csv'); check the path"
    )
    assert "does not exist (there is none); check the path" in refusal(tmp_path / "no" / "t.csv", ReadError)
    assert "cannot be read: File name too long" in refusal(tmp_path / ("x" * 300 + ".csv"), ReadError)


@pytest.mark.parametrize("zipped", ["", ".gz"])
@pytest.mark.parametrize(("ending", "separator"), [(".csv", ","), (".tsv", "\t")])
@pytest.mark.parametrize(
    ("body", "row", "line", "fields"),
    [
        ("1,2,3\n1,2\n", 2, 3, 2),
        ("1,2,3\n1,2,3,4\n", 2, 3, 4),
        ("1,2\n1,2,3,4\n", 1, 2, 2),
        ("1,2,3\n1,2,3,\n", 2, 3, 4),
        ("1,2,3\n1,2,3,", 2, 3, 4),
        ("1,2,\n1,2,3\n1,2\n", 3, 4, 2),
        ('"a\nb",2,3\n1,2,3\n1\n', 3, 5, 1),
        ('"a,b","2\t2",\n1,2\n', 2, 3, 2),
        ("1,2,3\n   \n", 2, 3, 1),
    ],
)
def test_a_ragged_row_is_named(
    tmp_path: Path, zipped: str, ending: str, separator: str, body: str, row: int, line: int, fields: int
) -> None:
    text = ("user_id,item_id,timestamp\n" + body).translate(str.maketrans({",": separator, "\t": ","}))
    said = refusal(write(tmp_path, f"t{ending}{zipped}", text), ReadError)
    assert said.endswith(f", row {row} (line {line}): {fields} fields; allowed: 3 as in the header; correct the row")


def test_gaps_in_the_last_column_are_not_ragged(tmp_path: Path) -> None:
    plain = rv.read(write(tmp_path, "t.csv", "user_id,item_id,timestamp\n1,2,\n3,4,5\n6,7,\n"))
    quoted = rv.read(write(tmp_path, "q.csv", 'user_id,item_id,timestamp\n1,2,\n"3",4,5\n6,7,\n'))
    for data in (plain, quoted):
        assert np.array_equal(data.interactions.timestamp, [np.nan, 5, np.nan], equal_nan=True)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('1,2\n"a,2\n1,2\n', "row 2 (line 3): a quote is opened and never closed; put a field with quotes in quotes and double those inside"),
        ('1,2\n"a"b,2\n', "row 2 (line 3): not readable: ',' expected after '\"'; put a field"),
        ('1,2\n5" disk,2\n', 'row 2 (line 3): a quote stands inside a field; put a field with quotes in quotes and double those inside, such as "5"" disk"'),
        ('"x\ny",2\na"b"c,2\n', "row 2 (line 4): a quote stands inside a field"),
    ],
)  # fmt: skip
def test_a_stray_quote_is_named(tmp_path: Path, body: str, message: str) -> None:
    assert f"t.csv, {message}" in refusal(write(tmp_path, "t.csv", "user_id,item_id\n" + body), ReadError)


def test_the_search_for_stray_quotes_does_not_depend_on_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    good = b'a,b\n"x""y","""z"""\r\n"","1,2"\n'
    bad = good + b'x"y",z\n'
    for piece in range(1, 40):
        monkeypatch.setattr(files, "_PIECE", piece)
        assert files._stray_quote(good, ",") is None
        assert files._stray_quote(bad, ",") == len(good) + 1


def test_undecodable_bytes_are_found_across_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = (HEAD + "é😀,ü,1\n").encode()
    for piece in range(1, 12):
        monkeypatch.setattr(files, "_PIECE", piece)
        assert rv.read(write(tmp_path, "t.csv", raw)).n_users == 1
        assert "line 3: byte 0xff is not UTF-8" in refusal(write(tmp_path, "b.csv", raw + b"a,b\xff,1\n"), ReadError)


# ---------------------------------------------------------------- columns


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("user_id,item,rating", r"has no column 'item_id' \(nearest: 'item', .*\); rename it in the file"),
        ("USER_ID,ITEM_ID,RATING", r"has no column 'user_id' \(nearest: 'USER_ID'\); rename it"),
        ("a,b,c,d,e, user_id", r"has no column 'user_id' \(nearest: ' user_id'\)"),
        ("userId,movieId,rating", r"has no column 'user_id' \(nearest: 'userId'\)"),
        ("x,y,z", r"has no column 'user_id' \(such as 'x', 'y', 'z'\)"),
        ("user_id,item_id,Rating", r"has a column 'Rating'; allowed: 'rating'; rename it, or remove it if it is something else"),
        ("user_id,item_id, timestamp", r"has a column ' timestamp'; allowed: 'timestamp'; rename it"),
        ("user_id,item_id,user_id", r"has the column 'user_id' more than once; rename or remove one"),
    ],
)
def test_a_wrong_header_is_said(tmp_path: Path, header: str, message: str) -> None:
    row = ",".join("1" for _ in header.split(","))
    assert re.search(message, refusal(write(tmp_path, "t.csv", f"{header}\n{row}\n"), ColumnError))
    if "more than once" not in message:
        table = pl.read_csv(io.StringIO(f"{header}\n{row}\n"))
        assert re.search("the table of interactions " + message, refusal(table, ColumnError))
        table.write_parquet(tmp_path / "t.parquet")
        assert re.search(message, refusal(tmp_path / "t.parquet", ColumnError))


@pytest.mark.parametrize(
    ("column", "value", "said", "allowed"),
    [
        ("rating", "abc", "'abc'", "a finite number, up to 3.4e38"),
        ("rating", "NaN", "'NaN'", "a finite number"),
        ("rating", "inf", "'inf'", "a finite number"),
        ("rating", "-Infinity", "'-Infinity'", "a finite number"),
        ("rating", "1e39", "'1e39'", "a finite number"),
        ("rating", "", "missing", "a finite number"),
        ("rating", '"3,5"', "'3,5'", "a finite number, up to 3.4e38; write decimals with a point"),
        ("rating", "true", "'true'", "a finite number"),
        ("rating", "4 ", "'4 '", "a finite number"),
        ("rating", "9" * 200 + "x", f"'{'9' * 50}...{'9' * 49}x (201 characters)'", "a finite number"),
        ("weight", "abc", "'abc'", "0 or more, up to 3.4e38"),
        ("weight", "NaN", "'NaN'", "0 or more"),
        ("weight", "inf", "'inf'", "0 or more"),
        ("weight", "-0.5", "'-0.5'", "0 or more"),
        ("weight", "", "missing", "0 or more"),
        ("label", "2", "'2'", "1 and 0, or 1 and -1"),
        ("label", "yes", "'yes'", "1 and 0, or 1 and -1"),
        ("label", "", "missing", "1 and 0, or 1 and -1"),
        ("timestamp", "yesterday", "'yesterday'", "a number, a date such as 2024-05-01 12:00:00, or nothing"),
        ("timestamp", "inf", "'inf'", "a number, a date"),
        ("timestamp", "05/13/2024", "'05/13/2024'", "a number, a date"),
    ],
)
def test_a_bad_value_is_named_with_its_row(tmp_path: Path, column: str, value: str, said: str, allowed: str) -> None:
    path = write(tmp_path, "t.csv", f"user_id,item_id,{column}\n1,2,1\n1,3,{value}\n1,4,0\n")
    message = refusal(path, ValueRangeError)
    assert message.startswith(f"{path}, row 2: {column} is {said}; allowed: {allowed}")
    assert message.endswith("; correct it or remove the row")
    plain = value.strip('"')
    lines = [{"user_id": 1, "item_id": i, column: v} for i, v in ((2, "1"), (3, plain or None), (4, "0"))]
    other = write(tmp_path, "t.ndjson", "\n".join(map(json.dumps, lines)))
    assert refusal(other, ValueRangeError).startswith(f"{other}, row 2: {column} is {said}; allowed: {allowed}")


def test_what_is_legal_is_kept(tmp_path: Path) -> None:
    rating = rv.read(write(tmp_path, "r.csv", HEAD + "1,2,-3.5\n1,3,0\n1,4,+2e1\n")).interactions.rating
    assert rating.tolist() == [-3.5, 0, 20]
    weight = rv.read(write(tmp_path, "w.csv", "user_id,item_id,weight\n1,2,0\n1,3,2.5\n")).interactions.weight
    assert weight.tolist() == [0, 2.5]
    for values in ("1,0,1", "1,-1,1", "True,False,true", "1.0,0.0,1.0"):
        rows = "".join(f"1,{i},{v}\n" for i, v in enumerate(values.split(",")))
        assert rv.read(write(tmp_path, "l.csv", "user_id,item_id,label\n" + rows)).interactions.label.tolist() == [1, 0, 1]
    assert rv.read(pl.DataFrame({"user_id": [1, 1], "item_id": [1, 2], "label": [True, False]})).interactions.label.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        (["2024-05-01", "", "2024-05-01 12:00:00"], [1714521600, None, 1714564800]),
        (["2024-05-01T12:00:00Z", "2024-05-01T14:00:00+02:00"], [1714564800, 1714564800]),
        (["2024-05-01T12:00:00.25", ""], [1714564800.25, None]),
        (["17", "", "-3", "1.5", "nan"], [17, None, -3, 1.5, None]),
        (["", ""], [None, None]),
    ],
)
def test_timestamps_are_numbers_dates_or_nothing(tmp_path: Path, values: list[str], seconds: list[float | None]) -> None:
    rows = "".join(f"1,{i},{v}\n" for i, v in enumerate(values))
    found = rv.read(write(tmp_path, "t.csv", "user_id,item_id,timestamp\n" + rows)).interactions.timestamp
    assert np.array_equal(found, [np.nan if s is None else s for s in seconds], equal_nan=True)


@pytest.mark.parametrize(
    ("values", "row"), [(["2024-05-01", "17"], 2), (["2024-05-01", "2024-05-02", "soon"], 3), (["17", "18", "2024-05-01"], 3)]
)
def test_mixed_timestamps_are_refused(tmp_path: Path, values: list[str], row: int) -> None:
    path = write(tmp_path, "t.csv", "user_id,item_id,timestamp\n" + "".join(f"1,2,{v}\n" for v in values))
    assert f"row {row}: timestamp is '{values[row - 1]}'; allowed: a number, a date" in refusal(path, ValueRangeError)


@pytest.mark.parametrize(("value", "what"), [("", "is missing"), ('""', "is empty text")])
@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_an_id_that_is_not_there_is_named(tmp_path: Path, column: str, value: str, what: str) -> None:
    row = {"user_id": "1", "item_id": "2", "rating": "3"} | {column: value}
    path = write(tmp_path, "t.csv", GOOD + ",".join(row.values()) + "\n")
    assert refusal(path, ValueRangeError) == f"{path}, row 3: {column} {what}; allowed: an integer or text; fill it in or remove the row"


def test_a_blank_line_in_the_middle_is_a_row_without_ids(tmp_path: Path) -> None:
    assert "row 2: user_id is missing" in refusal(write(tmp_path, "t.csv", HEAD + "1,2,3\n\n1,3,3\n"), ValueRangeError)


# ---------------------------------------------------------------- NDJSON


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        (['{"user_id":1,"item_id":2}', "", '{"user_id":1,"item_id":3'], ReadError, "row 2 (line 3) is not JSON: Expecting ',' delimiter"),
        (["hello"], ReadError, "row 1 (line 1) is not JSON: "),
        (['{"user_id":007,"item_id":2}'], ReadError, "row 1 (line 1) is not JSON: "),
        (['{"user_id":1,"item_id":2,"rating":NaN}'], ReadError, "row 1 (line 1) is not JSON: NaN is not a JSON number; allowed: one object a line"),
        (['[{"user_id":1,"item_id":2}]'], ReadError, "row 1 (line 1) is a list; allowed: one object a line"),
        (['{"user_id":1,"item_id":2}', "3"], ReadError, "row 2 (line 2) is a number, text or null; allowed: one object a line"),
        (["{", '"user_id":1}'], ReadError, "row 1 (line 1) is not JSON: "),
        (['{"user_id":1,"item_id":' + "[" * 9999 + "]" * 9999 + "}"], ReadError, "is not JSON: maximum recursion depth exceeded"),
        (['{"user_id":1,"item_id":2}', '{"user_id":1}'], ValueRangeError, "row 2: item_id is missing"),
        (['{"user_id":1,"item_id":2}', '{"user_id":1,"item_id":null}'], ValueRangeError, "row 2: item_id is missing"),
        (['{"user_id":1}'], ColumnError, "has no column 'item_id' (nearest: 'user_id')"),
        (["{}", "{}"], ColumnError, "has no column 'user_id' (there is none)"),
        (['{"user_id":"a","item_id":2}', '{"user_id":2.0,"item_id":2}'], ValueRangeError, "row 2 (line 2): user_id is 2.0; allowed: text, or an integer"),
        (['{"user_id":1,"item_id":2}', '{"user_id":2.0,"item_id":2}'], ValueRangeError, "row 2 (line 2): user_id is 2.0; allowed: text, or an integer"),
        (['{"user_id":"a","item_id":2}', '{"user_id":true,"item_id":2}'], ValueRangeError, "row 2 (line 2): user_id is true; allowed"),
        (['{"user_id":true,"item_id":2}'], ValueRangeError, "row 1 (line 1): user_id is true; allowed"),
        (['{"user_id":"a","item_id":2}', '{"user_id":{"x":1},"item_id":2}'], ValueRangeError, 'row 2 (line 2): user_id is {"x": 1}; allowed'),
        (['{"user_id":[1],"item_id":2}'], ValueRangeError, "row 1 (line 1): user_id is [1]; allowed"),
        (['{"user_id":1e3,"item_id":2}'], ValueRangeError, "row 1 (line 1): user_id is 1000.0; allowed"),
        ([f'{{"user_id":{10**50},"item_id":2}}'], ValueRangeError, f"user_id is {10**50}; allowed: text, or an integer below 2^127; correct it"),
        (['{"user_id":"\\ud83d","item_id":2}'], ValueRangeError, 'row 1 (line 1): user_id is "\\ud83d"; allowed'),
        (['{"user_id":1,"item_id":2,"rating":3}', '{"user_id":1,"item_id":2,"rating":true}'], ValueRangeError, "rating is true or false, true, but a number or text in row 1; allowed: one kind in a column"),
        (['{"user_id":1,"item_id":2,"x":{}}', '{"user_id":1,"item_id":2,"x":3}'], ValueRangeError, "row 2 (line 2): x is a number or text, 3, but an object in row 1"),
        (['{"user_id":1,"item_id":2,"rating":[3]}'], ColumnError, "rating has type List(Int64); allowed: a finite number"),
    ],
)  # fmt: skip
def test_a_broken_line_is_named(tmp_path: Path, lines: list[str], error: type[rv.InputError], message: str) -> None:
    assert message in refusal(write(tmp_path, "t.ndjson", "\n".join(lines) + "\n"), error)


def test_mixed_ids_in_json_stay(tmp_path: Path) -> None:
    ids = [7, "x", "[1]", "true", "1.5", "{", "2.0", "😀", "é\n", 2**63, -(2**65)]
    lines = [json.dumps({"user_id": i, "item_id": "a"}, ensure_ascii=bool(n % 2)) for n, i in enumerate(ids)]
    found = [u for u, _ in pairs(rv.read(write(tmp_path, "t.ndjson", "\n".join(lines))))]
    assert found == [str(i) for i in ids]
    late = [json.dumps({"user_id": i, "item_id": "a"}) for i in [*range(2000), "x"]]
    assert [u for u, _ in pairs(rv.read(write(tmp_path, "l.ndjson", "\n".join(late))))] == [*map(str, range(2000)), "x"]


# ---------------------------------------------------------------- tables in memory


def frame(user_id: Any, **more: Any) -> pd.DataFrame:
    return pd.DataFrame({"user_id": user_id, "item_id": list(range(1, len(user_id) + 1)), **more})


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (pl.LazyFrame({"user_id": ["a"], "item_id": [1]}), ["a"]),
        (pl.DataFrame({"user_id": pl.Series(["a", "b"], dtype=pl.Categorical), "item_id": [1, 2]}), ["a", "b"]),
        (pl.DataFrame({"user_id": pl.Series(["7", "b"], dtype=pl.Enum(["7", "b"])), "item_id": [1, 2]}), ["7", "b"]),
        (pl.DataFrame({"user_id": pl.Series([2**63, 1], dtype=pl.UInt64), "item_id": [1, 2]}), [str(2**63), "1"]),
        (pl.DataFrame({"user_id": pl.Series([5, 1], dtype=pl.UInt64), "item_id": [1, 2]}), [5, 1]),
        (pl.DataFrame({"user_id": pl.Series([-(2**70), 1], dtype=pl.Int128), "item_id": [1, 2]}), [str(-(2**70)), "1"]),
        (pl.DataFrame({"user_id": pl.Series([-128, 1], dtype=pl.Int8), "item_id": [1, 2]}), [-128, 1]),
        (frame(["a", "b"]), ["a", "b"]),
        (frame(pd.Series([1, "b"], dtype=object)), ["1", "b"]),
        (frame(pd.Series([np.int64(1), np.str_("b")], dtype=object)), ["1", "b"]),
        (frame(pd.Categorical(["a", "b"])), ["a", "b"]),
        (frame(pd.array([1, 2], dtype="Int64")), [1, 2]),
        (frame(pd.array(["a", "007"], dtype="string")), ["a", "007"]),
        (frame([2**63 + 5, 1]), [str(2**63 + 5), "1"]),
        (pd.DataFrame({"user_id": [2, 1], "item_id": [1, 2]}, index=[7, 7]), [2, 1]),
        (frame([2, 1]).convert_dtypes(dtype_backend="pyarrow"), [2, 1]),
        (pa.table({"user_id": ["a"], "item_id": [1]}), ["a"]),
        (pa.record_batch({"user_id": ["a"], "item_id": [1]}), ["a"]),
        (pa.table({"user_id": pa.array(["a", "b"]).dictionary_encode(), "item_id": [1, 2]}), ["a", "b"]),
    ],
)
def test_tables_in_memory_are_read(table: Any, expected: list[Any]) -> None:
    assert [u for u, _ in pairs(rv.read(table))] == expected


def test_values_of_pandas_are_read() -> None:
    times = pd.to_datetime(["2024-05-01", None])
    data = rv.read(frame(["a", "b"], rating=pd.Series(["3", 4.5], dtype=object), timestamp=times, weight=pd.array([1, 2], dtype="Int64")))
    assert data.interactions.rating.tolist() == [3, 4.5]
    assert data.interactions.weight.tolist() == [1, 2]
    for unit in ("s", "ms", "ns"):
        again = rv.read(frame(["a", "b"], timestamp=times.astype(f"datetime64[{unit}]"))).interactions.timestamp
        assert np.array_equal(again, [1714521600, np.nan], equal_nan=True)
    zoned = pd.to_datetime(["2024-05-01 02:00"]).tz_localize("Europe/Berlin")
    assert rv.read(frame(["a"], timestamp=zoned)).interactions.timestamp.tolist() == [1714521600]


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        (frame([1, np.nan]), ValueRangeError, "the table of interactions, row 2: user_id is missing; allowed: an integer or text"),
        (frame(["a", None]), ValueRangeError, "row 2: user_id is missing"),
        (frame(pd.array([1, None], dtype="Int64")), ValueRangeError, "row 2: user_id is missing"),
        (frame(pd.Categorical(["a", None])), ValueRangeError, "row 2: user_id is missing"),
        (frame(pd.Series([1.0, "b"], dtype=object)), ValueRangeError, "row 1: user_id is 1.0 of type float; allowed: an integer or text"),
        (frame(pd.Series(["a", True], dtype=object)), ValueRangeError, "row 2: user_id is True of type bool; allowed: an integer or text"),
        (frame([1.5, 2.0]), ColumnError, "user_id has type Float64; allowed: integers or text; convert it where missing ids have made it so"),
        (frame([True, False]), ColumnError, "user_id has type Boolean; allowed: integers or text; convert the column"),
        (frame(["a"], rating=[np.nan]), ValueRangeError, "row 1: rating is 'nan'; allowed: a finite number"),
        (frame(["a"], rating=["x"]), ValueRangeError, "row 1: rating is 'x'; allowed: a finite number"),
        (frame(["a"], timestamp=pd.period_range("2024", periods=1)), ColumnError, "timestamp has type Object; allowed: a number, a date"),
        (pd.DataFrame([[1, 2, 3]], columns=["user_id", "item_id", "user_id"]), ColumnError, "has the column 'user_id' more than once"),
        (pd.DataFrame(), ColumnError, "has no column 'user_id' (there is none)"),
        (pd.DataFrame({"user_id": [], "item_id": []}), ReadError, "has a header but no rows"),
        (pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("user_id", "a"), ("item_id", "b")])), ColumnError, "has no column 'user_id' (nearest: "),
        (pa.table([pa.array([1]), pa.array([1])], names=["user_id", "user_id"]), ColumnError, "has the column 'user_id' more than once"),
        (pl.scan_csv("nosuch.csv"), ReadError, "the table of interactions cannot be read: "),
        (pl.DataFrame({"user_id": [1], "item_id": [1], "rating": [True]}), ColumnError, "rating has type Boolean; allowed: a finite number"),
        (pl.DataFrame({"user_id": [1], "item_id": [1], "rating": [dt.date(2024, 5, 1)]}), ColumnError, "rating has type Date; allowed"),
        (pl.DataFrame({"user_id": [1], "item_id": [1], "timestamp": [dt.time(3)]}), ColumnError, "timestamp has type Time; allowed"),
        (pl.DataFrame({"user_id": [b"x"], "item_id": [1]}), ColumnError, "user_id has type Binary; allowed: integers or text"),
        (pl.DataFrame({"user_id": [[1]], "item_id": [1]}), ColumnError, "user_id has type List(Int64); allowed"),
        (pl.DataFrame({"user_id": [{"a": 1}], "item_id": [1]}), ColumnError, "user_id has type Struct({'a': Int64}); allowed"),
        (pl.DataFrame({"user_id": [object()], "item_id": [1]}), ColumnError, "user_id has type Object; allowed"),
        (pl.DataFrame({"user_id": ["a", ""], "item_id": [1, 2]}), ValueRangeError, "row 2: user_id is empty text"),
    ],
)  # fmt: skip
def test_unusable_tables_in_memory_are_refused(table: Any, error: type[rv.InputError], message: str) -> None:
    assert message in refusal(table, error)


@pytest.mark.parametrize("thing", [None, 3, {"user_id": [1]}, [(1, 2)], np.zeros((2, 2)), b"t.csv", pl.Series([1]), pd.Series([1]), object])
def test_what_is_no_table_is_refused(thing: Any) -> None:
    message = (
        f"the table of interactions is of type {type(thing).__name__}; allowed: a path, or a polars, pandas or Arrow table; convert it"
    )
    assert refusal(thing, ReadError) == message
    if thing is not None and not isinstance(thing, list):
        assert "the table of users is of type" in refusal(pl.DataFrame({"user_id": [1], "item_id": [1]}), ReadError, users=thing)


# ---------------------------------------------------------------- attribute files


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("item_id\ni1\n", ColumnError, "has only the column 'item_id'; it needs at least one attribute; leave the file out"),
        ("item_id,genre\n", ReadError, "has a header but no rows; allowed: at least one row"),
        ("id,genre\ni1,x\n", ColumnError, "has no column 'item_id' (such as 'id', 'genre'); rename it in the file"),
        ("item_id,genre\ni1,x\n,y\n", ValueRangeError, "row 2: item_id is missing; allowed: an integer or text"),
        ("item_id,genre\ni1\n", ReadError, "row 1 (line 2): 1 fields; allowed: 2 as in the header"),
        ("item_id,a,a\ni1,1,2\n", ColumnError, "has the column 'a' more than once"),
    ],
)
def test_an_unusable_attribute_file_is_refused(tmp_path: Path, content: str, error: type[rv.InputError], message: str) -> None:
    path = write(tmp_path, "items.csv", content)
    said = refusal(write(tmp_path, "t.csv", GOOD), error, items=path)
    assert said.startswith(str(path))
    assert message in said


def test_ids_that_only_attributes_name_join_the_vocabulary(tmp_path: Path) -> None:
    items = write(tmp_path, "items.csv", "item_id,genre\ni9,x\ni1,y\n")
    data = rv.read(write(tmp_path, "t.csv", GOOD), items=items)
    assert data.items.ids.to_list() == ["i1", "i2", "i9"]
    assert data.item_features.frame["genre"].to_list() == ["y", None, "x"]
    assert data.item_counts.tolist() == [1, 1, 0]


def test_types_must_name_attributes(tmp_path: Path) -> None:
    items = write(tmp_path, "items.csv", "item_id,genre\ni1,y\n")
    message = refusal(write(tmp_path, "t.csv", GOOD), ColumnError, items=items, types={"genres": "list"})
    assert message == "types names 'genres', which no table has (nearest: 'genre'); correct the name"
    message = refusal(write(tmp_path, "t.csv", GOOD), ColumnError, items=[items, items])
    assert message == "attribute 'genre' is in more than one table of item_id; rename or remove one"

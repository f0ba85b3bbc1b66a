"""Zips in the three layouts of MovieLens become tables; any other content is refused in one line."""

import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recvec.data import movielens
from recvec.data.movielens import convert
from recvec.errors import ReadError
from tests.data import loopback
from tests.data.loopback import RATINGS, members_1m, members_100k, members_csv, zipped

IDS = {"user_id": pl.Int32, "item_id": pl.Int32}
ROWS = pl.DataFrame(RATINGS, schema={**IDS, "rating": pl.Float32, "timestamp": pl.Int64}, orient="row")


@pytest.fixture
def tables(tmp_path: Path) -> Callable[..., Path]:
    """Convert members of a zip; returns the folder of tables."""

    def call(name: str, members: dict[str, bytes]) -> Path:
        (tmp_path / f"{name}.zip").write_bytes(zipped(name, members))
        folder = tmp_path / "tables"
        folder.mkdir()
        try:
            call.found = convert(tmp_path / f"{name}.zip", name, folder)  # type: ignore[attr-defined]
        except ReadError:
            for path in sorted(folder.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            folder.rmdir()
            raise
        return folder

    return call


def test_100k(tables: Callable[..., Path]) -> None:
    folder = tables("ml-100k", members_100k())
    assert_frame_equal(pl.read_parquet(folder / "interactions.parquet"), ROWS.reverse())
    users = pl.read_parquet(folder / "users.parquet")
    assert users.row(0) == (1, 21, "M", "writer", "01234")
    assert users.row(1) == (2, 22, "F", "writer", "V5A2B")
    items = pl.read_parquet(folder / "items.parquet")
    assert items.columns == ["item_id", "title", "release_date", "genres", "year"]
    assert items.rows() == [
        (1, "Cas of Clay (1995)", date(1995, 1, 1), ["Adventure", "Children's"], 1995),
        (2, "Déjà (2) (1986)", date(1986, 2, 14), ["Action"], 1986),
        (3, "unknown", None, None, None),
        (4, "Tin: The Plot (1971)", date(1971, 2, 4), ["Comedy"], 1971),
        (5, "Two (1996) (V)", date(1996, 12, 30), ["Comedy"], 1996),
        (6, "Paper Boat (2001)", date(2001, 3, 2), ["Animation", "Comedy"], 2001),
    ]
    assert pl.read_parquet(folder / "links.parquet").row(4) == (5, None)
    for n, split in enumerate(loopback.SPLITS):
        parts = [pl.read_parquet(folder / f"splits/{split}.{part}.parquet") for part in ("train", "test")]
        assert_frame_equal(parts[1], ROWS[n * 4 : n * 4 + 4])
        assert_frame_equal(pl.concat(parts), ROWS, check_row_order=False)
    assert tables.found["stated"] == {"ratings": len(RATINGS), "users": 8, "items": 6}  # type: ignore[attr-defined]
    assert (folder / "README.txt").read_bytes() == members_100k()["README"]


def test_1m(tables: Callable[..., Path]) -> None:
    folder = tables("ml-1m", members_1m())
    assert_frame_equal(pl.read_parquet(folder / "interactions.parquet"), ROWS)
    users = pl.read_parquet(folder / "users.parquet")
    assert users.columns == ["user_id", "age", "gender", "occupation", "zip_code"]
    assert users.row(0) == (1, "18-24", "M", "K-12 student", "01234-1")
    assert users.row(6) == (7, "Under 18", "M", "K-12 student", "07234-7")
    assert users.row(2) == (3, "35-44", "M", "other or not specified", "03234-3")
    items = pl.read_parquet(folder / "items.parquet")
    assert items.row(1) == (2, "Déjà (2) (1986)", ["Adventure", "Animation"], 1986)
    assert items.row(4) == (5, "Two (1996) (V)", ["Comedy"], 1996)
    assert tables.found == {  # type: ignore[attr-defined]
        "rows": {"ratings": len(RATINGS), "users": 8, "items": 6},
        "stated": {"ratings": len(RATINGS), "users": 8},  # of movies it says "approximately"
    }


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv(tables: Callable[..., Path], end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movielens, "_PIECE", 50)  # ratings come in many pieces
    folder = tables("ml-20m", members_csv("ml-20m", end))
    assert_frame_equal(pl.read_parquet(folder / "interactions.parquet"), ROWS.with_columns(pl.col("rating") / 2))
    assert pl.read_parquet(folder / "items.parquet").rows() == [
        (1, "Čas of Clay (1995)", ["Adventure", "Children"], 1995, ["slow burn", "clay"]),  # two users, then one who said it twice
        (2, "Boat, The (2006\N{EN DASH}2007)", None, 2006, None),
        (3, "11'09\"01 (2002)", ["Drama"], 2002, ["a", "b", 'odd "tag", here']),
        (4, "Nameless", ["Drama"], None, ["null"]),
        (5, "Serial (2007-)", ["Comedy", "Drama"], 2007, None),
        (6, "Five (1) (1999)", ["IMAX"], 1999, None),
    ]
    assert pl.read_parquet(folder / "links.parquet").rows()[:2] == [(1, "0114709", 862), (2, "0113497", None)]
    tags = pl.read_parquet(folder / "tags.parquet")
    assert tags.schema == {"user_id": pl.Int32, "item_id": pl.Int32, "tag": pl.String, "timestamp": pl.Int64}
    assert tags.row(0) == (1, 1, "Slow Burn", 1)
    assert len(tags) == 8
    assert tables.found["stated"] == {"ratings": len(RATINGS), "users": 8, "items": 6, "tags": 8}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "member", "old", "new", "message"),
    [
        ("ml-1m", "ratings.dat", b"2::2::5", b"2::two::5", "ml-1m.zip: ratings.dat has a value that does not fit: .*two"),
        (
            "ml-1m",
            "ratings.dat",
            b"2::2::5::880000196\n",
            b"2::2::5\n",
            "ml-1m.zip: ratings.dat, row 5 has no timestamp; allowed: all fields",
        ),
        ("ml-1m", "ratings.dat", b"2::2::5::880000196\n", b"", "ml-1m.zip holds 31 ratings, but its README states 32"),
        ("ml-1m", "ratings.dat", b"\n8::", b"\n7::", "ml-1m.zip holds 7 users, but its README states 8"),
        ("ml-1m", "users.dat", b"::18::", b"::19::", "ml-1m.zip: users.dat has a value that does not fit: "),
        ("ml-1m", "users.dat", b"::10::", b"::21::", "ml-1m.zip: users.dat has a value that does not fit: "),
        ("ml-1m", "users.dat", b"::M::", b"::", "ml-1m.zip: users.dat"),
        ("ml-100k", "u.item", b"14-Feb-1986", b"31-Feb-1986", "ml-100k.zip: u.item has a value that does not fit: "),
        ("ml-100k", "u.item", b"|0|0|1|0|1|0", b"|0|0|1|0|1|0|1", "ml-100k.zip: u.item, row 1 has 12 fields; allowed: 11"),
        ("ml-100k", "u.item", b"|0|0|1|0|1|0", b"|0|0|1|0|1", "ml-100k.zip: u.item, row 1 has 10 fields; allowed: 11"),
        ("ml-100k", "u3.test", b"\n", b"\n1\t1\t1\t1\n", "ml-100k.zip: u3.base and u3.test hold 28 and 8 ratings, but u.data holds 32"),
        ("ml-100k", "u.item", b"6|Paper Boat", b"", "ml-100k.zip: u.item"),
        ("ml-20m", "ratings.csv", b"userId,", b"user,", "ml-20m.zip: ratings.csv does not begin with 'userId,movieId,rating,timestamp'"),
        ("ml-20m", "tags.csv", b"5,4,NULL,8\r\n", b"", "ml-20m.zip holds 7 tags, but its README states 8"),
        ("ml-20m", "movies.csv", b"6,Five (1) (1999),IMAX\r\n", b"", "ml-20m.zip holds 5 items, but its README states 6"),
        ("ml-20m", "links.csv", b"0113497,", b"0113497,x", "ml-20m.zip: links.csv has a value that does not fit"),
    ],
)
def test_a_row_that_does_not_fit_is_one_line(
    tables: Callable[..., Path], name: str, member: str, old: bytes, new: bytes, message: str
) -> None:
    members = {"ml-100k": members_100k, "ml-1m": members_1m}.get(name, lambda: members_csv("ml-20m"))()
    assert old in members[member]
    members[member] = members[member].replace(old, new)
    with pytest.raises(ReadError, match=rf"^{message}[^\n]*; [^\n]*$"):
        tables(name, members)


@pytest.mark.parametrize(
    ("name", "member"), [("ml-1m", "users.dat"), ("ml-100k", "ub.test"), ("ml-20m", "tags.csv"), ("ml-20m", "README.txt")]
)
def test_a_missing_or_empty_member_is_one_line(tables: Callable[..., Path], name: str, member: str) -> None:
    members = {"ml-100k": members_100k, "ml-1m": members_1m}.get(name, lambda: members_csv("ml-20m"))()
    lacking = {m: c for m, c in members.items() if m != member}
    with pytest.raises(ReadError, match=rf"{name}.zip holds no {name}/{member.removesuffix('.txt')}"):
        tables(name, lacking)
    if member not in ("README.txt", "users.dat"):
        with pytest.raises(ReadError, match=r"README states|u.data holds"):
            tables(name, members | {member: b""})


def test_a_readme_that_states_nothing_is_no_error(tables: Callable[..., Path]) -> None:
    tables("ml-1m", members_1m() | {"README": b"\xff\xfe new words"})
    assert tables.found["stated"] == {}  # type: ignore[attr-defined]


def test_names_in_a_zip_choose_no_place(tmp_path: Path) -> None:
    path = tmp_path / "deep/ml-1m.zip"
    path.parent.mkdir()
    path.write_bytes(zipped("ml-1m", members_1m()))
    with zipfile.ZipFile(path, "a") as archive:
        for name in ("../evil", "/tmp/evil-recvec", "ml-1m/../../evil", "ml-1m/extra"):  # noqa: S108
            archive.writestr(name, "evil")
    (tmp_path / "deep/tables").mkdir()
    convert(path, "ml-1m", tmp_path / "deep/tables")
    assert not [p for p in tmp_path.rglob("*") if "evil" in p.name or p.name == "extra"]
    assert not Path("/tmp/evil-recvec").exists()  # noqa: S108


def test_a_zip_bomb_is_not_unpacked(tables: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movielens, "_LARGEST_SMALL", 100_000)
    with pytest.raises(ReadError, match=r"ml-1m.zip is not plausible: ml-1m/ratings.dat would unpack to far more than such data"):
        tables("ml-1m", members_1m() | {"ratings.dat": b"1::1::1::1\n" * 100_000})


def test_a_zip_with_a_password_is_said(tmp_path: Path) -> None:
    raw = bytearray(zipped("ml-1m", members_1m()))
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := raw.find(signature, place + 1)) >= 0:
            raw[place + at] |= 1
    (tmp_path / "x.zip").write_bytes(raw)
    with pytest.raises(ReadError, match=r"x.zip is damaged or not the zip of ml-1m: .*password required"):
        convert(tmp_path / "x.zip", "ml-1m", tmp_path)


def test_any_damage_is_one_line(tmp_path: Path) -> None:
    raw, chance, said = zipped("ml-1m", members_1m()), np.random.default_rng(0), []
    for n in range(300):
        damaged = bytearray(raw)
        if n % 3 == 0:
            del damaged[chance.integers(len(raw)) :]
        for _ in range(chance.integers(1, 4) if damaged else 0):
            damaged[chance.integers(len(damaged))] = chance.integers(256)
        (tmp_path / "x.zip").write_bytes(damaged)
        try:
            convert(tmp_path / "x.zip", "ml-1m", tmp_path)
        except ReadError as error:
            said.append(str(error))
    assert len(said) > 200
    assert not [line for line in said if "\n" in line]


# ---------------------------------------------------------------- the real rows


@pytest.mark.real
def test_the_real_100k_comes_back(real_data: Path, tables: Callable[..., Path]) -> None:
    known = {p.stem: pl.read_parquet(p) for p in (real_data / "movielens-100k").glob("*.parquet")}
    genres = sorted({g for row in known["items"]["genres"] for g in row.split("|")} - {"unknown"})
    genres = ["unknown", *genres]
    flags = [pl.col("genres").str.split("|").list.contains(g).cast(pl.Int8).alias(g) for g in genres]
    items = known["items"].select("item_id", "title", "release_date", pl.lit("").alias("video"), "imdb_url", *flags)
    ratings = known["ratings"].select("user_id", "item_id", "rating", "timestamp")
    members = {
        "README": b"100,000 ratings (1-5) from 943 users on 1682 movies",
        "u.data": _text(ratings, "\t"),
        "u.genre": "".join(f"{g}|{n}\n" for n, g in enumerate(genres)).encode(),
        "u.item": _text(items, "|"),
        "u.user": _text(known["users"].select("user_id", "age", "gender", "occupation", "zip_code"), "|"),
    }
    tests = {split: known["ratings"][f"in_{split}_test"] for split in loopback.SPLITS}
    for split, mask in tests.items():
        members |= {f"{split}.base": _text(ratings.filter(~mask), "\t"), f"{split}.test": _text(ratings.filter(mask), "\t")}
    folder = tables("ml-100k", members)
    made = {p.stem: pl.read_parquet(p) for p in folder.glob("*.parquet")}
    assert_frame_equal(made["interactions"], ratings, check_dtypes=False)
    assert_frame_equal(made["users"], known["users"], check_dtypes=False, check_column_order=False)
    assert_frame_equal(made["links"], known["items"].select("item_id", "imdb_url"), check_dtypes=False)
    assert made["items"]["title"].to_list() == known["items"]["title"].str.strip_chars().to_list()
    assert (
        made["items"]["genres"].list.sort().list.join("|").fill_null("unknown").to_list()
        == known["items"]["genres"].str.split("|").list.sort().list.join("|").to_list()
    )
    assert (
        made["items"]["release_date"].dt.strftime("%e-%b-%Y").str.strip_chars().to_list()
        == known["items"]["release_date"].str.strip_prefix("0").to_list()
    )
    assert made["items"]["year"].null_count() == 1
    for split, mask in tests.items():
        assert_frame_equal(pl.read_parquet(folder / f"splits/{split}.test.parquet"), ratings.filter(mask), check_dtypes=False)
        assert_frame_equal(pl.read_parquet(folder / f"splits/{split}.train.parquet"), ratings.filter(~mask), check_dtypes=False)


@pytest.mark.real
def test_the_real_1m_comes_back(real_data: Path, tables: Callable[..., Path]) -> None:
    known = {
        name: pl.read_parquet(real_data / f"movielens-1m/{name}.parquet") for name in ("ratings", "users", "items", "known_timestamps")
    }
    ratings = known["ratings"].join(known["known_timestamps"], on=["user_id", "item_id"], how="left", maintain_order="left").fill_null(0)
    people = known["users"].select("user_id", "gender", "age", "occupation_id", "zip_code")
    members = {
        "README": b"1,000,209 anonymous ratings of approximately 3,900 movies \nmade by 6,040 MovieLens users",
        "ratings.dat": _text(ratings.select("user_id", "item_id", "rating", "timestamp"), "::"),
        "users.dat": _text(people, "::"),
        "movies.dat": _text(known["items"], "::"),
    }
    folder = tables("ml-1m", members)
    made = {p.stem: pl.read_parquet(p) for p in folder.glob("*.parquet")}
    assert_frame_equal(made["interactions"], ratings, check_dtypes=False)
    users = known["users"].select("user_id", pl.col("age_label").alias("age"), "gender", "occupation", "zip_code")
    assert_frame_equal(made["users"], users, check_dtypes=False)
    items = made["items"].with_columns(pl.col("genres").list.join("|"))
    assert_frame_equal(items.drop("year"), known["items"], check_dtypes=False)
    assert items["year"].is_between(1919, 2000).all()


@pytest.mark.real
def test_real_csv_rows_come_back(real_data: Path, tables: Callable[..., Path]) -> None:
    source = real_data / "movielens-latest-small-2016"
    known = {p.stem: pl.read_parquet(p) for p in source.glob("*.parquet")}
    names = {"user_id": "userId", "item_id": "movieId", "imdb_id": "imdbId", "tmdb_id": "tmdbId"}
    members = {
        f"{'movies' if name == 'items' else name}.csv": table.rename(names, strict=False).write_csv(line_terminator="\r\n").encode()
        for name, table in known.items()
    }
    said = b"It contains 100004 ratings and 1296 tag applications across 9125 movies. These data were created by 671 users between"
    folder = tables("ml-latest-small", members | {"README.txt": said})
    made = {p.stem: pl.read_parquet(p) for p in folder.glob("*.parquet")}
    assert_frame_equal(made["interactions"], known["ratings"], check_dtypes=False)
    assert_frame_equal(made["tags"], known["tags"], check_dtypes=False)
    assert_frame_equal(made["links"], known["links"], check_dtypes=False)
    assert made["items"]["title"].to_list() == known["items"]["title"].str.strip_chars().to_list()
    assert made["items"]["genres"].list.join("|").fill_null("(no genres listed)").to_list() == known["items"]["genres"].to_list()
    tagged = made["items"].select("item_id", "tags").drop_nulls().explode("tags")
    given = known["tags"].select("item_id", pl.col("tag").str.strip_chars().str.to_lowercase().alias("tags")).unique()
    assert_frame_equal(tagged, given, check_row_order=False, check_dtypes=False)


def _text(table: pl.DataFrame, separator: str) -> bytes:
    return table.write_csv(separator="\x1f", include_header=False, quote_style="never").replace("\x1f", separator).encode("latin-1")

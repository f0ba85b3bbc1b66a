"""A small folder with everything that a command may be given: tables in every format, settings, saved models."""

import gzip
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import polars as pl

import recvec as rv
from recvec.artifact.checkpoint import Checkpoints
from recvec.data.synthetic import sample_tables
from recvec.models import registry

_ODD = ("007", " a ", 'q"x', "c,d", "t\tt", "n\nl", "😀", "אבג", "ไทย", "-x", "--", "e\u0301", "[bold]", "u1", "NULL", "1e5")
_FIT = 'method = "svd"\n\n[set]\nembedding_dim = 4\n'
_EVALUATE = 'method = "als"\nprotocol = "random"\nk = "5,10"\n\n[set]\nembedding_dim = 4\nepochs = 2\n'


def build(place: Path) -> None:
    """Fill an empty folder; the same on every machine."""
    interactions, users, items = sample_tables(n_users=40, n_items=30, mean_history=8)
    _write_interactions(place, interactions)
    _write_attributes(place, users, items)
    _write_tests(place, interactions)
    (place / "fit.toml").write_text(_FIT)
    (place / "evaluate.toml").write_text(_EVALUATE)
    (place / "empty").mkdir()
    _write_movies(place / "ml-latest-small.zip")
    _write_models(place, interactions, users, items)


def _write_interactions(place: Path, rows: pl.DataFrame) -> None:
    rng, n = np.random.default_rng(0), len(rows)
    rows.write_csv(place / "ratings.csv")
    rows.write_csv(place / "ratings.tsv", separator="\t")
    rows.write_ndjson(place / "ratings.ndjson")
    rows.write_parquet(place / "ratings.parquet")
    for name in ("ratings.csv", "ratings.ndjson"):
        (place / f"{name}.gz").write_bytes(gzip.compress((place / name).read_bytes(), mtime=0))
    rows.drop("rating").with_columns(label=rng.integers(0, 2, n)).write_csv(place / "clicks.csv")
    weighted = rows.drop("rating", "timestamp").with_columns(weight=rng.integers(1, 9, n) / 2)
    weighted.write_csv(place / "weights.tsv", separator="\t")
    rows.select(pl.col("user_id", "item_id").str.slice(1).cast(pl.Int64)).write_csv(place / "bare.csv")
    rows.rename({"user_id": "uid", "item_id": "iid"}).write_csv(place / "renamed.csv")
    odd = rows.head(100).with_columns(user_id=pl.Series(rng.choice(_ODD, 100)), item_id=pl.Series(rng.choice(_ODD, 100)))
    odd.write_csv(place / "odd.csv")
    odd.write_ndjson(place / "odd.ndjson")
    said = pl.Series(rng.choice(["a slow story", "loved it, twice", "", "too long"], n))
    texts = rows.with_columns(
        review=said, weekday=pl.Series(rng.choice(["mon", "sun"], n)), city=pl.Series(rng.choice(["Bonn", "Kyōto"], n))
    )
    texts.write_csv(place / "texts.csv")
    texts.write_ndjson(place / "texts.ndjson")


def _write_attributes(place: Path, users: pl.DataFrame, items: pl.DataFrame) -> None:
    users.write_csv(place / "users.csv")
    users.with_columns(age=pl.Series(np.arange(len(users)) % 50 + 18)).write_parquet(place / "users.parquet")
    (place / "users.tsv.gz").write_bytes(gzip.compress(users.write_csv(separator="\t").encode(), mtime=0))
    items.write_csv(place / "items.csv")
    items.write_ndjson(place / "items.ndjson")
    vectors = pl.Series("look", np.random.default_rng(0).standard_normal((len(items), 3)).astype(np.float32).tolist())
    items.with_columns(pl.col("genres").str.split("|"), vectors).write_parquet(place / "items.parquet")


def _write_tests(place: Path, rows: pl.DataFrame) -> None:
    rng = np.random.default_rng(1)
    users, items = (rows[c].unique().sort().to_list() for c in ("user_id", "item_id"))
    test = pl.DataFrame({"user_id": rng.choice([*users, "new1"], 60), "item_id": rng.choice([*items, "new2"], 60)})
    test = test.with_columns(rating=pl.Series(rng.integers(1, 6, 60)), label=pl.Series(rng.integers(0, 2, 60)))
    test.write_csv(place / "test.csv")
    test.write_ndjson(place / "test.ndjson")
    test.write_parquet(place / "test.parquet")
    negatives = pl.DataFrame({"user_id": np.repeat([*users, "new1"], 8), "negative_item_id": rng.choice(items, 8 * (len(users) + 1))})
    negatives.write_csv(place / "negatives.csv")
    negatives.write_parquet(place / "negatives.parquet")
    for name, some in (("candidates", items[:20]), ("deny", items[3:8])):
        pl.DataFrame({"item_id": some}).write_csv(place / f"{name}.csv")
    pl.DataFrame({"item_id": items[:9]}).write_ndjson(place / "candidates.ndjson")
    pl.DataFrame({"user_id": users[:6], "item_id": items[:6]}).write_csv(place / "denied.tsv", separator="\t")
    more = pl.DataFrame(
        {"user_id": ["u1", "u2", "new1"], "item_id": ["i1", "new2", "i3"], "rating": [1.0, 5.0, 3.0], "timestamp": [9, 9, 9]}
    )
    more.write_csv(place / "more.csv")
    more.write_parquet(place / "more.parquet")


def _write_movies(path: Path) -> None:
    """Make a zip of public ratings, as its publisher would: the command that reads it needs no network then."""
    rows = [(u, i, (u * i) % 5 + 1, 100 * u + i) for u in range(1, 9) for i in range(1, 7) if (u + i) % 3]
    said = f"It contains {len(rows)} ratings and 1 tag applications across 6 movies. These data were created by 8 users between"
    members = {
        "ratings.csv": "userId,movieId,rating,timestamp\n" + "".join(f"{u},{i},{r},{t}\n" for u, i, r, t in rows),
        "movies.csv": "movieId,title,genres\n" + "".join(f"{i},Film {i} (19{i}0),Drama|IMAX\n" for i in range(1, 7)),
        "links.csv": "movieId,imdbId,tmdbId\n" + "".join(f"{i},000{i},{i}\n" for i in range(1, 7)),
        "tags.csv": "userId,movieId,tag,timestamp\n1,1,slow,1\n",
        "README.txt": said,
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(f"ml-latest-small/{name}"), text)


def _write_models(place: Path, interactions: pl.DataFrame, users: pl.DataFrame, items: pl.DataFrame) -> None:
    """Save a small model of every method, and three of another kind."""
    data, plain = rv.read(interactions, users=users, items=items), rv.read(interactions)
    for name in registry.names():
        small = {"embedding_dim": 4, "epochs": 2}
        method = rv.method(name, settings={n: v for n, v in small.items() if n in {f.name for f in fields(registry.method_class(name))}})
        rv.save(rv.Recommender(method.fit(data, rng=0), data), place / f"model-{name}")
    rv.save(rv.Recommender(rv.SVD(embedding_dim=3).fit(plain, rng=0), plain, rungs={}), place / "model-bare")
    rv.save(rv.Recommender(rv.SVD(task="rating", embedding_dim=3).fit(plain, rng=0), plain), place / "model-rating")
    forgetful = rv.Recommender(rv.ALS(embedding_dim=3, epochs=2).fit(data, rng=0), data)
    rv.save(forgetful, place / "model-forgetful", histories=False)
    with Checkpoints(place / "half") as kept:  # a fit that ended before it was saved
        rv.ALS(embedding_dim=4, epochs=3).fit(plain, rng=0, checkpoint=kept)

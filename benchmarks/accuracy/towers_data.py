"""The data, the cuts and the methods of the benchmarks of towers."""

import os
from functools import cache
from pathlib import Path

import polars as pl

import recvec as rv
from recvec.contract import Method
from recvec.data.splits import Split, folds

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("RECVEC_DATA", HERE.parents[2] / "shared" / "data"))
PEOPLE = ("gender", "age", "occupation")
FILMS = ("genres", "actors", "director")
SHOWN = ("recall_capped@20", "ndcg@20")
METHODS: dict[str, Method] = {  # what the searches change, and what a fold has that was not searched
    "new-users": rv.TwoTower(
        embedding_dim=32, n_layers=0, history="none", similarity="dot", temperature=1.0, cold=0.0, reg=0.03, epochs=10, learning_rate=0.01
    ),
    "new-items": rv.TwoTower(embedding_dim=32, n_layers=0, ids="none", cold=0.0, epochs=10, learning_rate=0.01),
    "new-users-dmf": rv.DMF(cold=0.3),
    "warm": rv.DMF(),
}


@cache
def read(*, users: bool, items: bool) -> rv.Dataset:
    """Read MovieLens-1M with attributes of users, of films (genres, cast and directors as lists, the plot as text), or of both."""
    folder = DATA / "movielens-1m"
    people = pl.read_parquet(folder / "users.parquet").select("user_id", *PEOPLE) if users else None
    films = None
    if items:
        genres = pl.read_parquet(folder / "items.parquet").select("item_id", pl.col("genres").str.split("|"))
        more = pl.read_parquet(folder / "item_text.parquet").select(
            "item_id", "plot", *(pl.col(name).str.split(", ") for name in FILMS[1:])
        )
        films = genres.join(more, on="item_id", how="left")
    types = ({"age": "category"} if users else {}) | ({"plot": "text", **dict.fromkeys(FILMS, "list")} if items else {})
    return rv.read(folder / "ratings.parquet", users=people, items=films, types=types)


def outer(name: str) -> list[Split]:
    """Return the cuts of a problem."""
    if name == "warm":
        return [rv.split(read(users=True, items=True), "random", seed=seed) for seed in range(3)]
    if name == "new-items":
        return folds(read(users=False, items=True), "new-items", 5, seed=0)
    return folds(read(users=True, items=False), "new-users", 5, seed=0)

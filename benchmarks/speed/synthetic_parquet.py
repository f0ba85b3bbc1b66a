"""A large table of interactions as Parquet, written piece by piece: power laws on both sides, any number of rows.

::

    python benchmarks/speed/synthetic_parquet.py 100000000 OUT.parquet
    python benchmarks/speed/synthetic_parquet.py 1000000 OUT.parquet --users 10000 --items 2000
    python benchmarks/speed/synthetic_parquet.py 10000000 OUT.parquet --text

Shares of users follow a Pareto law of exponent 1.2, those of items one of exponent 1, the largest capped at 1e-4 and
3e-3. Each row draws its user and its item independently, so that the rows come in no order, as in a log, and some
pairs come twice. The same arguments give the same rows. Memory: one piece of 2 million rows and two tables of draws.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from recvec.types import F64, I32

PIECE = 2_000_000  # rows drawn and written at a time
GRID = 1 << 24  # draws of a law are looked up in a table of so many cells
INTERACTIONS_PER_USER, USERS_PER_ITEM = 100, 5  # of the largest table: 1 M users, 200 k items, 100 M rows


def main() -> None:
    """Write the table that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--users", type=int, help="default: one for each 100 rows")
    parser.add_argument("--items", type=int, help="default: one for each 5 users")
    parser.add_argument("--text", action="store_true", help="ids as text, such as u0000042")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    n_users = given.users or max(2, given.rows // INTERACTIONS_PER_USER)
    write(given.out, given.rows, n_users, given.items or max(2, n_users // USERS_PER_ITEM), text=given.text, seed=given.seed)


def write(out: Path, n_rows: int, n_users: int, n_items: int, *, text: bool = False, seed: int = 0) -> None:
    """Draw `n_rows` interactions and write them to `out`."""
    rng = np.random.default_rng(seed)
    users = _table_of_draws(np.minimum(_shares(rng.pareto(1.2, n_users) + 1), 1e-4))
    items = _table_of_draws(np.minimum(_shares(rng.pareto(1.0, n_items) + 1), 3e-3))
    kind = pl.String() if text else pl.Int32()

    def pieces(*_: object) -> Iterator[pl.DataFrame]:
        for start in range(0, n_rows, PIECE):
            n = min(PIECE, n_rows - start)
            drawn = {"user_id": users[rng.integers(GRID, size=n)], "item_id": items[rng.integers(GRID, size=n)]}
            yield _named(pl.DataFrame(drawn)) if text else pl.DataFrame(drawn)

    source = register_io_source(pieces, schema={"user_id": kind, "item_id": kind})
    source.sink_parquet(out, row_group_size=PIECE)


def _shares(law: F64) -> F64:
    return law / law.sum()


def _table_of_draws(shares: F64) -> I32:
    """Return a table whose cells, drawn uniformly, give each row its share; every row has one cell or more."""
    counts = np.maximum(1, np.floor(_shares(shares) * GRID)).astype(np.int64)
    rows = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return rows[np.arange(GRID, dtype=np.int64) * len(rows) // GRID]


def _named(rows: pl.DataFrame) -> pl.DataFrame:
    """Return ids as text of fixed length."""
    return rows.select(
        pl.format("u{}", pl.col("user_id").cast(pl.String).str.zfill(7)).alias("user_id"),
        pl.format("i{}", pl.col("item_id").cast(pl.String).str.zfill(6)).alias("item_id"),
    )


if __name__ == "__main__":
    main()

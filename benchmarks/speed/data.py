"""The interactions that the speed benchmarks run on."""

import os
from pathlib import Path

import numpy as np
import polars as pl
from scipy import sparse


def folder() -> Path:
    """Return the data folder: what RECVEC_DATA names, else ``../shared/data`` beside the repository."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get("RECVEC_DATA", beside))


def gowalla() -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Return the train and test part of Gowalla (LightGCN split): 29,858 users x 40,981 items, sorted columns."""
    return _gowalla_part("train"), _gowalla_part("test")


def _gowalla_part(part: str) -> sparse.csr_matrix:
    table = pl.read_parquet(folder() / "lightgcn-gowalla" / f"{part}.parquet")
    users, items = table["user_id"].to_numpy(), table["item_id"].to_numpy()
    matrix = sparse.csr_matrix((np.ones(len(users), np.float32), (users, items)), shape=(29_858, 40_981))
    matrix.sum_duplicates()
    matrix.sort_indices()
    return matrix


def synthetic(n_users: int = 138_493, n_items: int = 26_744, n_draws: int = 20_000_000, seed: int = 0) -> sparse.csr_matrix:
    """Return power-law interactions of the shape of MovieLens 20M: 23,707,312 distinct pairs with the defaults.

    The popularity of users and of items is drawn from Pareto laws, the largest capped; pairs are drawn independently,
    1.6 for each of `n_draws`, and duplicates are merged.
    """
    rng = np.random.default_rng(seed)
    user_law, item_law = rng.pareto(1.2, n_users) + 1, rng.pareto(1.0, n_items) + 1
    user_share = np.minimum(user_law / user_law.sum(), 5e-4)
    item_share = np.minimum(item_law / item_law.sum(), 3e-3)
    n_pairs = int(n_draws * 1.6)
    users = rng.choice(n_users, n_pairs, p=user_share / user_share.sum()).astype(np.int32)
    items = rng.choice(n_items, n_pairs, p=item_share / item_share.sum()).astype(np.int32)
    matrix = sparse.csr_matrix((np.ones(n_pairs, np.float32), (users, items)), shape=(n_users, n_items))
    matrix.sum_duplicates()
    matrix.sort_indices()
    matrix.data[:] = 1
    return matrix

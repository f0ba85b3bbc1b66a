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

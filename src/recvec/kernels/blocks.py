"""Cutting rows into blocks whose bounds depend on the data alone, never on the number of threads."""

import numpy as np

from recvec.types import F64, I32, I64

N_BLOCKS = 32  # enough to balance a few threads; more would share less of what they read
BLOCK_COST = 1 << 22  # multiply-adds below which a block of its own does not pay


def balanced_blocks(indptr: I64 | I32, *, per_entry: int, per_row: int, least: int = 1) -> list[tuple[int, int]]:
    """Cut compressed rows into ranges of about equal cost, the costliest first: the last ones to finish are short.

    Parameters
    ----------
    indptr : int64, shape (n + 1,)
        Where each row begins.
    per_entry, per_row : int
        Multiply-adds that an entry and a row cost.
    least : int
        At least so many blocks, where the memory of a block matters.

    Returns
    -------
    list of (int, int)
        First row and row after the last of each range.
    """
    return blocks_of_cost(np.diff(indptr).astype(np.int64) * per_entry + per_row, least=least)


def blocks_of_cost(costs: I64 | F64, *, least: int = 1) -> list[tuple[int, int]]:
    """Cut rows of given costs (n,), in multiply-adds, as `balanced_blocks` does."""
    n, cost = len(costs), np.concatenate(([0], np.cumsum(costs)))
    n_blocks = int(max(1, least, min(N_BLOCKS, cost[-1] // BLOCK_COST)))
    cuts = np.searchsorted(cost, cost[-1] * np.arange(1, n_blocks) // n_blocks)
    edges = np.unique(np.concatenate(([0], cuts, [n])))
    spans = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    return sorted(spans, key=lambda span: float(cost[span[0]] - cost[span[1]]))


def even_blocks(n: int, size: int) -> list[slice]:
    """Cut n rows into slices of `size`; the last may be shorter."""
    return [slice(start, min(n, start + size)) for start in range(0, n, size)]

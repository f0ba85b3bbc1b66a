"""The matrix between items of an `ItemModel` in its three forms: all entries, a sparse matrix, or a product F F' that is never made."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

from recvec.errors import ValueRangeError
from recvec.kernels.factorization import sparse_dense
from recvec.kernels.gram import Gram
from recvec.kernels.sparse_products import sparse_sparse
from recvec.types import F32, Array

ItemWeights: TypeAlias = F32 | sp.csr_array | Gram


def weighted(queries: sp.csr_array, weights: ItemWeights) -> F32:
    """Return ``queries @ W``, shape (B, n_items), computed in the calling thread."""
    if isinstance(weights, Gram):
        return weights.rows(queries)
    return sparse_sparse(queries, weights) if sp.issparse(weights) else sparse_dense(queries, weights, executor=None)


def column(weights: ItemWeights, item: int) -> F32:
    """Return what weight 1 of each item in a history adds to the score of `item`, shape (n_items,)."""
    if isinstance(weights, Gram):
        return weights.column(item)
    found: F32 = weights[:, item] if isinstance(weights, np.ndarray) else weights[:, [item]].toarray()[:, 0]
    return found


def weights_arrays(weights: ItemWeights) -> dict[str, Array]:
    """Return W as arrays that are saved."""
    if isinstance(weights, np.ndarray):
        return {"weights": weights}
    prefix, matrix = ("weights.factor", weights.factor) if isinstance(weights, Gram) else ("weights", weights)
    return {f"{prefix}.{n}": getattr(matrix, n) for n in ("indptr", "indices", "data")}


def restored_weights(arrays: Mapping[str, Array], n_users: int, n_items: int) -> ItemWeights:
    """Return W of its arrays, checked: kernels trust it.

    Raises
    ------
    ValueRangeError, ValueError
        Where the arrays are no such matrix.
    """
    if "weights.factor.indptr" in arrays:
        return Gram(_restored_sparse(arrays, "weights.factor", (n_items, n_users)))
    dense = arrays.get("weights")
    if dense is None:
        return _restored_sparse(arrays, "weights", (n_items, n_items))
    if dense.shape != (n_items, n_items) or dense.dtype != np.float32:
        raise ValueRangeError(
            f"the weights between items are {dense.dtype} of shape {dense.shape}; allowed: float32, {n_items} x {n_items}"
        )
    return dense


def _restored_sparse(arrays: Mapping[str, Array], name: str, shape: tuple[int, int]) -> sp.csr_array:
    parts = tuple(arrays[f"{name}.{n}"] for n in ("data", "indices", "indptr"))
    weights = sp.csr_array(parts, shape=shape)
    weights.check_format()
    if (weights.indptr[1:] < weights.indptr[:-1]).any():  # scipy looks at differences, which may overflow
        raise ValueRangeError("indptr of the weights between items does not ascend; fit the model again")
    return weights

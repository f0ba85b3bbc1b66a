"""Products of sparse matrices with tables that have slopes: on the CPU by our kernels, elsewhere by torch."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recvec.kernels.factorization import sparse_dense
from recvec.kernels.graph import Graph
from recvec.kernels.softmax import Observed
from recvec.types import Executor


@dataclass(frozen=True, eq=False)
class Edges:
    """A sparse matrix and its transpose, ready to be multiplied.

    Parameters
    ----------
    matrix, transposed : csr_array, float32, shapes (n, m) and (m, n)
        For the CPU.
    indices, values : Tensor or None
        The entries, for another device: shape (2, nnz) and (nnz,).
    executor : Executor
        Runs the blocks.
    """

    matrix: sp.csr_array
    transposed: sp.csr_array
    indices: Tensor | None
    values: Tensor | None
    executor: Executor

    @property
    def n_columns(self) -> int:
        """M."""
        return int(self.matrix.shape[1])

    @classmethod
    def of(cls, matrix: sp.csr_array, transposed: sp.csr_array, executor: Executor, device: torch.device) -> "Edges":
        """Take both to the device."""
        if device.type == "cpu":
            return cls(matrix, transposed, None, None, executor)
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        places = torch.from_numpy(np.stack([rows, matrix.indices]).astype(np.int64)).to(device)
        return cls(matrix, transposed, places, torch.from_numpy(matrix.data).to(device), executor)

    @classmethod
    def of_graph(cls, graph: Graph, executor: Executor, device: torch.device) -> "Edges":
        """Return the whole adjacency of users and items, in this order, shape (n_users + n_items,) * 2."""
        whole = sp.csr_array(sp.block_array([[None, graph.to_users], [graph.to_items, None]], format="csr", dtype=np.float32))
        return cls.of(whole, whole, executor, device)

    @classmethod
    def of_pairs(cls, observed: Observed, executor: Executor, device: torch.device) -> "Edges":
        """Return the weights of observed pairs, shape (n_users, n_items)."""
        return cls.of(observed.by_user, observed.by_item, executor, device)


def multiply(edges: Edges, dense: Tensor) -> Tensor:
    """Return ``matrix @ dense``, shape (n, d); slopes flow through `dense` (m, d)."""
    if edges.indices is None:
        product: Tensor = _Product.apply(edges, dense)  # type: ignore[no-untyped-call]
        return product
    rows, columns = edges.indices
    gathered = edges.values[:, None] * dense[columns]  # type: ignore[index]
    return torch.zeros(edges.matrix.shape[0], dense.shape[1], device=dense.device).index_add(0, rows, gathered)


class _Product(torch.autograd.Function):
    """By `sparse_dense`; its adjoint is the product with the transpose."""

    @staticmethod
    def forward(ctx: Any, edges: Edges, dense: Tensor) -> Tensor:
        ctx.edges = edges
        return torch.from_numpy(sparse_dense(edges.matrix, dense.detach().contiguous().numpy(), executor=edges.executor))

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[None, Tensor]:
        edges: Edges = ctx.edges
        return None, torch.from_numpy(sparse_dense(edges.transposed, slopes[0].contiguous().numpy(), executor=edges.executor))

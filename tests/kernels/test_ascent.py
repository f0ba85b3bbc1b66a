"""Adam on directions, against torch's Adam on the same loss, and steps that do not depend on threads."""

import numpy as np
import torch

from recvec.contract import Runtime
from recvec.kernels.ascent import BETAS, EPSILON, Table, at_vectors, directions

ONE = Runtime(threads=1).executor


def test_steps_are_those_of_torch() -> None:
    """Uphill on ``sum a . h`` with h the direction times a scale, five steps."""
    rng = np.random.default_rng(0)
    start, wanted = (rng.standard_normal((40, 7)).astype(np.float32) for _ in range(2))
    scales = rng.uniform(0.5, 2, 40).astype(np.float32)
    table, units = Table.of(start), directions(start, scales, ONE)
    theirs = torch.nn.Parameter(torch.from_numpy(start.copy()))
    adam = torch.optim.Adam([theirs], lr=0.1, betas=BETAS, eps=EPSILON, maximize=True)
    for _ in range(5):
        table.ascend_directions(wanted.copy() * units, scales, units, 0.1, ONE)
        adam.zero_grad()
        h = torch.nn.functional.normalize(theirs, dim=1) * torch.from_numpy(scales)[:, None]
        (0.5 * torch.from_numpy(wanted) * h**2).sum().backward()
        adam.step()
    np.testing.assert_allclose(table.vectors, theirs.detach().numpy(), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(units, h_of(table.vectors, scales), rtol=1e-5, atol=1e-6)


def h_of(vectors: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) * scales[:, None]


def test_slopes_at_vectors_are_across_them() -> None:
    rng = np.random.default_rng(1)
    vectors, slopes = (rng.standard_normal((30, 5)).astype(np.float32) for _ in range(2))
    at_vectors(vectors, np.ones(30, np.float32), slopes, ONE)
    np.testing.assert_allclose(np.einsum("nd,nd->n", vectors, slopes), 0, atol=1e-5)


def test_zero_rows_stay_finite_and_parts_share_memory() -> None:
    table = Table.of(np.zeros((4, 3), np.float32))
    units = directions(table.vectors, np.ones(4, np.float32), ONE)
    assert np.array_equal(units, np.zeros((4, 3)))
    table.part(slice(1, 3), 0).ascend(np.ones((2, 3), np.float32), 0.5, ONE)
    np.testing.assert_allclose(table.vectors, [[0] * 3, [0.5] * 3, [0.5] * 3, [0] * 3], rtol=1e-5)


def test_the_same_bits_for_any_number_of_threads() -> None:
    rng = np.random.default_rng(2)
    start, slopes = (rng.standard_normal((3000, 16)).astype(np.float32) for _ in range(2))
    found = []
    for threads in (1, 3):
        table, units = Table.of(start), np.empty_like(start)
        table.ascend_directions(slopes.copy(), np.ones(3000, np.float32), units, 0.1, Runtime(threads=threads).executor)
        found.append((table.vectors, units))
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))

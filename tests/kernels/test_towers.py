"""The forward pass of a tower: the same numbers as plain numpy, whatever else is asked for at the same time."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recvec.contract import Runtime
from recvec.errors import ValueRangeError
from recvec.kernels.towers import Tower, forward, of_unit_length, unit_rows


def tower(rng: np.random.Generator, a: int, m: int, widths: list[int], *, with_linear: bool) -> Tower:
    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    weights = tuple(draw(n, k) for n, k in pairwise(widths))
    return Tower(draw(a, widths[0]), draw(m, widths[0]), draw(a if with_linear else 0, widths[-1]), tuple(draw(n) for n in widths), weights)


def plain(found: Tower, x: np.ndarray, r: np.ndarray) -> np.ndarray:
    z = x @ found.features + r @ found.met + found.biases[0]
    for weight, bias in zip(found.weights, found.biases[1:], strict=True):
        z = np.maximum(0, z) @ weight + bias
    return z + x @ found.linear if len(found.linear) else z


def sparse(rng: np.random.Generator, n: int, m: int) -> sp.csr_array:
    return sp.random_array((n, m), density=0.3, format="csr", dtype=np.float32, rng=rng)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 100),
    n=st.sampled_from([1, 7, 256, 300]),
    a=st.integers(0, 9),
    m=st.integers(0, 20),
    widths=st.lists(st.integers(1, 24), min_size=1, max_size=3),
    with_linear=st.booleans(),
)
def test_it_is_what_plain_numpy_gives(seed: int, n: int, a: int, m: int, widths: list[int], with_linear: bool) -> None:
    rng = np.random.default_rng(seed)
    found, x, r = tower(rng, a, m, widths, with_linear=with_linear), sparse(rng, n, a), sparse(rng, n, m)
    out = forward(found, x, r, Runtime(threads=1).executor)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, plain(found, x.toarray(), r.toarray()), rtol=1e-4, atol=1e-4)
    assert np.array_equal(Tower.restore(found.arrays()).biases[-1], found.biases[-1])


def test_the_bits_of_a_row_depend_on_nothing_else() -> None:
    rng = np.random.default_rng(0)
    found, x, r = tower(rng, 6, 40, [64, 48], with_linear=True), sparse(rng, 700, 6), sparse(rng, 700, 40)
    whole = forward(found, x, r, Runtime(threads=2).executor)
    some = np.array([3, 690, 257, 3])
    assert np.array_equal(forward(found, sp.csr_array(x[some]), sp.csr_array(r[some]), None), whole[some])
    assert np.array_equal(forward(found, x, None, None), forward(found, x, sp.csr_array((700, 40), dtype=np.float32), None))


def test_rows_get_unit_length() -> None:
    rows = sp.csr_array(np.array([[3, 4, 0], [0, 0, 0], [0, 0, -2]], np.float32))
    np.testing.assert_allclose(unit_rows(rows).toarray(), [[0.6, 0.8, 0], [0, 0, 0], [0, 0, -1]])
    np.testing.assert_allclose(unit_rows(rows, np.array([True, False, False])).toarray(), [[1, 0, 0], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(of_unit_length(rows.toarray()), [[0.6, 0.8, 0], [0, 0, 0], [0, 0, -1]])


@pytest.mark.parametrize(
    ("name", "other"),
    [("met", np.zeros((4, 3), np.float32)), ("bias.1", np.zeros(2, np.float32)), ("weight.0", np.zeros((8, 5)))],
)
def test_arrays_that_do_not_fit_are_refused(name: str, other: np.ndarray) -> None:
    arrays = tower(np.random.default_rng(0), 2, 4, [8, 5], with_linear=True).arrays()
    with pytest.raises(ValueRangeError, match="the tower's array"):
        Tower.restore({**arrays, name: other})
    with pytest.raises(ValueRangeError, match="tower has"):
        Tower.restore({key: array for key, array in arrays.items() if key != name})

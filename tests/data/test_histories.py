"""Arrays from elsewhere are histories, or are refused before a kernel trusts them."""

from typing import Any

import numpy as np
import pytest

from recvec.data.histories import Histories
from recvec.errors import ValueRangeError


def made(**change: Any) -> Histories:
    """Two histories, items 0, 2 and 1, of which the second has no entry in between."""
    good = {
        "indptr": np.array([0, 2, 2, 3]), "items": np.array([0, 2, 1], np.int32), "weights": np.ones(3, np.float32), "n_items": 3,
        "times": np.array([1.0, np.nan, 2.0]), "order": np.array([1, 0, 0], np.int32),
    }  # fmt: skip
    return Histories(**(good | change))


def test_histories_are_fine() -> None:
    made().check()
    made(times=None, order=None).check()
    Histories.empty(0, 3).check()
    Histories.empty(4, 0).check()
    made(items=np.array([1, 2, 0], np.int32)).check()  # a new person may begin below


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indptr": np.array([0, 2, 1, 3])}, "bounds of histories do not ascend from 0 to 3"),
        ({"indptr": np.array([0, 2, 2, 4])}, "bounds of histories do not ascend from 0 to 3"),
        ({"indptr": np.array([1, 2, 2, 3])}, "bounds of histories do not ascend from 0 to 3"),
        ({"indptr": np.array([0, -1, 5, 3])}, "bounds of histories do not ascend from 0 to 3"),
        ({"indptr": np.zeros(0, np.int64)}, "bounds of histories do not ascend from 0 to 3"),
        (
            {"indptr": np.array([0, 2, 2, 3], np.int32)},
            r"the array indptr of histories is int32 of shape \(4,\); allowed: a vector of int64",
        ),
        ({"items": np.array([0, 3, 1], np.int32)}, "histories name item rows from 0 to 3; allowed: 0 to 2"),
        ({"items": np.array([0, -1, 1], np.int32)}, "histories name item rows from -1 to 1; allowed: 0 to 2"),
        ({"items": np.array([2, 0, 1], np.int32)}, "items of a history do not ascend; allowed: distinct item rows in ascending order"),
        ({"items": np.array([2, 2, 1], np.int32)}, "items of a history do not ascend"),
        ({"items": np.array([[0], [2], [1]], np.int32)}, r"the array items of histories is int32 of shape \(3, 1\)"),
        ({"weights": np.ones(2, np.float32)}, r"the array weights of histories is float32 of shape \(2,\); allowed: a vector of float32"),
        ({"weights": np.ones(3)}, r"the array weights of histories is float64 of shape \(3,\); allowed: a vector of float32"),
        ({"times": np.zeros(4)}, r"the array times of histories is float64 of shape \(4,\); allowed: a vector of float64"),
        ({"order": np.zeros(3)}, r"the array order of histories is float64 of shape \(3,\); allowed: a vector of int32"),
    ],
)
def test_what_is_no_history_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueRangeError, match=message):
        made(**change).check()

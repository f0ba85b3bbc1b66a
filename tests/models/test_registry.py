"""Methods by name: what is said when there is none, or when it does not do the task."""

import pytest

import recvec as rv
from recvec.errors import UnknownMethodError, nearest


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("alz", "ranking", r"no method 'alz' \(nearest: 'als'\); allowed: popularity, random, svd, als"),
        ("ALS", "ranking", r"nearest: 'als'"),
        ("als", "rating", "method 'als' does not do the task 'rating'; allowed: ranking; for rating use svd, als-explicit"),
        ("als", "click", "allowed: ranking; for click use fm"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(name: str, task: str, message: str) -> None:
    with pytest.raises(UnknownMethodError, match=message):
        rv.method(name, task=task)


def test_the_task_becomes_a_hyperparameter_where_a_method_has_several() -> None:
    assert rv.method("svd", task="rating") == rv.SVD(task="rating")
    assert rv.method("als", settings={"embedding_dim": "8"}) == rv.ALS(embedding_dim=8)


def test_nearest_names_do_not_mind_case() -> None:
    assert nearest("User_ID", ["item_id", "user_id"]) == "nearest: 'user_id', 'item_id'"
    assert nearest("zzz", ["a", "b"]) == "such as 'a', 'b'"
    assert nearest("zzz", []) == "there is none"

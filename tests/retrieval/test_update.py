"""`Recommender.update`: what it knows afterwards, what it says of it, and what it refuses."""

import json

import numpy as np
import polars as pl
import pytest

import recvec as rv
from recvec.data.synthetic import sample_tables
from recvec.errors import ColumnError, InputError, NotSupportedError, UnknownItemError
from tests.contract.toys import CoCounts

ROWS, _, ITEMS = sample_tables(n_users=400, n_items=200, mean_history=25)
LATER = pl.Series(np.random.default_rng(0).random(len(ROWS)) < 0.05)
OLD, NEW = ROWS.filter(~LATER), ROWS.filter(LATER)
STRANGERS = pl.DataFrame(
    {"user_id": ["new one", "new one", "u1", "u2"], "item_id": ["i1", "fresh", "fresh", "fresh"], "rating": [5.0, 4, 3, 4], "timestamp": [3e9] * 4}
)  # fmt: skip
METHODS = [rv.ALS(embedding_dim=8), rv.SVD(embedding_dim=8), rv.SVD(embedding_dim=8, task="rating"), rv.Popularity(), rv.Random()]


def recommender(method: object = METHODS[0], rows: pl.DataFrame = OLD, **more: object) -> rv.Recommender:
    data = rv.read(rows, items=ITEMS)
    return rv.Recommender(method.fit(data), data, **more)


@pytest.fixture(scope="module")
def who() -> rv.Recommender:
    return recommender()


@pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m.name}-{getattr(m, 'task', '')}")
def test_new_people_items_and_rows_are_known(method: object) -> None:
    before = recommender(method)
    now, report = before.update(pl.concat([NEW, STRANGERS.cast(dict(NEW.schema))]))
    assert now.recommend(["new one"], 3)["route"].to_list() == ["stored"] * 3
    assert "fresh" not in now.recommend(["new one", "u1"], 300)["item_id"].to_list()
    assert "fresh" in now.recommend(["u3"], 300)["item_id"].to_list()
    assert len(now.similar_items("fresh")) == 10
    whole = rv.read(pl.concat([OLD, NEW, STRANGERS.cast(dict(OLD.schema))]))
    value = now.history_value
    ids = sorted(whole.users.ids)
    mine, full = now.histories.take(now.users.rows(ids)), whole.histories(value).take(whole.users.rows(ids))
    assert mine.lengths.tolist() == full.lengths.tolist()
    assert mine.weights.sum() == pytest.approx(full.weights.sum(), rel=1e-6)
    assert (report.n_rows, report.n_new_users, report.n_new_items) == (len(NEW) + 4, 1, 1)
    assert report.rungs == {"popular": "updated"}
    assert (report.n_new_pairs, report.n_known_pairs) == (len(NEW) + 4, 0)
    with pytest.raises(UnknownItemError):
        before.similar_items("fresh")  # the old one is as it was


def test_the_report_says_what_has_moved(who: rv.Recommender) -> None:
    now, report = who.update(NEW)
    touched = len(set(NEW["user_id"]))
    assert (report.users.n, report.items.n) == (touched, 0)
    old, new = who.model.user_vectors.astype(float), now.model.user_vectors.astype(float)
    longer = np.maximum(np.linalg.norm(old, axis=1), np.linalg.norm(new, axis=1))
    change = np.sort(np.linalg.norm(new - old, axis=1) / longer)[-touched:]
    assert report.users.mean == pytest.approx(change.mean())
    assert report.users.p95 == pytest.approx(np.quantile(change, 0.95))
    lists = [w.recommend(who.users.ids).group_by("user_id", maintain_order=True).agg("item_id")["item_id"].to_list() for w in (who, now)]
    overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*lists, strict=True)])
    assert report.n_compared == 400
    assert report.overlap == pytest.approx(overlap)
    assert 0.5 < report.overlap < 1
    assert report.refit is None
    content = json.loads(json.dumps(report.json()))
    assert content["users"] == {"n": touched, "mean": report.users.mean, "p95": report.users.p95}
    assert content["rungs"] == {"popular": "updated"}
    assert content["refit"] is None
    assert dict(report.frame().iter_rows())["users moved"] == touched
    assert str(report).startswith("als, updated\n  rows ")


def test_known_pairs_are_counted_apart_and_merged(who: rv.Recommender) -> None:
    again = OLD.head(3).vstack(OLD.head(1))
    now, report = who.update(again)
    assert (report.n_rows, report.n_new_pairs, report.n_known_pairs) == (4, 0, 3)
    assert now.histories.weights.sum() == who.histories.weights.sum() + 4
    row, item = who.users.rows(again["user_id"][:1]), who.items.rows(again["item_id"][:1])
    mine = now.histories.take(row)
    assert mine.weights[mine.items == item].tolist() == [3]


def test_the_update_is_as_good_as_a_fit_on_hidden_rows(who: rv.Recommender) -> None:
    now, report = who.update(NEW, against_refit=True, seed=3)
    refit = report.refit
    assert 100 < refit.n_users <= len(set(NEW["user_id"]))
    assert refit.updated > 0.9 * refit.refitted > 0.2
    assert min(refit.update_seconds, refit.refit_seconds) > 0
    assert {"recall@10, updated", "recall@10, fitted again"} <= set(report.frame()["figure"])
    plain, _ = who.update(NEW, seed=3)
    assert np.array_equal(now.model.user_vectors, plain.model.user_vectors)  # what was hidden is learned from in the end


def test_hidden_rows_are_hidden() -> None:
    """A pair is hidden with all its rows; the popular item that only the new rows bring is not found by who has met nothing else."""
    old = pl.DataFrame({"user_id": ["a", "a", "b", "b", "c"], "item_id": ["x", "y", "x", "y", "x"]})
    new = pl.DataFrame({"user_id": ["c", "c", "d", "e", "e"], "item_id": ["z", "z", "z", "x", "y"]})
    data = rv.read(old)
    _, report = rv.Recommender(rv.Popularity().fit(data), data).update(new, against_refit=True)
    assert report.refit.n_users == 2  # c and e: d would have nothing left
    assert report.refit.updated == report.refit.refitted == 1  # among three items all that is not known is found
    with pytest.raises(InputError, match="no user has a new pair and anything else to be known by; leave it out"):
        rv.Recommender(rv.Popularity().fit(data), data).update(old.head(2), against_refit=True)


def test_a_loaded_recommender_is_updated_like_the_one_that_was_saved(who: rv.Recommender, tmp_path: object) -> None:
    rv.save(who, tmp_path / "model")
    (one, first), (other, second) = (w.update(NEW) for w in (who, rv.load(tmp_path / "model")))
    assert np.array_equal(one.model.user_vectors, other.model.user_vectors)
    assert np.array_equal(one.rungs["popular"].item_vectors, other.rungs["popular"].item_vectors)
    assert np.array_equal(one.histories.order, other.histories.order)
    assert first.overlap == second.overlap
    rv.save(one, tmp_path / "updated")
    again = rv.load(tmp_path / "updated")
    assert again.recommend(["u1"]).equals(one.recommend(["u1"]))
    twice, _ = again.update(STRANGERS)
    assert twice.recommend(["new one"]).height == 10


def test_popular_counts_rows_also_after_loading(tmp_path: object) -> None:
    rows = pl.DataFrame({"user_id": ["a"] * 5 + ["b", "c"], "item_id": ["x"] * 5 + ["y", "y"]})
    data = rv.read(rows)
    rv.save(rv.Recommender(rv.Popularity().fit(data), data), tmp_path / "model")
    now, _ = rv.load(tmp_path / "model").update(pl.DataFrame({"user_id": ["d"], "item_id": ["y"]}))
    assert now.model.item_vectors[:, 0].tolist() == [5, 3]


def test_titles_of_new_items(who: rv.Recommender) -> None:
    more = pl.DataFrame({"item_id": ["fresh", "i1"], "title": ["Fresh", "other"]})
    now, _ = who.update(STRANGERS, items=more)
    assert now.titles(pl.Series(["fresh"])).to_list() == ["Fresh"]
    assert now.titles(pl.Series(["i1"])).to_list() == who.titles(pl.Series(["i1"])).to_list()
    bare, _ = who.update(STRANGERS)
    assert bare.titles(pl.Series(["fresh"])).to_list() == [None]


def test_a_rung_that_cannot_be_updated_is_fitted_again(who: rv.Recommender) -> None:
    data = who.train
    mixed = rv.Recommender(who.model, data, rungs={"popular": CoCounts().fit(data)})
    now, report = mixed.update(STRANGERS)
    assert report.rungs == {"popular": "fitted again"}
    assert now.rungs["popular"].n_items == 201
    alone = rv.Recommender(CoCounts().fit(data), data)
    with pytest.raises(NotSupportedError, match="co-counts cannot be updated; fit it again on the grown table"):
        alone.update(STRANGERS)


def test_a_model_of_nobody_has_no_lists_to_compare() -> None:
    data = rv.read(pl.DataFrame({"user_id": [1, 2], "item_id": [1, 2]}))
    nobody = data.with_interactions(data.interactions.take(np.zeros(2, bool)))
    now, report = rv.Recommender(rv.Popularity().fit(data), nobody, rungs={}).update(pl.DataFrame({"user_id": [1], "item_id": [1]}))
    assert (report.overlap, report.n_compared) == (None, 0)
    assert "overlap of the top 10" not in report.frame()["figure"]
    assert now.histories.lengths.tolist() == [1, 0]


def test_bad_tables_are_one_line(who: rv.Recommender) -> None:
    with pytest.raises(ColumnError, match="the table of new interactions has no column 'item_id'"):
        who.update(NEW.drop("item_id"))
    with pytest.raises(ColumnError, match="the table of new interactions has no column 'rating'"):
        recommender(METHODS[2]).update(NEW.drop("rating"))
    with pytest.raises(ColumnError, match="the model has no attributes of users"):
        who.update(NEW, users=pl.DataFrame({"user_id": ["u1"], "age": [3]}))

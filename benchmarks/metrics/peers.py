"""The values of other libraries for the input of `cross_check.py`; runs in their environment.

Usage: python peers.py INPUT.npz OUTPUT.json. The output is a list of rows: metric, library, version, convention, values.
"""

import json
import sys
import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd
import ranx
from inequality.gini import Gini
from lenskit.data import ItemList
from lenskit.metrics.ranking import AveragePrecision, ListGini, Recall
from rectools import Columns
from rectools.metrics import AvgRecPopularity, CatalogCoverage, MeanInvUserFreq
from scipy.stats import bootstrap, permutation_test, rankdata
from skbio.diversity.alpha import gini_index
from sklearn.metrics import log_loss, mean_absolute_error, ndcg_score, roc_auc_score, root_mean_squared_error
from statsmodels.stats.multitest import multipletests

SAME = "same definition"


def row(metric, library, values, convention=SAME):
    flat = np.atleast_1d(np.asarray(values, dtype=np.float64))
    return {"metric": metric, "library": library, "version": version(library), "convention": convention, "values": flat.tolist()}


def by_user(indptr, items):
    return np.split(items, indptr[1:-1])


def frame(lists):
    """Return lists of item rows as RecTools takes them."""
    users = np.repeat(np.arange(len(lists)), [len(x) for x in lists])
    ranks = np.concatenate([np.arange(1, len(x) + 1) for x in lists])
    return pd.DataFrame({Columns.User: users, Columns.Item: np.concatenate(lists), Columns.Rank: ranks})


def ranx_rows(lists, relevant, k):
    name = "u{:06d}".format
    qrels = ranx.Qrels({name(u): {str(i): 1 for i in items} for u, items in enumerate(relevant)})
    run = ranx.Run({name(u): {str(i): 1.0 / r for r, i in enumerate(x, start=1)} for u, x in enumerate(lists)})
    found = ranx.evaluate(
        qrels, run, [f"{m}@{k}" for m in ("recall", "precision", "hit_rate", "ndcg", "map", "mrr", "hits")], return_mean=False
    )
    n_relevant = np.array([len(x) for x in relevant])
    for metric in ("recall", "precision", "hit_rate", "ndcg", "mrr"):
        yield row(f"{metric}@{k}", "ranx", found[f"{metric}@{k}"])
    capped = np.minimum(k, n_relevant)
    yield row(f"recall_capped@{k}", "ranx", found[f"hits@{k}"] / capped, "hits@k, divided by min(k, |R|) here")
    yield row(f"map@{k}", "ranx", found[f"map@{k}"] * n_relevant / capped, "divides by |R|; times |R| / min(k, |R|) here")


def lenskit_rows(lists, relevant, k):
    pairs = [(ItemList(item_ids=x, ordered=True), ItemList(item_ids=r)) for x, r in zip(lists, relevant, strict=True)]
    yield row(f"recall_capped@{k}", "lenskit", [Recall(n=k).measure_list(*pair) for pair in pairs], "called Recall")
    precision = np.array([AveragePrecision(n=k).measure_list(*pair) for pair in pairs])
    own = np.array([min(len(r), len(x[:k])) for x, r in zip(lists, relevant, strict=True)])
    ours = np.array([min(len(r), k) for r in relevant])
    yield row(f"map@{k}", "lenskit", precision * own / ours, "divides by min(|L|, |R|); differs for lists shorter than k, rescaled there")


def scikit_ndcg(lists, relevant, k, n_items):
    values = []
    for ranked, items in zip(lists, relevant, strict=True):
        truth, score = np.zeros((1, n_items)), np.zeros((1, n_items))
        truth[0, items] = 1
        score[0, ranked] = 1.0 / np.arange(1, len(ranked) + 1)
        rest = np.setdiff1d(np.arange(n_items), ranked)
        score[0, rest[np.argsort(truth[0, rest], kind="stable")]] = -1.0 - np.arange(len(rest))[::-1]
        values.append(ndcg_score(truth, score, k=k) if len(ranked) >= k else np.nan)
    return row(f"ndcg@{k}", "scikit-learn", values, "ranks the whole catalogue; users whose list is shorter than k are left out")


def catalogue_rows(lists, training, k, n_items):
    shown, met = frame(lists), frame(training)
    yield row(
        f"novelty@{k}",
        "rectools",
        MeanInvUserFreq(k=k).calc_per_user(shown, met),
        "called MeanInvUserFreq; an unmet item counts as met once",
    )
    listed = AvgRecPopularity(k=k).calc_per_user(shown, met)
    usual = AvgRecPopularity(k=max(len(x) for x in training)).calc_per_user(met, met)
    yield row(f"popularity_lift@{k}", "rectools", listed / usual, "AvgRecPopularity of the list over that of the training items")
    yield row(f"coverage@{k}", "rectools", CatalogCoverage(k=k, normalize=True).calc(shown, np.arange(n_items)), "normalize=True")
    exposure = np.bincount(np.concatenate([x[:k] for x in lists]), minlength=n_items)
    yield row(f"gini@{k}", "inequality", Gini(exposure).g)
    yield row(f"gini@{k}", "scikit-bio", gini_index(exposure, method="trapezoids"), "method='trapezoids'")
    collected = ListGini(n=k, items=n_items)
    values = [collected.compute_list_data(ItemList(item_ids=x, ordered=True), None) for x in lists]
    yield row(f"gini@{k}", "lenskit", collected.global_aggregate(values), "called ListGini")


def user_auc(data, relevant, excluded, candidates):
    values = []
    for scores, items, out in zip(data["scores"], relevant, excluded, strict=True):
        asked = np.intersect1d(items, candidates)
        competing = np.setdiff1d(candidates, np.union1d(items, out))
        label = np.repeat([1, 0], [len(asked), len(competing)])
        score = scores[np.concatenate([asked, competing])]
        values.append(roc_auc_score(label, score) if 0 < label.sum() < len(label) else np.nan)
    return values


def row_rows(data):
    """Return metrics over rows: clicks, ratings, ranks, and tests."""
    label, score, times, probability = (data[name] for name in ("label", "score", "times", "probability"))
    yield row("auc", "scikit-learn", roc_auc_score(label, score))
    yield row("auc, weighted rows", "scikit-learn", roc_auc_score(label, score, sample_weight=times))
    yield row("logloss", "scikit-learn", log_loss(label, probability))
    single = [log_loss([y], [p], labels=[0, 1]) for y, p in zip(label, probability, strict=True)]
    yield row("logloss, each row", "scikit-learn", single, "one call a row; clips to [eps, 1 - eps] of float64")
    yield row("rmse", "scikit-learn", root_mean_squared_error(data["rating"], data["predicted"]))
    yield row("mae", "scikit-learn", mean_absolute_error(data["rating"], data["predicted"]))
    ranks = [rankdata(-np.append(s, o[~np.isnan(o)]), method="average")[0] for s, o in zip(data["own"], data["others"], strict=True)]
    yield row("mean rank", "scipy", ranks, "rankdata, method='average'")
    yield row("holm", "statsmodels", multipletests(data["p_values"], method="holm")[1])
    values = data["sums"], data["counts"]

    def ratio(sums, counts, axis):
        return sums.sum(axis=axis) / counts.sum(axis=axis)

    interval = bootstrap(values, ratio, paired=True, n_resamples=1000, batch=50, method="percentile", rng=np.random.default_rng(0))
    ends = [interval.confidence_interval.low, interval.confidence_interval.high]
    yield row("bootstrap interval", "scipy", ends, "method='percentile'; the same generator gives the same draws")
    flipped = [
        permutation_test((x, np.zeros(len(x))), lambda a, b, axis: (a - b).mean(axis=axis), permutation_type="samples", n_resamples=np.inf)
        for x in data["differences"]
    ]
    yield row("sign flip", "scipy", [test.pvalue for test in flipped], "permutation_test, 'samples', all 2^12 patterns; ours draws 10,000")


def main(given, written):
    warnings.simplefilter("ignore")
    data = np.load(given)
    lists = [x[x >= 0] for x in data["rows"]]
    relevant, training = (by_user(data[f"{name}_indptr"], data[f"{name}_items"]) for name in ("relevant", "training"))
    n_items = int(data["n_items"])
    rows = []
    for k in data["k"].tolist():
        rows += [*ranx_rows(lists, relevant, k), *lenskit_rows(lists, relevant, k), scikit_ndcg(lists, relevant, k, n_items)]
        rows += catalogue_rows(lists, training, k, n_items)
    everything = np.arange(n_items)
    rows.append(row("user auc", "scikit-learn", user_auc(data, relevant, training, everything), "over the items that compete"))
    some = data["candidates"]
    rows.append(row("user auc, candidates", "scikit-learn", user_auc(data, relevant, training, some), "over the candidates that compete"))
    rows += row_rows(data)
    with open(written, "w") as file:  # noqa: PTH123
        json.dump(rows, file)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Films that nobody has rated yet: content methods and a hybrid on MovieLens-1M, in five folds over the items.

::

    python benchmarks/accuracy/new_items.py            # measures, writes results/new_items.json
    python benchmarks/accuracy/new_items.py --table    # prints the table of docs/how-to/content.md from that file

Protocol ``new-items``: a fifth of the films is held out whole, the candidates are these films only; ``recall_all@20`` ranks them among
all films. Attributes are those of ``item_text``: plot, genres, director, actors and what else it holds. Settings were chosen by
`tuning/content.py` on films held out of the training part of the first fold.

random            no order
genre popularity  the mean number of ratings of the films of a film's genres
content-*         the methods with their defaults; word vectors are learned from the films themselves
... by file       vectors of a file: 1,000 common English words (`word-vectors-1000`), and word2vec and GloVe text files that are trained
                  here, once, on the texts of the catalogues at hand (plots of films, reviews of musical instruments). These are
                  small files of our own making: none of the large public ones is measured.
hybrid            `als` with a content rung (`recvec.retrieval.new_items`): content-tfidf mapped into its space by ridge
"""

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("RECVEC_DATA", HERE.parents[2] / "shared" / "data"))
RESULT = HERE / "results" / "new_items.json"
TYPES = {"plot": "text", "genres": "list", "actors": "list", "director": "list"}
METRICS = ("recall@20", "ndcg@20", "recall_all@20")
REFERENCE = "content-tfidf"
WITH_FILES = {"content-word2vec, 1,000 words", "content-word2vec, word2vec file", "content-glove, GloVe file"}


def competitors(folder: Path) -> dict[str, Any]:
    """Return what is fitted on each training part, by name."""
    import recvec as rv

    def mapped(train: Any) -> Any:
        from recvec.retrieval.new_items import with_new_items

        content = rv.ContentTFIDF().fit(train, rng=0, runtime=one)
        return with_new_items(rv.ALS(embedding_dim=64).fit(train, rng=0, runtime=one), content, train.item_counts, runtime=one)[0]

    one = rv.Runtime(threads=1)
    recipes: dict[str, Any] = {
        "random": rv.Random(),
        "content-tfidf": rv.ContentTFIDF(),
        "content-word2vec": rv.ContentWord2Vec(),
        "content-glove": rv.ContentGloVe(),
        "content-word2vec, 1,000 words": rv.ContentWord2Vec(vectors=str(folder / "common.vec")),
        "content-word2vec, word2vec file": rv.ContentWord2Vec(vectors=str(folder / "word2vec.vec")),
        "content-glove, GloVe file": rv.ContentGloVe(vectors=str(folder / "glove.txt")),
    }
    fits = {name: (lambda train, recipe=recipe: recipe.fit(train, rng=0, runtime=one)) for name, recipe in recipes.items()}
    return {REFERENCE: fits.pop(REFERENCE), "hybrid": mapped, "genre popularity": by_genre, **fits}


def by_genre(train: Any) -> Any:
    """Return popularity with the mean of their genres for films that nobody has met."""
    import recvec as rv

    model = rv.Popularity().fit(train)
    counts, genres = model.item_vectors[:, 0], train.item_features.frame["genres"].to_list()
    met = counts > 0
    mean = {
        g: float(np.mean([c for c, mine, m in zip(counts, genres, met, strict=True) if m and g in (mine or [])] or [0]))
        for g in {g for mine in genres for g in mine or []}
    }
    guess = np.array([np.mean([mean[g] for g in mine]) if mine else counts[met].mean() for mine in genres], np.float32)
    return replace(model, item_vectors=np.where(met, counts, guess)[:, None])


def files(folder: Path) -> dict[str, str]:
    """Write the three files of word vectors; return what they are."""
    import polars as pl

    from recvec.encoders.word_training import GloVeTrainer, Word2VecTrainer
    from recvec.encoders.words import words_of

    common = pl.read_parquet(DATA / "word-vectors-1000" / "vectors.parquet")
    names = [name for name in common.columns if common.schema[name] == pl.String]
    words = common[names[0]]
    rest = common.drop(names)
    numbers = np.array(rest.to_series().to_list() if rest.width == 1 else rest.to_numpy(), np.float32)
    _write(folder / "common.vec", words, numbers, header=True)
    plots = pl.read_parquet(DATA / "movielens-1m" / "item_text.parquet")["plot"]
    reviews = pl.read_parquet(DATA / "amazon-musical-instruments-5core" / "reviews.parquet")
    column = next(name for name in ("reviewText", "review_text", "review", "text") if name in reviews.columns)
    rows = words_of(pl.concat([plots.alias("text"), reviews[column].alias("text")]))
    counted = rows.explode().drop_nulls().value_counts().filter(pl.col("count") >= 5).sort("count", "text", descending=[True, False])
    terms = counted["text"]
    _write(folder / "word2vec.vec", terms, Word2VecTrainer(dim=100, window=5, passes=5, seed=1)(rows, terms), header=True)
    _write(folder / "glove.txt", terms, GloVeTrainer(dim=100, window=5, passes=15, rng=np.random.default_rng(0))(rows, terms), header=False)
    made = f"{len(terms):,} words x 100, trained on {len(rows):,} plots and reviews"
    return {"1,000 words": f"{len(words):,} words x {numbers.shape[1]}", "word2vec file": made, "GloVe file": made}


def _write(place: Path, words: Any, vectors: Any, *, header: bool) -> None:
    with place.open("w") as file:
        if header:
            file.write(f"{len(words)} {vectors.shape[1]}\n")
        for word, vector in zip(words, vectors, strict=True):
            file.write(f"{word} {' '.join(f'{x:.6g}' for x in vector)}\n")


def measure(only: list[str] | None) -> None:
    """Measure every competitor on the same folds; write after each, so that what is done is kept."""
    import recvec as rv

    data = rv.read(
        DATA / "movielens-1m" / "ratings.parquet", items=DATA / "movielens-1m" / "item_text.parquet", types=TYPES, list_separator=", "
    )
    splits = rv.folds(data, "new-items", 5, seed=0)
    results: dict[str, Any] = {}
    kept: dict[str, Any] = {"protocol": "new-items, 5 folds, seed 0", "version": rv.__version__, "rows": {}}
    with TemporaryDirectory() as folder:
        for name, fit in competitors(Path(folder)).items():
            if only and name not in only:
                continue
            if WITH_FILES & {name} and "files" not in kept:
                kept["files"] = files(Path(folder))
            began, notes = time.time(), []

            def fitted(train: Any, seed: int, fit: Any = fit, notes: list[str] = notes) -> Any:
                model = fit(train)
                notes += [n for n in model.notes if n.startswith("word vectors")]
                return model

            result = rv.cross_validate(rv.Popularity(), splits, k=20, fit=fitted, runtime=rv.Runtime(threads=1))
            results[name] = result
            row = {m: [result.metrics[m], *result.intervals[m]] for m in METRICS}
            kept["rows"][name] = {"metrics": row, "coverage": sorted(set(notes))[:1]}
            print(f"{name:34} {result.metrics['recall@20']:.4f} {result.metrics['ndcg@20']:.4f}  {time.time() - began:.0f} s", flush=True)
            if REFERENCE in results and len(results) > 1:
                table = rv.differences(results, reference=REFERENCE, metric="recall@20")
                kept["differences"] = table.to_dicts()
            RESULT.write_text(json.dumps(kept, indent=1) + "\n")


def table() -> None:
    """Print the table of the page."""
    kept = json.loads(RESULT.read_text())
    paired = {row["method"]: row for row in kept["differences"]}
    print("| method | recall@20 | NDCG@20 | recall@20 among all films | recall@20 less that of content-tfidf |\n|---|---|---|---|---|")
    for name, row in sorted(kept["rows"].items(), key=lambda pair: pair[1]["metrics"]["recall@20"][0]):
        values = " | ".join(f"{row['metrics'][m][0]:.4f}" for m in METRICS)
        told = paired.get(name)
        other = "" if told is None else f"{told['difference']:+.4f} ({told['low']:+.4f} to {told['high']:+.4f})"
        print(f"| {name} | {values} | {other} |")
    for row in kept["rows"].values():
        for note in row["coverage"]:
            print(note)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--only", nargs="*")
    given = parser.parse_args()
    table() if given.table else measure(given.only)

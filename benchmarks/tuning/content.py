"""Settings of content methods for new films, chosen on films held out of the training part of the first fold of MovieLens-1M.

::

    python benchmarks/tuning/content.py [TRIAL ...]    # all trials or those named; adds to content.json

The training part of fold 0 of ``accuracy/new_items.py`` is cut into five parts by films again (seed 1), of which the first two are asked
about; candidates are the films held out. Every number is recall@20 over users with such films, a mean of the two parts; the
test films of no fold but those that the first fold trains on are seen.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

import recvec as rv
from recvec.retrieval.new_items import with_new_items

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("RECVEC_DATA", HERE.parents[2] / "shared" / "data"))
RESULT = HERE / "content.json"
TYPES = {"plot": "text", "genres": "list", "actors": "list", "director": "list"}
ONE = rv.Runtime(threads=1)
TRIALS: dict[str, Any] = {
    **{f"content-tfidf attribute_weight={w}": (rv.ContentTFIDF, {"attribute_weight": w}) for w in (1.0, 1.7, 2.5, 4.0)},
    "content-tfidf metric=dot": (rv.ContentTFIDF, {"metric": "dot"}),
    "content-tfidf embedding_dim=512": (rv.ContentTFIDF, {"embedding_dim": 512}),
    "content-tfidf likes=rating": (rv.ContentTFIDF, {"likes": "rating"}),
    **{f"content-word2vec n_removed={n}": (rv.ContentWord2Vec, {"n_removed": n}) for n in (0, 1)},
    "content-word2vec weighting=mean": (rv.ContentWord2Vec, {"weighting": "mean"}),
    **{f"hybrid als embedding_dim={d}": (rv.ALS, {"embedding_dim": d}) for d in (16, 32, 64)},
}


def parts() -> list[rv.Split]:
    data = rv.read(
        DATA / "movielens-1m" / "ratings.parquet", items=DATA / "movielens-1m" / "item_text.parquet", types=TYPES, list_separator=", "
    )
    return rv.folds(rv.folds(data, "new-items", 5, seed=0)[0].train, "new-items", 5, seed=1)[:2]


def recall(model: Any, split: rv.Split) -> float:
    wanted = split.train.with_interactions(split.test).matrix()[:, split.candidates].tocsr()
    asked = np.flatnonzero(np.diff(wanted.indptr))
    scores = model.user_vectors[asked] @ model.item_vectors[split.candidates].T
    top = np.argpartition(-scores, 20, axis=1)[:, :20]
    hits = np.take_along_axis(wanted[asked].toarray() > 0, top, axis=1).sum(axis=1)
    return float((hits / np.diff(wanted.indptr)[asked]).mean())


if __name__ == "__main__":
    kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    splits = parts()
    for name in sys.argv[1:] or TRIALS:
        kind, settings = TRIALS[name]
        found = []
        for split in splits:
            model = kind(**settings).fit(split.train, rng=0, runtime=ONE)
            if kind is rv.ALS:
                model, _ = with_new_items(
                    model, rv.ContentTFIDF().fit(split.train, rng=0, runtime=ONE), split.train.item_counts, runtime=ONE
                )
            found.append(recall(model, split))
        kept[name] = {"recall@20": round(float(np.mean(found)), 4), "parts": [round(x, 4) for x in found]}
        print(name, kept[name], flush=True)
        RESULT.write_text(json.dumps(kept, indent=1) + "\n")

r"""content-tfidf beside popularity on books, artists and instruments, paired by user.

::

    python benchmarks/accuracy/content_sets.py     # measures, writes results/content_sets.json

The same as these commands, once with each method, and the paired difference that single runs cannot give::

    recvec evaluate bookcrossing-small/history.parquet --items bookcrossing-small/items.parquet --use title,author,year,publisher \
        --method content-tfidf --protocol new-items --k 20
    recvec evaluate lastfm-2k/user_artists.parquet --items lastfm-2k/item_tags.parquet --types tags=text \
        --method content-tfidf --protocol new-items --k 20
    recvec evaluate amazon-musical-instruments-5core/reviews.parquet --item-text-from review_text \
        --method content-tfidf --protocol leave-last-out --k 20

Books and artists are asked about twice: new items (five folds; popularity knows no order among them, and ties go to the smaller row)
and a random tenth of the rows. The texts of instruments are those of training rows, so that a new one has none: leave-last-out.
"""

import json
import os
from pathlib import Path
from typing import Any

import recvec as rv

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("RECVEC_DATA", HERE.parents[2] / "shared" / "data"))
RESULT = HERE / "results" / "content_sets.json"
ONE = rv.Runtime(threads=1)


def tables() -> dict[str, tuple[rv.Dataset, tuple[str, ...]]]:
    books = rv.read(
        DATA / "bookcrossing-small" / "history.parquet",
        items=DATA / "bookcrossing-small" / "items.parquet",
        use=["title", "author", "year", "publisher"],
    )
    artists = rv.read(DATA / "lastfm-2k" / "user_artists.parquet", items=DATA / "lastfm-2k" / "item_tags.parquet", types={"tags": "text"})
    reviews = DATA / "amazon-musical-instruments-5core" / "reviews.parquet"
    instruments = rv.read(reviews, item_text_from="review_text")
    return {
        "amazon-musical-instruments-5core": (instruments, ("leave-last-out",)),
        "lastfm-2k": (artists, ("new-items", "random")),
        "bookcrossing-small": (books, ("new-items", "random")),
    }


def main() -> None:
    kept: dict[str, Any] = {"version": rv.__version__, "rows": []}
    for name, (data, protocols) in tables().items():
        for protocol in protocols:
            splits = rv.folds(data, protocol, 5, seed=0) if protocol == "new-items" else [rv.split(data, protocol, seed=0)]
            methods: dict[str, Any] = {"popularity": rv.Popularity(), "content-tfidf": rv.ContentTFIDF()}
            results = {n: rv.cross_validate(m, splits, k=20, runtime=ONE) for n, m in methods.items()}
            paired = rv.differences(results, reference="popularity", metric="recall@20").to_dicts()[0]
            row = {n: r.metrics["recall@20"] for n, r in results.items()}
            kept["rows"].append({"data": name, "protocol": protocol, **row, "paired": paired})
            print(name, protocol, row, f"{paired['difference']:+.4f} ({paired['low']:+.4f} to {paired['high']:+.4f})", flush=True)
            RESULT.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()

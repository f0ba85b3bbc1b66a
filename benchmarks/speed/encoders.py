"""How long texts and word vectors take.

::

    python benchmarks/speed/encoders.py            # writes benchmarks/results/encoders.json

TF-IDF of 100,000 items of 100 words each (power-law words, 60,000 different ones), from the table to the vectors, decomposition to 256
included, in a process of its own: seconds and peak memory. A GloVe text file of 400,000 words x 300, made here: seconds until it
is indexed, and until it is opened from then on.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

RESULT = Path(__file__).resolve().parent / "results" / "encoders.json"


def tfidf() -> dict[str, float]:
    import polars as pl

    from recvec.encoders.tfidf import TfidfEncoder

    rng = np.random.default_rng(0)
    names = np.array([f"w{n:x}" for n in range(60_000)])
    drawn = names[(60_000 ** rng.random((100_000, 100))).astype(np.int64) - 1]
    items = pl.DataFrame({"plot": [" ".join(row) for row in drawn]})
    del drawn
    TfidfEncoder.fit(items.head(2000), types={"plot": "text"})  # what loads and compiles
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    began = time.perf_counter()
    encoder = TfidfEncoder.fit(items, types={"plot": "text"})
    fitted = time.perf_counter() - began
    encoder.transform(items)
    whole = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"fit_seconds": fitted, "fit_and_transform_seconds": whole, "peak_memory_mb": peak, "before_mb": before}


def write_vectors(place: Path, n: int, d: int) -> None:
    """Write a text file of word vectors; numbers repeat, which changes nothing for a reader."""
    rng = np.random.default_rng(0)
    lines = [" ".join(f"{x:.5f}" for x in rng.normal(0, 0.4, d)) for _ in range(997)]
    with place.open("w") as file:
        for n_word in range(n):
            file.write(f"word{n_word} {lines[n_word % 997]}\n")


def index(place: Path) -> dict[str, float]:
    from recvec.encoders.word_vectors import WordVectors

    told: list[float] = []
    began = time.perf_counter()
    WordVectors.open(place, progress=told.append)
    made = time.perf_counter() - began
    began = time.perf_counter()
    found = WordVectors.open(place)
    found.vectors(["word7", "word399999", "unknown"])
    return {"index_seconds": made, "open_and_look_up_seconds": time.perf_counter() - began, "progress_calls": len(told)}


def _alone(*command: str) -> dict[str, float]:
    printed = subprocess.run([sys.executable, __file__, *command], check=True, capture_output=True, text=True).stdout
    return json.loads(printed.splitlines()[-1])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--tfidf"]:
        print(json.dumps(tfidf()))
    elif sys.argv[1:2] == ["--index"]:
        print(json.dumps(index(Path(sys.argv[2]))))
    else:
        found = {"tfidf_100k_items_100_words": _alone("--tfidf")}
        with TemporaryDirectory() as folder:
            place = Path(folder) / "vectors.txt"
            write_vectors(place, 400_000, 300)
            found["glove_text_400k_300"] = {"file_mb": place.stat().st_size / 1e6, **_alone("--index", str(place))}
        RESULT.write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps(found, indent=1))

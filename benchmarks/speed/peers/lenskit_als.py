"""Alternating least squares by LensKit; runs in the peers' environment (numpy, scipy, pandas, lenskit).

``lenskit_als.py FOLDER EPOCHS THREADS CONFIDENCE REG KEEP``: fits from the start factors in FOLDER (each half-epoch
exactly, LensKit's only way) and prints one line of JSON, the seconds of each epoch. With KEEP 1 the factors after epoch e
go to ``peer_users_e.npy`` and ``peer_items_e.npy``, outside the timing.

FOLDER holds indptr.npy, indices.npy, shape.npy (users x items), users.npy and items.npy (the start).
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd


def main(folder: Path, epochs: int, confidence: float, reg: float, *, keep: bool) -> None:
    """Fit and print."""
    import lenskit  # after the number of threads is set
    from lenskit.als import ImplicitMFConfig, ImplicitMFScorer
    from lenskit.data import from_interactions_df
    from lenskit.training import TrainingOptions

    indptr, indices = np.load(folder / "indptr.npy"), np.load(folder / "indices.npy")
    users, items = np.load(folder / "users.npy"), np.load(folder / "items.npy")
    rows = pd.DataFrame({"user_id": np.repeat(np.arange(len(users)), np.diff(indptr)), "item_id": indices})
    data = from_interactions_df(rows)
    config = ImplicitMFConfig(embedding_size=users.shape[1], epochs=epochs, weight=confidence - 1, regularization=reg)
    trainer = ImplicitMFScorer(config).create_trainer(data, TrainingOptions(rng=0))
    places = data.users.ids().astype(int), data.items.ids().astype(int)  # rows without interactions are not in the data
    trainer.load_parameters({"user_embeddings": users[places[0]], "item_embeddings": items[places[1]]})
    seconds = []
    for epoch in range(epochs):
        begin = time.perf_counter()
        trainer.train_epoch()
        seconds.append(time.perf_counter() - begin)
        if keep:
            model = trainer.scorer
            for name, start, at, found in (
                ("users", users, places[0], model.user_embeddings),
                ("items", items, places[1], model.item_embeddings),
            ):
                whole = np.zeros_like(start)
                whole[at] = found
                np.save(folder / f"peer_{name}_{epoch}.npy", whole)
    print(json.dumps({"seconds": seconds, "versions": {"lenskit": lenskit.__version__, "numpy": np.__version__}}))


if __name__ == "__main__":
    work, epochs, threads, confidence, reg, keep = sys.argv[1:]
    for name in ("LK_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = threads
    os.environ["LK_NUM_BACKEND_THREADS"] = "1"
    main(Path(work), int(epochs), float(confidence), float(reg), keep=keep == "1")

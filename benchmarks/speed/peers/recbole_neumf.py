"""Epochs of NeuMF by RecBole; runs in RecBole's environment.

``python recbole_neumf.py PAIRS FOLDER EPOCHS THREADS ROWS``: PAIRS is a numpy file of (user, item) rows, FOLDER an empty place for
its tables, ROWS its `train_batch_size`, which counts positives and negatives. Prints the seconds of each epoch of training.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

load = torch.load
torch.load = lambda *args, **more: load(*args, **{"weights_only": False, **more})  # what RecBole 1.2.1 was written for

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.model.general_recommender import NeuMF  # noqa: E402
from recbole.trainer import Trainer  # noqa: E402
from recbole.utils import init_seed  # noqa: E402

pairs, folder, epochs, threads, rows = np.load(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:6])
torch.set_num_threads(threads)
(folder / "pairs").mkdir()
np.savetxt(folder / "pairs" / "pairs.inter", pairs, fmt="%d", delimiter="\t", header="user_id:token\titem_id:token", comments="")
config = Config(
    model="NeuMF",
    dataset="pairs",
    config_dict={
        "data_path": str(folder), "load_col": {"inter": ["user_id", "item_id"]}, "checkpoint_dir": str(folder), "show_progress": False,
        "mf_embedding_size": 64, "mlp_embedding_size": 64, "mlp_hidden_size": [128, 64], "dropout_prob": 0.0,
        "train_batch_size": rows, "train_neg_sample_args": {"distribution": "uniform", "sample_num": 4, "dynamic": False},
        "eval_args": {"split": {"RS": [1.0, 0.0, 0.0]}, "order": "RO", "group_by": "user", "mode": "full"},
        "use_gpu": False, "state": "ERROR",
    },
)  # fmt: skip
init_seed(0, reproducibility=True)
data = create_dataset(config)
train, _, _ = data_preparation(config, data)
model = NeuMF(config, train.dataset)
trainer = Trainer(config, model)
seconds, losses = [], []
for epoch in range(epochs):
    begin = time.perf_counter()
    losses.append(float(trainer._train_epoch(train, epoch)))  # noqa: SLF001  its public method evaluates too
    seconds.append(time.perf_counter() - begin)
print(json.dumps({"seconds": seconds, "loss": losses, "batches": len(train), "versions": {"torch": torch.__version__, "recbole": "1.2.1"}}))

"""Alternating least squares by irspack; runs in the peers' environment (numpy, scipy, irspack).

``irspack_als.py FOLDER EPOCHS THREADS UNOBSERVED REG SOLVER KEEP``: fits from the start factors in FOLDER by SOLVER (CG,
3 steps, or IALSPP, blocks of 64; irspack's defaults) and prints one line of JSON, the seconds of each epoch. With KEEP 1
the factors after epoch e go to ``peer_users_e.npy`` and ``peer_items_e.npy``, outside the timing. The trainer below
`IALSRecommender` is called, since its factors can be set; an epoch is the same call, `step`.

FOLDER holds indptr.npy, indices.npy, shape.npy (users x items), users.npy and items.npy (the start).
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from irspack.recommenders._ials_core import IALSModelConfigBuilder, IALSSolverConfigBuilder, IALSTrainer, LossType, SolverType
from scipy import sparse


def trainer(train: sparse.csr_matrix, users: np.ndarray, items: np.ndarray, unobserved: float, reg: float) -> IALSTrainer:
    """Return a trainer of irspack's objective that begins at these factors."""
    config = IALSModelConfigBuilder().set_K(users.shape[1]).set_alpha0(unobserved).set_reg(reg).set_nu(1.0)
    config = config.set_init_stdev(0.1).set_random_seed(0).set_loss_type(LossType.IALSPP)
    config = config.set_lambda_user_feature(0.0).set_lambda_item_feature(0.0).set_feature_warmup_epochs(0)
    model = IALSTrainer(config.build(), train)
    model.user, model.item = users, items
    return model


def main(folder: Path, epochs: int, threads: int, unobserved: float, reg: float, solver: str, *, keep: bool) -> None:
    """Fit and print."""
    indptr, indices = np.load(folder / "indptr.npy"), np.load(folder / "indices.npy")
    shape = tuple(int(n) for n in np.load(folder / "shape.npy"))
    train = sparse.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=shape)
    model = trainer(train, np.load(folder / "users.npy"), np.load(folder / "items.npy"), unobserved, reg)
    options = IALSSolverConfigBuilder().set_n_threads(threads).set_solver_type(getattr(SolverType, solver)).set_max_cg_steps(3)
    options = options.set_ialspp_iteration(1).set_ialspp_subspace_dimension(64).build()
    seconds = []
    for epoch in range(epochs):
        begin = time.perf_counter()
        model.step(options)
        seconds.append(time.perf_counter() - begin)
        if keep:
            np.save(folder / f"peer_users_{epoch}.npy", model.user)
            np.save(folder / f"peer_items_{epoch}.npy", model.item)
    print(json.dumps({"seconds": seconds, "versions": {"irspack": version("irspack"), "numpy": np.__version__}}))


if __name__ == "__main__":
    work, epochs, threads, unobserved, reg, solver, keep = sys.argv[1:]
    main(Path(work), int(epochs), int(threads), float(unobserved), float(reg), solver, keep=keep == "1")

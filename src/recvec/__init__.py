"""recvec: user and item embeddings for recommender systems, measured honestly and ready to use.

>>> import recvec as rv
>>> data = rv.sample()
>>> split = rv.split(data, "leave-last-out", seed=0)
>>> model = rv.ALS(embedding_dim=16).fit(split.train)
>>> rv.evaluate(model, split, k=10).metrics["recall@10"] > 0.1
True
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recvec.artifact.store import load, save
    from recvec.contract import Runtime
    from recvec.data.dataset import Dataset
    from recvec.data.readers import read
    from recvec.data.sources import datasets, download
    from recvec.data.splits import Split, folds, split
    from recvec.data.synthetic import sample
    from recvec.errors import InputError, RecvecError
    from recvec.evaluation.differences import differences
    from recvec.evaluation.placebo import placebo
    from recvec.evaluation.protocol import cross_validate, evaluate
    from recvec.evaluation.report import Evaluation
    from recvec.models.als import ALS
    from recvec.models.als_explicit import ALSExplicit
    from recvec.models.bpr import BPR
    from recvec.models.content_glove import ContentGloVe
    from recvec.models.content_tfidf import ContentTFIDF
    from recvec.models.content_word2vec import ContentWord2Vec
    from recvec.models.conv_ncf import ConvNCF
    from recvec.models.dmf import DMF
    from recvec.models.ease import EASE
    from recvec.models.fm import FM
    from recvec.models.gmf import GMF
    from recvec.models.graph_filter import GraphFilter
    from recvec.models.item_knn import ItemKNN
    from recvec.models.lightgcn import LightGCN
    from recvec.models.mlp import MLP
    from recvec.models.neumf import NeuMF
    from recvec.models.ngcf import NGCF
    from recvec.models.popularity import Popularity
    from recvec.models.random import Random
    from recvec.models.registry import method
    from recvec.models.rp3beta import RP3Beta
    from recvec.models.softmax_mf import SoftmaxMF
    from recvec.models.svd import SVD
    from recvec.models.two_tower import TwoTower
    from recvec.models.warp import WARP
    from recvec.retrieval.graph_walk import GraphWalk
    from recvec.retrieval.recommender import Recommender

__version__ = "0.1.0"

_WHERE = {
    "ALS": "recvec.models.als",
    "ALSExplicit": "recvec.models.als_explicit",
    "BPR": "recvec.models.bpr",
    "ConvNCF": "recvec.models.conv_ncf",
    "DMF": "recvec.models.dmf",
    "ContentGloVe": "recvec.models.content_glove",
    "ContentTFIDF": "recvec.models.content_tfidf",
    "ContentWord2Vec": "recvec.models.content_word2vec",
    "Dataset": "recvec.data.dataset",
    "EASE": "recvec.models.ease",
    "Evaluation": "recvec.evaluation.report",
    "FM": "recvec.models.fm",
    "GraphFilter": "recvec.models.graph_filter",
    "GraphWalk": "recvec.retrieval.graph_walk",
    "GMF": "recvec.models.gmf",
    "InputError": "recvec.errors",
    "ItemKNN": "recvec.models.item_knn",
    "MLP": "recvec.models.mlp",
    "NeuMF": "recvec.models.neumf",
    "LightGCN": "recvec.models.lightgcn",
    "NGCF": "recvec.models.ngcf",
    "Popularity": "recvec.models.popularity",
    "RP3Beta": "recvec.models.rp3beta",
    "Random": "recvec.models.random",
    "Recommender": "recvec.retrieval.recommender",
    "RecvecError": "recvec.errors",
    "Runtime": "recvec.contract",
    "SVD": "recvec.models.svd",
    "SoftmaxMF": "recvec.models.softmax_mf",
    "Split": "recvec.data.splits",
    "TwoTower": "recvec.models.two_tower",
    "WARP": "recvec.models.warp",
    "cross_validate": "recvec.evaluation.protocol",
    "differences": "recvec.evaluation.differences",
    "datasets": "recvec.data.sources",
    "download": "recvec.data.sources",
    "evaluate": "recvec.evaluation.protocol",
    "folds": "recvec.data.splits",
    "load": "recvec.artifact.store",
    "method": "recvec.models.registry",
    "placebo": "recvec.evaluation.placebo",
    "read": "recvec.data.readers",
    "sample": "recvec.data.synthetic",
    "save": "recvec.artifact.store",
    "split": "recvec.data.splits",
}

__all__ = [
    "ALS",
    "BPR",
    "DMF",
    "EASE",
    "FM",
    "GMF",
    "MLP",
    "NGCF",
    "SVD",
    "WARP",
    "ALSExplicit",
    "ContentGloVe",
    "ContentTFIDF",
    "ContentWord2Vec",
    "ConvNCF",
    "Dataset",
    "Evaluation",
    "GraphFilter",
    "GraphWalk",
    "InputError",
    "ItemKNN",
    "LightGCN",
    "NeuMF",
    "Popularity",
    "RP3Beta",
    "Random",
    "Recommender",
    "RecvecError",
    "Runtime",
    "SoftmaxMF",
    "Split",
    "TwoTower",
    "cross_validate",
    "datasets",
    "differences",
    "download",
    "evaluate",
    "folds",
    "load",
    "method",
    "placebo",
    "read",
    "sample",
    "save",
    "split",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that ``import recvec`` costs nothing (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module 'recvec' has no attribute '{name}'")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

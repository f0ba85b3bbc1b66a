"""Methods by name; each file is loaded only when its method is asked for."""

import importlib
from collections.abc import Mapping
from typing import Any

from recvec.contract import Method
from recvec.contract.hyperparameters import parse
from recvec.errors import UnknownMethodError, nearest

_WHERE: dict[str, tuple[str, str]] = {
    "popularity": ("recvec.models.popularity", "Popularity"),
    "random": ("recvec.models.random", "Random"),
    "svd": ("recvec.models.svd", "SVD"),
    "als": ("recvec.models.als", "ALS"),
    "als-explicit": ("recvec.models.als_explicit", "ALSExplicit"),
    "bpr": ("recvec.models.bpr", "BPR"),
    "warp": ("recvec.models.warp", "WARP"),
    "softmax-mf": ("recvec.models.softmax_mf", "SoftmaxMF"),
    "fm": ("recvec.models.fm", "FM"),
    "gmf": ("recvec.models.gmf", "GMF"),
    "mlp": ("recvec.models.mlp", "MLP"),
    "neumf": ("recvec.models.neumf", "NeuMF"),
    "conv-ncf": ("recvec.models.conv_ncf", "ConvNCF"),
    "dmf": ("recvec.models.dmf", "DMF"),
    "two-tower": ("recvec.models.two_tower", "TwoTower"),
    "lightgcn": ("recvec.models.lightgcn", "LightGCN"),
    "ngcf": ("recvec.models.ngcf", "NGCF"),
    "ease": ("recvec.models.ease", "EASE"),
    "rp3beta": ("recvec.models.rp3beta", "RP3Beta"),
    "content-tfidf": ("recvec.models.content_tfidf", "ContentTFIDF"),
    "content-word2vec": ("recvec.models.content_word2vec", "ContentWord2Vec"),
    "content-glove": ("recvec.models.content_glove", "ContentGloVe"),
    "item-knn": ("recvec.models.item_knn", "ItemKNN"),
    "graph-filter": ("recvec.models.graph_filter", "GraphFilter"),
}


def names() -> list[str]:
    """Return the names of all registered methods."""
    return list(_WHERE)


def method_class(name: str) -> type[Method]:
    """Return the class of a method.

    Raises
    ------
    UnknownMethodError
        Names the nearest and all known methods.
    """
    if name not in _WHERE:
        raise UnknownMethodError(f"there is no method '{name}' ({nearest(name, _WHERE)}); allowed: {', '.join(_WHERE)}")
    module, attribute = _WHERE[name]
    found: type[Method] = getattr(importlib.import_module(module), attribute)
    return found


def method(name: str, *, task: str | None = None, settings: Mapping[str, str] | None = None, **hyperparameters: Any) -> Method:
    """Build a method from its name, a task and hyper-parameters, typed or as ``name=value`` text.

    Without a task it is the method's first: ``ranking`` for every method that ranks, else what the method is for.

    Raises
    ------
    UnknownMethodError, HyperparameterError
        Names what is allowed.
    """
    found = method_class(name)
    given = {**hyperparameters, **parse(found, settings or {})}
    task = found.tasks[0] if task is None else task
    if task not in found.tasks:
        able = [n for n in names() if task in method_class(n).tasks]
        others = f"for {task} use {', '.join(able)}" if able else f"no method does {task} yet"
        raise UnknownMethodError(f"method '{name}' does not do the task '{task}'; allowed: {', '.join(found.tasks)}; {others}")
    if len(found.tasks) > 1:
        given.setdefault("task", task)
    return found(**given)

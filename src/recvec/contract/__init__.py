"""The contract between methods and everything above them: recipes in, frozen models out."""

from recvec.contract.dot import DotModel, Link
from recvec.contract.fold_in import FoldIn, LinearFoldIn, Parts, needs_history, no_new_items
from recvec.contract.hyperparameters import param
from recvec.contract.item import ItemModel, neighbourhood_cost
from recvec.contract.method import Cost, DataShape, Method, Training, lengthened
from recvec.contract.model import Explanation, Model, Ranked, State, checked_k, checked_rows
from recvec.contract.pair import PairModel, PairScorer
from recvec.contract.runtime import Runtime, Threads, available_cores

__all__ = [
    "Cost", "DataShape", "DotModel", "Explanation", "FoldIn", "ItemModel", "LinearFoldIn", "Link", "Method", "Model", "PairModel",
    "PairScorer", "Parts", "Ranked", "Runtime", "State", "Threads", "Training", "available_cores", "checked_k", "checked_rows",
    "lengthened", "needs_history", "neighbourhood_cost", "no_new_items", "param",
]  # fmt: skip

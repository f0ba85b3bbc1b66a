"""Losses: means over a batch of B positives, each against its negatives. Scores are logits, higher is better."""

import torch
from torch import Tensor
from torch.nn import functional


def logistic(positive: Tensor, negative: Tensor) -> Tensor:
    """Return the binary cross-entropy: met pairs have the label 1, drawn ones 0.

    Parameters
    ----------
    positive : Tensor, shape (B,)
    negative : Tensor, shape (B, n_negatives)

    Returns
    -------
    Tensor, a scalar
        The mean over all B (1 + n_negatives) observations (He et al. 2017, equation 7, divided by their number).
    """
    n = positive.numel() + negative.numel()
    return (functional.softplus(-positive).sum() + functional.softplus(negative).sum()) / n


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """Return the loss of Bayesian personalized ranking, ``mean log(1 + exp(s_uj - s_ui))`` (Rendle et al. 2009).

    Parameters
    ----------
    positive : Tensor, shape (B,)
    negative : Tensor, shape (B, n_negatives)
    """
    return functional.softplus(negative - positive[:, None]).mean()


def softmax(positive: Tensor, negative: Tensor) -> Tensor:
    """Return the sampled softmax loss ``mean -s_ui + log(exp s_ui + sum_j exp s_uj)``.

    Parameters
    ----------
    positive : Tensor, shape (B,)
    negative : Tensor, shape (B, n_negatives)
        Scores over the temperature, as the positive ones.
    """
    everything = torch.cat([positive[:, None], negative], dim=1)  # (B, 1 + n_negatives)
    return (torch.logsumexp(everything, dim=1) - positive).mean()

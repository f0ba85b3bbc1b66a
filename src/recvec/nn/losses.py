"""Losses: means over a batch of B positives, each against its negatives. Scores are logits, higher is better."""

import math

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


def cosines(users: Tensor, items: Tensor, temperature: float) -> Tensor:
    """Return the cosines of all pairs of rows over the temperature, shape (n, m), for vectors (n, d) and (m, d); 0 for zero rows."""
    return functional.normalize(users, dim=1) @ functional.normalize(items, dim=1).T / temperature


def shared_softmax(scores: Tensor, drawn: Tensor, totals: Tensor) -> Tensor:
    """Return the softmax loss of all pairs of some users, with negatives that are drawn once for all of them.

    ``[ sum_u W_u logsumexp_j s_uj  -  sum_{(u,i)} w_ui s_ui ] / sum_u W_u``: the logarithm is taken once a user, not once a pair.

    Parameters
    ----------
    scores : Tensor, shape (n_users,)
        ``sum_i w_ui s_ui`` over the pairs of each user, the temperature included.
    drawn : Tensor, shape (n_users, n_negatives)
        Scores of the drawn items.
    totals : Tensor, shape (n_users,)
        W, the sums of weights; users without pairs have 0.
    """
    return (totals * torch.logsumexp(drawn, dim=1) - scores).sum() / totals.sum()


def list_thresholds(scores: Tensor, k: int) -> Tensor:
    """Return beta_u, the k-th largest score of each user, shape (B,), from scores of all items (B, n_items), without a slope."""
    return scores.detach().topk(min(k, scores.shape[1]), dim=1).values[:, -1]


def list_weights(positive: Tensor, thresholds: Tensor, temperature: float) -> Tensor:
    """Return the weights of observed pairs by where they stand to the end of the user's list (SL@K), without a slope.

    ``sigma((s_ui - beta_u) / temperature)``. Multiplied with the loss of each pair they make the softmax an upper bound of NDCG@K.

    Parameters
    ----------
    positive : Tensor, shape (B,)
        Scores of the pairs, not over the temperature of the softmax.
    thresholds : Tensor, shape (B,)
        beta of the users, `list_thresholds`; found anew every few epochs.
    temperature : float
        How soft the end of a list is.
    """
    return torch.sigmoid((positive.detach() - thresholds) / temperature)


def in_batch(scores: Tensor, items: Tensor, log_chances: Tensor) -> Tensor:
    """Return the softmax loss whose negatives are the items of the other pairs of the batch.

    An item stands in a batch as often as it is popular, so its score as a negative is lowered by the logarithm of that chance
    (Yi et al., RecSys 2019). The positive is there by design, not by chance, and keeps its score: corrected too, popular items would
    be pushed down twice (Huang et al., "Correcting the LogQ correction", 2025). Pairs of the same item are no negatives of each other.

    Parameters
    ----------
    scores : Tensor, shape (B, B)
        Of user b and the item of pair c, the temperature included; the diagonal are the positives.
    items : Tensor of int64, shape (B,)
        Item of each pair.
    log_chances : Tensor, shape (B,)
        Logarithm of the chance of each pair's item to be drawn, as counted on the training table.
    """
    positive = scores.diagonal()
    lowered = scores - log_chances[None, :] - math.log(max(len(items) - 1, 1))  # over the expected number in the other pairs
    others = lowered.masked_fill(items[:, None] == items[None, :], float("-inf"))
    return (torch.logsumexp(torch.cat([positive[:, None], others], dim=1), dim=1) - positive).mean()

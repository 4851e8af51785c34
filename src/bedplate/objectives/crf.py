"""The linear-chain conditional random field: a sentence's whole sequence of tags is learnt, not each by itself.

A sequence's score is the sum of its words' scores and of what each tag is worth behind the one before it. The latter
are no weights: they are counted in the training sentences (`codecs.tags.TagSet.counted`) and stay as they are, so that
they lie in the bundle's contract and every variant of a model has the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bedplate.objectives.registry import Losses, Objective, Step, objectives


def log_partition(scores: Tensor, lengths: Tensor, transitions: Tensor) -> Tensor:
    """Return the logarithm of the sum over all sequences of exp(score), by the forward algorithm, [rows].

    Lafferty, McCallum and Pereira 2001, "Conditional Random Fields", section 3; Rabiner 1989, equations 18 to 21.

    Args:
        scores: [rows, words, tags].
        lengths: words of each row, 1 at least.
        transitions: [tags + 1, tags]; the last row is the sentence's beginning.
    """
    alpha = scores[:, 0] + transitions[-1]
    for step in range(1, scores.shape[1]):
        further = torch.logsumexp(alpha[:, :, None] + transitions[:-1], dim=1) + scores[:, step]
        alpha = torch.where((lengths > step)[:, None], further, alpha)
    return torch.logsumexp(alpha, dim=1)


def path_score(scores: Tensor, tags: Tensor, transitions: Tensor) -> Tensor:
    """Return the score of given sequences [rows].

    Args:
        scores: [rows, words, tags].
        tags: int64 [rows, words]; negative beyond a row's end.
        transitions: [tags + 1, tags]; the last row is the sentence's beginning.
    """
    there = tags >= 0
    own = tags.clamp(min=0)
    before = torch.cat([torch.full_like(own[:, :1], len(transitions) - 1), own[:, :-1]], dim=1)
    each = scores.gather(2, own[:, :, None])[:, :, 0] + transitions[before, own]
    return torch.where(there, each, torch.zeros_like(each)).sum(dim=1)


def sequence_loss(scores: Tensor, tags: Tensor, transitions: Tensor) -> Tensor:
    """Return the negative log likelihood of the sequences, divided by the number of words, a scalar.

    Arguments are as `path_score` takes them.
    """
    lengths = (tags >= 0).sum(dim=1)
    each = log_partition(scores, lengths, transitions) - path_score(scores, tags, transitions)
    return each.sum() / lengths.sum()


@objectives.register("crf")
def crf() -> Objective:
    """Return the negative log likelihood of tag sequences under a linear-chain conditional random field."""

    def loss(network: nn.Module, features: list[Tensor], targets: Tensor) -> Losses:
        scores = network(*features)
        outputs: object = network.outputs  # `models.Outputs`
        transitions = torch.tensor(outputs.transitions, dtype=scores.dtype, device=scores.device)  # type: ignore[attr-defined]
        return {"loss": sequence_loss(scores, targets.to(torch.int64), transitions)}

    return Objective((Step(loss),), "tags", transitions=True)

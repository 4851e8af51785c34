"""Validate a tagger: sentences of like length run together, and Viterbi's algorithm says what will be answered."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bedplate.codecs.tags import TagSet, best_path
from bedplate.evaluation.tagging import TaggingFacts
from bedplate.models import Network
from bedplate.objectives.crf import sequence_loss

ROWS = 64


@torch.inference_mode()
def tagging_figures(network: Network, features: list[Tensor], targets: Tensor) -> dict[str, float]:
    """Return `validation_loss`, `validation_accuracy` (of words) and `validation_f1` (of entities).

    The loss is the negative log likelihood of the tags' sequences a word, under the transitions of the answer.

    Args:
        network: in evaluation mode.
        features: padded, in the network's order.
        targets: tags int16 [rows, words]; -1 beyond a row's end.
    """
    transitions = np.asarray(network.outputs.transitions)
    there = targets >= 0
    lengths = there.sum(dim=1)
    order = torch.argsort(lengths, descending=True, stable=True)
    found = np.full(tuple(targets.shape), -1)
    total = 0.0
    for start in range(0, len(order), ROWS):
        rows = order[start : start + ROWS]
        width = int(lengths[rows[0]])
        wanted = targets[rows, :width].to(torch.int64)
        scores = network(*[feature[rows, :width] for feature in features])
        loss = sequence_loss(scores, wanted, torch.tensor(transitions, dtype=scores.dtype, device=scores.device))
        total += loss.item() * int(lengths[rows].sum())
        found[rows.cpu().numpy(), :width] = best_path(
            scores.cpu().double().numpy(), lengths[rows].cpu().numpy(), transitions
        )
    facts = TaggingFacts(found, targets.cpu().numpy().astype(np.int64), TagSet(network.outputs.tags))
    figures = facts.measure(np.ones((1, len(targets))))
    return {
        "validation_loss": total / int(lengths.sum()),
        "validation_accuracy": float(figures["token_accuracy"][0]),
        "validation_f1": float(figures["f1"][0]),
    }

"""A tagger's validation figures are of whole sentences, whatever they are put together with."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from bedplate.checks.battery import SAMPLES, TAGGED
from bedplate.codecs.tags import TagSet
from bedplate.evaluation.tagging import TaggingFacts
from bedplate.models import Network
from bedplate.objectives.crf import sequence_loss
from bedplate.training.tagging import ROWS, tagging_figures


class Table(nn.Module):
    """Scores looked up by token, so that what is best is known."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Embedding(300, 3)

    def forward(self, tokens: torch.Tensor, shapes: torch.Tensor, letters: torch.Tensor) -> torch.Tensor:
        return self.scores(tokens)


def test_figures_are_those_of_all_sentences_at_once() -> None:
    torch.manual_seed(0)
    network = Network(Table(), SAMPLES["sentences"], TAGGED).eval()
    draw = np.random.default_rng(0)
    rows = ROWS + 9
    lengths = draw.integers(1, 8, rows)
    there = np.arange(9) < lengths[:, None]
    tokens = (draw.integers(1, 300, (rows, 9)) * there).astype(np.int32)
    targets = np.where(there, draw.choice([0, 1], (rows, 9)), -1).astype(np.int16)
    letters = np.zeros((rows, 9, 8), np.uint8)
    features = [torch.from_numpy(one) for one in (tokens, tokens, letters)]
    found = tagging_figures(network, features, torch.from_numpy(targets))
    scores = network(*features).detach()
    transitions = torch.tensor(TAGGED.transitions)
    wanted = sequence_loss(scores, torch.from_numpy(targets.astype(np.int64)), transitions)
    assert found["validation_loss"] == pytest.approx(float(wanted), rel=1e-5)
    # Words are scored by themselves and only I behind O is forbidden: where no I is best, the best sequence is known.
    best = scores.numpy().argmax(axis=2)
    alone = np.where(((best == 2) & there).any(axis=1))[0]
    easy = np.setdiff1d(np.arange(rows), alone)
    assert len(easy) > 5
    figures = tagging_figures(network, [one[easy] for one in features], torch.from_numpy(targets[easy]))
    facts = TaggingFacts(best[easy], targets[easy].astype(np.int64), TagSet(TAGGED.tags)).measure(
        np.ones((1, len(easy)))
    )
    assert figures["validation_f1"] == pytest.approx(float(facts["f1"][0]))
    assert figures["validation_accuracy"] == pytest.approx(float(facts["token_accuracy"][0]))
    assert math.isfinite(found["validation_f1"])

"""The forward algorithm sums over all sequences, as trying them all does, and learns what follows what."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs.tags import TagSet
from bedplate.objectives.crf import log_partition, path_score, sequence_loss


def score(scores: torch.Tensor, path: tuple[int, ...], transitions: torch.Tensor) -> float:
    """Return a sequence's score, term by term."""
    total = float(transitions[-1, path[0]])
    total += sum(float(scores[k, tag]) for k, tag in enumerate(path))
    return total + sum(float(transitions[a, b]) for a, b in itertools.pairwise(path))


def brute(scores: torch.Tensor, length: int, transitions: torch.Tensor) -> float:
    """Return log Σ exp(score) over every sequence of that length."""
    paths = itertools.product(range(scores.shape[1]), repeat=length)
    return math.log(sum(math.exp(score(scores, path, transitions)) for path in paths))


@given(st.integers(0, 10_000), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_the_sum_is_over_every_sequence(seed: int, lengths: list[int]) -> None:
    source = torch.Generator().manual_seed(seed)
    scores = torch.randn(len(lengths), 4, 3, generator=source, dtype=torch.float64)
    transitions = torch.randn(4, 3, generator=source, dtype=torch.float64)
    found = log_partition(scores, torch.tensor(lengths), transitions)
    for row, length in enumerate(lengths):
        assert float(found[row]) == pytest.approx(brute(scores[row], length, transitions))


def test_the_loss_is_a_words_share_of_the_negative_log_likelihood() -> None:
    scores = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    transitions = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    tags = torch.tensor([[0, 2, 1], [1, -1, -1]])
    each = [
        brute(scores[0], 3, transitions) - score(scores[0], (0, 2, 1), transitions),
        brute(scores[1], 1, transitions) - score(scores[1], (1,), transitions),
    ]
    assert float(sequence_loss(scores, tags, transitions)) == pytest.approx(sum(each) / 4)
    found = path_score(scores, tags, transitions)
    assert float(found[1]) == pytest.approx(score(scores[1], (1,), transitions))


def test_what_may_not_follow_has_no_probability() -> None:
    rules = torch.tensor(TagSet(("O", "B-A", "I-A")).rules())
    scores = torch.zeros(1, 2, 3, dtype=torch.float64)
    # Of nine pairs O O, O B, B O, B B and B I may stand: each has the same share.
    assert float(sequence_loss(scores, torch.tensor([[1, 2]]), rules)) == pytest.approx(math.log(5) / 2)


def test_padding_has_no_gradient() -> None:
    scores = torch.randn(2, 5, 3, requires_grad=True)
    tags = torch.tensor([[0, 1, -1, -1, -1], [1, 2, 0, 0, 1]])
    sequence_loss(scores, tags, torch.zeros(4, 3)).backward()
    assert scores.grad is not None
    assert (scores.grad[0, 2:] == 0).all()
    assert torch.isfinite(scores.grad).all()
    assert (scores.grad[1] != 0).all()

"""The recurrent encoder and decoder: as networks on rows of their own would, nothing of what comes, steps go on alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bedplate.bundle.session import OnnxPredict
from bedplate.core.errors import InputError
from bedplate.export import export_network
from bedplate.export.parity import check_parity
from bedplate.export.stepwise import check_steps
from bedplate.models import Network, Outputs, TextInput, build, predictor
from bedplate.models.recurrent_seq2seq import RecurrentSeq2Seq

VOCABULARY, LENGTH, SEPARATOR = 30, 14, 2
PAIRS = TextInput(VOCABULARY, LENGTH, separator=SEPARATOR)
NEXT = Outputs(VOCABULARY, sequence=True)
TEXTS = torch.tensor(
    [[5, 6, 7, 2, 8, 9, 0, 0], [4, 2, 11, 12, 13, 14, 15, 0], [10, 11, 12, 13, 14, 15, 2, 3]], dtype=torch.int32
)
"""Rows of a text, the separator and an answer, filled up."""


def network(layers: int = 2) -> Network:
    made = build("seq2seq-gru", {"size": 12, "hidden": 16, "layers": layers, "dropout": 0.0}, PAIRS, NEXT, 0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return made.eval()


@pytest.mark.parametrize("layers", [1, 2])
def test_it_answers_as_networks_on_rows_of_their_own_would(layers: int) -> None:
    """The plain twin: each row by itself, torch's own bidirectional layer where one is enough, no masks, no padding."""
    made = network(layers)
    body = made.body
    assert isinstance(body, RecurrentSeq2Seq)
    found = made(TEXTS)
    for row, tokens in enumerate(TEXTS.tolist()):
        at = tokens.index(SEPARATOR)
        text, answer = tokens[: at + 1], [token for token in tokens[at:] if token]

        def vectors(numbers: list[int]) -> Tensor:
            found: Tensor = body.tokens(torch.tensor([numbers])) * math.sqrt(12)
            return found

        forth, back = body.ways[0](vectors(text))[0], body.ways[1](vectors(text[::-1]))[0]
        states = torch.tanh(body.begun(torch.cat([forth[:, -1], back[:, -1]], dim=1))).chunk(layers, dim=1)
        memory = body.joined(torch.cat([forth, back.flip(1)], dim=2))[0]
        own, wanted = list(states), []
        for token in answer:
            x = vectors([token])
            for k in range(layers):
                x, last = body.writers[k](x, own[k][None])
                own[k] = last[0]
            scored = torch.stack([(body.asked(x)[0, 0] * one).sum() for one in memory])
            context = (torch.softmax(scored, 0)[:, None] * memory).sum(0)
            looked = torch.tanh(body.mixed(torch.cat([context, x[0, 0]])))
            wanted.append(functional.linear(looked, body.tokens.weight))
        torch.testing.assert_close(found[row, at : at + len(answer)], torch.stack(wanted), rtol=1e-4, atol=1e-4)
        assert found[row, :at].abs().sum() == 0  # a text's own tokens aren't scored
        assert found[row, at + len(answer) :].abs().sum() == 0


def test_an_answer_sees_the_whole_text_and_nothing_of_what_comes_later() -> None:
    made = network()
    before = made(TEXTS)
    later = TEXTS.clone()
    later[1, 5] = 20  # the answer of the second row is at 2 to 6
    torch.testing.assert_close(made(later)[1, :5], before[1, :5])
    assert (made(later)[1, 5] - before[1, 5]).abs().max() > 1e-3
    for place in (0, 5):  # the text of the third row: its first and its last token
        other = TEXTS.clone()
        other[2, place] = 21
        assert (made(other)[2, 6:8] - before[2, 6:8]).abs().max() > 1e-3
        torch.testing.assert_close(made(other)[:2], before[:2])


@pytest.mark.parametrize("layers", [1, 2])
def test_its_graph_reads_and_writes_step_by_step_at_any_length(layers: int) -> None:
    made = network(layers)
    tokens = TEXTS.numpy()
    model = export_network(made, {"tokens": tokens})
    exported = OnnxPredict(model.SerializeToString(), variant="f32")
    check_parity(made, predictor(made), exported, {"tokens": tokens})
    assert check_steps(made, exported, tokens) < 1e-4
    for row in tokens:  # length 1 to the whole, one row by itself
        for stop in range(1, len(row) + 1):
            cut = {"tokens": row[None, :stop].copy()}
            gap = np.abs(exported(cut)["logits"] - predictor(made)(cut)["logits"]).max()
            assert gap < 1e-4


def test_it_is_for_texts_with_answers() -> None:
    with pytest.raises(InputError, match="'seq2seq-gru' answers a text with a text"):
        build("seq2seq-gru", {}, TextInput(VOCABULARY, LENGTH), NEXT, 0)

"""The encoder and decoder: a text is read both ways, its answer sees nothing of what comes, and steps go on alike."""

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
from bedplate.models.seq2seq import Attention, Seq2Seq, waves

VOCABULARY, LENGTH, SEPARATOR = 30, 14, 2
PAIRS = TextInput(VOCABULARY, LENGTH, separator=SEPARATOR)
NEXT = Outputs(VOCABULARY, sequence=True)


def network(**arguments: object) -> Network:
    given = {"size": 16, "heads": 2, "encoder": 2, "decoder": 2, "hidden": 24, "dropout": 0.0, **arguments}
    made = build("seq2seq", given, PAIRS, NEXT, 0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return made.eval()


def rows(*parts: tuple[list[int], list[int]]) -> Tensor:
    """Return rows of a text, the separator and an answer, filled up."""
    made = [[*text, SEPARATOR, *answer] for text, answer in parts]
    width = max(map(len, made))
    return torch.tensor([row + [0] * (width - len(row)) for row in made], dtype=torch.int32)


TEXTS = rows(([5, 6, 7], [8, 9]), ([4], [11, 12, 13, 14, 15]), ([10, 11, 12, 13, 14, 15], [3]))


def test_it_answers_as_an_encoder_and_a_decoder_on_tensors_of_their_own_would() -> None:
    """The plain twin: each row by itself, no masks but the causal one, no padding."""
    made = network()
    body = made.body
    assert isinstance(body, Seq2Seq)
    found = made(TEXTS)
    for row, tokens in enumerate(TEXTS.tolist()):
        at = tokens.index(SEPARATOR)
        text, answer = tokens[: at + 1], [token for token in tokens[at:] if token]

        def vectors(numbers: list[int]) -> Tensor:
            return body.tokens(torch.tensor([numbers])) * math.sqrt(16) + waves(LENGTH, 16)[: len(numbers)]

        memory = vectors(text)
        for block in body.encoder:
            memory = block(memory, torch.zeros(1, 1, 1, len(text)))
        memory, x = body.read(memory), vectors(answer)
        causal = torch.full((len(answer), len(answer)), -1e4).triu(1)
        for block in body.decoder:
            normal = block.before(x)
            x = x + block.own(normal, (*block.own.keys_values(normal), causal))
            x = x + block.read(block.between(x), (*block.read.keys_values(memory), torch.zeros(1)))
            x = x + block.narrow(functional.gelu(block.wide(block.behind(x))))
        wanted = functional.linear(body.after(x), body.tokens.weight)[0]
        torch.testing.assert_close(found[row, at : at + len(answer)], wanted, rtol=1e-4, atol=1e-4)
        assert found[row, :at].abs().max() == 0  # a text's own tokens aren't scored
        assert found[row, at + len(answer) :].abs().sum() == 0


def test_attention_is_torchs() -> None:
    layer = Attention(16, 4)
    draw = torch.Generator().manual_seed(3)
    asked, known = torch.randn(2, 5, 16, generator=draw), torch.randn(2, 7, 16, generator=draw)
    keys, values = layer.keys_values(known)
    query = layer.asked(asked).reshape(2, 5, 4, 4).transpose(1, 2)
    seen = functional.scaled_dot_product_attention(query, keys, values).transpose(1, 2).reshape(2, 5, 16)
    whole = layer(asked, (keys, values, torch.zeros(1)))
    torch.testing.assert_close(whole, layer.mixed(seen))
    parts = [(keys[:, :, a:b], values[:, :, a:b], torch.zeros(1)) for a, b in ((0, 3), (3, 7))]
    torch.testing.assert_close(layer(asked, *parts), whole)


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


def test_places_are_the_papers() -> None:
    found = waves(50, 8)
    assert found[7, 2].item() == pytest.approx(math.sin(7 / 10_000 ** (2 / 8)), abs=1e-6)
    assert found[7, 3].item() == pytest.approx(math.cos(7 / 10_000 ** (2 / 8)), abs=1e-6)


def test_its_graph_reads_and_writes_step_by_step_at_any_length() -> None:
    made = network()
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
    with pytest.raises(InputError, match="answers a text with a text"):
        build("seq2seq", {}, TextInput(VOCABULARY, LENGTH), NEXT, 0)
    with pytest.raises(InputError, match="multiple of the heads"):
        build("seq2seq", {"size": 10, "heads": 4}, PAIRS, NEXT, 0)

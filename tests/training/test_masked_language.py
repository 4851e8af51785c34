"""Masked-language pre-training: what is hidden, what the loss is, and which weights move."""

from __future__ import annotations

import math
import os
import signal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs.text_masking import MaskTokens
from bedplate.core.errors import GateError, Interrupted
from bedplate.core.seeds import derive
from bedplate.models import Network, Outputs, TextInput, build
from bedplate.recipe.schema import PretrainSpec
from bedplate.training.execution import Execution
from bedplate.training.masked_language import MaskedTexts, Pretraining, answers, hide, masked_scores, pretrain

VOCABULARY, LENGTH, MASK = 60, 12, 4
OWN = np.arange(VOCABULARY) > MASK
MASKS = MaskTokens(MASK, "[MASK]", 1, OWN)
MODELS = {
    "bert": {"size": 16, "heads": 2, "layers": 1, "hidden": 24, "positions": LENGTH},
    "transformer-encoder": {"size": 16, "heads": 2, "layers": 1},
}


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def topics(rows: int, seed: int = 0) -> np.ndarray:
    """Texts of 5 to 10 words between special tokens; all words of a text are of one of five topics, eleven each."""
    draw = np.random.default_rng(seed)
    tokens = np.zeros((rows, LENGTH), np.int32)
    for row in range(rows):
        words = draw.integers(5, 11)
        tokens[row, 0], tokens[row, words + 1] = 2, 3
        tokens[row, 1 : words + 1] = 5 + 11 * draw.integers(0, 5) + draw.integers(0, 11, words)
    return tokens


def network(name: str = "bert", outputs: Outputs = Outputs(3), **more: object) -> Network:  # noqa: B008 - immutable
    return build(name, {**MODELS[name], **more}, TextInput(VOCABULARY, LENGTH), outputs, 3)


def begun(made: Network, *, rows: int = 200, seed: int = 0, **settings: object) -> Pretraining:
    spec = PretrainSpec(**{"epochs": 2, "lr": 5e-3, **settings})  # type: ignore[arg-type]
    return Pretraining(made, MaskedTexts(topics(rows), topics(300, 1), MASKS), spec, Execution(), seed)


@given(st.integers(0, 20), st.integers(1, 30), st.floats(0.01, 0.99), st.integers(0, 99))
def test_the_share_of_each_rows_own_tokens_is_chosen_and_no_other(
    rows: int, length: int, share: float, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    tokens = draw.integers(0, 12, (rows, length)).astype(np.int32)
    tokens *= np.arange(length) < draw.integers(0, length + 1, (rows, 1))
    given_ = torch.from_numpy(tokens)
    hidden, chosen = (found.numpy() for found in hide(given_, MASKS, share, source(seed)))
    own = OWN[tokens]
    wanted = np.clip(np.round(own.sum(1).astype(np.float32) * np.float32(share)), 1, None) * own.any(1)
    assert (chosen.sum(1) == wanted).all()
    assert not (chosen & ~own).any(), "padding or a special token was chosen"
    assert (hidden == tokens)[~chosen].all(), "what wasn't chosen was changed"
    assert ((hidden == MASK) | OWN[hidden])[chosen].all(), "something stands in that is no text's own"
    assert hidden.dtype == tokens.dtype
    assert (given_.numpy() == tokens).all()


def test_eight_in_ten_are_masked_one_is_another_and_one_stays() -> None:
    tokens = torch.from_numpy(np.random.default_rng(0).integers(5, VOCABULARY, (500, 100)).astype(np.int32))
    hidden, chosen = hide(tokens, MASKS, 0.4, source())
    count = int(chosen.sum())
    assert count == 500 * 40
    masked = float((hidden[chosen] == MASK).double().mean())
    same = float((hidden[chosen] == tokens[chosen]).double().mean())
    deviation = math.sqrt(0.8 * 0.2 / count)
    assert abs(masked - 0.8) < 4 * deviation
    assert abs(same - (0.1 + 0.1 / 55)) < 4 * deviation  # a random token is now and then the right one
    drawn = hidden[chosen & (hidden != MASK) & (hidden != tokens)]
    assert set(drawn.tolist()) == set(range(5, VOCABULARY)), "every token of texts may stand in, and no other"
    places = chosen.double().mean(0)
    assert (places - 0.4).abs().max() < 5 * math.sqrt(0.24 / 500), "places are not alike"


def test_the_seed_decides() -> None:
    tokens = torch.from_numpy(topics(50))
    first, again, other = (hide(tokens, MASKS, 0.15, source(seed)) for seed in (7, 7, 8))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[1], other[1])


def test_a_step_minimises_the_plain_twins_loss() -> None:
    """The loss of the first step, in NumPy from the encoder's states, whose own twin is in tests/models/test_bert.py."""
    made = network(dropout=0.0)
    under_way = begun(made, rows=24, masked=0.3, batch_size=24)
    (tokens,), _ = under_way.batches.batch(0, 0, 24)
    hidden, chosen = hide(tokens, MASKS, 0.3, source(derive(derive(0, "pretrain"), "mask", 0)))
    with torch.no_grad():
        states = made.body.states(hidden).double().numpy()  # type: ignore[operator]
    w = {name: tensor.double().detach().numpy() for name, tensor in under_way.head.state_dict().items()}
    vectors = made.body.tokens.weight.detach().double().numpy()  # type: ignore[union-attr]
    losses = []
    for row, place in np.argwhere(chosen.numpy()):
        x = w["dense.weight"] @ states[row, place] + w["dense.bias"]
        x = np.array([v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in x])
        x = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * w["normal.weight"] + w["normal.bias"]
        scores = vectors[1:] @ x + w["bias"]
        losses.append(np.log(np.exp(scores).sum()) - scores[int(tokens[row, place]) - 1])
    assert len(losses) == int(chosen.sum()) > 24
    assert under_way.step(0).item() == pytest.approx(np.mean(losses), abs=1e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("outputs", [Outputs(3), Outputs(vector=8)], ids=["classes", "vector"])
def test_the_body_learns_and_the_tasks_head_stays(name: str, outputs: Outputs) -> None:
    made = network(name, outputs)
    before = {key: tensor.clone() for key, tensor in made.body.state_dict().items()}
    _, history = pretrain(begun(made))
    after = made.body.state_dict()
    same = {key for key in before if torch.equal(before[key], after[key])}
    assert same == {"head.weight", "head.bias"}
    if name == "transformer-encoder":
        assert not after["tokens.weight"][0].any(), "padding has no vector"
    assert not made.training
    assert [entry["epoch"] for entry in history] == [1, 2]


def test_it_learns_which_words_stand_together() -> None:
    begin, history = pretrain(begun(network(dropout=0.0), rows=600, epochs=12, masked=0.2, lr=0.01))
    assert begin.loss > math.log(55)  # nothing is known of 55 words, and one of eleven is all that can be
    assert begin.accuracy < 0.03
    assert math.log(11) - 0.1 < history[-1]["loss"] < math.log(15)
    assert history[-1]["accuracy"] > 0.07


def test_the_seed_decides_the_weights_and_the_figures() -> None:
    def trained(seed: int) -> tuple[dict[str, torch.Tensor], list[float]]:
        made = network()
        _, history = pretrain(begun(made, seed=seed))
        return made.state_dict(), [entry["loss"] for entry in history]

    (first, losses), (again, same), (other, _) = trained(1), trained(1), trained(2)
    assert losses == same
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["body.tokens.weight"], other["body.tokens.weight"])


def test_judging_changes_nothing_and_is_the_same_every_time() -> None:
    under_way = begun(network())
    state = {name: tensor.clone() for name, tensor in under_way.network.state_dict().items()}
    assert under_way.judge() == under_way.judge()
    assert all(torch.equal(state[name], tensor) for name, tensor in under_way.network.state_dict().items())
    tokens, hidden, chosen = under_way.held_out
    with torch.no_grad():
        right = masked_scores(under_way.encoder, under_way.head, hidden, chosen).argmax(1) == answers(tokens, chosen)
    assert under_way.judge().accuracy == pytest.approx(float(right.double().mean()), abs=0.01)


def test_few_texts_and_a_batch_larger_than_all_of_them() -> None:
    for rows in (1, 2, 3):
        under_way = begun(network(), rows=rows, epochs=3)
        assert under_way.steps == 3
        _, history = pretrain(under_way)
        assert len(history) == 3


def test_a_loss_that_is_not_finite_ends_it() -> None:
    made = network()
    with torch.no_grad():
        made.body.tokens.weight[7] = math.nan  # type: ignore[index]
    with pytest.raises(GateError, match="the pre-training diverged"):
        pretrain(begun(made))


def test_ctrl_c_ends_it_between_two_steps() -> None:
    steps = []

    def advance(step: int, epoch: int) -> None:
        steps.append(step)
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="begins again"):
        pretrain(begun(network()), advance=advance)
    assert steps[-1] <= 4

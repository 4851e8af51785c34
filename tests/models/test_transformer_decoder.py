"""The decoder: what comes next depends on what was before alone, and a step goes on as a whole row would."""

from __future__ import annotations

import pytest
import torch

from bedplate.core.errors import InputError
from bedplate.models import Network, Outputs, Stepwise, TableInput, TextInput, build

VOCABULARY, LENGTH = 30, 12


def decoder(positions: str = "rotary", **arguments: object) -> Network:
    given = {"size": 16, "heads": 2, "layers": 2, "positions": positions, **arguments}
    network = build("transformer-decoder", given, TextInput(VOCABULARY, LENGTH), Outputs(VOCABULARY, sequence=True), 0)
    with torch.no_grad():  # fresh weights are so small that all scores are alike
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return network.eval()


def tokens(rows: int = 3, length: int = LENGTH) -> torch.Tensor:
    return torch.randint(2, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(2), dtype=torch.int32)


@pytest.mark.parametrize("positions", ["rotary", "learnt"])
def test_nothing_is_seen_of_what_comes_later(positions: str) -> None:
    network, text = decoder(positions), tokens()
    changed = text.clone()
    changed[:, 7:] = 5
    before, after = network(text), network(changed)
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert (before[:, 7:] - after[:, 7:]).abs().max() > 0.01


@pytest.mark.parametrize("positions", ["rotary", "learnt"])
def test_a_step_goes_on_as_the_whole_row_would(positions: str) -> None:
    network, text = decoder(positions), tokens()
    body = network.body
    assert isinstance(body, Stepwise)
    wanted = network(text)
    none = [torch.zeros(3, *(0 if size < 0 else size for size in shape)) for shape in body.past.values()]
    scores, past = body.step(text[:, :4], torch.zeros(3, dtype=torch.int32), none)
    torch.testing.assert_close(scores, wanted[:, :4])
    # The rows own 4, 2 and 3 tokens of the past; what lies behind them is filled up and must not count.
    own = torch.tensor([4, 2, 3], dtype=torch.int32)
    new = torch.stack([text[row, start : start + 3] for row, start in enumerate(own.tolist())])
    scores, _ = body.step(new, own, past)
    for row, start in enumerate(own.tolist()):
        torch.testing.assert_close(scores[row], wanted[row, start : start + 3])


def test_rotary_scores_depend_on_the_distance_alone() -> None:
    from bedplate.models.transformer_decoder import Rotation, turned

    rotation = Rotation(64, 8)
    query, key = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0))

    def product(at: int, other: int) -> float:
        places = (torch.tensor([[at]]), torch.tensor([[other]]))
        left, right = (turned(x, rotation.at(place)) for x, place in zip((query, key), places, strict=True))
        return float((left * right).sum())

    assert product(3, 1) == pytest.approx(product(60, 58), abs=1e-4)
    assert abs(product(3, 1) - product(3, 2)) > 1e-3


def test_the_size_is_gpt2s() -> None:
    # Radford et al. 2019: 124 million parameters with 12 layers of 768, 1,024 places and 50,257 tokens.
    with torch.device("meta"):
        network = build(
            "transformer-decoder", {"size": 768, "heads": 12, "layers": 12, "positions": "learnt"},
            TextInput(50_257, 1024), Outputs(50_257, sequence=True), 0,
        )  # fmt: skip
    assert sum(p.numel() for p in network.parameters()) == 124_439_808


def test_it_is_for_texts_and_for_what_comes_next() -> None:
    with pytest.raises(InputError, match="for texts"):
        build("transformer-decoder", {}, TableInput(2, (), ((), ())), Outputs(2), 0)
    with pytest.raises(InputError, match="transformer-encoder"):
        build("transformer-decoder", {}, TextInput(9, 4), Outputs(2), 0)
    with pytest.raises(InputError, match="transformer-decoder"):
        build("bag", {}, TextInput(9, 4), Outputs(9, sequence=True), 0)
    with pytest.raises(InputError, match="twice the heads"):
        build("transformer-decoder", {"size": 12, "heads": 4}, TextInput(9, 4), Outputs(9, sequence=True), 0)

"""Dropout by bytes beside PyTorch's: how much is dropped, what it does to sums and gradients, and that seeds decide it."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from bedplate.models.dropout import Dropout, attention, dropped, keep_mask


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.2, 0.5, 0.77, 0.999])
def test_so_many_are_dropped_as_were_asked_for(rate: float) -> None:
    torch.manual_seed(0)
    kept, share = keep_mask((403, 401), rate)
    assert abs((1 - share) - rate) <= 1 / 256
    spread = math.sqrt(share * (1 - share) / kept.numel())
    assert abs(kept.float().mean().item() - share) < 5 * spread
    # No row, column or place within a draw of eight is favoured.
    for axis in (0, 1):
        assert (kept.float().mean(axis) - share).abs().max() < 6 * math.sqrt(share * (1 - share) / 401)
    eights = kept.flatten()[: kept.numel() // 8 * 8].view(-1, 8).float().mean(0)
    assert (eights - share).abs().max() < 5 * math.sqrt(8) * spread


def test_it_does_what_pytorchs_does() -> None:
    torch.manual_seed(0)
    x = torch.ones(1000, 300, requires_grad=True)
    for drop in (dropped, functional.dropout):
        out = drop(x, 0.25)
        assert out.detach().unique().tolist() == pytest.approx([0.0, 4 / 3])
        assert out.mean().item() == pytest.approx(1, abs=0.01)
        (grad,) = torch.autograd.grad(out.sum(), x)
        assert torch.equal(grad, out.detach())


def test_the_edges() -> None:
    x = torch.randn(5, 3)
    assert dropped(x, 0.0) is x
    assert not dropped(x, 1.0).any()
    layer = Dropout(0.5)
    assert layer.eval()(x) is x
    assert not torch.equal(layer.train()(x), x)
    assert dropped(torch.empty(0, 3), 0.5).shape == (0, 3)


def test_a_seed_decides_what_is_dropped() -> None:
    x = torch.ones(64, 65)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append((dropped(x, 0.3), dropped(x, 0.3)))
    assert all(torch.equal(one, other) for one, other in zip(found[0], found[1], strict=True))
    assert not torch.equal(found[0][0], found[0][1])
    assert not torch.equal(found[0][0], found[2][0])


def test_attention_is_pytorchs_where_nothing_is_dropped_and_keeps_its_expectation() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 7, 4) for _ in range(3))
    away = torch.where(torch.arange(7) < 5, 0.0, -1e4).expand(2, 1, 1, 7)
    wanted = functional.scaled_dot_product_attention(query, key, value, attn_mask=away)
    assert torch.equal(attention(query, key, value, away, 0.0), wanted)
    draws = torch.stack([attention(query, key, value, away, 0.25) for _ in range(4000)])
    error = (draws.mean(0) - wanted).abs() / (draws.std(0) / math.sqrt(len(draws)))
    assert error.max() < 5
    plain = torch.stack(
        [
            functional.scaled_dot_product_attention(query, key, value, attn_mask=away, dropout_p=0.25)
            for _ in range(4000)
        ]
    )
    assert torch.allclose(draws.std(0), plain.std(0), rtol=0.15, atol=0.02)
    # What stands far away is seen by nobody, dropped or not.
    other = value.clone()
    other[:, :, 5:] = 100.0
    torch.manual_seed(3)
    one = attention(query, key, value, away, 0.25)
    torch.manual_seed(3)
    assert torch.allclose(attention(query, key, other, away, 0.25), one, atol=1e-5)

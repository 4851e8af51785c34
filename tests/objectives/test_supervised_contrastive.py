"""The supervised contrastive loss is equation 2 of Khosla et al. 2020."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from bedplate.objectives.supervised_contrastive import supervised_contrastive


def plainly(vectors: np.ndarray, targets: np.ndarray, temperature: float) -> float:
    losses = []
    for i in range(len(vectors)):
        positive = [p for p in range(len(vectors)) if p != i and targets[p] == targets[i]]
        if not positive:
            continue
        total = sum(math.exp(vectors[i] @ vectors[a] / temperature) for a in range(len(vectors)) if a != i)
        each = [math.log(math.exp(vectors[i] @ vectors[p] / temperature) / total) for p in positive]
        losses.append(-sum(each) / len(positive))
    return sum(losses) / len(losses) if losses else 0.0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(2, 12), temperature=st.floats(0.05, 2))
def test_it_is_its_equation(seed: int, rows: int, temperature: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    vectors = functional.normalize(torch.randn(rows, 4, generator=draw, dtype=torch.float64), dim=1)
    targets = torch.randint(0, 3, (rows,), generator=draw)
    found = supervised_contrastive(vectors, targets, temperature).item()
    assert found == pytest.approx(plainly(vectors.numpy(), targets.numpy(), temperature), abs=1e-9)


def test_rows_without_a_partner_cost_nothing_and_give_finite_gradients() -> None:
    raw = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = supervised_contrastive(functional.normalize(raw, dim=1), torch.tensor([0, 1, 2]))
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(raw.grad).all()  # type: ignore[arg-type]

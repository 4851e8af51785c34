from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from bedplate.compression.distillation import soft_target
from bedplate.objectives import objectives


def rows(width: int) -> tuple[nn.Module, nn.Module, list[torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(width)
    torch.manual_seed(width)
    targets = torch.randint(0, width, (9,), generator=generator) if width > 1 else torch.randn(9, generator=generator)
    return nn.Linear(4, width), nn.Linear(4, width), [torch.randn(9, 4, generator=generator)], targets


def losses(objective: object, student: nn.Module, features: list[torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
    return objective.steps[0].loss(student, features, targets)["loss"]  # type: ignore[attr-defined]


def test_soft_targets_are_the_equation() -> None:
    teacher, student, features, targets = rows(3)
    own = objectives.get("cross-entropy")()
    found = losses(soft_target(teacher, own, temperature=3.0, weight=0.7), student, features, targets)
    t, s = torch.softmax(teacher(*features) / 3, 1), torch.softmax(student(*features) / 3, 1)
    divergence = (t * (t / s).log()).sum(1).mean()
    expected = 0.7 * 9 * divergence + 0.3 * functional.cross_entropy(student(*features), targets)
    torch.testing.assert_close(found, expected)


def test_at_high_temperature_scores_are_matched() -> None:
    """Hinton et al., equation 4: the gradient tends to that of half the squared difference of centred scores, over the classes."""
    teacher, student, features, targets = rows(5)
    own = objectives.get("cross-entropy")()
    losses(soft_target(teacher, own, temperature=1e3, weight=1.0), student, features, targets).backward()
    found = student.weight.grad.clone()  # type: ignore[union-attr]
    student.zero_grad()
    difference = student(*features) - teacher(*features).detach()
    ((difference - difference.mean(1, keepdim=True)) ** 2).sum(1).mean().div(2 * 5).backward()
    torch.testing.assert_close(found, student.weight.grad, rtol=1e-2, atol=1e-4)


def test_a_number_is_matched_by_its_square() -> None:
    teacher, student, features, targets = rows(1)
    found = losses(soft_target(teacher, objectives.get("squared-error")(), weight=0.5), student, features, targets)
    value = student(*features)
    expected = 0.5 * functional.mse_loss(value, teacher(*features)) + 0.5 * functional.mse_loss(value[:, 0], targets)
    torch.testing.assert_close(found, expected)


def test_the_teacher_never_moves_and_the_student_runs_once() -> None:
    teacher, student, features, targets = rows(3)
    calls = 0

    class Counted(nn.Module):
        outputs = None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal calls
            calls += 1
            return student(x)

    teacher.train()
    objective = soft_target(teacher, objectives.get("cross-entropy")())
    assert not teacher.training
    losses(objective, Counted(), features, targets).backward()
    assert calls == 1
    assert teacher.weight.grad is None
    assert student.weight.grad is not None


def test_what_cannot_be() -> None:
    teacher, _, _, _ = rows(3)
    with pytest.raises(ValueError, match="share"):
        soft_target(teacher, objectives.get("cross-entropy")(), weight=1.5)

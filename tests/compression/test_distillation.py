from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from bedplate.compression.distillation import (
    Teachers,
    distillations,
    feature_transfer,
    hard_target,
    inner_layer,
    similarities,
    soft_target,
)
from bedplate.core.errors import InputError
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


def test_hard_targets_are_the_teachers_answers() -> None:
    teacher, student, features, targets = rows(3)
    own = objectives.get("cross-entropy")()
    found = losses(hard_target(teacher, own, weight=0.25), student, features, targets)
    scores = student(*features)
    expected = 0.25 * functional.cross_entropy(scores, teacher(*features).argmax(1)) + 0.75 * functional.cross_entropy(
        scores, targets
    )
    torch.testing.assert_close(found, expected)


def deep(units: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, units), nn.ReLU(), nn.Linear(units, 3))


def test_of_a_tagger_words_are_matched_and_padding_is_not() -> None:
    torch.manual_seed(0)
    teacher, student, features = nn.Linear(4, 3), nn.Linear(4, 3), [torch.randn(2, 5, 4)]
    targets = torch.tensor([[0, 1, 2, 0, 1], [2, 1, -1, -1, -1]])
    own = objectives.get("cross-entropy")()
    there = targets >= 0
    for distil in (soft_target, hard_target):
        found = losses(distil(teacher, own), student, features, targets)
        words = losses(distil(teacher, own), student, [features[0][there]], targets[there])
        torch.testing.assert_close(found, words)


def test_features_are_matched_by_the_similarities_of_rows() -> None:
    _, _, features, targets = rows(3)
    teacher, student = deep(7), deep(5)
    own = objectives.get("cross-entropy")()
    found = losses(feature_transfer(teacher, own, similarity=3.0), student, features, targets)

    def plain(module: nn.Sequential) -> torch.Tensor:
        q = module[0](*features)
        g = torch.stack([torch.stack([(a * b).sum() for b in q]) for a in q])
        return torch.stack([row / row.square().sum().sqrt() for row in g])

    gap = ((plain(teacher) - plain(student)) ** 2).sum() / 81
    expected = losses(soft_target(teacher, own), student, features, targets) + 3.0 * gap
    torch.testing.assert_close(found, expected)
    found.backward()
    twin = deep(5)
    twin.load_state_dict(student.state_dict())
    losses(feature_transfer(teacher, own, similarity=3.0), twin, features, targets).backward()
    torch.testing.assert_close(student[0].weight.grad, twin[0].weight.grad)
    assert teacher[0].weight.grad is None


def test_the_same_rows_are_as_alike_whatever_the_scale() -> None:
    inside = torch.randn(6, 3, 2, 2)
    torch.testing.assert_close(similarities(inside), similarities(7 * inside))


def test_layers_to_transfer() -> None:
    network = deep(5)
    assert inner_layer(network, None) is network[0]
    assert inner_layer(network, "2") is network[2]
    with pytest.raises(InputError, match="no such layer"):
        inner_layer(network, "3")
    with pytest.raises(InputError, match="nothing inside"):
        inner_layer(nn.Linear(3, 2), None)


def test_several_teachers_answer_with_their_mean() -> None:
    _, _, features, _ = rows(3)
    networks = [nn.Linear(4, 3), nn.Linear(4, 3)]
    together = torch.softmax(Teachers(networks)(*features), 1)
    torch.testing.assert_close(
        together, (torch.softmax(networks[0](*features), 1) + torch.softmax(networks[1](*features), 1)) / 2
    )
    numbers = [nn.Linear(4, 1), nn.Linear(4, 1)]
    torch.testing.assert_close(Teachers(numbers)(*features), (numbers[0](*features) + numbers[1](*features)) / 2)


def test_recipes_name_them() -> None:
    assert sorted(distillations.names()) == ["feature-transfer", "hard-target", "soft-target"]
    assert distillations.problems("soft-target", {"temperature": 0}, "x")


@pytest.mark.parametrize("distil", [soft_target, hard_target])
def test_a_number_is_matched_by_its_square(distil) -> None:  # type: ignore[no-untyped-def]
    teacher, student, features, targets = rows(1)
    found = losses(distil(teacher, objectives.get("squared-error")(), weight=0.5), student, features, targets)
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

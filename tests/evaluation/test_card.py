"""The model card: every part of the story in Markdown that nothing in the data can break."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.evaluation.stories import diabetes, digits

from bedplate.evaluation.card import model_card
from bedplate.evaluation.story import primary_of, verdict_of


def test_the_card_tells_the_story() -> None:
    card = model_card(digits())
    heads = re.findall(r"^## (.*)$", card, re.M)
    assert heads == [
        "Intended use", "Results on the test split", "Beside the baselines", "Where it is weaker", "Data", "Variants",
        "Provenance",
    ]  # fmt: skip
    assert card.startswith("# digits\n\nimage-classification · 2026")
    assert "| Accuracy | 9" in card
    assert "95 % interval" in card
    assert "int8-static | served" in card
    assert "was taken for" in card
    assert card.endswith("\n")


def test_a_regressors_card() -> None:
    card = model_card(diabetes())
    assert "| RMSE | 57.69 |" in card
    assert "lower is better" in card
    assert "2: test in train" in card
    assert "**A baseline is ahead" in card


def test_texts_cannot_change_the_cards_structure() -> None:
    story = {
        **digits(), "title": "a\n# b | c", "notes": ["x\n\n## Forged\n<script>alert(1)</script>"],
        "baselines": {"a | b\n|---|": {"accuracy": 0.5}},
    }  # fmt: skip
    card = model_card(story)
    assert "\n## Forged" not in card
    assert "<script>" not in card
    assert card.splitlines()[0] == r"# a \# b \| c"
    assert r"| a \| b \|---\| | 50.00 % |" in card


def test_the_smallest_story_has_a_card() -> None:
    card = model_card({"title": "tiny", "metrics": {"rmse": {"value": 1.0, "low": 0.5, "high": 2.0}}})
    assert "| RMSE | 1 | 0.5–2 |" in card


@pytest.mark.parametrize(
    ("metric", "estimate", "baseline", "rank", "words"),
    [
        ("accuracy", (0.9, 0.88, 0.92), 0.8, "ahead", "Better than every baseline: accuracy 90.00 %"),
        ("accuracy", (0.9, 0.88, 0.92), 0.89, "level", "About level with a baseline"),
        ("accuracy", (0.9, 0.88, 0.92), 0.91, "behind", "A baseline is ahead, though not clearly"),
        ("accuracy", (0.9, 0.88, 0.92), 0.95, "behind", "A baseline wins: the baseline “rival” has 95.00 %"),
        ("rmse", (2.0, 1.8, 2.2), 3.0, "ahead", "Better than every baseline: RMSE 2 (1.8–2.2)"),
        ("rmse", (2.0, 1.8, 2.2), 2.1, "level", "About level"),
        ("rmse", (2.0, 1.8, 2.2), 1.9, "behind", "not clearly"),
        ("rmse", (2.0, 1.8, 2.2), 1.0, "behind", "A baseline wins"),
    ],
)
def test_the_first_line(metric: str, estimate: tuple[float, ...], baseline: float, rank: str, words: str) -> None:
    story: dict[str, Any] = {
        "title": "t", "metrics": {metric: dict(zip(("value", "low", "high"), estimate, strict=True))},
        "baselines": {"rival": {metric: baseline}, "worst": {metric: 0.0 if metric == "accuracy" else 99.0}},
    }  # fmt: skip
    standing = verdict_of(story)
    assert standing.rank == rank
    assert words in standing.text


def test_the_leading_metric_is_one_that_is_defined() -> None:
    estimate = {"value": 0.9, "low": 0.8, "high": 1.0}
    metrics = {"loss": estimate, "exact": estimate}
    # BLEU of answers shorter than four tokens isn't defined, though that of a baseline's may be.
    story: dict[str, Any] = {"title": "t", "primary": "bleu", "metrics": metrics, "baselines": {"b": {"bleu": 3.0}}}
    assert primary_of(story) == "exact"
    assert verdict_of(story).rank == "alone"
    assert primary_of({**story, "metrics": {**metrics, "bleu": estimate}}) == "bleu"

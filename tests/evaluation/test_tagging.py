"""Entities are counted as conlleval counts them: the script's own rules, line by line, are the plain twin."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs.answers import Answers
from bedplate.codecs.tags import TagSet
from bedplate.core.errors import InputError
from bedplate.evaluation import Report, evaluate, metric_drop
from bedplate.evaluation.bootstrap import share_interval
from bedplate.evaluation.comparison import check_metric
from bedplate.evaluation.tagging import TaggingFacts

NAMES = ("O", "B-A", "I-A", "B-B", "I-B")
TAGS = TagSet(NAMES)
ANSWERS = Answers("tag", tags=NAMES, transitions=tuple(map(tuple, TAGS.rules().tolist())))


def ends(before: str, now: str, kind_before: str, kind: str) -> bool:
    """`endOfChunk` of conlleval, for B, I and O."""
    if (before, now) in (("B", "B"), ("B", "O"), ("I", "B"), ("I", "O")):
        return True
    return before != "O" and kind_before != kind


def starts(before: str, now: str, kind_before: str, kind: str) -> bool:
    """`startOfChunk` of conlleval, for B, I and O."""
    if (before, now) in (("B", "B"), ("I", "B"), ("O", "B"), ("O", "I")):
        return True
    return now != "O" and kind_before != kind


def conlleval(sentences: list[tuple[list[str], list[str]]]) -> dict[str, int]:
    """Return the script's counts: entities that are right, found and true, of sentences of (true, answered) tags."""
    right = found = true = 0
    for truth, answer in sentences:
        going, last = False, (("O", ""), ("O", ""))
        for a, b in [*zip(truth, answer, strict=True), ("O", "O")]:  # a boundary, as the script puts one in
            now = tuple((tag[0], tag[2:]) for tag in (a, b))
            end = [ends(last[k][0], now[k][0], last[k][1], now[k][1]) for k in (0, 1)]
            start = [starts(last[k][0], now[k][0], last[k][1], now[k][1]) for k in (0, 1)]
            if going:
                if end[0] and end[1] and last[0][1] == last[1][1]:
                    going, right = False, right + 1
                elif end[0] != end[1] or now[0][1] != now[1][1]:
                    going = False
            if start[0] and start[1] and now[0][1] == now[1][1]:
                going = True
            true, found, last = true + start[0], found + start[1], now
        right += going
    return {"right": right, "found": found, "true": true}


def as_codes(rows: list[list[str]]) -> np.ndarray:
    wide = np.full((len(rows), max(map(len, rows))), -1)
    for k, row in enumerate(rows):
        wide[k, : len(row)] = [NAMES.index(tag) for tag in row]
    return wide


def facts(sentences: list[tuple[list[str], list[str]]]) -> TaggingFacts:
    return TaggingFacts(as_codes([b for _, b in sentences]), as_codes([a for a, _ in sentences]), TAGS)


PAIRS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), min_size=1, max_size=12)


@given(st.lists(PAIRS, min_size=1, max_size=6))
def test_counts_are_the_scripts(pairs: list[list[tuple[str, str]]]) -> None:
    sentences = [([a for a, _ in row], [b for _, b in row]) for row in pairs]
    both, found, truth = facts(sentences).counts.sum(axis=0).astype(int).tolist()
    assert {"right": both, "found": found, "true": truth} == conlleval(sentences)


@pytest.mark.parametrize(
    ("truth", "answer", "counts"),
    [
        ("B-A I-A O", "B-A I-A O", (1, 1, 1)), ("B-A I-A O", "B-A O O", (0, 1, 1)), ("B-A I-A", "I-A I-A", (1, 1, 1)),
        ("B-A B-A", "B-A I-A", (0, 1, 2)), ("B-A I-A", "B-B I-B", (0, 1, 1)), ("O O", "B-A I-A", (0, 1, 0)),
        ("B-A I-A I-A", "B-A I-A B-A", (0, 2, 1)), ("I-A I-B", "B-A B-B", (2, 2, 2)), ("B-A O", "B-A I-A", (0, 1, 1)),
    ],
)  # fmt: skip
def test_cases_by_hand(truth: str, answer: str, counts: tuple[int, int, int]) -> None:
    case = (truth.split(), answer.split())
    assert tuple(facts([case]).counts[0].astype(int)) == counts
    assert tuple(conlleval([case]).values()) == counts


def test_figures_by_type_and_by_word() -> None:
    found = facts([(["B-A", "I-A", "O", "B-B"], ["B-A", "I-A", "B-B", "B-B"]), (["O"], ["O"])])
    values = found.measure(np.ones((1, 2)))
    assert values["precision"][0] == pytest.approx(2 / 3)
    assert values["recall"][0] == 1
    assert values["f1"][0] == pytest.approx(0.8)
    assert values["token_accuracy"][0] == pytest.approx(4 / 5)
    assert values["sentence_accuracy"][0] == 0.5
    np.testing.assert_allclose(values["by_type"][0], [[1, 0.5], [1, 1], [1, 2 / 3]])
    nothing = facts([(["O"], ["O"])]).measure(np.ones((1, 1)))
    assert nothing["f1"][0] == 0


def rows(count: int, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return sentences, their tags, and probabilities that are right about three times in four."""
    draw = np.random.default_rng(seed)
    targets = np.where(np.arange(8) < draw.integers(2, 9, count)[:, None], draw.choice([0, 0, 1, 3], (count, 8)), -1)
    wrong = draw.random(targets.shape) < 0.25
    answer = np.where(wrong, draw.integers(0, 5, targets.shape), targets)
    return (
        {"text": np.array(["x"] * count, object)},
        targets,
        np.eye(5, dtype=np.float32)[answer] * (targets >= 0)[..., None],
    )


def test_a_report_has_intervals_types_and_the_worst_sentences() -> None:
    inputs, targets, outputs = rows(200)
    report = evaluate(lambda _: {"tag_probabilities": outputs}, inputs, targets, ANSWERS, resamples=200, batch_size=200)
    assert report.kind == "tagging"
    assert set(report.metrics) == {"f1", "precision", "recall", "token_accuracy", "sentence_accuracy"}
    one = report.metrics["f1"]
    assert one.low < one.value < one.high
    assert [row["label"] for row in report.per_class] == ["A", "B"]
    assert report.worst[0]["error"] >= report.worst[-1]["error"] > 0
    assert "A " in report.worst[0]["expected"] + report.worst[0]["answer"]
    again = Report.from_json(json.loads(json.dumps(report.to_json())))
    verdict = again.compare(report)
    assert (verdict.metric, verdict.paired, verdict.real) == ("f1", True, False)
    better = evaluate(
        lambda _: {"tag_probabilities": np.eye(5)[np.maximum(targets, 0)]}, inputs, targets, ANSWERS, resamples=50,
        batch_size=200,
    )  # fmt: skip
    assert better.metrics["f1"].value == 1
    assert better.compare(again).real


def test_answers_may_be_wider_or_narrower_than_the_truth() -> None:
    inputs, targets, outputs = rows(30)
    wide = np.pad(outputs, ((0, 0), (0, 3), (0, 0)))
    figures = [
        evaluate(lambda _, one=one: {"tag_probabilities": one}, inputs, truth, ANSWERS, resamples=0, batch_size=30)
        .metrics["f1"].value
        for one, truth in ((outputs, targets), (wide, targets), (outputs, np.pad(targets, ((0, 0), (0, 2)), constant_values=-1)))
    ]  # fmt: skip
    assert len(set(figures)) == 1


def test_a_drop_is_bounded_over_sentences() -> None:
    _, targets, outputs = rows(300)
    perfect = (np.eye(5)[np.maximum(targets, 0)] * (targets >= 0)[..., None]).astype(np.float32)
    drop = metric_drop("f1", perfect, outputs, targets, tags=NAMES, transitions=ANSWERS.transitions, resamples=200)
    assert 0 < drop.value < drop.high
    same = metric_drop("f1", outputs, outputs, targets, tags=NAMES, transitions=ANSWERS.transitions, resamples=50)
    assert same.value == same.high == 0
    with pytest.raises(InputError, match="token_accuracy"):
        check_metric("accuracy", "tagging")


def test_a_tagger_without_a_mistake_is_not_certainly_without_one() -> None:
    inputs, targets, _ = rows(60)
    perfect = np.eye(5, dtype=np.float32)[np.maximum(targets, 0)]
    report, bare = (
        evaluate(lambda _: {"tag_probabilities": perfect}, inputs, targets, ANSWERS, resamples=some, batch_size=60)
        for some in (50, 0)
    )
    assert {name for name, one in report.metrics.items() if (one.value, one.high) == (1, 1)} == set(report.metrics)
    assert 0.9 < report.metrics["sentence_accuracy"].low <= share_interval(60, 60, 0.95, (1, 1))[0]
    assert report.metrics["f1"].low <= report.metrics["sentence_accuracy"].low  # some sentences have no entity
    assert all(row["f1"]["low"] < row["f1"]["value"] == 1 for row in report.per_class)
    assert bare.metrics["f1"].low == 1
    none = np.broadcast_to(np.eye(5, dtype=np.float32)[0], (*targets.shape, 5))
    lost = evaluate(lambda _: {"tag_probabilities": none}, inputs, targets, ANSWERS, resamples=50, batch_size=60)
    assert lost.metrics["f1"].high > lost.metrics["f1"].value == 0

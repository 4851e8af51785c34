"""BLEU is sacrebleu's, whatever rows it is asked for, and its interval is the bootstrap's."""

from __future__ import annotations

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from bedplate.evaluation.texts import TextFacts

WRITTEN = [
    "two dogs run over the green grass.", "a man in red sits", "a Woman reads a book at home", "children play",
    "the cat sleeps on a mat .",
]  # fmt: skip
EXPECTED = [
    "two dogs are running over green grass.", "a man in red is sitting down", "a woman reads a book at home",
    "some children play in the snow", "the cat sleeps on the mat.",
]  # fmt: skip


@pytest.mark.parametrize("lower", [False, True])
def test_it_is_sacrebleus_of_the_whole_set(lower: bool) -> None:
    found = TextFacts(WRITTEN, EXPECTED, lower=lower).values()
    wanted = sacrebleu.corpus_bleu(WRITTEN, [EXPECTED], lowercase=lower).score
    assert found["bleu"] == pytest.approx(wanted, abs=1e-9)
    assert found["exact"] == (0.2 if lower else 0.0)


words = st.lists(st.sampled_from(["a", "b", "c", "d", ".", ",", "x1", "Yes"]), min_size=1, max_size=9).map(" ".join)


@given(st.lists(st.tuples(words, words), min_size=2, max_size=6), st.data())
def test_weights_are_rows_that_come_several_times(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(0, 3), min_size=len(pairs), max_size=len(pairs)).filter(any))
    facts = TextFacts(*zip(*pairs, strict=True), lower=False)
    found = facts.measure(np.array([weights], float))["bleu"][0]
    many = [pair for pair, times in zip(pairs, weights, strict=True) for _ in range(times)]
    wanted = sacrebleu.corpus_bleu([one for one, _ in many], [[other for _, other in many]]).score
    # Where no text at all has four tokens, there is none; sacrebleu says 0.
    assert np.isnan(found) == (not any(len(one.split()) > 3 for one, _ in pairs))
    assert np.nan_to_num(found) == pytest.approx(wanted, abs=1e-6)


def test_texts_without_spaces_are_compared_by_characters() -> None:
    facts = TextFacts(["两只狗在跑步", "一个男人坐着"], ["两只狗正在跑步", "一个男人坐着"], lower=False)
    assert facts.tokens == "char"
    wanted = sacrebleu.corpus_bleu(
        ["两只狗在跑步", "一个男人坐着"], [["两只狗正在跑步", "一个男人坐着"]], tokenize="char"
    )
    assert facts.values()["bleu"] == pytest.approx(wanted.score)


def test_the_interval_holds_the_value() -> None:
    metrics = TextFacts(WRITTEN * 20, EXPECTED * 20, lower=True).metrics(200, 0.95, 0)
    assert list(metrics) == ["bleu", "exact"]
    for estimate in metrics.values():
        assert estimate.low < estimate.value < estimate.high


def test_nothing_written_is_worth_nothing() -> None:
    assert TextFacts(["", "x"], ["a b c d", "c d"], lower=False).values() == {"exact": 0.0}


def test_of_short_texts_only_exact_matches_are_told() -> None:
    """No four tokens follow one another: a score of 0 would say something that nobody measured."""
    facts = TextFacts(["a b", "c"], ["a b", "d"], lower=False)
    assert facts.values() == {"exact": 0.5}
    assert list(facts.metrics(50, 0.95, 0)) == ["exact"]

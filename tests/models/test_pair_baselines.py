from __future__ import annotations

from bedplate.models.pair_baselines import fit_pair_baselines

TEXTS = ["the red dog runs", "a blue cat sleeps", "one green bird sings"]
ANSWERS = ["der rote Hund rennt", "eine blaue Katze schläft", "ein grüner Vogel singt"]


def test_the_nearest_text_lends_its_answer() -> None:
    found = fit_pair_baselines(TEXTS, ANSWERS, ["A BLUE dog sleeps", "the red bird runs", "?"], lower=True)
    assert found["the text itself"] == ["A BLUE dog sleeps", "the red bird runs", "?"]
    assert found["the answer to the nearest text"] == [ANSWERS[1], ANSWERS[0], ANSWERS[0]]


def test_capitals_count_where_they_are_kept() -> None:
    found = fit_pair_baselines(["Red", "red"], ["1", "2"], ["Red", "red"], lower=False)
    assert found["the answer to the nearest text"] == ["1", "2"]

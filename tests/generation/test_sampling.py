from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.core.errors import InputError
from bedplate.generation.sampling import Sampling, draw, log_probabilities, probabilities

SCORES = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=12)
ASKED = st.builds(
    Sampling,
    temperature=st.one_of(st.just(0.0), st.floats(0.05, 5)),
    top_k=st.integers(0, 14),
    top_p=st.floats(0.01, 1),
)


def plain(scores: list[float], sampling: Sampling) -> list[float]:
    """The same by the definition, one token after the other."""
    order = sorted(range(len(scores)), key=lambda k: (-scores[k], k))
    if sampling.temperature == 0:
        return [1.0 if k == order[0] else 0.0 for k in range(len(scores))]
    top = max(scores)
    weights = [math.exp((one - top) / sampling.temperature) for one in scores]
    order = sorted(range(len(scores)), key=lambda k: (-weights[k], k))
    kept = order[: sampling.top_k] if sampling.top_k else order
    if sampling.top_p < 1:
        whole, reached, some = sum(weights[k] for k in kept), 0.0, []
        for k in kept:
            some.append(k)
            reached += weights[k] / whole
            if reached >= sampling.top_p - 1e-12:
                break
        kept = some
    whole = sum(weights[k] for k in kept)
    return [weights[k] / whole if k in kept else 0.0 for k in range(len(scores))]


@given(SCORES, ASKED)
def test_probabilities_are_those_of_the_plain_twin(scores: list[float], sampling: Sampling) -> None:
    found = probabilities(np.array(scores, np.float32), sampling)
    assert found.sum() == pytest.approx(1)
    wanted = plain(np.array(scores, np.float32).tolist(), sampling)
    if sampling.top_p >= 1:
        np.testing.assert_allclose(found, wanted, atol=1e-9)
    else:  # a sum that just reaches top_p may be rounded to either side: by one token at most
        assert abs(np.count_nonzero(found) - np.count_nonzero(wanted)) <= 1


@given(SCORES, ASKED)
def test_the_likeliest_is_always_among_them_and_no_more_than_top_k(scores: list[float], sampling: Sampling) -> None:
    found = probabilities(np.array(scores, np.float32), sampling)
    assert found[int(np.argmax(np.array(scores, np.float32)))] > 0
    assert not sampling.top_k or np.count_nonzero(found) <= sampling.top_k


def test_top_p_takes_the_fewest_that_reach_it() -> None:
    scores = np.log(np.array([0.5, 0.3, 0.15, 0.05]))
    for share, kept in ((0.4, 1), (0.6, 2), (0.9, 3), (0.96, 4)):
        assert np.count_nonzero(probabilities(scores, Sampling(temperature=1.0, top_p=share))) == kept


def test_log_probabilities_are_the_softmaxs() -> None:
    found = log_probabilities(np.array([1.0, 2.0, -np.inf]))
    np.testing.assert_allclose(np.exp(found), [1 / (1 + math.e), math.e / (1 + math.e), 0])


@given(st.integers(0, 2**32 - 1), SCORES)
def test_a_draw_is_never_of_what_cannot_be_drawn(seed: int, scores: list[float]) -> None:
    chances = probabilities(np.array(scores), Sampling(temperature=1.0, top_k=2))
    token = draw(chances, np.random.default_rng(seed))
    assert chances[token] > 0


def test_draws_come_as_often_as_they_should() -> None:
    chances, source = np.array([0.2, 0.0, 0.5, 0.3]), np.random.default_rng(0)
    counts = np.bincount([draw(chances, source) for _ in range(4000)], minlength=4) / 4000
    assert np.abs(counts - chances).max() < 0.03


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 0), ("max_tokens", -1), ("max_tokens", 10**9), ("max_tokens", 1.5), ("max_tokens", True),
        ("temperature", -0.1), ("temperature", math.nan), ("temperature", math.inf), ("temperature", "1"),
        ("top_p", 0.0), ("top_p", 1.1), ("top_p", math.nan), ("top_k", -1), ("seed", -1), ("beams", 0),
        ("beams", 100), ("stop", ("",)), ("stop", (3,)), ("stop", ("x",) * 17), ("logprobs", 21),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InputError) as caught:
        Sampling(**{name: value})  # type: ignore[arg-type]
    assert caught.value.where == name
    assert caught.value.expected


def test_who_asks_for_a_draw_gets_one_where_beams_are_usual() -> None:
    usual = Sampling(50, 0.0, beams=4)
    assert usual.asked() == usual
    assert usual.asked(temperature=0, max_tokens=3) == Sampling(3, 0, beams=4)
    assert usual.asked(temperature=0.7, seed=3) == Sampling(50, 0.7, seed=3)
    assert Sampling().asked(beams=4).beams == 4  # nothing is drawn then, whatever the usual temperature
    with pytest.raises(InputError, match="nothing is drawn") as caught:
        usual.asked(temperature=0.7, beams=2)
    assert caught.value.where == "beams"
    with pytest.raises(InputError) as caught:
        usual.asked(temperature=math.nan)
    assert caught.value.where == "temperature"


def test_the_likeliest_stays_where_probabilities_are_equal_but_scores_are_not() -> None:
    assert probabilities(np.array([-1e-30, 0.0]), Sampling(temperature=1.0, top_p=0.5)).tolist() == [0.0, 1.0]

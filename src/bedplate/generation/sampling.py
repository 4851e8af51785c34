"""Choose the next token: temperature, top-k and top-p, and what a caller may ask of a continuation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bedplate.core.errors import InputError, json_text

MOST_TOKENS = 100_000
MOST_BEAMS = 16
MOST_STOPS, LONGEST_STOP = 16, 500
MOST_LOGPROBS = 20


@dataclass(frozen=True)
class Sampling:
    """How a text is continued.

    Attributes:
        max_tokens: how many tokens are written at most, from 1.
        temperature: scores are divided by it before the draw; 0 always takes the likeliest token.
        top_k: draw from so many of the likeliest tokens; 0 from all.
        top_p: draw from the fewest likeliest tokens whose probabilities reach it, above 0 to 1 (Holtzman et al. 2020,
            "The Curious Case of Neural Text Degeneration", section 3.1).
        seed: of the draws; None draws otherwise each time.
        stop: strings that end the text; they are no part of it.
        beams: above 1, the likeliest of so many continuations that are followed side by side; nothing is drawn.
        logprobs: tell the log probability of each token and of so many of the likeliest; None tells none.

    Raises:
        InputError: a value that makes no sense; it names the attribute.
    """

    max_tokens: int = 200
    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = 0
    stop: tuple[str, ...] = ()
    beams: int = 1
    logprobs: int | None = None

    def __post_init__(self) -> None:
        _whole("max_tokens", self.max_tokens, 1, MOST_TOKENS)
        _whole("top_k", self.top_k, 0, 1 << 31)
        _whole("beams", self.beams, 1, MOST_BEAMS)
        if self.seed is not None:
            _whole("seed", self.seed, 0, (1 << 63) - 1)
        if self.logprobs is not None:
            _whole("logprobs", self.logprobs, 0, MOST_LOGPROBS)
        _number("temperature", self.temperature, 0.0, 100.0)
        _number("top_p", self.top_p, 0.0, 1.0)
        if self.top_p == 0:
            raise InputError("nothing is left to draw from", where="top_p", expected="above 0, at most 1", received="0")
        wrong = [one for one in self.stop if not isinstance(one, str) or not 0 < len(one) <= LONGEST_STOP]
        if wrong or len(self.stop) > MOST_STOPS:
            raise InputError(
                "not the strings that end a text", where="stop",
                expected=f"at most {MOST_STOPS} strings of 1 to {LONGEST_STOP} characters",
                received=json_text(wrong[0]) if wrong else f"{len(self.stop)} strings",
            )  # fmt: skip

    def asked(self, **settings: Any) -> Sampling:
        """Return this with what a caller sets of it: who sets a temperature above 0 and no beams wants a draw.

        Raises:
            InputError: a value that makes no sense, or a draw and beams at once.
        """
        draws = bool(settings.get("temperature"))
        if draws and "beams" not in settings:
            settings["beams"] = 1
        wanted = replace(self, **settings)
        if draws and wanted.beams > 1:
            raise InputError(
                "with beams nothing is drawn", where="beams", expected="1, or temperature 0", received=str(wanted.beams)
            )
        return wanted


def _whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InputError(
            "not a whole number in range", where=name, expected=f"{least:,} to {most:,}", received=json_text(value)
        )


def _number(name: str, value: object, least: float, most: float) -> None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not plain or not math.isfinite(float(value)) or not least <= float(value) <= most:  # type: ignore[arg-type]
        raise InputError(
            "not a number in range", where=name, expected=f"{least:g} to {most:g}", received=json_text(value)
        )


def log_probabilities(scores: np.ndarray) -> np.ndarray:
    """Return the logarithm of the softmax of scores [vocabulary], float64; a score may be −∞."""
    shifted = np.asarray(scores, np.float64) - scores.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def probabilities(scores: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Return the probability with which each token is drawn, float64 [vocabulary]; they add up to 1.

    Of equally likely tokens the one of the lower number counts as the likelier. First the temperature, then top-k, then
    top-p of what is left.
    """
    scores = np.asarray(scores, np.float64)
    if sampling.temperature == 0:
        found = np.zeros(len(scores))
        found[int(scores.argmax())] = 1.0
        return found
    with np.errstate(over="ignore"):  # a tiny temperature makes −∞ of all but the likeliest
        weights = np.exp((scores - scores.max()) / sampling.temperature)
    if not sampling.top_k and sampling.top_p >= 1:
        return np.asarray(weights / weights.sum())
    order = np.argsort(-scores, kind="stable")  # probabilities may be equal where scores aren't
    if sampling.top_k:
        order = order[: sampling.top_k]
    kept = weights[order]
    if sampling.top_p < 1:
        reached = np.cumsum(kept) / kept.sum()
        kept = kept[: int(np.searchsorted(reached, sampling.top_p)) + 1]
    found = np.zeros(len(scores))
    found[order[: len(kept)]] = kept / kept.sum()
    return found


def draw(chances: np.ndarray, source: np.random.Generator) -> int:
    """Return one token's number, drawn by probabilities [vocabulary]."""
    reached = np.cumsum(chances)
    place = int(np.searchsorted(reached, source.random() * reached[-1], side="right"))
    return min(place, int(np.flatnonzero(chances)[-1]))  # rounding must not reach a token that can't be drawn

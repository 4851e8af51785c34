"""Rows of a text, a separator, its answer and an end: what is learnt of them, what is cut, and how they are divided."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.codecs.codec import END, PAD, SEPARATOR, TOKENS
from bedplate.codecs.language import LanguageCodec
from bedplate.core.errors import DataError
from bedplate.data.dataset import Dataset
from bedplate.data.load import load_dataset
from bedplate.data.pair_pool import PairPool
from bedplate.data.pairs import fit_pairs
from bedplate.recipe.schema import DataSpec, TextSpec

COLOURS = {"rot": "red", "blau": "blue", "grün": "green", "Hund": "dog", "Katze": "cat"}


def write(folder: Path, count: int = 60, **more: object) -> DataSpec:
    names = list(COLOURS)
    rows = [[names[k % 5], names[(k * 7 + k // 5) % 5], names[(k * 3 + k // 25) % 5]] for k in range(count)]
    text = "de,en\n" + "".join(f"{' '.join(row)},{' '.join(COLOURS[word] for word in row)}\n" for row in rows)
    (folder / "pairs.csv").write_text(text, encoding="utf-8")
    return DataSpec.model_validate({"source": "pairs.csv", "target": "en", **more})


def load(spec: DataSpec, folder: Path, seed: int = 0) -> Dataset:
    return load_dataset(spec, "text-to-text", seed, base=folder)


def test_a_row_is_a_text_a_separator_and_its_answer(tmp_path: Path) -> None:
    found = load(write(tmp_path, text={"tokens": "character"}), tmp_path)
    codec = found.codec
    assert isinstance(codec, LanguageCodec)
    assert found.train.texts is not None
    for k in range(len(found.train)):
        row, wanted = found.train.inputs[TOKENS][k], found.train.targets[k]
        text, answer = found.train.texts[k]
        at = row.tolist().index(SEPARATOR)
        assert codec.text(row[:at]) == text
        judged = wanted[wanted >= 0].tolist()
        assert codec.text(judged) == answer
        assert judged[-1] == END
        assert (wanted[:at] == -1).all()
        assert wanted[at] == judged[0]
        assert np.array_equal(wanted[at : at + len(judged) - 1], row[at + 1 : at + len(judged)])
        assert (row[at + len(judged) :] == PAD).all()
        assert codec.encode(text) == row[: at + 1].tolist()


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=5), st.integers(4, 40),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_rows_keep_to_their_length_and_always_have_a_text_and_an_answer(
    sizes: list[tuple[int, int]], length: int
) -> None:
    texts = np.array(["a" * one for one, _ in sizes], object)
    answers = np.array(["b" * other for _, other in sizes], object)
    pool = PairPool("p", texts, answers, [str(k) for k in range(len(sizes))], None, "text", "answer")
    every = {"train": np.arange(len(sizes))}
    codec, rows, facts = fit_pairs(pool, every, TextSpec(tokens="character", length=length))
    assert codec.length == length
    longer = 0
    for (one, other), row, wanted in zip(sizes, rows["train"].inputs[TOKENS], rows["train"].targets, strict=True):
        used = int((row != PAD).sum())
        assert used <= length
        at = row.tolist().index(SEPARATOR)
        judged = wanted[wanted >= 0]
        assert 1 <= at <= one
        assert judged[-1] == END
        assert 1 <= len(judged) - 1 <= other
        if one + other + 2 <= length:  # nothing is cut without need
            assert (at, len(judged) - 1) == (one, other)
        longer += one + other + 2 > length
    assert (f"{longer:,} pairs are longer" in facts) is bool(longer)


def test_equal_texts_stay_together_and_the_seed_decides(tmp_path: Path) -> None:
    spec = write(tmp_path, 120)
    found, again, other = load(spec, tmp_path), load(spec, tmp_path), load(spec, tmp_path, seed=1)
    parts = [set(rows.texts[:, 0]) for rows in (found.train, found.validation, found.test) if rows.texts is not None]
    assert sum(map(len, parts)) == len(set().union(*parts))
    assert found.split_fingerprint == again.split_fingerprint != other.split_fingerprint
    assert found.fingerprint == again.fingerprint


def test_what_is_asked_may_be_half_as_long_again(tmp_path: Path) -> None:
    found = load(write(tmp_path, text={"tokens": "character"}), tmp_path)
    codec = found.codec
    assert isinstance(codec, LanguageCodec)
    longest = int((found.train.inputs[TOKENS] != PAD).sum(axis=1).max())
    assert codec.length >= 1.5 * longest
    with pytest.raises(Exception, match="longer than what the model sees"):
        codec.encode("Hund " * 100)


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"text": {"tokenizer": "t.json"}}, "learn their own tokens"), ({"split": {"by": "time"}}, "not split by time"),
        ({"text": {"length": 3}}, "nothing is left"), ({"text": {"tokens": "wordpiece"}}, "spaces between them"),
        ({"target": "fr"}, "fr"), ({"stream": {}}, "aren't streamed"),
    ],
)  # fmt: skip
def test_what_does_not_go_is_told(tmp_path: Path, more: dict[str, object], match: str) -> None:
    with pytest.raises(Exception, match=match) as caught:
        load(write(tmp_path, **more), tmp_path)
    assert hasattr(caught.value, "message")


def test_too_few_rows_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        load(write(tmp_path, 5), tmp_path)

"""Rows of a text, a separator, its answer and an end: what is learnt of them, what is cut, and how they are divided."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.talks import said, talks
from tests.data.talks import write as write_talks

from bedplate.codecs.chat import read_talk
from bedplate.codecs.codec import END, PAD, SEPARATOR, TOKENS, UNKNOWN
from bedplate.codecs.language import LanguageCodec
from bedplate.core.errors import DataError
from bedplate.data.dataset import Dataset
from bedplate.data.load import load_dataset
from bedplate.data.pair_pool import PairPool
from bedplate.data.pairs import fit_pairs
from bedplate.data.talk_pool import read_talk_pool
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


def load_talks(folder: Path, seed: int = 0, **text: object) -> Dataset:
    write_talks(folder / "talks.jsonl", talks())
    text = {"messages": "messages", "tokens": "word", **text}
    split = {"validation": 0.15, "test": 0.2}
    return load(DataSpec.model_validate({"source": "talks.jsonl", "split": split, "text": text}), folder, seed)


def place_of(row: str) -> tuple[int, int]:
    """Return a row's talk, from 0, and the number of its answer in it."""
    line, _, number = row.partition(":")[2].partition(" messages[")
    return int(line) - 1, int(number[:-1])


def test_a_talk_is_never_torn(tmp_path: Path) -> None:
    found = load_talks(tmp_path)
    parts = [{place_of(row)[0] for row in rows.ids} for rows in (found.train, found.validation, found.test)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 80
    assert [len(rows) for rows in (found.train, found.validation, found.test)] == [2 * len(part) for part in parts]
    assert all(parts)
    # Talks that begin alike may lie in several splits, and that is told.
    assert any("test texts also lie in the train split" in note for note in found.notes)
    other = load_talks(tmp_path, seed=1)
    assert found.split_fingerprint != other.split_fingerprint


def test_equal_talks_stay_together(tmp_path: Path) -> None:
    write_talks(tmp_path / "talks.jsonl", [said("a b", f"x{k % 7}", "c", "d") for k in range(35)])
    spec = {"source": "talks.jsonl", "text": {"messages": "messages"}, "split": {"validation": 0.2, "test": 0.2}}
    found = load(DataSpec.model_validate(spec), tmp_path)
    parts = [{place_of(row)[0] % 7 for row in rows.ids} for rows in (found.train, found.validation, found.test)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 7


def test_rows_of_talks_are_what_the_codec_reads(tmp_path: Path) -> None:
    found = load_talks(tmp_path, template={"user": "Q: {content}\n", "assistant": "A: {content}\n"})
    codec, lines = found.codec, talks()
    assert isinstance(codec, LanguageCodec)
    assert codec.template is not None
    assert found.train.texts is not None
    for k, row in enumerate(found.train.ids):
        talk, number = place_of(row)
        tokens = found.train.inputs[TOKENS][k].tolist()
        assert codec.encode({"messages": lines[talk][:number]}) == tokens[: tokens.index(SEPARATOR) + 1]
        text = codec.template.render(read_talk(lines[talk][:number]))
        assert found.train.texts[k].tolist() == [text, lines[talk][number]["content"]]
    assert "Q: " in found.train.texts[0, 0]
    assert not any("oldest messages" in note for note in found.notes)
    assert load_talks(tmp_path).fingerprint != found.fingerprint


def test_the_oldest_messages_of_long_talks_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [said(*(f"word {k + 10} {n + 10}" for n in range(12))) for k in range(20)]
    write_talks(tmp_path / "talks.jsonl", rows)
    text = {"messages": "messages", "tokens": "character", "length": 64}
    spec = {"source": "talks.jsonl", "text": text, "split": {"validation": 0.2, "test": 0.2}}
    found = load(DataSpec.model_validate(spec), tmp_path)
    codec = found.codec
    assert isinstance(codec, LanguageCodec)
    assert (codec.length, codec.reserved) == (64, 10)
    gone, answers = 0, 0
    for part in (found.train, found.validation, found.test):
        assert part.texts is not None
        for k, row in enumerate(part.ids):
            talk, number = place_of(row)
            tokens = part.inputs[TOKENS][k].tolist()
            prompt, dropped = codec.read({"messages": rows[talk][:number]})
            assert prompt == tokens[: tokens.index(SEPARATOR) + 1]
            assert part.texts[k, 0] == codec.text(prompt)
            assert dropped == max(0, number - 2)  # three messages don't fit
            gone, answers = gone + dropped, answers + bool(dropped)
    (facts,) = (note for note in found.notes if "oldest messages" in note)
    assert f"the oldest messages before {answers} answers don't fit and were left out, {gone:,} in all" in facts
    assert "were cut" not in facts


def test_a_talk_is_read_whole_though_its_answer_is_longer_than_any_in_training(tmp_path: Path) -> None:
    write_talks(tmp_path / "talks.jsonl", [said("so it goes", "on"), said("s" * 43, "so it goes on and on")])
    spec = DataSpec.model_validate(
        {"source": "talks.jsonl", "text": {"messages": "messages", "tokens": "character", "length": 64, "lower": False}}
    )
    pool = read_talk_pool(spec, tmp_path, lambda text: None)
    codec, rows, _ = fit_pairs(pool, {"train": np.array([0]), "test": np.array([1])}, spec.text)
    assert (codec.reserved, codec.room) == (2, 60)
    (tokens,) = rows["test"].inputs[TOKENS].tolist()
    prompt = codec.tokens_of("User: " + "s" * 43 + "\nAssistant:").tolist()
    assert (len(prompt), tokens[:61]) == (60, [*prompt, SEPARATOR])  # the answer is cut instead


def test_words_of_a_talk_count_once(tmp_path: Path) -> None:
    rows = [said("so it goes", "on", f"rare{k}", "and", "so it goes", "on") for k in range(20)]
    write_talks(tmp_path / "talks.jsonl", rows)
    text = {"messages": "messages", "tokens": "word"}
    found = load(DataSpec.model_validate({"source": "talks.jsonl", "text": text}), tmp_path)
    assert isinstance(found.codec, LanguageCodec)
    # What one talk says once is unknown, however many of its rows show it.
    assert found.codec.unknown
    assert UNKNOWN in found.codec.tokens_of("rare3")


def test_a_template_without_talks_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only talks have a template"):
        load(write(tmp_path, text={"template": {"user": "{content}"}}), tmp_path)


def test_too_few_rows_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        load(write(tmp_path, 5), tmp_path)

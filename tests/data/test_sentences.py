"""Sentences are found in files, folders and archives, split without leaks, and learnt from training rows alone."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.data.names import as_conll

from bedplate.codecs.sentence import SentenceCodec
from bedplate.core.errors import BedplateError, DataError
from bedplate.data.load import load_dataset
from bedplate.data.sentence_pool import split_of
from bedplate.data.sentences import with_counted_transitions
from bedplate.data.suggest import suggest
from bedplate.recipe.schema import DataSpec


def load(data: dict[str, object], base: Path, seed: int = 0):  # type: ignore[no-untyped-def]
    return load_dataset(DataSpec.model_validate(data), "token-classification", seed, base=base)


def folder(place: Path) -> Path:
    for name, rows, seed in (("train.txt", 60, 0), ("dev.txt", 20, 1), ("test.txt", 20, 2)):
        as_conll(place / name, rows, seed)
    (place / "README").write_text("about the training data")
    return place


def test_one_file_is_divided_and_equal_sentences_stay_together(tmp_path: Path) -> None:
    as_conll(tmp_path / "names.conll", 200)
    found = load({"source": "names.conll"}, tmp_path)
    parts = [found.train, found.validation, found.test]
    assert sum(map(len, parts)) == 200
    sets = [set(part.inputs["text"].tolist()) for part in parts]
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]
    assert found.answers.tags == ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER")
    assert found.train.ids[0].startswith("names.conll:")
    assert found.fingerprint == load({"source": "names.conll"}, tmp_path).fingerprint


def test_official_splits_are_kept_and_the_test_words_are_not_learnt(tmp_path: Path) -> None:
    place = folder(tmp_path / "set") if (tmp_path / "set").mkdir() is None else tmp_path
    with (place / "test.txt").open("a") as file:
        file.write("\nZugzwang X B-PER\n")
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in place.iterdir():
            packed.write(file, f"set/{file.name}")
    files = {"train": "set.zip/set/train.txt", "validation": "set.zip/set/dev.txt", "test": "set.zip/set/test.txt"}
    for data in ({"source": "set"}, {"source": "set.zip"}, {"files": files}):
        found = load(data, tmp_path)
        assert [len(part) for part in (found.train, found.validation, found.test)] == [60, 20, 21]
        assert isinstance(found.codec, SentenceCodec)
        assert "zugzwang" not in found.codec.words
        assert "Z" not in found.codec.alphabet
        assert any("words are unknown" in note for note in found.notes)
    row = found.test.targets[-1]
    assert row[0] == found.answers.tags.index("B-PER")
    assert (row[1:] == -1).all()


@pytest.mark.parametrize(
    ("name", "split"),
    [("esp.train", "train"), ("ned.testa", "validation"), ("x/eng.testb", "test"), ("valid.conll", "validation"),
     ("README", None), ("train-dev.txt", None), ("train_en.jsonl", "train")],
)  # fmt: skip
def test_a_files_name_says_its_split(name: str, split: str | None) -> None:
    assert split_of(name) == split


def test_transitions_are_rules_until_an_objective_asks_for_counts(tmp_path: Path) -> None:
    as_conll(tmp_path / "a.txt", 100)
    found = load({"source": "a.txt"}, tmp_path)
    assert set(np.unique(found.answers.transitions)) == {-1e4, 0.0}
    counted = np.array(with_counted_transitions(found).answers.transitions)
    tags = found.answers.tags
    assert counted[tags.index("B-PER"), tags.index("I-PER")] > 0


def test_another_encoding_is_named_never_guessed(tmp_path: Path) -> None:
    as_conll(tmp_path / "a.txt", 50, encoding="latin-1")
    with pytest.raises(DataError, match=r"line \d+.*cp1252"):
        load({"source": "a.txt"}, tmp_path)
    found = load({"source": "a.txt", "encoding": "latin-1"}, tmp_path)
    assert any("José" in text for text in found.train.inputs["text"].tolist())


def test_json_lines_are_read_too(tmp_path: Path) -> None:
    rows = [{"tokens": ["Ana", f"w{k}"], "tags": ["B-PER", "O"]} for k in range(40)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = load({"source": "a.jsonl"}, tmp_path)
    assert found.answers.tags == ("O", "B-PER")
    with pytest.raises(DataError, match="list is missing"):
        load({"source": "a.jsonl", "target": "labels"}, tmp_path)


def test_tags_of_words_without_entities_are_their_classes(tmp_path: Path) -> None:
    (tmp_path / "pos.txt").write_text("\n\n".join(f"the DET\ncat{k} NOUN\nsleeps VERB" for k in range(40)))
    found = load({"source": "pos.txt"}, tmp_path)
    assert found.answers.tags == ("DET", "NOUN", "VERB")
    assert set(found.profile["balance"]) == {"DET", "NOUN", "VERB"}


@pytest.mark.parametrize(
    ("change", "data", "message"),
    [
        ("Ana O\nb B-PER X\n", {}, r"a.txt:\d+.*columns"), ("a X B-PER\n\nb X I-LOC\n", {}, "nothing of its type has begun"),
        ("a X PERSON\n", {}, "neither O, B-type nor I-type"), ("", {"split": {"by": "group", "column": "x"}}, "not split by group"),
        ("", {"text": {"tokens": "bpe"}}, "its tokens"), ("", {"stream": {}}, "aren't streamed"),
        ("a\x01 X O\n", {}, "control character"), ("", {"source": "none.txt"}, "no such file"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_file_and_line(
    tmp_path: Path, change: str, data: dict[str, object], message: str
) -> None:
    as_conll(tmp_path / "a.txt", 12)
    with (tmp_path / "a.txt").open("a") as file:
        file.write("\n" + change)
    with pytest.raises(BedplateError, match=message):
        load({"source": "a.txt", **data}, tmp_path)


def test_faulty_sentences_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    as_conll(tmp_path / "a.txt", 30)
    with (tmp_path / "a.txt").open("a") as file:
        file.write("\nshort O\n")
    found = load({"source": "a.txt", "on_bad_row": "skip"}, tmp_path)
    assert sum(map(len, (found.train, found.validation, found.test))) == 30
    assert any("left out: 1 sentence" in note for note in found.notes)


def test_a_test_split_may_not_have_types_of_its_own(tmp_path: Path) -> None:
    folder(tmp_path)
    with (tmp_path / "test.txt").open("a") as file:
        file.write("\nx X B-EVENT\n")
    with pytest.raises(DataError, match="B-EVENT"):
        load({"source": str(tmp_path)}, tmp_path)


def test_conll_is_recognised_and_a_table_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    folder(tmp_path / "set")
    assert suggest(tmp_path / "set").task == "token-classification"
    as_conll(tmp_path / "b.txt", 50, encoding="latin-1")
    found = suggest(tmp_path / "b.txt")
    assert (found.task, found.data["encoding"]) == ("token-classification", "cp1252")
    assert any("not UTF-8" in reason for reason in found.reasons)
    (tmp_path / "t.csv").write_text(
        "a b c\n" + "\n".join(f"{k * k % 17} {k % 3} {'yes' if k % 2 else 'no'}" for k in range(60))
    )
    assert suggest(tmp_path / "t.csv").task == "tabular-classification"
    (tmp_path / "pos.txt").write_text("\n\n".join(f"the DET\ncat{k} NOUN" for k in range(40)))
    assert suggest(tmp_path / "pos.txt", task="token-classification").task == "token-classification"


def test_a_file_without_empty_lines_is_told(tmp_path: Path) -> None:
    path = as_conll(tmp_path / "names.conll", 40)
    path.write_text("\n".join(line for line in path.read_text().splitlines()[2:] if line) + "\n")
    with pytest.raises(DataError, match=r"names.conll: no empty line was found"):
        load_dataset(DataSpec(source=str(path)), "token-classification", 0, base=tmp_path)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bedplate.codecs.codec import TOKENS
from bedplate.codecs.language import LanguageCodec
from bedplate.core.errors import DataError
from bedplate.data.dataset import Dataset, Rows
from bedplate.data.load import load_dataset
from bedplate.recipe.schema import DataSpec

TEXT = "".join(f"Line {k}: so it goes, and on.\n" for k in range(200))


def load(tmp_path: Path, **data: object) -> Dataset:
    spec = DataSpec.model_validate({"text": {"length": 16}, **data})
    return load_dataset(spec, "language-modelling", 0, base=tmp_path)


def spelt(dataset: Dataset, rows: Rows) -> str:
    assert isinstance(dataset.codec, LanguageCodec)
    tokens = np.concatenate([rows.inputs[TOKENS].reshape(-1), rows.targets[-1, -1:]])
    return dataset.codec.text(tokens.tolist())


def test_the_end_of_a_text_is_set_aside_in_order(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(TEXT)
    found = load(tmp_path, source="book.txt", split={"validation": 0.2, "test": 0.1})
    train, validation, test = (spelt(found, rows) for rows in (found.train, found.validation, found.test))
    assert TEXT.startswith(train)
    assert len(train) == pytest.approx(0.7 * len(TEXT), abs=17)
    begin = int(len(TEXT) * (1 - 0.2 - 0.1))
    assert TEXT[begin:].startswith(validation)
    assert TEXT[int(len(TEXT) * 0.9) :].startswith(test)
    assert (found.train.targets[:, :-1] == found.train.inputs[TOKENS][:, 1:]).all()
    assert found.name == "book"
    assert sum(found.answers.sizes) == found.codec.feature_spec()["vocabulary"] - 2  # one byte each but two of nothing


def test_capitals_count_and_a_twentieth_judges_where_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(TEXT)
    found = load(tmp_path, source="book.txt")
    assert "L" in spelt(found, found.train)
    assert len(found.test) == pytest.approx(0.05 * len(TEXT) / 16, abs=2)


def test_without_a_test_part_the_validation_part_is_judged_and_told(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(TEXT)
    found = load(tmp_path, source="book.txt", split={"validation": 0.1, "test": 0})
    assert found.test is found.validation
    assert any("chose the best epoch is judged" in note for note in found.notes)


def test_several_texts_each_set_their_end_aside_and_files_may_be_official(tmp_path: Path) -> None:
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "b2.txt").write_text("b" * 600)
    (folder / "b10.md").write_text("c" * 600)
    (folder / "picture.png").write_bytes(b"\x89PNG\0")
    found = load(tmp_path, source="books", split={"validation": 0.25, "test": 0.25})
    for rows in (found.train, found.validation, found.test):
        text = spelt(found, rows)
        assert text == "b" * text.count("b") + "c" * text.count("c")
        assert text.count("b") > 100 < text.count("c") + 20
    (tmp_path / "t.txt").write_text(TEXT)
    (tmp_path / "v.txt").write_text("goes on so. " * 20)
    found = load(tmp_path, files={"train": "t.txt", "validation": "v.txt"})
    assert spelt(found, found.validation).startswith("goes on")
    assert any("no official test text" in note for note in found.notes)


def test_a_limit_is_of_windows_and_the_same_text_has_the_same_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(TEXT)
    found = load(tmp_path, source="book.txt", limit=7)
    assert len(found.train) == 7
    assert found.fingerprint == load(tmp_path, source="book.txt", limit=7).fingerprint
    assert found.fingerprint != load(tmp_path, source="book.txt", limit=8).fingerprint


@pytest.mark.parametrize("kind", ["character", "bpe", "word"])
def test_tokens_of_every_kind(tmp_path: Path, kind: str) -> None:
    (tmp_path / "book.txt").write_text(TEXT * 4)
    found = load(tmp_path, source="book.txt", text={"length": 16, "tokens": kind, "size": 300})
    assert (TEXT * 4).startswith(spelt(found, found.train)) or kind == "word"  # of which rare ones are unknown
    assert kind in found.notes[-1]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "the text is empty"), (b" \n\n ", "the text is empty"), (b"a\0b" * 900, "no plain text.*NUL at byte 1"),
        ("só ".encode("latin-1") * 900, "not UTF-8.*0xf3 at 1"), (b"short", "shorter than a window"),
        (TEXT[:500].encode("utf-16"), "NUL"), (b"a" * 200, "the validation text is shorter"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_text_to_learn_from_is_told(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "book.txt").write_bytes(content)
    with pytest.raises(DataError, match=match):
        load(tmp_path, source="book.txt")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({"source": "none.txt"}, "no such file"), ({"source": "empty"}, "no texts in the folder"),
        ({"source": "book.txt", "split": {"folds": 3, "fold": 0}}, "no folds"),
        ({"source": "book.txt", "split": {"by": "time", "column": "x"}}, "not split by time"),
        ({"source": "book.txt", "stream": {}}, "aren't streamed"),
        ({"source": "book.txt", "text": {"tokens": "wordpiece"}}, "don't keep the spaces"),
    ],
)  # fmt: skip
def test_what_a_text_cannot_be_asked_is_told(tmp_path: Path, data: dict[str, object], match: str) -> None:
    (tmp_path / "book.txt").write_text(TEXT)
    (tmp_path / "empty").mkdir()
    from bedplate.core.errors import InputError

    with pytest.raises(InputError, match=match):
        load(tmp_path, **data)

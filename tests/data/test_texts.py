from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.data.reviews import as_archive, as_folders, as_table, reviews

from bedplate.codecs.text import TOKENS
from bedplate.core.errors import DataError, InputError
from bedplate.data.load import load_dataset
from bedplate.data.suggest import suggest
from bedplate.recipe.schema import DataSpec


def load(spec: dict[str, object], base: Path = Path()):
    return load_dataset(DataSpec.model_validate(spec), "text-classification", 0, base=base)


def test_tables_folders_and_archives_give_the_same_texts(tmp_path: Path) -> None:
    table = load({"source": str(as_table(tmp_path / "t.csv", 200)), "target": "sentiment"})
    folders = load({"source": str(as_folders(tmp_path / "f", 200))})
    for found in (table, folders):
        assert found.answers.labels == ("bad", "good")
        assert len(found.train) + len(found.validation) + len(found.test) == 200
        assert found.codec.kind == "text"
    texts = {text.strip() for part in (folders.train, folders.validation, folders.test) for text in part.inputs["text"]}
    assert texts == {text for text, _ in reviews(200)}
    assert table.codec.column == "review"


def test_official_splits_stay_and_the_tokenizer_sees_training_rows_alone(tmp_path: Path) -> None:
    found = load({"source": str(as_archive(tmp_path / "corpus.tar.xz", 200)), "text": {"tokens": "word"}})
    assert len(found.test) == 100
    assert all(text.startswith("test ") for text in found.test.inputs["text"])
    assert all(text.startswith("train ") for text in [*found.train.inputs["text"], *found.validation.inputs["text"]])
    assert "train" in found.codec.tokenizer["model"]["vocab"]
    assert "test" not in found.codec.tokenizer["model"]["vocab"]


def test_length_is_what_most_texts_keep_to_and_is_told(tmp_path: Path) -> None:
    path = str(as_table(tmp_path / "t.csv", 300))
    found = load({"source": path, "target": "sentiment"})
    lengths = (found.codec.features(found.train.inputs)[TOKENS] != 0).sum(1)
    assert lengths.max() <= found.codec.length < 40
    assert (lengths < found.codec.length).mean() > 0.8
    assert any("read up to" in note for note in found.notes)
    assert load({"source": path, "target": "sentiment", "text": {"length": 7}}).codec.length == 7


def test_where_most_texts_are_cut_what_to_do_is_a_note_of_its_own(tmp_path: Path) -> None:
    path = str(as_table(tmp_path / "t.csv", 100))
    spec = {"source": path, "target": "sentiment", "text": {"tokens": "word"}}
    whole = load(spec)
    assert not any("behind their first" in note for note in whole.notes)
    (note,) = [note for note in load(spec | {"text": {"tokens": "word", "length": 2}}).notes if "are cut, and" in note]
    assert "100% of the training texts" in note
    assert f"data.text.length: {whole.codec.length} would" in note


def test_equal_texts_stay_on_one_side_and_torn_ones_are_told(tmp_path: Path) -> None:
    rows = reviews(100) * 3 + [(reviews(100)[0][0], "good")] * 2
    path = tmp_path / "t.tsv"
    path.write_text("text\tlabel\n" + "\n".join("\t".join(row) for row in rows))
    found = load({"source": str(path), "target": "label", "delimiter": "\t"})
    sides = [set(part.inputs["text"].tolist()) for part in (found.train, found.validation, found.test)]
    assert sides[0].isdisjoint(sides[1] | sides[2])
    assert sides[1].isdisjoint(sides[2])
    assert any("under more than one class" in note for note in found.notes)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("", "good")], "the text is empty"), ([("fine \ufffd", "")], "target"),
        ([("the only one", "rare")] * 0 + [("x y", "good")] * 300, "one class"),
    ],
)  # fmt: skip
def test_rows_at_fault_are_named_or_left_out(tmp_path: Path, rows: list[tuple[str, str]], message: str) -> None:
    path = tmp_path / "t.tsv"
    whole = rows if message == "one class" else reviews(100) + rows
    path.write_text("text\tlabel\n" + "\n".join("\t".join(row) for row in whole))
    spec = {"source": str(path), "target": "label", "delimiter": "\t"}
    with pytest.raises(DataError, match=message):
        load(spec)
    if message != "one class":
        found = load({**spec, "on_bad_row": "skip"})
        assert len(found.train) + len(found.validation) + len(found.test) == 100


def test_files_that_are_no_texts_are_refused(tmp_path: Path) -> None:
    folder = as_folders(tmp_path / "f", 60)
    (folder / "good" / "x.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not UTF-8"):
        load({"source": str(folder)})
    assert any("left out" in note for note in load({"source": str(folder), "on_bad_row": "skip"}).notes)
    with pytest.raises(DataError, match="holds images"):
        load({"source": "mnist"})
    with pytest.raises(DataError, match="no such"):
        load({"source": "imdd"})
    with pytest.raises(DataError, match="did you mean 'review'"):
        load({"source": str(as_table(tmp_path / "t.csv", 60)), "target": "sentiment", "text": {"column": "reviews"}})


def test_texts_without_spaces_become_byte_pairs(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rows = [("".join(draw.choice(list("猫犬鳥魚山川空海"), 30)) + "好" * (k % 2), "ab"[k % 2]) for k in range(100)]
    path = tmp_path / "t.tsv"
    path.write_text("text\tlabel\n" + "\n".join("\t".join(row) for row in rows))
    found = load({"source": str(path), "target": "label", "delimiter": "\t"})
    assert found.codec.tokenizer["model"]["type"] == "BPE"


def test_texts_are_recognised_by_themselves(tmp_path: Path) -> None:
    assert suggest(as_folders(tmp_path / "f", 100)).task == "text-classification"
    assert suggest(as_archive(tmp_path / "c.tar.xz", 100)).task == "text-classification"
    table = as_table(tmp_path / "t.csv", 200)
    found = suggest(table, "sentiment")
    assert found.task == "text-classification"
    assert found.data["text"] == {"column": "review"}
    assert any("holds texts" in reason for reason in found.reasons)
    with pytest.raises(InputError, match="text-classification"):
        suggest(tmp_path / "f", task="image-classification")


def test_a_table_with_other_columns_stays_a_table_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    lines = [f"{text.replace(',', '')},{k % 7},{label}" for k, (text, label) in enumerate(reviews(200))]
    path.write_text("review,stars,sentiment\n" + "\n".join(lines))
    assert suggest(path, "sentiment").task == "tabular-classification"
    asked = suggest(path, "sentiment", "text-classification")
    assert asked.task == "text-classification"
    assert asked.data["text"] == {"column": "review"}


def test_short_texts_without_spaces_become_byte_pairs_too(tmp_path: Path) -> None:
    rows = [f"{'今天天气很好' if k % 2 else '这本书不好看'}{k},{'ab'[k % 2]}" for k in range(60)]
    (tmp_path / "short.csv").write_text("text,label\n" + "\n".join(rows), encoding="utf-8")
    spec = DataSpec.model_validate({"source": "short.csv", "target": "label", "text": {"column": "text"}})
    told: list[str] = []
    load_dataset(spec, "text-classification", 0, base=tmp_path, announce=told.append)
    assert any("(bpe)" in line for line in told)
    spec = spec.model_copy(update={"text": spec.text.model_copy(update={"tokens": "word"})})
    load_dataset(spec, "text-classification", 0, base=tmp_path, announce=told.append)
    assert any("unknown (data.text.tokens: bpe knows every text)" in line for line in told)


@pytest.mark.parametrize(("named", "wanted"), [(None, "fraud"), ("ham", "ham")])
def test_the_rarer_of_two_classes_is_the_positive_one_and_told(tmp_path: Path, named: str | None, wanted: str) -> None:
    rows = "".join(f"it is text {k} of these,{'fraud' if k % 20 == 0 else 'ham'}\n" for k in range(400))
    (tmp_path / "mail.csv").write_text("text,label\n" + rows)
    found = load({"source": "mail.csv", "target": "label", "positive": named}, tmp_path)
    assert found.answers.labels[found.answers.positive] == wanted
    assert any(f"are '{wanted}', of which precision, recall and F1 speak" in note for note in found.notes)


def test_byte_pairs_of_few_texts_do_not_grow_to_whole_ones(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    signs = [chr(0x4E00 + 7 * k) for k in range(800)]
    rows = [f"{''.join(draw.choice(signs, 15))}{('喜欢', '讨厌')[k % 2]},{'ab'[k % 2]}" for k in range(400)]
    (tmp_path / "zh.csv").write_text("text,label\n" + "\n".join(rows), encoding="utf-8")
    found = load({"source": "zh.csv", "target": "label", "text": {"column": "text"}}, tmp_path)
    tokens = found.codec.features(found.train.inputs)["tokens"]
    assert np.median((tokens != 0).sum(axis=1)) > 10

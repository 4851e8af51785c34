"""Pre-training from recipe to bundle: what it reads, what is told, what is kept, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.models.published import write_checkpoint

from bedplate import pipeline
from bedplate.bundle import Bundle
from bedplate.core.console import Console
from bedplate.core.errors import BedplateError, DataError, RecipeError, RunError
from bedplate.stages.plan import plan
from bedplate.stages.resolve import portable, resolve
from bedplate.stages.workbench import workbench

TOPICS = {
    "sea": ["wave", "tide", "anchor", "harbour", "sail", "gull", "reef", "salt", "shell", "deck"],
    "wood": ["oak", "moss", "fern", "owl", "bark", "root", "path", "stream", "leaf", "deer"],
    "town": ["tram", "square", "bridge", "tower", "market", "lamp", "bench", "kiosk", "alley", "clock"],
}
RECIPE = """\
name: topics
task: text-classification
data:
  files: {train: train.csv, validation: validation.csv, test: test.csv}
  target: topic
model: {name: transformer-encoder, size: 16, heads: 2, layers: 1, dropout: 0.0}
training:
  epochs: 6
  threads: 1
  batch_size: 16
  optimizer: {name: adamw, lr: 0.003}
  pretrain: {epochs: 12, texts: more.txt, lr: 0.005}
evaluation: {resamples: 100}
compression: {methods: [int8-dynamic], max_drop: 100}
"""


def texts(rows: int, seed: int) -> list[tuple[str, str]]:
    """Return (text, topic) pairs; all words of a text but "the" are of its topic."""
    draw = np.random.default_rng(seed)
    names = list(TOPICS)
    found = []
    for row in range(rows):
        topic = names[row % 3]
        words = draw.choice(TOPICS[topic], draw.integers(5, 12)).tolist()
        words.insert(1, "the")
        found.append((" ".join(words), topic))
    return found


def write(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "topic"), *rows])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A recipe with 60 labelled texts and 500 without, among which are 4 test, 3 validation, 2 training texts and a
    repeated one."""
    parts = {"train": texts(60, 0), "validation": texts(60, 1), "test": texts(90, 2)}
    for name, rows in parts.items():
        write(tmp_path / f"{name}.csv", rows)
    more = [text for text, _ in texts(490, 3)]
    seen = [text for name, count in (("test", 4), ("validation", 3), ("train", 2)) for text, _ in parts[name][:count]]
    (tmp_path / "more.txt").write_text("\n".join([*more, *seen, more[0]]) + "\n")
    (tmp_path / "a.yaml").write_text(RECIPE)
    return tmp_path


def trained(
    place: Path, out: str = "run", mode: Any = "new", *, stream: io.StringIO | None = None, **settings: Any
) -> dict[str, Any]:
    overrides = [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in settings.items()]
    console = Console(stream) if stream is not None else None
    pipeline.run_stage("train", place / "a.yaml", place / out, mode=mode, overrides=overrides, console=console)
    found: dict[str, Any] = json.loads((place / out / "train" / "stage.json").read_text())
    return found


def test_from_recipe_to_bundle(place: Path) -> None:
    said = io.StringIO()
    outcome = pipeline.run(place / "a.yaml", place / "run", console=Console(said))
    facts = outcome.figures["pretrain"]
    assert facts["left_out"] == {"in_validation_or_test": 7, "repeated": 3, "nothing_to_hide": 0}
    assert (facts["texts"], facts["held_out"]) == (522, 28)  # of the 550 that are left of 60 + 500
    assert (facts["mask"], facts["masked"], facts["epochs"], facts["source"]) == ("[UNK]", 0.15, 12, "more.txt")
    assert facts["steps"] == 12 * 17
    assert facts["unknown"] == 0
    # Who knows a text's topic names one of ten words, or the "the" that every text has.
    assert facts["after"]["accuracy"] > facts["before"]["accuracy"] + 0.05
    assert facts["after"]["loss"] < facts["before"]["loss"] - 0.5
    assert [entry["epoch"] for entry in facts["history"]] == list(range(1, 13))
    kept = json.loads((place / "run" / "train" / "pretrain.json").read_text())
    assert {**facts, "identity": kept["identity"]} == kept
    report = json.loads((place / "run" / "report.json").read_text())
    assert report["pretrain"] == facts
    sentence = "masked-language pre-training: 12 epochs on 522 texts"
    assert sentence in (place / "run" / "report.html").read_text(encoding="utf-8")
    assert sentence in (place / "run" / "MODEL_CARD.md").read_text(encoding="utf-8")
    bundle = Bundle.open(place / "run" / "bundle")
    assert bundle.lineage["pretrained"]["after"] == facts["after"]
    assert "seconds" not in bundle.lineage["pretrained"]
    assert not [name for name in bundle.weights() if "dense" in name], "the pre-training's head is thrown away"
    assert bundle.report["metrics"]["accuracy"]["value"] > 0.9
    assert bundle.predict(["gull reef anchor sail"])[0]["answer"] == "sea"
    lines = said.getvalue().splitlines()
    assert sum("held-out loss" in line for line in lines) == 12
    order = [next(k for k, line in enumerate(lines) if line.startswith(f"▸ {name}")) for name in
             ("texts", "train", "pretrain", "finetune")]  # fmt: skip
    assert order == sorted(order)


def test_the_training_texts_alone_are_enough(place: Path) -> None:
    facts = trained(place, training__pretrain={"epochs": 1})["pretrain"]
    assert facts["source"] is None
    assert (facts["texts"], facts["held_out"]) == (57, 3)
    assert trained(place, "without", training__pretrain=None).get("pretrain") is None
    assert not (place / "without" / "train" / "pretrain.json").exists()


def test_a_continued_run_takes_what_was_pre_trained(place: Path) -> None:
    whole = trained(place, "whole")
    shutil.copytree(place / "whole", place / "killed")
    train = place / "killed" / "train"
    for name in ("stage.json", "checkpoint.safetensors", "weights.safetensors", "history.json"):
        (train / name).unlink()  # as a kill leaves it between the pre-training and the first checkpoint
    before = (train / "pretrained.safetensors").stat().st_mtime_ns
    said = io.StringIO()
    again = trained(place, "killed", "resume", stream=said)
    assert "done before: 12 epochs" in said.getvalue()
    assert "held-out loss" not in said.getvalue()
    assert (train / "pretrained.safetensors").stat().st_mtime_ns == before
    assert again["weights_sha256"] == whole["weights_sha256"]
    assert again["pretrain"] == whole["pretrain"]
    (train / "stage.json").unlink()  # with a checkpoint nothing of it is asked
    (train / "pretrained.safetensors").unlink()
    assert trained(place, "killed", "resume")["weights_sha256"] == whole["weights_sha256"]


def test_other_conditions_or_damage_are_not_taken_up(place: Path) -> None:
    whole = trained(place)
    train = place / "run" / "train"
    facts = json.loads((train / "pretrain.json").read_text())
    facts["identity"]["torch version"] = "0.1"
    (train / "pretrain.json").write_text(json.dumps(facts))
    for name in ("stage.json", "checkpoint.safetensors"):
        (train / name).unlink()
    said = io.StringIO()
    assert trained(place, mode="resume", stream=said)["weights_sha256"] == whole["weights_sha256"]
    assert said.getvalue().count("held-out loss") == 12, "it was not repeated"
    for name in ("stage.json", "checkpoint.safetensors"):
        (train / name).unlink()
    (train / "pretrained.safetensors").write_bytes(b"0123")
    with pytest.raises(RunError, match="the pre-trained weights can't be read"):
        trained(place, mode="resume")


def test_what_decides_is_asked_before_a_run_goes_on(place: Path) -> None:
    first = trained(place)
    (place / "run" / "train" / "stage.json").unlink()
    with pytest.raises(RunError, match=r"training\.pretrain\.masked: 0\.15, now 0\.3"):
        trained(place, mode="resume", training__pretrain__masked=0.3)
    more = place / "more.txt"
    more.write_text(more.read_text() + "one more text\n")
    with pytest.raises(RunError, match="changed: the texts to pre-train on"):
        trained(place, mode="resume")
    assert trained(place, mode="fresh")["fingerprint"] != first["fingerprint"]


def test_the_weights_start_where_the_pre_training_ended(place: Path) -> None:
    """With a rate of next to nothing the fine-tuning leaves the body where the pre-training put it."""
    slow = {"training__epochs": 1, "training__optimizer": {"name": "sgd", "lr": 1e-9}}
    trained(place, **slow)
    train = place / "run" / "train"
    first, last = load_file(train / "pretrained.safetensors"), load_file(train / "weights.safetensors")
    assert first.keys() == last.keys()
    for name in first:
        np.testing.assert_allclose(first[name], last[name], atol=1e-6, err_msg=name)
    trained(place, "without", training__pretrain=None, **slow)
    fresh = load_file(place / "without" / "train" / "weights.safetensors")
    for name in first:
        same = np.allclose(fresh[name], first[name], atol=1e-6)
        assert same == (name in ("body.head.weight", "body.head.bias")), name
    trained(
        place, "third", training__pretrain=None, training__start={"weights": "run/train/pretrained.safetensors"}, **slow
    )
    third = load_file(place / "third" / "train" / "weights.safetensors")
    for name in first:
        np.testing.assert_array_equal(third[name], last[name], err_msg=name)


def test_a_checkpoint_is_pre_trained_on_for_vectors(tmp_path: Path) -> None:
    """Domain-adaptive: from a checkpoint's weights and tokenizer, at a lower rate where the recipe names none."""
    checkpoint = write_checkpoint(tmp_path / "tiny", pooling="pooling_mode_mean_tokens")
    write(tmp_path / "rows.csv", texts(120, 0))
    (tmp_path / "a.yaml").write_text(
        "name: a\ntask: text-embedding\ndata: {source: rows.csv, target: topic}\n"
        f"training: {{epochs: 1, threads: 1, start: {{weights: {checkpoint}}}, pretrain: {{epochs: 2}}}}\n"
        "evaluation: {resamples: 100}\ncompression: {methods: []}\n"
    )
    path = pipeline.run(tmp_path / "a.yaml", tmp_path / "run").path
    bundle = Bundle.open(path / "bundle")
    assert bundle.lineage["recipe"]["training"]["pretrain"]["lr"] == 1e-4
    assert len(bundle.lineage["started_from"]) == 1
    assert bundle.lineage["pretrained"]["mask"] == "[UNK]"
    assert (path / "train" / "start.json").exists()
    assert bundle.outputs[0].shape == (16,)


def test_a_plan_checks_it_and_trains_nothing(place: Path) -> None:
    made = plan(place / "a.yaml")
    assert made.pretraining_seconds > 0
    assert any("of pre-training before it" in line for line in made.lines())
    assert made.memory_bytes > 0
    without = plan(place / "a.yaml", overrides=["training.pretrain=null"])
    assert without.pretraining_seconds == 0
    assert not any("pre-training" in line for line in without.lines())
    with pytest.raises(DataError, match=r"did you mean 'more\.txt'"):
        plan(place / "a.yaml", overrides=["training.pretrain.texts=mre.txt"])
    assert not (place / "runs").exists()


def test_who_only_measures_steps_says_that_they_are_without_it(place: Path) -> None:
    said = io.StringIO()
    workbench(place / "a.yaml", (), Console(said))
    assert "steps without the recipe's pre-training" in said.getvalue()


def test_a_recipe_written_out_runs_from_anywhere(place: Path) -> None:
    resolved = resolve(str(place / "a.yaml"), ["training.pretrain.lr=null"])
    assert resolved.recipe.training.pretrain is not None
    assert resolved.recipe.training.pretrain.lr == 5e-4
    moved = portable(resolved).training.pretrain
    assert moved is not None
    assert moved.texts == str((place / "more.txt").resolve())


@pytest.mark.parametrize(
    ("setting", "kind", "message"),
    [
        ("model={name: bag, size: 4, pairs: 10}", RecipeError, "'bag' gives its tokens no states.*`bert` and"),
        ("model={name: lstm, size: 4, hidden: 4}", RecipeError, "'lstm' gives its tokens no states"),
        ("task=language-modelling", RecipeError, "is for texts with classes, labels or vectors"),
        ("task=tabular-classification", RecipeError, "is for texts with classes, labels or vectors"),
        ("training.workers=2", RecipeError, "pre-training is for one process.*workers: 1"),
        ("training.epochs=0", RecipeError, "nothing is trained after the pre-training"),
        ("training.pretrain.masked=0", RecipeError, "training.pretrain.masked.*greater than 0"),
        ("training.pretrain.masked=1.5", RecipeError, "training.pretrain.masked.*less than 1"),
        ("training.pretrain.epochs=0", RecipeError, "training.pretrain.epochs"),
        ("training.pretrain={masked: 0.2}", RecipeError, "epochs"),
        ("training.pretrain.maskd=0.2", RecipeError, "did you mean 'masked'"),
        ("training.pretrain.texts=mre.txt", DataError, r"did you mean 'more\.txt'"),
        ("training.pretrain.texts=empty.txt", DataError, "the file is empty"),
        ("training.pretrain.texts=$NOWHERE/a.txt", DataError, "NOWHERE is not set"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    place: Path, setting: str, kind: type[BedplateError], message: str
) -> None:
    (place / "empty.txt").write_text("\n")
    with pytest.raises(kind, match=message):
        pipeline.run(place / "a.yaml", place / "run", overrides=[setting])
    assert not (place / "run").exists()


def test_texts_of_nothing_but_unknown_words_are_left_out_and_too_few_refused(place: Path) -> None:
    (place / "more.txt").write_text("xyzzy plugh\nfrob gnarf\ngull reef\n")
    facts = trained(place, training__epochs=1, training__pretrain__epochs=1)["pretrain"]
    assert facts["left_out"] == {"in_validation_or_test": 0, "repeated": 0, "nothing_to_hide": 2}
    assert facts["texts"] + facts["held_out"] == 61
    write(place / "train.csv", [("the", topic) for topic in TOPICS] * 6)
    with pytest.raises(DataError, match=r"too few texts to pre-train on.*received 1 text"):
        trained(place, "other", training__pretrain={"epochs": 1})


def test_weights_of_other_tokens_are_refused(place: Path) -> None:
    trained(place)
    other = [(text.replace("the", "a"), topic) for text, topic in texts(90, 7)]
    write(place / "train.csv", other)
    with pytest.raises(BedplateError, match=r"learnt other tokens than the data has .*data.split.seed"):
        trained(
            place, "other", training__pretrain=None,
            training__start={"weights": "run/train/pretrained.safetensors"}, training__epochs=1,
        )  # fmt: skip

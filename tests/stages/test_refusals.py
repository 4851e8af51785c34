"""What can't work is told before anything is trained or deleted, with a place and a way out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bedplate import pipeline
from bedplate.core.errors import BedplateError
from bedplate.stages.resolve import resolve

SMALL = ["training.epochs=1", "gate={}", "evaluation.baselines=false", "compression.methods=[]"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.freeze=[nix]", "no weight is called 'nix'"),
        ("training.rates={nix: 2}", "no weight is called 'nix'"),
        ("training.start={weights: nowhere}", "no such weights"),
        ("objective={name: cross-entropy, class_weights: [1.0]}", "not one weight a class"),
    ],
)
def test_a_refused_fresh_run_leaves_the_old_one_whole(tmp_path: Path, override: str, message: str) -> None:
    path = tmp_path / "run"
    pipeline.run("wine", path, overrides=SMALL)
    before = {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(BedplateError, match=message):
        pipeline.run("wine", path, overrides=[*SMALL, override], mode="fresh")
    assert {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.device=cuda"], "torch finds no GPU here"),
        (["training.threads=20000"], "more threads than this machine can use"),
        (["training.l2=1e300"], "training.l2=1e300: wrong value"),
        (["training.epochs=0"], "no weights to take"),
        (["training.optimizer={name: schedule-free-adamw}", "training.schedule={name: cosine}"], "takes no falling"),
        (["training.augment=[noise, rotate]"], "'rotate' is for images"),
        (["training.augment=mixup", "objective=perceptron"], "mixed targets"),
        (["training.start={weights: ''}"], "wrong value"),
    ],
)
def test_combinations_that_cannot_work_are_refused_before_data_is_read(overrides: list[str], message: str) -> None:
    if "cuda" in overrides[0] and os.environ.get("CUDA_VISIBLE_DEVICES"):
        pytest.skip("there is a GPU here")
    with pytest.raises(BedplateError, match=message):
        resolve("wine", overrides)


def test_one_mistake_under_a_union_is_one_problem_at_its_own_key() -> None:
    with pytest.raises(BedplateError) as caught:
        resolve("wine", ["training.batch_size=0"])
    assert caught.value.message.count("training.batch_size") == 1
    assert "constrained" not in caught.value.message
    with pytest.raises(BedplateError, match=r"--set training.augment=\[7\]") as caught:
        resolve("wine", ["training.augment=[7]"])
    assert "Part" not in caught.value.message


def test_short_names_work_in_lists_and_under_later_overrides() -> None:
    found = resolve(
        "digits", ["training.augment=[rotate, mixup]", "training.optimizer=muon", "training.optimizer.lr=0.01"]
    )
    training = found.recipe.training
    assert [part.name for part in training.augment] == ["rotate", "mixup"]  # type: ignore[union-attr]
    assert (training.optimizer.name, training.optimizer.arguments["lr"]) == ("muon", 0.01)

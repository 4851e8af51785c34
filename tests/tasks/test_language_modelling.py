"""A plain text's whole life: init, run, a bundle that goes on with texts, and the report's figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bedplate import pipeline
from bedplate.bundle import Bundle
from bedplate.bundle.golden import CONTINUATION
from bedplate.cli.main import main
from bedplate.core.errors import InputError, RecipeError
from bedplate.export.formats import FORMATS
from bedplate.generation import Sampling
from bedplate.stages.export_bundle import export_bundle
from bedplate.stages.init import init
from bedplate.stages.resolve import resolve

TEXT = "".join(f"{k} and {k + 1} make {2 * k + 1}; so it goes.\n" for k in range(300))
FAST = [
    "training.epochs=3", "training.batch_size=16", "evaluation.resamples=100", "data.text.length=32", "model.size=16",
    "model.layers=1", "model.heads=2", "training.optimizer.lr=0.01", "compression.methods=[int8-weights]",
]  # fmt: skip


def test_a_text_lives_its_whole_life(tmp_path: Path) -> None:
    (tmp_path / "sums.txt").write_text(TEXT)
    written = init(str(tmp_path / "sums.txt"), output=str(tmp_path / "sums.yaml"), task="language-modelling")
    assert written.task == "language-modelling"
    outcome = pipeline.run(written.path, tmp_path / "run", overrides=FAST)
    assert outcome.passed
    figures = outcome.figures["metrics"]
    assert set(figures) == {"loss", "perplexity", "bits_per_byte"}
    assert figures["loss"]["low"] <= figures["loss"]["value"] <= figures["loss"]["high"]
    baselines = json.loads((tmp_path / "run" / "evaluate" / "baselines.json").read_text())
    unigram, kneser_ney = (baselines[name]["loss"] for name in ("how often tokens come", "Kneser-Ney, 6 tokens"))
    assert kneser_ney < unigram
    assert figures["loss"]["value"] < unigram
    bundle = Bundle.open(outcome.figures["bundle"])
    assert set(bundle.variants) >= {"f32"}
    assert CONTINUATION in bundle.golden.outputs["f32"]
    assert bundle.outputs[0].shape == (-1, bundle.generator().codec.vocabulary)
    answer = bundle.generator().answer("1 and 2 make", Sampling(max_tokens=40))
    assert answer["tokens"] == 40
    assert bundle.reference == {}
    html = Path(outcome.figures["report"]).read_text()
    assert "Bits a byte" in html
    assert "Kneser-Ney" in html
    assert "to learn from" in bundle.card
    lines = (tmp_path / "run" / "pack" / "predictions.jsonl").read_text().splitlines()
    assert len(lines) == outcome.figures["rows"]["test"]
    for to in FORMATS:  # before it asks for packages that wouldn't help
        with pytest.raises(InputError, match="aren't exported yet"):
            export_bundle(outcome.path, to)
    assert main(["monitor", str(bundle.path), "--input", str(tmp_path / "sums.txt")]) == 2
    # Done again from the recipe that the run wrote, it is the same bundle.
    again = resolve(str(tmp_path / "run" / "recipe.yaml")).recipe
    assert again.data.text.lower is False
    assert again.data.split.test == 0.05


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ("objective: {name: cross-entropy}", "next-token"), ("compression: {methods: [int8-static]}", "no fixed ranges"),
        ("training: {sampling: balanced}", "for classes"),
        ("gate: {minimum: {accuracy: 0.5}}", "one of loss"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_it_is_told(tmp_path: Path, more: str, match: str) -> None:
    (tmp_path / "sums.yaml").write_text(
        f"name: sums\ntask: language-modelling\ndata: {{source: sums.txt}}\n{more}\n", encoding="utf-8"
    )
    with pytest.raises(RecipeError) as caught:
        resolve(str(tmp_path / "sums.yaml"))
    assert match in caught.value.message


def test_only_a_language_model_may_be_judged_on_its_validation_part(tmp_path: Path) -> None:
    (tmp_path / "wine.yaml").write_text(
        "name: wine\ntask: tabular-classification\ndata: {source: wine, split: {test: 0}}\n", encoding="utf-8"
    )
    with pytest.raises(RecipeError, match="nothing is left to judge"):
        resolve(str(tmp_path / "wine.yaml"))

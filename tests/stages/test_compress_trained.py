"""Models that write text under a budget: their students go on with texts, and what they lose is told of their tokens."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from bedplate import pipeline
from bedplate.bundle import Bundle
from bedplate.codecs.language import LanguageCodec
from bedplate.compression.front import Budget
from bedplate.core.errors import InputError
from bedplate.generation import Sampling
from bedplate.stages.compress_bundle import Compression, compress_bundle
from bedplate.stages.compress_search import Effort

TEXT = "".join(f"{k} and {k + 1} make {2 * k + 1}; so it goes.\n" for k in range(300))
WORDS = {"rot": "red", "blau": "blue", "Hund": "dog", "Katze": "cat", "rennt": "runs", "schläft": "sleeps"}
RECIPES = {
    "decoder": """name: sums
task: language-modelling
data: {source: sums.txt, text: {tokens: character, length: 32}}
model: {name: transformer-decoder, size: 48, layers: 2, heads: 2}
training: {epochs: 4, batch_size: 16, optimizer: {name: adamw, lr: 0.005}}
""",
    "seq2seq": """name: words
task: text-to-text
data: {source: words.csv, target: en, text: {column: de, tokens: word}}
model: {name: seq2seq, size: 32, heads: 2, encoder: 1, decoder: 1, hidden: 256, dropout: 0.0}
training: {epochs: 14, batch_size: 16, optimizer: {name: adamw, lr: 0.005}}
""",
    "seq2seq-gru": """name: words
task: text-to-text
data: {source: words.csv, target: en, text: {column: de, tokens: word}}
model: {name: seq2seq-gru, size: 32, hidden: 48, dropout: 0.0}
training: {epochs: 6, batch_size: 16, optimizer: {name: adamw, lr: 0.005}}
""",
}
SHARED = """evaluation: {{resamples: 100, baselines: false{beams}}}
compression: {{methods: [int8-dynamic, int8-weights]}}
"""


def _pairs() -> list[tuple[str, str]]:
    german = list(WORDS)
    rows = [[german[(k // step) % 6] for step in (1, 6, 36, 7, 5)][: 2 + k % 4] for k in range(216)]
    return [(" ".join(row), " ".join(WORDS[word] for word in row)) for row in rows]


@pytest.fixture(scope="module", params=list(RECIPES))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Compression]:
    place: Path = tmp_path_factory.mktemp("writers")
    (place / "sums.txt").write_text(TEXT)
    lines = "".join(f"{text},{answer}\n" for text, answer in _pairs())
    (place / "words.csv").write_text("de,en\n" + lines, encoding="utf-8")
    beams = "" if request.param == "decoder" else ", beams: 2"
    recipe = RECIPES[request.param].replace("source: ", f"source: {place}/") + SHARED.format(beams=beams)
    (place / "recipe.yaml").write_text(recipe)
    run = pipeline.run(place / "recipe.yaml", place / "run").path
    effort: Effort = "normal" if request.param == "decoder" else "quick"
    return Bundle.open(run / "bundle"), compress_bundle(run, Budget(max_drop=1e6), effort=effort)


def test_what_a_student_loses_is_told_of_the_tokens_that_are_judged(made: tuple[Bundle, Compression]) -> None:
    original, found = made
    base = found.baseline.metric[1]
    made_anew = [point for point in found.front if any("distillation" in step for step in point.steps)]
    assert made_anew
    for point in found.front:
        assert point.metric[0] == "loss"
        assert point.drop == pytest.approx(100 * math.expm1(point.metric[1] - base), abs=1e-3)
        assert point.drop <= point.drop_high
        told = Bundle.open(found.bundles[point.name]).report["metrics"]
        assert told["loss"]["value"] == pytest.approx(point.metric[1], abs=1e-6)
        assert ("bleu" in told) == ("bleu" in original.report["metrics"])


def test_ranges_are_not_asked_of_a_graph_that_goes_on_from_its_past(made: tuple[Bundle, Compression]) -> None:
    _, found = made
    names = [point.name for point in (*found.front, *found.others)] + [name for name, _ in found.refused]
    assert any(name.endswith("int8-weights") for name in names)
    assert not any(name.endswith(("static", "entropy", "mixed", "aware")) for name in names)
    smallest = found.front[0]
    assert smallest.size_bytes < 0.6 * found.baseline.size_bytes


def test_every_point_writes_as_the_original_is_asked_to(made: tuple[Bundle, Compression]) -> None:
    original, found = made
    codec: Any = original.codec
    assert isinstance(codec, LanguageCodec)
    for path in found.bundles.values():
        box = Bundle.open(path)
        assert box.outputs == original.outputs
        assert box.reference == {}
        write = box.generator()
        assert write.codec == codec
        if not codec.pairs:
            # Read at once or token by token: the very same tokens.
            answer = write.answer("1 and 2 make", Sampling(max_tokens=12, temperature=0.0))["answer"]
            assert (
                write.answer("1 and 2 make" + answer[:4], Sampling(max_tokens=8, temperature=0.0))["answer"]
                == (answer[4:])
            )
        else:
            written = [write.answer(text)["answer"] for text, _ in _pairs()[:6]]
            assert all(set(answer.split()) <= set(WORDS.values()) for answer in written)
            assert any(written)


def test_a_recipes_budget_is_searched_once(tmp_path: Path) -> None:
    (tmp_path / "words.csv").write_text("de,en\n" + "".join(f"{a},{b}\n" for a, b in _pairs()), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(
        RECIPES["seq2seq-gru"].replace("epochs: 6", "epochs: 1") + "evaluation: {resamples: 100, baselines: false}\n"
        "compression: {methods: [int8-weights], budget: {max_size_mb: 1, effort: quick}}\n"
    )
    first = pipeline.run(tmp_path / "recipe.yaml", tmp_path / "run")
    assert first.figures["compression"]["feasible"]
    made = (tmp_path / "run" / "compressed" / "compress.json").stat().st_mtime_ns
    again = pipeline.run(tmp_path / "recipe.yaml", tmp_path / "run", mode="resume")
    assert again.figures["compression"] == first.figures["compression"]
    assert (tmp_path / "run" / "compressed" / "compress.json").stat().st_mtime_ns == made


def test_what_cannot_be_searched_is_told(made: tuple[Bundle, Compression], tmp_path: Path) -> None:
    original, found = made
    with pytest.raises(InputError, match=r"unknown metric 'blue' \(expected one of loss, perplexity, bits_per_byte"):
        compress_bundle(original.source, Budget(), metric="blue", out=tmp_path / "front")
    plain = [path for path in found.bundles.values() if "f32" in Bundle.open(path).variants]
    for path in plain:
        with pytest.raises(InputError, match=r"with its network and its data alone .* it holds no weights"):
            compress_bundle(path, Budget(), out=tmp_path / "front")

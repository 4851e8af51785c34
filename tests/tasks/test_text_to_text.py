"""Texts with answers, their whole life: init, run, a bundle that answers, its server, and the report's figures."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.running import running

from bedplate import pipeline
from bedplate.bundle import Bundle
from bedplate.bundle.golden import CONTINUATION
from bedplate.cli.main import main
from bedplate.core.errors import PayloadError, RecipeError
from bedplate.generation import Sampling
from bedplate.pipeline import Outcome
from bedplate.stages.init import init
from bedplate.stages.resolve import resolve

WORDS = {"rot": "red", "blau": "blue", "Hund": "dog", "Katze": "cat", "rennt": "runs", "schläft": "sleeps"}
FAST = [
    "training.epochs=14", "training.batch_size=16", "evaluation.resamples=100", "model.size=32", "model.heads=2",
    "model.encoder=1", "model.decoder=1", "model.dropout=0.0", "training.optimizer.lr=0.005", "evaluation.beams=2",
    "data.text.tokens=word", "compression.methods=[int8-weights]",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pairs")
    german = list(WORDS)
    rows = [[german[(k // step) % 6] for step in (1, 6, 36, 7, 5)][: 2 + k % 4] for k in range(216)]
    lines = "".join(f"{' '.join(row)},{' '.join(WORDS[word] for word in row)}\n" for row in rows)
    (made / "words.csv").write_text("de,en\n" + lines, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def outcome(folder: Path) -> Outcome:
    written = init(str(folder / "words.csv"), "en", str(folder / "words.yaml"), task="text-to-text")
    assert written.task == "text-to-text"
    return pipeline.run(written.path, folder / "run", overrides=FAST)


@pytest.fixture(scope="module")
def box(outcome: Outcome) -> Bundle:
    return Bundle.open(outcome.figures["bundle"])


@pytest.fixture(scope="module")
def client(box: Bundle) -> Iterator[httpx.Client]:
    with running([("words", box.path)]) as server, httpx.Client(base_url=server.url, timeout=30) as found:
        yield found


def test_it_is_judged_by_what_it_writes(outcome: Outcome, folder: Path) -> None:
    assert outcome.passed
    figures = outcome.figures["metrics"]
    assert list(figures)[:2] == ["bleu", "exact"]
    assert figures["bleu"]["low"] <= figures["bleu"]["value"] <= figures["bleu"]["high"]
    baselines = json.loads((folder / "run" / "evaluate" / "baselines.json").read_text())
    assert figures["bleu"]["value"] > max(one["bleu"] for one in baselines.values())
    assert set(baselines) == {"the text itself", "the answer to the nearest text"}
    html = Path(outcome.figures["report"]).read_text()
    for part in ("BLEU", "the answer to the nearest text", "Truth"):
        assert part in html


def test_its_bundle_answers_as_it_was_judged(outcome: Outcome, box: Bundle, folder: Path) -> None:
    told = [json.loads(line) for line in (folder / "run" / "pack" / "predictions.jsonl").read_text().splitlines()]
    assert len(told) == outcome.figures["rows"]["test"]
    lines = (folder / "words.csv").read_text(encoding="utf-8").splitlines()
    texts = [lines[int(one["input"].rpartition(":")[2]) - 1].split(",")[0] for one in told[:8]]
    assert [one["answer"] for one in box.predict(texts)] == [one["answer"] for one in told[:8]]
    right = sum(
        " ".join(WORDS[word] for word in text.split()) == one["answer"] for text, one in zip(texts, told, strict=False)
    )
    assert right
    assert CONTINUATION in box.golden.outputs["f32"]
    assert (box.golden.outputs["f32"][CONTINUATION] >= 0).any()
    assert "int8-weights" in box.variants
    assert box.generator("int8-weights").answer(texts[0])["finish_reason"] == "stop"


def test_an_answer_ends_by_itself_or_where_no_more_is_wanted(box: Bundle) -> None:
    write = box.generator()
    assert write.sampling == Sampling(write.codec.length, 0.0, beams=2)
    whole = write.answer("rot Hund")
    assert (whole["finish_reason"], "".join(p.text for p in write.stream("rot Hund"))) == ("stop", whole["answer"])
    cut = write.answer("rot Hund", Sampling(1, 0.0))
    assert (cut["finish_reason"], cut["tokens"]) == ("length", 1)
    assert whole["answer"].startswith(cut["answer"])
    for prompt, match in (("", "empty"), ("rot " * 200, "give a part of it"), (b"\xff", "not UTF-8")):
        with pytest.raises(PayloadError, match=match):
            write.answer(prompt)
    # Never seen words and writings are read as the unknown, which training knows from its rare words alone.
    strange = [one["answer"] for one in box.predict(["שלום 🙂", "猫"])] if write.codec.unknown else []
    assert all(isinstance(text, str) for text in strange)


def test_side_by_side_answers_are_the_same(box: Bundle) -> None:
    write = box.generator()
    write = type(write)(type(write.codec)(**{**vars_of(write.codec), "beams": 1}), write.step, write.past)
    texts = ["rot", "rot Hund rennt", "Katze schläft", "blau blau", "Hund"] * 3
    together = dict(write.answers([write.codec.encode(text) for text in texts], side_by_side=4))
    assert [together[k] for k in range(len(texts))] == [write.answer(text)["answer"] for text in texts]


def vars_of(codec: Any) -> dict[str, Any]:
    return {name: getattr(codec, name) for name in codec.__dataclass_fields__}


def test_predict_prints_the_answer_alone(box: Bundle, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(box.path), "--text", "blau Katze"]) == 0
    assert capsys.readouterr().out == box.predict(["blau Katze"])[0]["answer"] + "\n"
    assert main(["predict", str(box.path), "--text", "blau Katze", "--json", "--beams", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["finish_reason"] == "stop"
    texts = ["blau Katze", "rot", "Hund rennt"]
    (folder / "texts.txt").write_text("\n".join([texts[0], "", *texts[1:], ""]), encoding="utf-8")
    assert main(["predict", str(box.path), str(folder / "texts.txt")]) == 0
    assert capsys.readouterr().out.splitlines() == [one["answer"] for one in box.predict(texts)]
    (folder / "bad.txt").write_bytes(b"rot\n\xff\nblau\n")
    assert main(["predict", str(box.path), str(folder / "bad.txt"), "--json"]) == 2
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["error" in one for one in said] == [False, True, False]
    assert said[1]["input"].endswith("bad.txt:2")


def test_it_is_served_by_every_interface_that_writes(client: httpx.Client, box: Bundle) -> None:
    wanted = box.predict(["rot Hund"])[0]
    native = client.post("/predict/words", json=["rot Hund", {"text": "rot Hund", "beams": 1}]).json()["answers"]
    assert native[0]["answer"] == wanted["answer"]
    greedy = native[1]["answer"]
    lines = client.post("/predict/words?stream=true", json="rot Hund").text.splitlines()
    pieces = [json.loads(line) for line in lines]
    assert "".join(piece.get("text", "") for piece in pieces) == greedy
    assert pieces[-1]["finish_reason"] == "stop"
    completion = client.post("/v1/completions", json={"model": "words", "prompt": "rot Hund"}).json()
    assert (completion["choices"][0]["text"], completion["choices"][0]["finish_reason"]) == (greedy, "stop")
    chat = {"model": "words", "messages": [{"role": "user", "content": "rot Hund"}]}
    assert client.post("/v1/chat/completions", json=chat).json()["choices"][0]["message"]["content"] == greedy
    events = client.post("/v1/chat/completions", json={**chat, "stream": True}).text.split("\n\n")
    parts = [json.loads(event.removeprefix("data: ")) for event in events if event and "[DONE]" not in event]
    assert "".join(part["choices"][0]["delta"].get("content") or "" for part in parts) == greedy
    assert client.post("/predict/words", json="rot " * 200).status_code == 400
    tokens = box.generator().codec.encode("rot Hund")[:-1]
    numbers = client.post("/v1/completions", json={"model": "words", "prompt": tokens}).json()
    assert numbers["choices"][0]["text"] == greedy
    assert client.post("/v1/completions", json={"model": "words", "prompt": [2]}).status_code == 400


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ("compression: {budget: {max_size_mb: 1}}", "searched for smaller"), ("gate: {minimum: {accuracy: 0.5}}", "one of bleu"),
        ("objective: {name: cross-entropy}", "next-token"), ("evaluation: {beams: 0}", "greater than or equal to 1"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_it_is_told(tmp_path: Path, more: str, match: str) -> None:
    (tmp_path / "w.yaml").write_text(
        f"name: w\ntask: text-to-text\ndata: {{source: w.csv, target: en}}\n{more}\n", encoding="utf-8"
    )
    with pytest.raises(RecipeError) as caught:
        resolve(str(tmp_path / "w.yaml"))
    assert match in caught.value.message


def test_beams_are_refused_where_no_text_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(
        "name: w\ntask: tabular-classification\ndata: {source: wine}\nevaluation: {beams: 4}\n"
    )
    with pytest.raises(RecipeError, match="answered by texts have beams"):
        resolve(str(tmp_path / "w.yaml"))
    # A run writes every value out, and its recipe must run again.
    assert resolve(str(tmp_path / "w.yaml"), ["evaluation.beams=1"]).recipe.evaluation.beams == 1


def test_recurrent_networks_write_answers_too(tmp_path: Path) -> None:
    """Their whole life: learnt, sealed at two precisions, written side by side and in a stream as evaluation wrote."""
    german, draw = list(WORDS), random.Random(0)
    rows = [[draw.choice(german) for _ in range(2 + k % 4)] for k in range(600)]
    lines = [f"{' '.join(row)},{' '.join(WORDS[word] for word in row)}" for row in rows]
    (tmp_path / "words.csv").write_text("\n".join(["de,en", *lines, ""]), encoding="utf-8")
    (tmp_path / "w.yaml").write_text(
        "name: w\ntask: text-to-text\ndata: {source: words.csv, text: {column: de, tokens: word}, target: en}\n"
        "model: {name: seq2seq-gru, size: 32, hidden: 48, dropout: 0.0}\n"
        "training: {epochs: 30, batch_size: 16, optimizer: {name: adamw, lr: 0.01}}\n"
        "evaluation: {resamples: 100, beams: 2}\ncompression: {methods: [int8-weights]}\n",
        encoding="utf-8",
    )
    outcome = pipeline.run(str(tmp_path / "w.yaml"), tmp_path / "run")
    assert outcome.passed
    assert outcome.figures["metrics"]["exact"]["value"] > 0.5
    box = Bundle.open(outcome.figures["bundle"])
    told = [json.loads(line) for line in (tmp_path / "run" / "pack" / "predictions.jsonl").read_text().splitlines()]
    texts = [lines[int(one["input"].rpartition(":")[2]) - 2].split(",")[0] for one in told[:8]]
    assert [one["answer"] for one in box.predict(texts)] == [one["answer"] for one in told[:8]]
    assert "int8-weights" in box.variants
    small = [box.generator("int8-weights").answer(text)["answer"] for text in texts]
    assert sum(a == one["answer"] for a, one in zip(small, told, strict=False)) >= 6  # 8 bits may turn a close call
    with running([("w", box.path)]) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        assert [one["answer"] for one in client.post("/predict/w", json=texts).json()["answers"]] == [
            one["answer"] for one in told[:8]
        ]
        greedy = client.post("/predict/w", json={"text": texts[0], "beams": 1}).json()["answers"][0]["answer"]
        lines = client.post("/predict/w?stream=true", json=texts[0]).text.splitlines()
        assert "".join(json.loads(line).get("text", "") for line in lines) == greedy

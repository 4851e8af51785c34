"""Texts with answers, their whole life: init, run, a bundle that answers, its server, and the report's figures."""

from __future__ import annotations

import bz2
import io
import json
import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.data.talks import NAMES, Talk, said, talks, write
from tests.serving.running import running

from bedplate import pipeline
from bedplate.bundle import Bundle
from bedplate.bundle.golden import CONTINUATION
from bedplate.cli.main import main
from bedplate.codecs.chat import ChatTemplate
from bedplate.codecs.language import LanguageCodec
from bedplate.core.console import Console
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
    first, *others = (one["answer"] for one in box.predict(texts))
    out, err = capsys.readouterr()
    assert out.splitlines() == [first, "", *others]  # answers stay beside the texts
    assert err == "note: 1 blank line has a blank answer\n"
    (folder / "bad.txt").write_bytes(b"rot\n\xff\nblau\n")
    assert main(["predict", str(box.path), str(folder / "bad.txt")]) == 2
    out, _ = capsys.readouterr()
    assert [bool(line) for line in out.splitlines()] == [True, False, True]
    assert main(["predict", str(box.path), str(folder / "bad.txt"), "--json"]) == 2
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["error" in one for one in said] == [False, True, False]
    assert said[1]["input"].endswith("bad.txt:2")


def test_rows_of_a_table_are_texts_and_a_line_at_fault_stops_nothing(
    box: Bundle, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = [one["answer"] for one in box.predict(["blau Katze", "rot"])]
    (folder / "box").mkdir()
    (folder / "box" / "a.csv").write_text("de,en\nblau Katze,blue cat\nrot,red\n")
    lines = [
        json.dumps({"de": "blau Katze", "en": "blue cat"}),
        '{"de',
        json.dumps({"text": "rot"}),
        json.dumps({"x": 1}),
    ]
    (folder / "b.jsonl").write_text("\n".join(lines))
    (folder / "c.csv.bz2").write_bytes(bz2.compress(b"de\nblau Katze\nrot\n"))
    names = [str(folder / name) for name in ("box", "nowhere.txt", "b.jsonl", "c.csv.bz2")]
    assert main(["predict", str(box.path), *names, "--json"]) == 2
    out, err = capsys.readouterr()
    found = [json.loads(line) for line in out.splitlines()]
    assert [one.get("answer") for one in found] == [*wanted, None, wanted[0], None, wanted[1], None, *wanted]
    assert found[0]["input"].endswith("a.csv:2")
    assert found[4]["input"].endswith("b.jsonl:2")
    assert "nowhere.txt: " + str(folder) not in err  # each is named once
    for part in ("nowhere.txt: can't be read", "b.jsonl:2: not readable as JSON", "b.jsonl:4: the row has no text"):
        assert part in err
    assert main(["predict", str(box.path), "--text", "blau Katze", "--text", "rot"]) == 0
    assert capsys.readouterr().out.splitlines() == wanted


def test_what_it_says_of_itself_can_be_sent_back(client: httpx.Client) -> None:
    (told,) = client.get("/models").json()["models"]
    assert told["examples"]
    for example in told["examples"]:
        assert set(example["text"].split()) <= set(WORDS)
    assert client.post("/predict/words", json=told["examples"]).status_code == 200


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
        ("gate: {minimum: {accuracy: 0.5}}", "one of bleu"),
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


def test_it_is_said_where_all_answers_are_too_short_for_bleu(tmp_path: Path) -> None:
    rows = "".join(f"is {k} even,{'no' if k % 2 else 'yes'}\n" for k in range(160))
    (tmp_path / "even.csv").write_text(f"question,answer\n{rows}", encoding="utf-8")
    written = init(str(tmp_path / "even.csv"), "answer", str(tmp_path / "even.yaml"), task="text-to-text")
    said = io.StringIO()
    done = pipeline.run(
        written.path, tmp_path / "run", overrides=[*FAST, "training.epochs=3", "data.text.tokens=character"],
        console=Console(said),
    )  # fmt: skip
    assert "bleu" not in done.figures["metrics"]
    line = "BLEU is not defined on these rows: no answer that was written has four words"
    assert said.getvalue().count(line) == 1
    assert line in Path(done.figures["report"]).read_text()
    assert line in (tmp_path / "run" / "MODEL_CARD.md").read_text()


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


TEMPLATE = ChatTemplate(user="Q: {content}\n", assistant="A: {content}\n")
TALKS = [
    "training.epochs=140", "training.batch_size=16", "training.optimizer.lr=0.005", "evaluation.resamples=100",
    "model.size=32", "model.heads=2", "model.encoder=1", "model.decoder=1", "model.hidden=64", "model.dropout=0.0",
    "data.text.tokens=word", "data.split.validation=0.15", "data.split.test=0.2", "compression.methods=[int8-weights]",
    f"data.text.template={json.dumps({'user': TEMPLATE.user, 'assistant': TEMPLATE.assistant})}",
]  # fmt: skip
"""What makes talks learnt in seconds."""


@pytest.fixture(scope="module")
def talked(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    made = tmp_path_factory.mktemp("talks")
    path = write(made / "talks.jsonl", talks())
    written = init(str(path), None, str(made / "talks.yaml"), task="text-to-text")
    assert (written.task, "messages: messages" in written.path.read_text()) == ("text-to-text", True)
    return pipeline.run(written.path, made / "run", overrides=TALKS)


@pytest.fixture(scope="module")
def talker(talked: Outcome) -> Bundle:
    return Bundle.open(talked.figures["bundle"])


@pytest.fixture(scope="module")
def listener(talker: Bundle) -> Iterator[httpx.Client]:
    with running([("talks", talker.path)]) as server, httpx.Client(base_url=server.url, timeout=30) as found:
        yield found


def judged(talked: Outcome) -> list[tuple[Talk, str, str]]:
    """Return what was said before each answer of the test, what evaluation wrote, and what was expected."""
    told = talked.path / "pack" / "predictions.jsonl"
    found, rows = [], talks()
    for one in map(json.loads, told.read_text().splitlines()):
        line, _, number = one["input"].removeprefix("talks.jsonl:").partition(" messages[")
        talk, at = rows[int(line) - 1], int(number[:-1])
        found.append((talk[:at], one["answer"], talk[at]["content"]))
    return found


def deltas(reply: httpx.Response) -> list[dict[str, Any]]:
    events = [event for event in reply.text.split("\n\n") if event]
    assert events[-1] == "data: [DONE]"
    return [json.loads(event.removeprefix("data: "))["choices"][0] for event in events[:-1]]


def test_talks_are_learnt_by_what_was_said_long_before(talked: Outcome) -> None:
    assert talked.passed
    found = judged(talked)
    assert len(found) == talked.figures["rows"]["test"] >= 30
    later = [(written, wanted) for talk, written, wanted in found if len(talk) > 2]
    # Over three seeds on one machine 13, 16 and 16 of the 16; another machine's sums are another seed.
    assert sum(written == wanted for written, wanted in later) >= 0.7 * len(later)
    exact = talked.figures["metrics"]["exact"]["value"]
    assert exact == pytest.approx(sum(written == wanted for _, written, wanted in found) / len(found))
    baselines = json.loads((talked.path / "evaluate" / "baselines.json").read_text())
    assert exact > max(one["exact"] for one in baselines.values())
    assert "Q: i am" in Path(talked.figures["report"]).read_text()


def test_its_bundle_answers_talks_as_it_was_judged(talked: Outcome, talker: Bundle) -> None:
    assert isinstance(talker.codec, LanguageCodec)
    assert talker.codec.template == TEMPLATE
    found = judged(talked)
    answers = talker.predict([{"messages": talk} for talk, _, _ in found])
    assert [one["answer"] for one in answers] == [written for _, written, _ in found]
    assert not any("dropped_messages" in one for one in answers)
    # A text is taken as it is: who renders a talk gets the same answer.
    talk, written, _ = found[-1]
    text = "".join(getattr(TEMPLATE, one["role"]).replace("{content}", one["content"]) for one in talk) + "A:"
    assert talker.predict([text])[0]["answer"] == written


def test_a_server_answers_talks_as_they_were_judged(talked: Outcome, listener: httpx.Client) -> None:
    found = judged(talked)[:12]
    for talk, written, _ in found:
        asked = {"model": "talks", "messages": talk}
        whole = listener.post("/v1/chat/completions", json=asked).json()
        (choice,) = whole["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == (written, "stop")
        assert "dropped_messages" not in whole
        parts = deltas(listener.post("/v1/chat/completions", json={**asked, "stream": True}))
        assert "".join(part["delta"].get("content") or "" for part in parts) == written
        lines = listener.post("/predict/talks?stream=true", json={"messages": talk}).text.splitlines()
        assert "".join(json.loads(line).get("text", "") for line in lines) == written
    native = listener.post("/predict/talks", json=[{"messages": talk, "beams": 1} for talk, _, _ in found]).json()
    assert [one["answer"] for one in native["answers"]] == [written for _, written, _ in found]


def test_what_is_served_says_how_talks_are_rendered(talker: Bundle, listener: httpx.Client) -> None:
    (told,) = listener.get("/models").json()["models"]
    assert told["template"] == asdict(TEMPLATE)
    # An example is a talk that is rendered already, so it can be sent back as it is.
    (answer,) = listener.post("/predict/talks", json=told["examples"][0]).json()["answers"]
    assert answer["answer"] == talker.predict([told["examples"][0]])[0]["answer"] != ""


def test_an_earlier_turn_decides(listener: httpx.Client) -> None:
    def answer(name: str) -> str:
        talk = said(f"i am {name} and drink tea", f"hello {name}", "who am i", system="answer in one word")
        reply = listener.post("/v1/chat/completions", json={"model": "talks", "messages": talk}).json()
        return str(reply["choices"][0]["message"]["content"])

    # Who doesn't read what was said first is right once in eight.
    assert sum(answer(name) == name for name in NAMES) >= 4


def test_a_talk_beyond_the_context_loses_its_oldest_messages(talker: Bundle, listener: httpx.Client) -> None:
    assert isinstance(talker.codec, LanguageCodec)
    talk = said(*["who am i", "ann"] * 40, "who am i")
    dropped = talker.codec.read({"messages": talk})[1]
    assert 40 < dropped < 80
    asked = {"model": "talks", "messages": talk}
    whole = listener.post("/v1/chat/completions", json=asked).json()
    assert whole["dropped_messages"] == dropped
    events = listener.post("/v1/chat/completions", json={**asked, "stream": True}).text.split("\n\n")
    assert json.loads(events[-3].removeprefix("data: "))["dropped_messages"] == dropped
    (native,) = listener.post("/predict/talks", json={"messages": talk}).json()["answers"]
    assert (native["dropped_messages"], native["answer"]) == (dropped, whole["choices"][0]["message"]["content"])
    last = json.loads(listener.post("/predict/talks?stream=true", json={"messages": talk}).text.splitlines()[-1])
    assert last["dropped_messages"] == dropped
    assert talker.predict([{"messages": talk}])[0]["dropped_messages"] == dropped
    refused = listener.post("/v1/chat/completions", json={**asked, "messages": said(" ".join(["who am i"] * 99))})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert listener.post("/predict/talks", json={"messages": said(" ".join(["who am i"] * 99))}).status_code == 400


@pytest.mark.parametrize(
    ("messages", "match"),
    [
        ("who am i", "not a list of messages"), ([{"role": "assistant", "content": "ann"}], "the assistant speaks first"),
        ([{"role": "usr", "content": "who am i"}], "did you mean 'user'"), (said(""), "the text is empty"),
        ([{"role": "user"}], "no 'content'"), ([{"role": "tool", "content": "ann"}], "messages of tools aren't read"),
    ],
)  # fmt: skip
def test_a_talk_at_fault_is_told(listener: httpx.Client, messages: Any, match: str) -> None:
    chat = listener.post("/v1/chat/completions", json={"model": "talks", "messages": messages})
    assert (chat.status_code, match in chat.json()["error"]["message"]) == (400, True), chat.text
    assert chat.json()["error"]["param"].startswith("messages")
    native = listener.post("/predict/talks", json={"messages": messages})
    assert (native.status_code, match in native.json()["error"]) == (400, True), native.text
    both = listener.post("/predict/talks", json={"messages": said("who am i"), "text": "who am i"})
    assert "either a text or a talk" in both.json()["error"]


def test_no_line_is_passed_over_in_silence(talker: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    talk = json.dumps({"messages": said("i am ann")})
    (tmp_path / "talks.jsonl").write_text(f'{talk}\nnull\n"Q: i am bob\\nA:"\nno json\n{talk}\n')
    assert main(["predict", str(talker.path), str(tmp_path / "talks.jsonl"), "--json"]) == 2
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["input"].rpartition(":")[2] for line in lines] == ["1", "2", "3", "4", "5"]
    assert ["error" in line for line in lines] == [False, True, False, True, False]
    assert err.count("not an object of JSON") == 2


def test_predict_answers_a_talk_a_line(
    talked: Outcome, talker: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = judged(talked)[:3]
    path = write(tmp_path / "asked.jsonl", [talk for talk, _, _ in found])
    assert main(["predict", str(talker.path), str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [written for _, written, _ in found]
    long = said(*["who am i", "ann"] * 40, "who am i")
    write(path, [found[0][0], said(""), long])
    assert main(["predict", str(talker.path), str(path), "--json"]) == 2
    one, two, three = map(json.loads, capsys.readouterr().out.splitlines())
    assert one["answer"] == found[0][1]
    assert (two["input"], "messages[0].content: the text is empty" in two["error"]) == (f"{path}:2", True)
    assert three["dropped_messages"] > 40
    asked = json.dumps({"messages": long})
    assert main(["predict", str(talker.path), "--text", asked]) == 0
    out, err = capsys.readouterr()
    assert out == three["answer"] + "\n"
    assert f"{three['dropped_messages']} of the oldest messages don't fit and are left out" in err
    (tmp_path / "bad.jsonl").write_text('{"messages": [\n{"messages": []}\n')
    assert main(["predict", str(talker.path), str(tmp_path / "bad.jsonl")]) == 2
    assert "not readable as JSON" in capsys.readouterr().err


def test_a_model_of_other_texts_says_that_it_knows_no_talks(client: httpx.Client) -> None:
    talk = said("rot Hund")
    refused = client.post("/predict/words", json={"messages": talk})
    assert (refused.status_code, "wasn't trained on talks" in refused.json()["error"]) == (400, True)
    assert client.post("/v1/chat/completions", json={"model": "words", "messages": talk}).status_code == 200

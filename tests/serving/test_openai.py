"""OpenAI's interface for text, over HTTP: what is asked, what comes back, and what is refused in its own form."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.bundle.texts import CONTEXT, Sums, text_bundle, text_codec
from tests.serving.running import running

from bedplate.bundle import Bundle
from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.answers import Answers
from bedplate.codecs.codec import TensorSpec
from bedplate.generation import Sampling
from bedplate.packaging.golden_texts import choose_golden_texts


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return text_bundle(tmp_path_factory.mktemp("boxes") / "writer")


@pytest.fixture(scope="module")
def writer(box: Bundle, image_box: Bundle) -> Iterator[httpx.Client]:
    with running([("", box.path), ("", image_box.path)]) as server:
        with httpx.Client(base_url=server.url, timeout=30) as client:
            yield client
        code, said = server.stop()
        assert (code, said.strip()) == (0, "HEAVY []")


def ask(client: httpx.Client, path: str = "completions", **fields: Any) -> httpx.Response:
    given = {"prompt": "so it"} if path == "completions" else {"messages": [{"role": "user", "content": "so"}]}
    return client.post(f"/v1/{path}", json={"model": "writer", **given, **fields})


def events(client: httpx.Client, path: str, **fields: Any) -> list[dict[str, Any]]:
    given = {"prompt": "so it"} if path == "completions" else {"messages": [{"role": "user", "content": "so"}]}
    body = {"model": "writer", "stream": True, **given, **fields}
    with client.stream("POST", f"/v1/{path}", json=body) as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"] == "text/event-stream"
        lines = [line for line in reply.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def test_a_completion_is_the_bundles_own_continuation(writer: httpx.Client, box: Bundle) -> None:
    reply = ask(writer, max_tokens=12, seed=5).json()
    wanted = box.generator().answer("so it", Sampling(max_tokens=12, temperature=1.0, seed=5))
    (choice,) = reply["choices"]
    assert (choice["text"], choice["finish_reason"], choice["index"]) == (wanted["answer"], "length", 0)
    assert reply["usage"] == {"prompt_tokens": 5, "completion_tokens": 12, "total_tokens": 17}
    assert reply["object"] == "text_completion"
    assert reply["model"] == "writer"
    assert ask(writer).json()["usage"]["completion_tokens"] == 16  # OpenAI's default


def test_events_make_the_whole(writer: httpx.Client) -> None:
    whole = ask(writer, max_tokens=15, seed=2).json()
    found = events(writer, "completions", max_tokens=15, seed=2, stream_options={"include_usage": True})
    assert "".join(one["choices"][0]["text"] for one in found[:-1]) == whole["choices"][0]["text"]
    assert [one["choices"][0]["finish_reason"] for one in found[:-1]][-1] == "length"
    assert found[-1]["choices"] == []
    assert found[-1]["usage"] == whole["usage"]
    assert len({one["id"] for one in found}) == 1


def test_a_talk_is_answered_as_one_text_goes_on(writer: httpx.Client, box: Bundle) -> None:
    reply = ask(writer, "chat/completions", max_tokens=3, seed=1).json()
    wanted = box.generator().answer("User: so\nAssistant:", Sampling(max_tokens=3, temperature=1.0, seed=1))
    message = reply["choices"][0]["message"]
    assert (message["role"], message["content"]) == ("assistant", wanted["answer"])
    assert reply["object"] == "chat.completion"
    found = events(writer, "chat/completions", max_tokens=3, seed=1)
    assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in found) == wanted["answer"]
    assert found[-1]["choices"][0]["finish_reason"] == "length"
    parts = [{"role": "user", "content": [{"type": "text", "text": "so"}]}]
    assert ask(writer, "chat/completions", messages=parts, max_tokens=3, seed=1).json()["choices"] == reply["choices"]
    # Where nothing is said, it writes until the context is full.
    assert ask(writer, "chat/completions").json()["usage"]["total_tokens"] == CONTEXT


def test_several_prompts_and_choices_come_in_order(writer: httpx.Client, box: Bundle) -> None:
    reply = ask(writer, prompt=["so it", "and on"], n=2, max_tokens=4, seed=3, echo=True).json()
    assert [one["index"] for one in reply["choices"]] == [0, 1, 2, 3]
    texts = [one["text"] for one in reply["choices"]]
    assert [text[:5] for text in texts] == ["so it", "so it", "and o", "and o"]
    assert texts[0] != texts[1]
    assert reply["usage"] == {"prompt_tokens": 11, "completion_tokens": 16, "total_tokens": 27}
    codec = box.generator().codec
    same = ask(writer, prompt=codec.encode("so it"), max_tokens=4, seed=3).json()
    assert "so it" + same["choices"][0]["text"] == texts[0]
    found = events(writer, "completions", prompt=["so it", "and on"], max_tokens=4, seed=3, echo=True)
    by_text = ["".join(e["choices"][0]["text"] for e in found if e["choices"][0]["index"] == k) for k in (0, 1)]
    assert by_text[0] == texts[0]


def test_a_string_ends_a_text(writer: httpx.Client) -> None:
    whole = ask(writer, max_tokens=40, seed=6).json()["choices"][0]["text"]
    stop = whole[10:12]
    choice = ask(writer, max_tokens=40, seed=6, stop=stop).json()["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == (whole[: whole.index(stop)], "stop")
    assert ask(writer, max_tokens=40, seed=6, stop=["zzz", stop]).json()["choices"][0] == choice


def test_log_probabilities_have_both_forms(writer: httpx.Client) -> None:
    told = ask(writer, max_tokens=3, temperature=0, logprobs=2).json()["choices"][0]["logprobs"]
    assert len(told["tokens"]) == len(told["token_logprobs"]) == len(told["top_logprobs"]) == 3
    assert told["text_offset"] == [0, 1, 2]
    assert told["top_logprobs"][0][told["tokens"][0]] == told["token_logprobs"][0] <= 0
    asked = {"logprobs": True, "top_logprobs": 1, "max_tokens": 2, "temperature": 0}
    chat = ask(writer, "chat/completions", **asked).json()["choices"][0]["logprobs"]["content"]
    assert len(chat) == 2
    assert chat[0]["token"] == chat[0]["top_logprobs"][0]["token"]
    assert bytes(chat[0]["bytes"]).decode() == chat[0]["token"]


def test_a_text_that_outgrows_the_context_says_what_it_has_forgotten(writer: httpx.Client) -> None:
    reply = ask(writer, max_tokens=60).json()
    assert reply["usage"]["completion_tokens"] == 60
    assert reply["forgotten_tokens"] > 20
    assert events(writer, "completions", max_tokens=60)[-1]["forgotten_tokens"] > 20


def test_the_list_of_models_is_kserves_and_openais(writer: httpx.Client) -> None:
    found = writer.get("/v1/models").json()
    assert found["models"] == ["small", "writer"]
    assert [one["id"] for one in found["data"]] == ["small", "writer"]
    one = writer.get("/v1/models/writer").json()
    assert (one["id"], one["object"]) == ("writer", "model")
    assert one["model_version_status"][0]["state"] == "AVAILABLE"


@pytest.mark.parametrize(
    ("path", "fields", "status", "param", "match"),
    [
        ("completions", {"model": "writers"}, 404, "model", "no model 'writers'"),
        ("completions", {"model": "small"}, 400, "model", "writes no text"),
        ("completions", {"model": None}, 400, "model", "expected a string"),
        ("completions", {"prompt": ""}, 400, "prompt", "empty"),
        ("completions", {"prompt": None}, 400, "prompt", "expected a string"),
        ("completions", {"prompt": []}, 400, "prompt", "expected a string"),
        ("completions", {"prompt": [1, 2]}, 400, "prompt", "expected token numbers from 2"),
        ("completions", {"prompt": [[2], [99999]]}, 400, "prompt", "received 99999"),
        ("completions", {"prompt": "so 猫"}, 400, "prompt", "never seen"),
        ("completions", {"prompt": "so\0"}, 400, "prompt", "NUL"),
        ("completions", {"prompt": "so " * 99}, 400, "prompt", "at most 24 tokens"),
        ("completions", {"prompt": [2] * 99}, 400, "prompt", "at most 24 tokens"),
        ("completions", {"max_tokens": 0}, 400, "max_tokens", "from 1"),
        ("completions", {"max_tokens": -5}, 400, "max_tokens", "received -5"),
        ("completions", {"max_tokens": 10**12}, 400, "max_tokens", "to 100,000"),
        ("completions", {"max_tokens": 2.5}, 400, "max_tokens", "whole number"),
        ("completions", {"temperature": -1}, 400, "temperature", "0 to 100"),
        ("completions", {"temperature": "hot"}, 400, "temperature", "number"),
        ("completions", {"top_p": 0}, 400, "top_p", "above 0"),
        ("completions", {"n": 0}, 400, "n", "whole number"),
        ("completions", {"n": 100, "prompt": ["so", "it"]}, 400, "n", "at most 128 texts"),
        ("completions", {"stop": 3}, 400, "stop", "strings"),
        ("completions", {"stop": [""]}, 400, "stop", "strings"),
        ("completions", {"logprobs": 9}, 400, "logprobs", "from 0 to 5"),
        ("completions", {"best_of": 3}, 400, "best_of", "ranked"),
        ("completions", {"suffix": "x"}, 400, "suffix", "between"),
        ("completions", {"presence_penalty": 0.5}, 400, "presence_penalty", "rarer"),
        ("completions", {"logit_bias": {"3": 1}}, 400, "logit_bias", "changed"),
        ("completions", {"stream": "yes"}, 400, "stream", "true or false"),
        ("completions", {"stream_options": {"include_usage": True}}, 400, "stream_options", "stream: true"),
        ("completions", {"temprature": 1}, 400, "temprature", "did you mean 'temperature'"),
        ("chat/completions", {"messages": []}, 400, "messages", "list of messages"),
        ("chat/completions", {"messages": [{"role": "user"}]}, 400, "messages[0]", "content"),
        ("chat/completions", {"messages": [{"role": "tool", "content": "x"}]}, 400, "messages[0].role", "one of"),
        ("chat/completions", {"messages": [{"role": "user", "content": 3}]}, 400, "messages[0].content", "string"),
        ("chat/completions", {"tools": [{"type": "function"}]}, 400, "tools", "no tools"),
        ("chat/completions", {"top_logprobs": 2}, 400, "top_logprobs", "logprobs: true"),
        ("chat/completions", {"response_format": {"type": "json_object"}}, 400, "response_format", "plain text"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_told_in_openais_form(
    writer: httpx.Client, path: str, fields: dict[str, Any], status: int, param: str, match: str
) -> None:
    reply = ask(writer, path, **fields)
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert match in error["message"]


def test_a_body_that_is_no_object_is_told(writer: httpx.Client) -> None:
    for body in (b"", b"[]", b"{", b'{"temperature": NaN}', b"\xff"):
        reply = writer.post("/v1/completions", content=body)
        assert reply.status_code == 400
        assert reply.json()["error"]["type"] == "invalid_request_error"
    assert writer.get("/v1/completions").status_code == 405


@pytest.mark.parametrize(("method", "path"), [("POST", "responses"), ("GET", "responses/resp_1/input_items")])
def test_an_interface_that_is_not_served_names_those_that_are(writer: httpx.Client, method: str, path: str) -> None:
    reply = writer.request(method, f"/v1/{path}", json={"model": "writer", "input": "so it"})
    assert reply.status_code == 404
    error = reply.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "unknown_url")
    assert error["message"] == (
        f"nothing is served at /v1/{path}; of OpenAI's interface there are: /v1/chat/completions, /v1/completions, "
        "/v1/embeddings"
    )
    assert "Malformed request" in writer.post("/v1/files").json()["error"], "that path is TensorFlow Serving's"


def test_what_says_nothing_is_taken(writer: httpx.Client) -> None:
    neutral = {"presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}, "user": "me", "best_of": 1, "n": None}
    assert ask(writer, **neutral).status_code == 200
    chat = {"tools": [], "tool_choice": "none", "response_format": {"type": "text"}, "store": False}
    assert ask(writer, "chat/completions", **chat).status_code == 200


def test_a_caller_who_goes_stops_the_writing_and_metrics_tell_of_tokens(writer: httpx.Client) -> None:
    body = {"model": "writer", "prompt": "so it", "max_tokens": 100_000, "stream": True}
    with writer.stream("POST", "/v1/completions", json=body) as reply:
        next(reply.iter_lines())
    deadline = time.monotonic() + 10
    while 'bedplate_streams{model="writer",version="1"} 0.0' not in (text := writer.get("/metrics").text):
        assert time.monotonic() < deadline, "it is still being written"
        time.sleep(0.05)
    assert 'bedplate_first_token_seconds_count{model="writer",version="1"}' in text
    written = next(line for line in text.splitlines() if line.startswith("bedplate_written_tokens_total"))
    assert 100 < float(written.split()[-1]) < 90_000
    assert 'protocol="openai",status="499"' in text
    assert 'bedplate_tokens_per_second{model="writer"' in text


def test_a_callers_own_deadline_is_for_the_whole_text(writer: httpx.Client) -> None:
    reply = writer.post(
        "/v1/completions", json={"model": "writer", "prompt": "so it", "max_tokens": 100_000},
        headers={"x-request-timeout": "0.2"},
    )  # fmt: skip
    assert reply.status_code == 504
    assert reply.json()["error"]["type"] == "server_error"


def test_tensorflows_server_alone_has_no_such_paths(box: Bundle) -> None:
    with running([("", box.path)], compat="tfserving") as server:
        reply = httpx.post(f"{server.url}/v1/completions", json={"model": "writer", "prompt": "so"})
        assert reply.status_code == 400
        assert "Malformed request" in reply.text


def test_a_server_of_two_processes_writes_too(box: Bundle, tmp_path: Path) -> None:
    with running([("", box.path)], processes=2) as server:
        for _ in range(4):
            with httpx.Client(base_url=server.url, timeout=30) as client:
                assert len(ask(client, max_tokens=7, seed=1).json()["choices"][0]["text"]) == 7


def test_a_model_that_never_saw_the_signs_of_a_talk_says_so(tmp_path: Path) -> None:
    codec = text_codec(text="only small letters, and so on.\n")
    graph = Sums(codec.vocabulary).graph()
    tokens = np.resize(codec.tokens_of("only small letters, and so on.\n"), (2, CONTEXT))
    predict = OnnxPredict(graph, variant="f32")
    golden = choose_golden_texts(tokens, {"f32": predict}, codec.vocabulary, rows=1, synthetic=False, seed=0)
    answers = Answers.of_language([len(piece) for piece in codec.pieces])
    outputs = [TensorSpec("logits", "float32", (-1, codec.vocabulary))]
    made = text_bundle(
        tmp_path / "quiet",
        name="quiet",
        codec=codec,
        graphs={"f32": graph},
        golden=golden,
        answers=answers,
        outputs=outputs,
    )
    with running([("", made.path)]) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        talk = {"model": "quiet", "messages": [{"role": "user", "content": "so"}]}
        reply = client.post("/v1/chat/completions", json=talk)
        assert reply.status_code == 400
        assert "this model can't talk" in reply.json()["error"]["message"]
        assert client.post("/v1/completions", json={"model": "quiet", "prompt": "so"}).status_code == 200
        # What the request itself has wrong is told first.
        refused = client.post("/v1/chat/completions", json={**talk, "tools": [{"type": "function"}]})
        assert "no tools" in refused.json()["error"]["message"]

"""OpenAI's /v1/embeddings, against a real server."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.bundle.boxes import image_bundle, vector_bundle
from tests.serving.running import running

from bedplate.bundle import Bundle
from bedplate.codecs.text import TextCodec

TEXTS = ["a wonderful film", "dull and far too long, with an awful plot", "🎬 שלום 映画", "a\0b", "word " * 200_000]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return vector_bundle(tmp_path_factory.mktemp("boxes") / "vectors")


@pytest.fixture(scope="module")
def asked(box: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    other = image_bundle(tmp_path_factory.mktemp("boxes") / "image")
    with (
        running([("", box.path), ("", other.path)], engine="onnxruntime") as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        yield client
        assert server.stop()[1].count("HEAVY []") == 1


def embed(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/v1/embeddings", json={"model": "meaning", **body})


def test_texts_get_the_bundles_vectors_in_order_with_usage(asked: httpx.Client, box: Bundle) -> None:
    wanted = box.predictor()(box.codec.decode(TEXTS))["embedding"]
    reply = embed(asked, input=TEXTS).json()
    assert (reply["object"], reply["model"]) == ("list", "meaning")
    assert [(one["object"], one["index"]) for one in reply["data"]] == [("embedding", k) for k in range(5)]
    np.testing.assert_allclose([one["embedding"] for one in reply["data"]], wanted, atol=1e-6)
    assert isinstance(box.codec, TextCodec)
    tokens = sum(len(text.numbers) for text in box.codec.tokenized(TEXTS))
    assert reply["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    (one,) = embed(asked, input=TEXTS[0], user="somebody", dimensions=6).json()["data"]
    np.testing.assert_allclose(one["embedding"], wanted[0], atol=1e-6)


def test_base64_holds_the_same_numbers(asked: httpx.Client) -> None:
    plain, packed = (
        [one["embedding"] for one in embed(asked, input=TEXTS[:3], encoding_format=form).json()["data"]]
        for form in ("float", "base64")
    )
    found = [np.frombuffer(base64.b64decode(text), "<f4") for text in packed]
    np.testing.assert_array_equal(np.array(plain, np.float32), found)


def test_token_numbers_are_the_models_own_and_taken_as_they_are(asked: httpx.Client, box: Bundle) -> None:
    assert isinstance(box.codec, TextCodec)
    numbers = [list(text.numbers) for text in box.codec.tokenized(TEXTS[:2])]
    as_texts, as_numbers = (embed(asked, input=given).json()["data"] for given in (TEXTS[:2], numbers))
    np.testing.assert_allclose(
        [one["embedding"] for one in as_numbers], [one["embedding"] for one in as_texts], atol=1e-6
    )
    reply = embed(asked, input=numbers[0]).json()  # a list of numbers is one text
    np.testing.assert_allclose(reply["data"][0]["embedding"], as_texts[0]["embedding"], atol=1e-6)
    assert reply["usage"]["prompt_tokens"] == len(numbers[0])
    mixed = embed(asked, input=[numbers[0], TEXTS[1]]).json()["data"]
    np.testing.assert_allclose(mixed[1]["embedding"], as_texts[1]["embedding"], atol=1e-6)


@pytest.mark.parametrize(
    ("body", "status", "param", "words"),
    [
        ({}, 400, "input", "received nothing"),
        ({"input": []}, 400, "input", "an empty list"),
        ({"input": ""}, 400, "input", "the text is empty"),
        ({"input": ["fine", " \n"]}, 400, "input", "input[1]: the text is empty"),
        ({"input": "x" * 2_000_001}, 400, "input", "too long"),
        ({"input": [1, -1]}, 400, "input", "no such token"),
        ({"input": [10**9]}, 400, "input", "no such token"),
        ({"input": [2] * 13}, 400, "input", "1 to 12; received 13"),
        ({"input": [1, "a"]}, 400, "input", "a list of token numbers"),
        ({"input": [[]]}, 400, "input", "a list of token numbers"),
        ({"input": [1.5]}, 400, "input", "a list of token numbers"),
        ({"input": [True]}, 400, "input", "a list of token numbers"),
        ({"input": {"text": "a"}}, 400, "input", "expected a string"),
        ({"input": ["a"] * 2_049}, 400, "input", "at most 2,048 texts in one request, received 2,049"),
        ({"input": "a", "dimensions": 3}, 400, "dimensions", "have 6 numbers and can't be cut"),
        ({"input": "a", "dimensions": "6"}, 400, "dimensions", "from 1 to 1,000,000, received '6'"),
        ({"input": "a", "encoding_format": "int8"}, 400, "encoding_format", "'float' or 'base64'"),
        ({"input": "a", "user": 5}, 400, "user", "a string"),
        ({"input": "a", "dimension": 6}, 400, "dimension", "did you mean 'dimensions'"),
        ({"input": "a", "model": "absent"}, 404, "model", "no model 'absent'"),
        ({"input": "a", "model": "small"}, 400, "model", "'small' gives no vectors; ask it at /predict/small"),
        ({"input": "a", "model": ""}, 400, "model", "received nothing"),
    ],
)
def test_what_cannot_be_done_is_told_in_openais_form(
    asked: httpx.Client, body: dict[str, Any], status: int, param: str | None, words: str
) -> None:
    reply = embed(asked, **body)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["type"]) == (status, param, "invalid_request_error")
    assert words in error["message"]
    assert set(error) == {"message", "type", "param", "code"}


def test_bodies_that_are_no_json_and_other_methods_are_refused(asked: httpx.Client) -> None:
    for content in (b"", b"[1]", b"{", b'{"model": "meaning", "input": "\xff"}'):
        reply = asked.post("/v1/embeddings", content=content)
        assert reply.status_code == 400
        assert reply.json()["error"]["type"] == "invalid_request_error"
    assert asked.get("/v1/embeddings").status_code in (400, 405)
    assert "/v1/embeddings" in asked.get("/openapi.json").json()["paths"]


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=4), max_leaves=8)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON, more=st.dictionaries(st.sampled_from(["dimensions", "encoding_format", "user", "x"]), JSON))
def test_nothing_breaks_the_server(asked: httpx.Client, value: Any, more: dict[str, Any]) -> None:
    reply = embed(asked, input=value, **more)
    assert reply.status_code in (200, 400), reply.text
    assert ("data" if reply.status_code == 200 else "error") in reply.json()

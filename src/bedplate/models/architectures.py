"""Published architectures by name: which of ours each becomes, and where its weights have their places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

VOCABULARY = "tokens.weight"
"""Our name of the vectors of token numbers, of which a tokenizer may use fewer than the checkpoint has."""

PLACES = "places.weight"
"""Our name of the vectors of places, of which a language model may be asked to see fewer."""


@dataclass(frozen=True)
class Architecture:
    """How one published architecture becomes a registered model.

    Attributes:
        model: the registered name.
        sizes: our argument → its key in config.json.
        fixed: our arguments that follow from the architecture.
        keys: our weight → its own, several of which lie one below another in ours; `{}` is the block's number.
        prefix: what stands before its names where the checkpoint has a head.
        left: beginnings of names that belong to heads and counters, which aren't taken.
        activation: config.json's key of the activation.
        places: config.json's key of how many places there are.
        activations: its names of the activation → ours, where the model has one.
        plain: config.json's keys that must be as they are here, where they are told.
        turned: whether dense layers' weights lie the other way round.
        ends: ends of names that aren't taken.
    """

    model: str
    sizes: Mapping[str, str]
    fixed: Mapping[str, Any]
    keys: Mapping[str, tuple[str, ...]]
    prefix: str
    left: tuple[str, ...]
    activation: str
    places: str = "max_position_embeddings"
    activations: Mapping[str, str | None] = field(default_factory=lambda: {"gelu": None})
    plain: Mapping[str, Any] = field(
        default_factory=lambda: {"position_embedding_type": "absolute", "is_decoder": False}
    )
    turned: bool = False
    ends: tuple[str, ...] = ()


def _pairs(ours: str, *theirs: str) -> dict[str, tuple[str, ...]]:
    """Return the weight and the bias of a layer."""
    return {f"{ours}.{part}": tuple(f"{name}.{part}" for name in theirs) for part in ("weight", "bias")}


def _attention(block: str, query: str, key: str, value: str) -> dict[str, tuple[str, ...]]:
    return _pairs("blocks.{}.asked", *(f"{block}.{name}" for name in (query, key, value)))


_EMBEDDINGS = {
    VOCABULARY: ("embeddings.word_embeddings.weight",),
    "places.weight": ("embeddings.position_embeddings.weight",),
    **_pairs("start", "embeddings.LayerNorm"),
}
_BERT, _DISTILBERT, _GPT2 = "encoder.layer.{}", "transformer.layer.{}", "h.{}"

ARCHITECTURES: Mapping[str, Architecture] = {
    "bert": Architecture(
        "bert",
        {
            "size": "hidden_size", "heads": "num_attention_heads", "layers": "num_hidden_layers",
            "hidden": "intermediate_size", "positions": "max_position_embeddings", "types": "type_vocab_size",
            "epsilon": "layer_norm_eps", "dropout": "hidden_dropout_prob",
        },
        {},
        {
            **_EMBEDDINGS,
            "types.weight": ("embeddings.token_type_embeddings.weight",),
            **_attention(f"{_BERT}.attention.self", "query", "key", "value"),
            **_pairs("blocks.{}.mixed", f"{_BERT}.attention.output.dense"),
            **_pairs("blocks.{}.before", f"{_BERT}.attention.output.LayerNorm"),
            **_pairs("blocks.{}.wide", f"{_BERT}.intermediate.dense"),
            **_pairs("blocks.{}.narrow", f"{_BERT}.output.dense"),
            **_pairs("blocks.{}.between", f"{_BERT}.output.LayerNorm"),
        },
        "bert.",
        ("pooler.", "cls.", "classifier.", "qa_outputs.", "embeddings.position_ids"),
        "hidden_act",
    ),
    "distilbert": Architecture(
        "bert",
        {
            "size": "dim", "heads": "n_heads", "layers": "n_layers", "hidden": "hidden_dim",
            "positions": "max_position_embeddings", "dropout": "dropout",
        },
        {"types": 0, "epsilon": 1e-12},
        {
            **_EMBEDDINGS,
            **_attention(f"{_DISTILBERT}.attention", "q_lin", "k_lin", "v_lin"),
            **_pairs("blocks.{}.mixed", f"{_DISTILBERT}.attention.out_lin"),
            **_pairs("blocks.{}.before", f"{_DISTILBERT}.sa_layer_norm"),
            **_pairs("blocks.{}.wide", f"{_DISTILBERT}.ffn.lin1"),
            **_pairs("blocks.{}.narrow", f"{_DISTILBERT}.ffn.lin2"),
            **_pairs("blocks.{}.between", f"{_DISTILBERT}.output_layer_norm"),
        },
        "distilbert.",
        ("pre_classifier.", "classifier.", "qa_outputs.", "vocab_", "embeddings.position_ids"),
        "activation",
    ),
    "gpt2": Architecture(
        "transformer-decoder",
        {"size": "n_embd", "heads": "n_head", "layers": "n_layer", "dropout": "resid_pdrop"},
        {"positions": "learnt"},
        {
            VOCABULARY: ("wte.weight",),
            "places.weight": ("wpe.weight",),
            **_pairs("after", "ln_f"),
            **_pairs("blocks.{}.before", f"{_GPT2}.ln_1"),
            **_pairs("blocks.{}.asked", f"{_GPT2}.attn.c_attn"),
            **_pairs("blocks.{}.mixed", f"{_GPT2}.attn.c_proj"),
            **_pairs("blocks.{}.between", f"{_GPT2}.ln_2"),
            **_pairs("blocks.{}.wide", f"{_GPT2}.mlp.c_fc"),
            **_pairs("blocks.{}.narrow", f"{_GPT2}.mlp.c_proj"),
        },
        "transformer.",
        ("lm_head.",),
        "activation_function",
        places="n_positions",
        activations={"gelu_new": "gelu-tanh", "gelu_pytorch_tanh": "gelu-tanh", "gelu": "gelu"},
        plain={
            "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "layer_norm_epsilon": 1e-5,
            "tie_word_embeddings": True, "n_inner": None, "add_cross_attention": False,
        },
        turned=True,
        ends=(".attn.bias", ".attn.masked_bias"),
    ),
}  # fmt: skip
"""By `model_type` in config.json."""

UNTOLD = {
    "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.1, "dropout": 0.1, "type_vocab_size": 2, "resid_pdrop": 0.1,
}  # fmt: skip
"""What config.json leaves out where it is the usual."""

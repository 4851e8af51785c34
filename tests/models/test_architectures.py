"""GPT-2's checkpoints: every weight has a place, scores are those of its equations, and one lives its whole life."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.models.published_gpt2 import GPT2, TEXT, random_weights, scores, tokenizer, write_gpt2
from tests.serving.conformance.clients import client_environment

from bedplate import pipeline
from bedplate.bundle import Bundle
from bedplate.codecs.language import LanguageCodec
from bedplate.core.errors import DataError, InputError, RecipeError
from bedplate.data.language import read_language_tokenizer
from bedplate.data.load import load_dataset
from bedplate.generation import Sampling
from bedplate.models import Network, Outputs, TextInput, build, predictor
from bedplate.models.checkpoints import fitted, read_checkpoint
from bedplate.recipe.schema import DataSpec

SHIFT = 2


def network(folder: Path, length: int = 32) -> Network:
    found = read_checkpoint(folder)
    inputs = TextInput(320 + SHIFT, length, SHIFT)
    made = build(found.architecture.model, found.arguments, inputs, Outputs(320 + SHIFT, sequence=True), 0)
    made.body.load_state_dict(fitted(found.weights(), 320 + SHIFT, SHIFT, "here", length))
    return made


def test_scores_are_those_of_its_equations(tmp_path: Path) -> None:
    weights = random_weights()
    made = network(write_gpt2(tmp_path, weights=weights))
    text = np.random.default_rng(1).integers(0, 320, 20)
    found = predictor(made)({"tokens": (text + SHIFT)[None].astype(np.int32)})["logits"][0]
    np.testing.assert_allclose(found[:, SHIFT:], scores(weights, text.tolist()), atol=2e-4)
    assert (found[:, :SHIFT] == -1e4).all()  # what its tokenizer doesn't have never comes


def test_a_prefix_a_head_and_old_buffers_are_passed_over(tmp_path: Path) -> None:
    plain = random_weights()
    headed = {f"transformer.{name}": array for name, array in plain.items()}
    headed |= {"lm_head.weight": plain["wte.weight"], "transformer.h.0.attn.bias": np.ones((1, 1, 32, 32), np.float32)}
    found = read_checkpoint(write_gpt2(tmp_path / "a", weights=headed)).weights()
    same = read_checkpoint(write_gpt2(tmp_path / "b", weights=plain)).weights()
    assert {name: tensor.tolist() for name, tensor in found.items()} == {n: t.tolist() for n, t in same.items()}
    assert sum(tensor.numel() for tensor in found.values()) == sum(array.size for array in plain.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation_function": "relu"}, "activation_function.*expected gelu_new, gelu_pytorch_tanh, gelu; received relu"),
        ({"n_inner": 40}, "n_inner"), ({"scale_attn_by_inverse_layer_idx": True}, "inverse_layer"),
        ({"n_positions": 0.5}, "'n_positions' is missing or no number"), ({"tie_word_embeddings": False}, "tie_word"),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon"),
    ],
)  # fmt: skip
def test_other_forms_are_told(change: dict[str, object], message: str, tmp_path: Path) -> None:
    write_gpt2(tmp_path, {**GPT2, **change})
    with pytest.raises(InputError, match=message):
        read_checkpoint(tmp_path)


def test_its_tokenizer_spells_every_text(tmp_path: Path) -> None:
    folder = write_gpt2(tmp_path)
    codec = read_language_tokenizer(folder / "tokenizer.json", 32)
    theirs = tokenizer()
    for text in ("so it goes", " and  on\n", "שלום 🙂 猫\u2028x", "<|endoftext|>", "é" * 9):
        numbers = codec.tokens_of(text).tolist()
        assert numbers == [number + SHIFT for number in theirs.encode(text).ids]
        assert codec.text(numbers) == ("" if text == "<|endoftext|>" else text)
    assert codec.ending == SHIFT
    assert LanguageCodec.from_contract(json.loads(json.dumps(codec.contract()))) == codec
    wordpiece = json.loads((folder / "tokenizer.json").read_text()) | {"decoder": None}
    (tmp_path / "other.json").write_text(json.dumps(wordpiece))
    with pytest.raises(InputError, match="don't spell texts"):
        read_language_tokenizer(tmp_path / "other.json", None)


@pytest.mark.parametrize("more", ["tokens: bpe", "size: 400", "lower: true"])
def test_a_tokenizer_of_others_is_not_learnt(more: str, tmp_path: Path) -> None:
    write_gpt2(tmp_path / "gpt2")
    (tmp_path / "text.txt").write_text(TEXT * 3)
    text = {"tokenizer": "gpt2", "length": 16, **yaml.safe_load(more)}
    spec = DataSpec.model_validate({"source": "text.txt", "text": text})
    with pytest.raises(DataError, match="taken as it is"):
        load_dataset(spec, "language-modelling", 0, base=tmp_path)


def recipe(folder: Path, more: str = "") -> Path:
    write_gpt2(folder / "gpt2")
    (folder / "text.txt").write_text(TEXT * 3)
    path = folder / "r.yaml"
    path.write_text(
        "name: gpt2\ntask: language-modelling\ndata: {source: text.txt}\nevaluation: {resamples: 100}\n"
        f"training: {{epochs: 0, start: {{weights: gpt2}}}}\ncompression: {{methods: []}}\n{more}"
    )
    return path


def test_one_lives_its_whole_life_as_it_was_published(tmp_path: Path) -> None:
    outcome = pipeline.run(recipe(tmp_path), tmp_path / "run")
    assert outcome.passed
    bundle = Bundle.open(outcome.figures["bundle"])
    write, weights, theirs = bundle.generator(), random_weights(), tokenizer()
    assert write.codec.length == 32
    prompt = "so it"
    wanted = theirs.encode(prompt).ids
    for _ in range(8):  # the likeliest token by the plain twin, each time over the whole text
        raw = scores(weights, wanted)[-1]
        raw[310:] = -np.inf  # numbers that the tokenizer doesn't have
        wanted = [*wanted, int(raw.argmax())]
        if wanted[-1] == 0:
            break
    found = write.answer(prompt, Sampling(8, 0.0))
    ends = wanted[-1] == 0
    assert found["answer"] == theirs.decode(wanted[len(theirs.encode(prompt).ids) :])
    assert found["finish_reason"] == ("stop" if ends else "length")


def test_what_contradicts_the_checkpoint_is_told(tmp_path: Path) -> None:
    for more, match in (
        ("model: {name: transformer-decoder, size: 32}\n", "another size"),
        ("model: {name: transformer-decoder, positions: rotary}\n", "another positions"),
    ):
        with pytest.raises(RecipeError, match=match):
            pipeline.run(recipe(tmp_path, more), tmp_path / "run")
    path = recipe(tmp_path)
    path.write_text(path.read_text().replace("text.txt}", "text.txt, text: {length: 64}}"))
    with pytest.raises(RecipeError, match=r"fewer places.*at most 32; received 64"):
        pipeline.run(path, tmp_path / "run")


_PEER = """
import json, sys, torch, transformers
folder, config, row = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
torch.manual_seed(0)
model = transformers.GPT2LMHeadModel(transformers.AutoConfig.for_model(**config)).eval()
for parameter in model.parameters():
    torch.nn.init.normal_(parameter, std=0.2)
model.save_pretrained(folder)
with torch.no_grad():
    print(json.dumps(model(torch.tensor([row])).logits[0].tolist()))
"""


@pytest.mark.slow
def test_what_transformers_saves_computes_the_same_here(tmp_path: Path) -> None:
    python = client_environment("sentence-transformers", ("torch==2.13.0", "sentence-transformers==6.2.0"))
    row = np.random.default_rng(2).integers(0, 320, 32)
    free = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | {"HF_HUB_OFFLINE": "1"}
    words = [str(python), "-c", _PEER, str(tmp_path), json.dumps(GPT2), json.dumps(row.tolist())]
    done = subprocess.run(words, capture_output=True, text=True, env=free)
    assert done.returncode == 0, done.stderr[-1500:]
    wanted = np.array(json.loads(done.stdout.splitlines()[-1]))
    found = predictor(network(tmp_path))({"tokens": (row + SHIFT)[None].astype(np.int32)})["logits"][0]
    np.testing.assert_allclose(found[:, SHIFT:], wanted, atol=2e-4)

"""Pre-training in a run: which texts it reads, the weights that it leaves in `train/`, and what is told of it.

Validation and test texts are never read: what equals one of them is left out, be it among the training texts or among
those without labels. What is done is kept as `train/pretrained.safetensors`, with the figures beside it, written last:
a continued run takes it up; a pre-training that was stopped begins again.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from bedplate.codecs.codec import PAD, TEXT, TOKENS
from bedplate.codecs.text import TextCodec
from bedplate.codecs.text_masking import mask_tokens
from bedplate.core.arrays import concatenate
from bedplate.core.errors import DataError, InputError, RecipeError, RunError
from bedplate.core.files import read_json, write_bytes, write_json
from bedplate.core.hashing import row_digests
from bedplate.core.seeds import generator
from bedplate.data.tables import counted
from bedplate.data.texts import MANY_UNKNOWN
from bedplate.data.unlabelled_texts import read_unlabelled_texts
from bedplate.models import Encoder, Network, TextInput
from bedplate.recipe.schema import PretrainSpec, TrainingSpec
from bedplate.stages.folder import PRETRAINED
from bedplate.stages.start_tokens import token_facts
from bedplate.stages.work import Work
from bedplate.training.execution import execution_of
from bedplate.training.masked_language import MaskedTexts, Pretraining, pretrain

WEIGHTS, FACTS = "pretrained.safetensors", PRETRAINED

HELD_OUT = 0.05
"""The share of the texts that are only judged, so that what is told isn't what was learnt by heart."""


@dataclass(frozen=True)
class Corpus:
    """The texts to pre-train on.

    Attributes:
        spec: the recipe's `training.pretrain`.
        texts: their tokens, divided.
        facts: what is told of them, as JSON.
    """

    spec: PretrainSpec
    texts: MaskedTexts
    facts: dict[str, Any]


def corpus_of(work: Work, network: Network) -> Corpus | None:
    """Return the texts to pre-train on, or None where the recipe asks for no pre-training. Writes nothing.

    Raises:
        RecipeError: the model gives its tokens no states, or the recipe trains with several workers.
        DataError: the texts without labels can't be read, or too few texts are left.
        InputError: the tokenizer has no token that could hide others.
    """
    spec = work.recipe.training.pretrain
    if spec is None:
        return None
    _check(work, network)
    codec = work.dataset.codec
    assert isinstance(codec, TextCodec)
    masks = mask_tokens(codec)
    work.console.stage("texts", spec.texts or "the training texts alone")
    train = work.dataset.train
    texts, parts, notes = train.inputs[TEXT], [work.features(train)], list[str]()
    if spec.texts is not None:
        more, notes = read_unlabelled_texts(
            spec.texts, codec.column, work.recipe.data, base=work.resolved.base, announce=work.console.detail
        )
        texts, parts = np.concatenate([texts, more]), [*parts, codec.features({TEXT: more})]
    tokens = concatenate(parts)[TOKENS]
    kept, left_out = _kept(work, texts, masks.own[tokens].any(axis=1))
    if len(kept) < 2:
        raise DataError(
            "too few texts to pre-train on", where=spec.texts or work.dataset.name, expected="2 or more",
            received=f"{counted(len(kept), 'text')}; left out: {_said(left_out)}",
        )  # fmt: skip
    order = kept[generator(work.recipe.seed, "pretrain", "held out").permutation(len(kept))]
    held_out = max(1, round(HELD_OUT * len(order)))
    tokens = tokens[:, : max(1, int((tokens[order] != PAD).sum(1).max()))]
    divided = MaskedTexts(tokens[np.sort(order[held_out:])], tokens[order[:held_out]], masks)
    read = int((divided.tokens != PAD).sum())
    unknown = int((divided.tokens == masks.unknown).sum()) / read if masks.unknown is not None else 0.0
    facts = {
        "source": spec.texts, "texts": len(divided.tokens), "held_out": held_out, "left_out": left_out,
        "notes": notes, "tokens": read, "unknown": round(unknown, 6), "mask": masks.name, "masked": spec.masked,
        "epochs": spec.epochs,
    }  # fmt: skip
    work.console.detail(
        f"{len(divided.tokens):,} texts of {read:,} tokens, and {held_out:,} held out; left out: {_said(left_out)}"
    )
    learnt = work.recipe.data.text.tokenizer is None  # on the training texts alone, which may be few
    hint = "; data.text.tokens: bpe knows every text" if learnt and unknown > MANY_UNKNOWN else ""
    work.console.detail(
        f"{100 * spec.masked:g} % of their tokens are hidden by {masks.name}; {unknown:.1%} are unknown{hint}"
    )
    for note in notes:
        work.console.detail(f"note: {note}")
    return Corpus(spec, divided, facts)


def _check(work: Work, network: Network) -> None:
    """Raise a RecipeError where there can be no pre-training."""
    where, training, model = f"{work.resolved.path} training.pretrain", work.recipe.training, work.recipe.model
    assert model is not None
    problem = None
    if not isinstance(network.body, Encoder):
        problem = InputError(
            f"model '{model.name}' gives its tokens no states that could be pre-trained", where=where,
            hint="`bert` and `transformer-encoder` do",
        )  # fmt: skip
    elif training.workers.count > 1 or training.workers.engine == "ray":
        problem = InputError(
            "pre-training is for one process", where=where, received=f"{training.workers.count} workers",
            hint="set workers: 1, or pre-train in a run of its own and begin with its weights (training.start)",
        )  # fmt: skip
    if problem is not None:
        raise RecipeError([problem])


def _kept(work: Work, texts: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Return which texts are pre-trained on, and how many aren't, by the reason.

    Args:
        work: it says which texts judge.
        texts: object `str` [N].
        own: whether the text has a token that may be hidden, bool [N].
    """
    judged = {
        key for rows in (work.dataset.validation, work.dataset.test) for key in row_digests({TEXT: rows.inputs[TEXT]})
    }
    left_out = {"in_validation_or_test": 0, "repeated": 0, "nothing_to_hide": 0}
    seen: set[str] = set()
    kept = []
    for row, key in enumerate(row_digests({TEXT: texts})):
        why = (
            "in_validation_or_test" if key in judged
            else "repeated" if key in seen
            else None if own[row]
            else "nothing_to_hide"
        )  # fmt: skip
        seen.add(key)
        if why is None:
            kept.append(row)
        else:
            left_out[why] += 1
    return np.asarray(kept, np.int64), left_out


def _said(left_out: dict[str, int]) -> str:
    return (
        f"{left_out['in_validation_or_test']:,} that validation or test texts equal, {left_out['repeated']:,} "
        f"repeated, {left_out['nothing_to_hide']:,} without a known token"
    )


def pretrain_body(work: Work, network: Network, corpus: Corpus, spec: TrainingSpec, *, resume: bool) -> None:
    """Pre-train the network's body in place, or take the weights that this run pre-trained before.

    Args:
        work: the run; the results go into its folder `train`.
        network: with its fresh or starting weights.
        corpus: what it learns from.
        spec: the settled `training`, for device and precision.
        resume: take what is there, if it was made under the same conditions.

    Raises:
        RunError: what is there can't be read.
        GateError, Interrupted: as `training.masked_language.pretrain`.
    """
    folder, wanted, started = work.folder.stage("train"), corpus.spec, time.monotonic()
    if resume and (folder / FACTS).exists() and read_json(folder / FACTS)["identity"] == work.identity:
        _load(network, folder / WEIGHTS)
        work.console.stage("pretrain", f"done before: {wanted.epochs} epochs")
        return
    under_way = Pretraining(network, corpus.texts, wanted, execution_of(spec), work.recipe.seed)
    work.console.stage("pretrain", f"{wanted.epochs} epochs, {under_way.steps:,} steps of {wanted.batch_size} texts")
    with work.console.progress("pre-training", under_way.steps) as advance:
        before, history = pretrain(
            under_way,
            advance=lambda step, epoch: advance(step, f"epoch {epoch}"),
            announce=lambda entry: work.console.detail(_epoch_line(entry, wanted.epochs)),
        )
    facts = {
        **corpus.facts,
        "steps": under_way.steps,
        "before": {"loss": before.loss, "accuracy": before.accuracy},
        "after": {key: history[-1][key] for key in ("loss", "accuracy")},
        "history": history,
        "seconds": round(time.monotonic() - started, 3),
    }
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    write_bytes(folder / WEIGHTS, save(state, metadata=token_facts(work)))
    write_json(folder / FACTS, {"identity": work.identity, **facts})


def _epoch_line(entry: dict[str, float], epochs: int) -> str:
    return (
        f"epoch {int(entry['epoch']):>3}/{epochs}  masked loss {entry['train_loss']:.4f}  held-out loss "
        f"{entry['loss']:.4f}  accuracy {entry['accuracy']:.4f}  {entry['seconds']:.1f} s"
    )


def _load(network: Network, path: Path) -> None:
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise RunError(
            "the pre-trained weights can't be read", where=str(path), received=str(error).splitlines()[0],
            hint="start again with --fresh",
        ) from error  # fmt: skip


def trial_seconds(work: Work, network: Network, corpus: Corpus, spec: TrainingSpec, steps: int = 3) -> float:
    """Return about how long the pre-training takes, by a few steps on a copy that is thrown away."""
    few = MaskedTexts(corpus.texts.tokens, corpus.texts.held_out[:1], corpus.texts.masks)
    trial = Pretraining(copy.deepcopy(network), few, corpus.spec, execution_of(spec), work.recipe.seed)
    times = []
    for number in range(steps):
        begin = time.perf_counter()
        trial.step(number).item()
        times.append(time.perf_counter() - begin)
    return sorted(times)[len(times) // 2] * trial.steps


def most_memory(network: Network, corpus: Corpus) -> int:
    """Return about how many bytes the texts and a step's largest tensors take: a score for every token number."""
    inputs, texts = network.inputs, corpus.texts.tokens
    assert isinstance(inputs, TextInput)
    hidden = corpus.spec.batch_size * texts.shape[1] * corpus.spec.masked
    # The scores, their normalised form and their gradient, float32 each.
    return int(texts.nbytes + corpus.texts.held_out.nbytes + 3 * 4 * hidden * inputs.vocabulary)


def pretraining_facts(work: Work) -> dict[str, Any] | None:
    """Return what is told of the run's pre-training; None where the recipe asks for none."""
    if work.recipe.training.pretrain is None:
        return None
    told: dict[str, Any] = read_json(work.folder.stage("train") / FACTS)
    del told["identity"]
    return told


def lineage_of(work: Work) -> dict[str, Any] | None:
    """Return what a bundle says of its pre-training, without what differs between equal runs; None without one."""
    facts = pretraining_facts(work)
    return facts and {key: value for key, value in facts.items() if key not in ("history", "seconds", "notes")}


def sentence(facts: dict[str, Any]) -> str:
    """Return the facts in a sentence, for the report."""
    before, after, left_out = facts["before"], facts["after"], facts["left_out"]["in_validation_or_test"]
    beside = " (those without labels beside the training ones)" if facts["source"] else ""
    return (
        f"masked-language pre-training: {facts['epochs']:,} epochs on {facts['texts']:,} texts of {facts['tokens']:,} "
        f"tokens{beside}, {100 * facts['masked']:g} % of them to be told; {left_out:,} that validation or test texts "
        f"equal were left out; of the hidden tokens of {facts['held_out']:,} held-out texts {after['accuracy']:.1%} "
        f"were told right ({before['accuracy']:.1%} before), loss {after['loss']:.4g} ({before['loss']:.4g} before)"
    )

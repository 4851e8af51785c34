"""Checkpoints of others, from a folder as Hugging Face lays it out: config.json, model.safetensors, tokenizer.json.

Nothing is downloaded, nothing pickled is read, and no code of the folder is run. Each known architecture has a map from
our weights' names to its own; what the map doesn't know, and what it misses, is told by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bedplate.core.errors import InputError, did_you_mean, listing
from bedplate.models.architectures import ARCHITECTURES, PLACES, UNTOLD, VOCABULARY, Architecture

CONFIG, WEIGHTS, PICKLED, TOKENIZER = "config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.json"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's folder, its config read and understood."""

    path: Path
    config: Mapping[str, Any]
    architecture: Architecture

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The arguments of our model: its sizes, and how a text's vector is pooled where the folder says so."""
        found: dict[str, Any] = {o: self._number(o, theirs) for o, theirs in self.architecture.sizes.items()}
        pooling = self.pooling
        ours = self.architecture.activations[self.config.get(self.architecture.activation, self._usual)]
        found |= {"activation": ours} if ours else {}
        return {**found, **self.architecture.fixed, **({"pooling": pooling} if pooling else {})}

    @property
    def _usual(self) -> str:
        """The activation where config.json tells none: the first that is known."""
        return next(iter(self.architecture.activations))

    @property
    def places(self) -> int:
        """How many tokens a text may have."""
        return int(self._number("places", self.architecture.places))

    def _number(self, ours: str, theirs: str) -> float | int:
        value = self.config.get(theirs, UNTOLD.get(theirs))
        whole = ours not in ("epsilon", "dropout")
        if not isinstance(value, int if whole else int | float) or isinstance(value, bool) or value < 0:
            raise InputError(
                f"'{theirs}' is missing or no number", where=str(self.path / CONFIG),
                expected="a whole number" if whole else "a number", received=repr(value)[:60],
            )  # fmt: skip
        return int(value) if whole else float(value)

    @property
    def vocabulary(self) -> int:
        """How many token numbers it has vectors for."""
        return int(self._number("vocabulary", "vocab_size"))

    @property
    def tokenizer(self) -> Path | None:
        """Its tokenizer.json, if it brings one."""
        file = self.path / TOKENIZER
        return file if file.is_file() else None

    @property
    def length(self) -> int:
        """How many tokens of a text it was made to read: sentence-transformers' figure, or all its places."""
        told = _json(self.path / "sentence_bert_config.json").get("max_seq_length")
        return min(told, self.places) if type(told) is int and told > 0 else self.places

    @property
    def modules(self) -> list[str]:
        """The kinds of sentence-transformers' modules in order, such as Transformer, Pooling, Normalize; or []."""
        told = _json(self.path / "modules.json", list)
        return [str(one.get("type", "")).rpartition(".")[2] for one in told if isinstance(one, dict)]

    @cached_property
    def pooling(self) -> str | None:
        """Sentence-transformers' pooling in our words; None where the folder says nothing.

        Raises:
            InputError: it pools, or goes on, in a way that isn't known here.
        """
        if not self.modules:
            return None
        other = [name for name in self.modules if name not in ("Transformer", "Pooling", "Normalize")]
        told = _json(self.path / "1_Pooling" / CONFIG)
        asked = [name for name, value in told.items() if name.startswith("pooling_mode") and value is True]
        ways = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max"}
        if other or len(asked) != 1 or asked[0] not in ways:
            raise InputError(
                "the sentence encoder has parts that aren't known here", where=str(self.path / "modules.json"),
                expected="one of mean, cls and max pooling, and Normalize at the most",
                received=listing([*other, *asked]) or "no pooling",
            )  # fmt: skip
        return ways[asked[0]]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every weight that the config promises, by the checkpoint's own name."""
        arguments = self.arguments
        size = int(arguments["size"])
        hidden = int(arguments.get("hidden", 4 * size))
        rows = {VOCABULARY: self.vocabulary, "places.weight": self.places, "types.weight": arguments.get("types", 0)}
        found: dict[str, tuple[int, ...]] = {}
        for ours, names in self._names().items():
            if ours in rows:
                shape: tuple[int, ...] = (int(rows[ours]), size)
            elif ".wide." in ours:
                shape = (hidden, size) if ours.endswith("weight") else (hidden,)
            elif ".narrow." in ours:
                shape = (size, hidden) if ours.endswith("weight") else (size,)
            elif ".asked." in ours or ".mixed." in ours:
                out = 3 * size // len(names) if ".asked." in ours else size
                shape = (out, size) if ours.endswith("weight") else (out,)
            else:
                shape = (size,)
            found |= dict.fromkeys(names, shape[::-1] if self._turned(ours) else shape)
        return found

    def _names(self) -> dict[str, tuple[str, ...]]:
        """Return the key map with every block's number put in."""
        found: dict[str, tuple[str, ...]] = {}
        for ours, theirs in self.architecture.keys.items():
            for number in range(int(self.arguments["layers"])) if "{}" in ours else [0]:
                found[ours.format(number)] = tuple(name.format(number) for name in theirs)
        return found

    def weights(self) -> dict[str, Tensor]:
        """Return the weights by our names, float32.

        Raises:
            InputError: the file is missing or damaged, or weights are missing, unknown or of another shape than
                config.json says; all are named.
        """
        found = {self._plain(name): tensor for name, tensor in _tensors(self.path).items()}
        shapes = self.shapes()
        missing = [name for name in shapes if name not in found]
        left, ends = self.architecture.left, self.architecture.ends
        strange = [n for n in found if n not in shapes and not n.startswith(left) and not (ends and n.endswith(ends))]
        wrong = [
            f"{name} is {list(found[name].shape)}, not {list(shape)}"
            for name, shape in shapes.items() if name in found and tuple(found[name].shape) != shape
        ]  # fmt: skip
        if missing or strange or wrong:
            said = [f"missing: {listing(missing)}"] if missing else []
            said += [f"unknown: {listing(strange)}"] if strange else []
            said += [f"another shape: {listing(wrong, 6)}"] if wrong else []
            raise InputError(
                "the weights aren't what config.json promises", where=str(self.path),
                expected=f"the {len(shapes)} weights of a {self.config['model_type']} of {self.arguments['layers']} "
                f"layers and size {self.arguments['size']}", received="; ".join(said),
            )  # fmt: skip
        return {ours: self._joined(ours, [found[name] for name in names]) for ours, names in self._names().items()}

    def _joined(self, ours: str, parts: Sequence[Tensor]) -> Tensor:
        whole = (torch.cat(list(parts)) if len(parts) > 1 else parts[0]).float()
        return whole.T.contiguous() if self._turned(ours) else whole

    def _turned(self, ours: str) -> bool:
        dense = (".asked.weight", ".mixed.weight", ".wide.weight", ".narrow.weight")
        return self.architecture.turned and ours.endswith(dense)

    def _plain(self, name: str) -> str:
        """Return a weight's name without the prefix of a checkpoint with a head, and in today's spelling."""
        name = name.removeprefix(self.architecture.prefix)
        return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def is_checkpoint(path: Path) -> bool:
    """Return whether a folder looks like a checkpoint's: weights under the usual name, or a config beside no bundle."""
    if not path.is_dir() or (path / "manifest.json").exists():
        return False
    return any((path / name).is_file() for name in (CONFIG, WEIGHTS, PICKLED))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint's config, and refuse what isn't known.

    Raises:
        InputError: there is no config.json, it can't be read, or its architecture or activation isn't known.
    """
    file = path / CONFIG
    if not file.is_file():
        raise InputError(
            "the folder has weights but no config.json", where=str(path),
            expected=f"{CONFIG} beside {WEIGHTS}: it says what is computed with them",
            received=listing(sorted(entry.name for entry in path.iterdir())) if path.is_dir() else "no folder",
        )  # fmt: skip
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("the config can't be read", where=str(file), received=str(error)[:200]) from error
    kind = str(config.get("model_type")) if isinstance(config, dict) else "no object"
    if kind not in ARCHITECTURES:
        raise InputError(
            f"the architecture '{kind}' isn't known here", where=f"{file} model_type",
            expected=f"one of {listing(ARCHITECTURES)}",
            hint=did_you_mean(kind, ARCHITECTURES, 0.8)
            or "its weights mean something else, whatever the config says: take a checkpoint of one of these",
        )  # fmt: skip
    architecture = ARCHITECTURES[kind]
    named = list(architecture.activations)
    told = config.get(architecture.activation, named[0])
    forms = [(architecture.activation, told, told if told in named else listing(named))]
    forms += [(key, config.get(key, known), known) for key, known in architecture.plain.items()]
    for key, value, known in forms:
        if value != known and (value or known):  # null is false
            raise InputError(
                "this form of the architecture isn't known here", where=f"{file} {key}", expected=str(known).lower(),
                received=str(value)[:60],
            )  # fmt: skip
    checkpoint = Checkpoint(path, config, architecture)
    _ = checkpoint.arguments, checkpoint.vocabulary, checkpoint.places  # told now, not when somebody asks
    return checkpoint


def fitted(
    weights: Mapping[str, Tensor], vocabulary: int, shift: int, where: str, places: int | None = None
) -> dict[str, Tensor]:
    """Return the weights with as many token vectors as the tokenizer has numbers, and as many places as are given.

    Those that a checkpoint has beyond are never asked for. With a shift, numbers below it are padding: zeros.

    Raises:
        InputError: the tokenizer has numbers without a vector.
    """
    table = weights[VOCABULARY]
    if vocabulary - shift > len(table):
        raise InputError(
            "the tokenizer has more numbers than the checkpoint has vectors", where=where,
            expected=f"at most {len(table):,}", received=f"{vocabulary - shift:,}",
            hint="take the tokenizer.json that belongs to the weights",
        )  # fmt: skip
    rows = table[: vocabulary - shift]
    found = {**weights, VOCABULARY: torch.cat([torch.zeros(shift, table.shape[1]), rows]) if shift else rows}
    return found if places is None else {**found, PLACES: found[PLACES][:places]}


def _tensors(path: Path) -> dict[str, Tensor]:
    """Return a folder's tensors by their own names."""
    file = path / WEIGHTS
    if file.is_file():
        try:
            with safe_open(file, framework="pt") as opened:
                return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping
        except (SafetensorError, OSError) as error:
            raise InputError("the weights are damaged", where=str(file), received=str(error)[:200]) from error
    parts: Sequence[str] = sorted(entry.name for entry in path.iterdir())
    raise InputError(
        "the folder holds no weights that are read here", where=str(path), expected=WEIGHTS,
        received=listing(parts), hint=f"{PICKLED} and weights in several files must be saved as one {WEIGHTS} first",
    )  # fmt: skip


def _json(path: Path, kind: type = dict) -> Any:
    """Return what a file beside the config says, or nothing of it where there is none or it can't be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return kind()
    return found if isinstance(found, kind) else kind()

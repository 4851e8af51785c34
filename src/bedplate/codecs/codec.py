"""What every codec is: payloads in, arrays at the graph's boundary out; the same code in training and serving."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bedplate.core.arrays import Arrays

Payload = Any
"""What a user has: image bytes (`bytes`) for an image codec; a mapping of column to value for a table codec; a string
for a text codec; a string or a list of words for a sentence codec; one row's arrays by tensor name for a tensor
codec."""

TEXT = "text"
"""The tensor of a text codec, and of a sentence's."""

STRINGS = frozenset({"sentence", "text"})
"""The kinds of codecs whose payload is one string."""

TOKENS = "tokens"
"""The tensor of token numbers, as models of texts take them."""

PAD, UNKNOWN = 0, 1
"""The numbers that fill a row up, which models take for nothing, and of what a vocabulary lacks."""

NEVER = (PAD, UNKNOWN)
"""Token numbers that are no text: they are never generated."""

SEPARATOR, END = 2, 3
"""Of texts that are answered by texts: what stands between the two, and what ends an answer."""

Prepare = Callable[[Arrays], Arrays]

PAST, PRESENT = "past_", "present_"
"""How the names of a graph's inputs begin that carry what earlier calls left behind, and of the outputs that leave it.
They are no part of the contract: who calls the graph once gives and gets none, and the past is empty."""


@dataclass(frozen=True)
class TensorSpec:
    """One tensor at the graph's boundary; `shape` leaves the row axis out, `dtype` is NumPy's name or "string".

    -1 in `shape` stands for any size, which all rows of a request share.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()

    def fits(self, shape: Sequence[int]) -> bool:
        """Return whether one row of this shape is such a tensor."""
        return len(shape) == len(self.shape) and all(
            wanted in (-1, size) for wanted, size in zip(self.shape, shape, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the spec as JSON-ready fields."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}


class Codec(Protocol):
    """Translate payloads to arrays, and describe itself so that it can be rebuilt from JSON alone."""

    kind: str

    @property
    def tensors(self) -> list[TensorSpec]:
        """The tensors that `decode` gives and that the bundle's graph takes."""

    def decode(self, payloads: Sequence[Payload]) -> Arrays:
        """Return one row a payload (row axis first). Raises PayloadError naming the payload and the fault."""

    @property
    def prepare(self) -> Prepare | None:
        """What makes the graph's inputs of `tensors`, right before the graph runs; None: it takes them as they are."""

    @property
    def prepared(self) -> list[TensorSpec]:
        """The graph's inputs: `tensors`, or what `prepare` makes of them."""

    def contract(self) -> dict[str, Any]:
        """Return all that is needed to rebuild this codec, as JSON; it has `kind`."""

    def graph(self) -> bytes | None:
        """Return the learned pre-graph (raw tensors → features) as serialised ONNX, or None where there is none."""

    def features(self, inputs: Arrays) -> Arrays:
        """Return what the model reads: the pre-graph's output, or the inputs themselves where there is none."""

    def feature_spec(self) -> dict[str, Any]:
        """Return what a model's builder must know of its features (kind, sizes, statistics), as JSON."""

"""The tensor codec: arrays or nested lists in, by input name; for graphs of which only the signature is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bedplate.codecs.codec import Payload, Prepare, TensorSpec
from bedplate.core.arrays import Arrays
from bedplate.core.errors import BundleError, PayloadError, json_kind, listing

DTYPES = (
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
    "string",
)  # fmt: skip
"""What a tensor may hold: ONNX's types that NumPy has, too."""


@dataclass(frozen=True)
class TensorCodec:
    """Check arrays against the graph's inputs; nothing is learned, scaled or guessed.

    A payload is one row: a mapping of input name to an array or nested lists (without the row axis), or the bare value
    where there is one input. A whole number may stand where a fraction is wanted, never the other way round.

    Example:
        >>> codec = TensorCodec((TensorSpec("x", "float32", (2,)),))
        >>> codec.decode([[1, 2], {"x": [3, 4]}])["x"].shape
        (2, 2)
    """

    specs: tuple[TensorSpec, ...]

    kind = "tensor"

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.specs]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"expected inputs with names of their own, received {names}")
        for spec in self.specs:
            if spec.dtype not in DTYPES or any(size < 1 and size != -1 for size in spec.shape):
                raise ValueError(f"no tensor: {spec}")

    @property
    def tensors(self) -> list[TensorSpec]:
        """The graph's inputs."""
        return list(self.specs)

    def decode(self, payloads: Sequence[Payload]) -> Arrays:
        """Return the rows as tensors [N, ...] by name.

        Raises:
            PayloadError: names the payload by its number, the input, and the fault.
        """
        rows = []
        for number, payload in enumerate(payloads):
            where = f"payload {number}, " if len(payloads) > 1 else ""
            named = self._named(payload, where)
            rows.append({spec.name: _array(named[spec.name], spec, where) for spec in self.specs})
        return {spec.name: _stacked([row[spec.name] for row in rows], spec) for spec in self.specs}

    def _named(self, payload: Payload, where: str) -> Mapping[str, Any]:
        names = [spec.name for spec in self.specs]
        if not isinstance(payload, Mapping):
            if len(names) == 1:
                return {names[0]: payload}
            raise PayloadError(
                f"{where}an object with all inputs is needed", expected=listing(names), received=json_kind(payload)
            )
        missing, strays = [n for n in names if n not in payload], [str(n)[:50] for n in payload if n not in names]
        if missing or strays:
            raise PayloadError(
                f"{where}not the model's inputs", expected=listing(names),
                received=f"without {listing(missing)}" if missing else f"also {listing(strays)}",
            )  # fmt: skip
        return payload

    @property
    def prepare(self) -> Prepare | None:
        """None: the graph takes the tensors as they are."""
        return None

    @property
    def prepared(self) -> list[TensorSpec]:
        """The tensors themselves."""
        return self.tensors

    def contract(self) -> dict[str, Any]:
        """Return all that rebuilds this codec, as JSON."""
        return {"kind": self.kind, "inputs": [spec.to_json() for spec in self.specs]}

    @classmethod
    def from_contract(cls, contract: Mapping[str, Any]) -> TensorCodec:
        """Rebuild from `contract()`'s JSON. Raises BundleError where it is damaged."""
        try:
            return cls(
                tuple(
                    TensorSpec(str(item["name"]), str(item["dtype"]), tuple(int(size) for size in item["shape"]))
                    for item in contract["inputs"]
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError("the contract of the tensor codec is damaged", received=repr(error)[:200]) from error

    def graph(self) -> bytes | None:
        """Return None: nothing is learned before the model."""
        return None

    def features(self, inputs: Arrays) -> Arrays:
        """Return the inputs: the model reads the tensors themselves."""
        return inputs

    def feature_spec(self) -> dict[str, Any]:
        """Return the inputs' names, types and shapes."""
        return self.contract()


def _stacked(rows: list[np.ndarray], spec: TensorSpec) -> np.ndarray:
    sizes = {row.shape for row in rows}
    if len(sizes) > 1:
        raise PayloadError(
            f"input '{spec.name}': rows that are answered together must have one shape",
            received=listing(_words(size) for size in sorted(sizes)),
        )
    return np.stack(rows)


def _array(value: Any, spec: TensorSpec, where: str) -> np.ndarray:
    """Return one row of one input, checked."""
    place = f"{where}input '{spec.name}'"
    try:
        array = np.array(value, dtype=object) if spec.dtype == "string" else np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise PayloadError(f"{place}: ragged lists, or nested too deep") from error
    if not spec.fits(array.shape):
        raise PayloadError(
            f"{place}: another shape is needed", expected=_words(spec.shape), received=_words(array.shape)
        )
    if spec.dtype == "string":
        if not all(isinstance(item, str) for item in array.ravel().tolist()):
            raise PayloadError(f"{place}: only strings fit", expected="strings")
        return array
    if spec.dtype == "uint64" and array.dtype.kind == "f" and not isinstance(value, np.ndarray):
        # Of whole numbers below and from 2⁶³ together NumPy makes floats, which lose digits.
        exact = np.array(value, dtype=object)
        if all(type(item) is int and item >= 0 for item in exact.ravel().tolist()):
            array = exact.astype(np.uint64)
    if array.dtype == np.dtype(spec.dtype):
        return array
    wanted = np.dtype(spec.dtype)
    kinds = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}[wanted.kind]
    if array.dtype.kind not in kinds and array.size:
        raise PayloadError(f"{place}: values of another kind are needed", expected=spec.dtype, received=_kind(array))
    if wanted.kind in "iu" and array.size:
        limits = np.iinfo(wanted)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise PayloadError(
                f"{place}: out of range", expected=f"{limits.min} to {limits.max}",
                received=f"{array.min()} to {array.max()}",
            )  # fmt: skip
    with np.errstate(over="ignore"):
        fitted = array.astype(wanted)
    if wanted.kind == "f" and np.isinf(fitted).any() and not np.isinf(array.astype(np.float64)).any():
        raise PayloadError(f"{place}: out of range", expected=spec.dtype, received=f"up to {np.abs(array).max()}")
    return fitted


def _words(shape: Sequence[int]) -> str:
    return "[" + ", ".join("any" if size == -1 else str(size) for size in shape) + "]"


def _kind(array: np.ndarray) -> str:
    names = {"f": "fractions", "b": "truth values", "U": "text", "O": "values of several kinds", "c": "complex numbers"}
    return names.get(array.dtype.kind, array.dtype.name)

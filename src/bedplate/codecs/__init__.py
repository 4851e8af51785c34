"""Translate payloads to arrays and back: the same code in training and in serving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bedplate.codecs.codec import Codec
from bedplate.core.errors import BundleError, listing


def from_contract(contract: Mapping[str, Any]) -> Codec:
    """Rebuild the codec that wrote `contract`; a codec's module is loaded only when it is asked for.

    Raises:
        BundleError: the contract names no known kind of codec, or is incomplete.
    """
    kind = contract.get("kind")
    if kind == "table":
        from bedplate.codecs.table import TableCodec

        return TableCodec.from_contract(contract)
    if kind == "image":
        from bedplate.codecs.image import ImageCodec

        return ImageCodec.from_contract(dict(contract))
    if kind == "tensor":
        from bedplate.codecs.tensor import TensorCodec

        return TensorCodec.from_contract(contract)
    if kind == "text":
        from bedplate.codecs.text import TextCodec

        return TextCodec.from_contract(contract)
    if kind == "series":
        from bedplate.codecs.series import SeriesCodec

        return SeriesCodec.from_contract(contract)
    if kind == "language":
        from bedplate.codecs.language import LanguageCodec

        return LanguageCodec.from_contract(contract)
    if kind == "sentence":
        from bedplate.codecs.sentence import SentenceCodec

        return SentenceCodec.from_contract(contract)
    known = ["image", "language", "sentence", "series", "table", "tensor", "text"]
    raise BundleError("unknown kind of codec", expected=f"one of {listing(known)}", received=repr(kind))


__all__ = ["from_contract"]

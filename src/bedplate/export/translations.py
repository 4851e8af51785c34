"""The exporter's table of translations, made once: torch.onnx makes it anew for every export.

To make it, torch reads the source of each of its thousand translations, which takes longer than to export a small
network (1.5 s of 2.4 s measured with torch 2.13). The table depends on the operator set alone, and an export only reads
it, so one is kept for each. Where torch has changed what lies behind this, exports are as slow as torch makes them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any


@functools.cache
def _table(build: Callable[..., Any], opset: int) -> Any:
    return build(opset_version=opset)


@contextlib.contextmanager
def kept_translations() -> Iterator[None]:
    """Let exports within share one table of translations."""
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        own = ONNXRegistry.__dict__["from_torchlib"]
        build = ONNXRegistry.from_torchlib
    except (ImportError, AttributeError, KeyError):
        yield
        return

    def kept(opset_version: int) -> Any:
        return _table(build, opset_version)

    type.__setattr__(ONNXRegistry, "from_torchlib", staticmethod(kept))
    try:
        yield
    finally:
        type.__setattr__(ONNXRegistry, "from_torchlib", own)

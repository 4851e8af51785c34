"""Import OpenVINO, which is optional (`pip install "bedplate[openvino]"`), without what it would send home."""

from __future__ import annotations

import importlib.util
import sys
import threading
from typing import Any

_TELEMETRY = "openvino_telemetry"
_importing = threading.Lock()


def installed() -> bool:
    """Return whether OpenVINO can be imported, without importing it."""
    return importlib.util.find_spec("openvino") is not None


def load_openvino() -> Any:
    """Import OpenVINO, without what it would send home.

    `import openvino` sends an event to its maker by way of the `openvino_telemetry` package. Where that package can't
    be imported it does without, so it is hidden while OpenVINO is imported for the first time.
    """
    with _importing:
        if "openvino" in sys.modules:
            return sys.modules["openvino"]
        hidden = sys.modules.get(_TELEMETRY)
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # the documented way to say that it isn't there
        try:
            import openvino
        finally:
            if hidden is None:
                del sys.modules[_TELEMETRY]
            else:
                sys.modules[_TELEMETRY] = hidden
        return openvino


__all__ = ["installed", "load_openvino"]

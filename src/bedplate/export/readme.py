"""The README beside an exported model: the lines of Python that load it, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bedplate.core.console import human_bytes
from bedplate.export.formats import Format

RECORD = "export.json"
FEATURES = "features.onnx"


def usage(chosen: Format, contract: Mapping[str, Any]) -> str:
    """Return the lines of Python that load an export and ask it about one row of zeros."""
    rows = ", ".join(
        f'"{one["name"]}": np.zeros({(1, *(max(size, 1) for size in one["shape"]))}, "{one["dtype"]}")'
        for one in contract["inputs"]
    )
    names = ", ".join(f'"{one["name"]}"' for one in contract["inputs"])
    text = chosen.usage.replace("ROWS", f"{{{rows}}}").replace("NAMES", f"[{names}]")
    return text.replace("OUTPUT", contract["outputs"][0]["name"])


def readme(chosen: Format, record: Mapping[str, Any]) -> str:
    """Return the README of an export, of which `record` holds the figures."""
    contract, bundle, size = record["contract"], record["bundle"], record["size_bytes"]
    golden, latency = record["parity"]["golden"], record["latency_ms"]
    parts = [
        f"# {bundle['name']}, as {chosen.about}{', int8' if record['int8'] else ''}",
        f"Made by Bedplate {record['versions']['bedplate']} of the bundle `{bundle['id']}`.",
        f"```python\n{usage(chosen, contract)}\n```",
    ]
    if "features" in contract:
        parts.append(
            f"`{FEATURES}` comes first: ONNX Runtime makes these features with it, of the table's raw columns."
        )
    if contract["labels"]:
        parts.append(f"The answers are probabilities, one a label; the labels are in `{RECORD}`, `contract.labels`.")
    same = "" if golden["label_agreement"] is None else f", {golden['label_agreement']:.1%} of the labels equal"
    parts += [
        chosen.note,
        f"On the bundle's {golden['rows']} golden rows the largest difference was "
        f"{golden['max_difference']:.2g}{same}. "
        f"{human_bytes(size['export'])} (as ONNX in float32: {human_bytes(size['onnx'])}); "
        f"{latency['export']['median']:.3f} ms a row on one thread ({record['cpu']}), in turns with ONNX Runtime's "
        f"{latency['onnxruntime']['median']:.3f} ms. `{RECORD}` holds all figures.",
    ]
    return "\n\n".join(parts) + "\n"


__all__ = ["FEATURES", "RECORD", "readme", "usage"]

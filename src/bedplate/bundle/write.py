"""Seal a bundle: everything is written to one side, verified, and only then put in place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from safetensors.numpy import save

from bedplate.bundle import layout
from bedplate.bundle.bundle import Bundle
from bedplate.bundle.golden import Golden
from bedplate.bundle.manifest import Manifest, parse_manifest
from bedplate.bundle.onnxscan import GraphFacts, scan_graph
from bedplate.codecs.answers import Answers
from bedplate.codecs.codec import Codec, TensorSpec
from bedplate.core.errors import BundleError
from bedplate.core.files import atomic_folder
from bedplate.core.hashing import sha256_bytes

# The first onnxruntime that loads IR version 10 and opset 21: https://onnxruntime.ai/docs/reference/compatibility.html
_LEAST_RUNTIME, _ITS_IR, _ITS_OPSET, _ITS_ML_OPSET = "1.18", 10, 21, 4


def _json_bytes(value: Any, name: str) -> bytes:
    try:
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BundleError(f"{name} isn't JSON", received=str(error), hint="replace NaN, infinity and arrays") from error
    return (text + "\n").encode()


def _least_runtime(facts: list[GraphFacts]) -> str:
    plain = all(
        fact.ir_version <= _ITS_IR
        and fact.opsets.get("", 0) <= _ITS_OPSET
        and fact.opsets.get("ai.onnx.ml", 0) <= _ITS_ML_OPSET
        for fact in facts
    )
    return _LEAST_RUNTIME if plain else ".".join(onnxruntime.__version__.split(".")[:2])


def _sealed_manifest(**fields: Any) -> Manifest:
    # Through its own text and parser, so that what is written is exactly what can be read.
    return parse_manifest(_json_bytes(fields, layout.MANIFEST), layout.MANIFEST)


def write_bundle(
    path: Path,
    *,
    name: str,
    task: str,
    codec: Codec,
    answers: Answers,
    graphs: Mapping[str, bytes],
    default: str,
    variants_info: Mapping[str, Mapping[str, Any]],
    weights: Mapping[str, np.ndarray] | None,
    model: Mapping[str, Any],
    report: Mapping[str, Any],
    golden: Golden,
    reference: Mapping[str, Any],
    lineage: Mapping[str, Any],
    card: str,
    created: str | None = None,
    outputs: Sequence[TensorSpec] | None = None,
) -> Bundle:
    """Write a bundle to the new folder `path`, verify it (golden rows included), and return it opened.

    Args:
        path: where the bundle's folder will be.
        name: the bundle's name, under which it is served.
        task: the task's registered name.
        codec: translates payloads; only its contract is written.
        answers: translates outputs; only its contract is written.
        default: the variant that is used where none is named.
        model: the registered name and arguments of the model, as JSON.
        report: the evaluation, as JSON.
        reference: the drift reference, as `bedplate.profile.fit_reference` gives it, or empty.
        lineage: where all this comes from, as JSON.
        card: the model card, as Markdown.
        graphs: each kept variant's self-contained ONNX by name; "f32" is the one that runs everywhere.
        variants_info: by variant, `reason` (why it was kept), `isa` (`any_of`: processor features of which it needs
            one, `made_on`), `tolerance` (`atol`, `rtol` of the golden replay) and any further JSON of its own.
        weights: by parameter name, or None where they must not leave.
        golden: at most 256 rows with the outputs of every variant.
        outputs: the tensors that the graph gives, where they aren't a classifier's or a regressor's.
        created: a time as text, if it should be part of the id; without it, equal content gives an equal id.

    Raises:
        BundleError: the content contradicts itself. InputError: `path` exists or can't be written.
    """
    files = {
        layout.MODEL: _json_bytes(model, layout.MODEL),
        layout.REPORT: _json_bytes(report, layout.REPORT),
        layout.REFERENCE: _json_bytes(reference, layout.REFERENCE),
        layout.LINEAGE: _json_bytes(lineage, layout.LINEAGE),
        layout.CARD: card.encode(),
    }
    if set(golden.outputs) != set(graphs):
        raise BundleError(
            "golden rows need the outputs of every variant", expected=str(sorted(graphs)),
            received=str(sorted(golden.outputs)),
        )  # fmt: skip
    files[layout.GOLDEN], files[layout.GOLDEN_TENSORS] = golden.to_files()
    if weights is not None:
        files[layout.WEIGHTS] = save({key: np.ascontiguousarray(array) for key, array in weights.items()})
    facts = [scan_graph(graph, layout.graph_file(variant)) for variant, graph in graphs.items()]
    files |= {layout.graph_file(variant): graph for variant, graph in graphs.items()}
    manifest = _sealed_manifest(
        format=layout.FORMAT,
        name=name,
        task=task,
        created=created,
        default=default,
        variants={
            variant: {**variants_info.get(variant, {}), "graph": layout.graph_file(variant)} for variant in graphs
        },
        contract={
            "codec": codec.contract(),
            "answers": answers.contract(),
            "inputs": [spec.to_json() for spec in codec.tensors],
            "output": answers.output,
            **({"outputs": [spec.to_json() for spec in outputs]} if outputs is not None else {}),
        },
        requires={"onnxruntime": _least_runtime(facts)},
        files={key: {"sha256": sha256_bytes(data), "size": len(data)} for key, data in files.items()},
    )
    with atomic_folder(path) as work:
        for key, data in files.items():
            (work / key).parent.mkdir(parents=True, exist_ok=True)
            (work / key).write_bytes(data)
        sealed = manifest.to_bytes()
        (work / layout.MANIFEST).write_bytes(sealed)
        (work / layout.BUNDLE_ID).write_text(f"{sha256_bytes(sealed)}\n", encoding="ascii")
        # Verified before it appears under its name: a bundle that can't be opened never exists.
        opened = Bundle.open(work)
        for variant in opened.variants:
            opened.replay(variant)
    return Bundle.open(path, replay=False)

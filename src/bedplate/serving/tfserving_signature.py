"""What TensorFlow Serving says of a model: signatures, the versions' states, and what is said when it isn't there."""

from __future__ import annotations

from typing import Any

from bedplate.codecs.codec import TensorSpec
from bedplate.serving.models import Model
from bedplate.serving.problems import Problem
from bedplate.serving.repository import Repository, Version, number_of
from bedplate.serving.tfserving_examples import CLASSIFY, METHOD, SIGNATURES, answers_to
from bedplate.serving.tfserving_read import SIGNATURE
from bedplate.serving.tfserving_tensors import dtype_name

UNLOADABLE = "the version can't be loaded; the server's log says why"
"""What a caller is told of a version that failed: the whole error may name a folder of the server."""


def not_found(name: str, asked: str) -> Problem:
    """Return what is said of a name, version or label that can't answer: 404, and 400 for a label."""
    if asked and not asked.isdigit():
        return Problem(400, f"Unrecognized servable version label: {asked[:100]}")
    which = f"Specific({name[:100]}, {asked[:20]})" if asked else f"Latest({name[:100]})"
    return Problem(404, f"Servable not found for request: {which}")


def versions(repository: Repository, name: str, version: str = "", label: str = "") -> list[Version]:
    """Return a name's versions, or the one that is asked for, whatever their state; the newest first.

    Raises:
        Problem: 404 where there is none, 400 for an unknown label.
    """
    entry = repository.entries.get(name)
    if label:
        if entry is None or label not in entry.labels:
            raise not_found(name, label)
        version = str(entry.labels[label])
    if entry is None or not entry.versions:
        raise Problem(404, f"Could not find any versions of model {name[:100]}")
    if version:
        number = number_of(version)
        if number not in entry.versions:
            raise Problem(404, f"Could not find version {version[:20]} of model {name[:100]}")
        return [entry.versions[number]]
    return [entry.versions[number] for number in sorted(entry.versions, reverse=True)]


def status_json(found: list[Version]) -> dict[str, Any]:
    """Return versions' states as TensorFlow Serving prints them."""
    return {
        "model_version_status": [
            {
                "version": str(version.number), "state": version.state.value,
                "status": {
                    "error_code": "UNKNOWN" if version.error else "OK",
                    "error_message": UNLOADABLE if version.error else "",
                },
            }
            for version in found
        ]
    }  # fmt: skip


def signatures(model: Model) -> dict[str, dict[str, Any]]:
    """Return a model's signatures by name: predict for all, and classify or regress for those that can.

    Each has `inputs` and `outputs` (specs by name, rows left out) and `method_name`.
    """
    found = {
        SIGNATURE: {
            "inputs": {spec.name: spec for spec in model.inputs},
            "outputs": {spec.name: spec for spec in model.outputs},
            "method_name": METHOD["predict"],
        }
    }
    verb = answers_to(model)
    if verb:
        labels = len(model.bundle.answers.labels or ())
        outputs = (
            [TensorSpec("classes", "string", (labels,)), TensorSpec("scores", "float32", (labels,))]
            if verb == CLASSIFY
            else [TensorSpec("outputs", "float32", (1,))]
        )
        found[SIGNATURES[verb]] = {
            "inputs": {"inputs": TensorSpec("inputs", "string")},
            "outputs": {spec.name: spec for spec in outputs},
            "method_name": METHOD[verb],
        }
    return found


def metadata_json(model: Model) -> dict[str, Any]:
    """Return the signatures as TensorFlow Serving prints them."""
    printed = {
        name: {
            "inputs": {key: _tensor_info(spec) for key, spec in signature["inputs"].items()},
            "outputs": {key: _tensor_info(spec) for key, spec in signature["outputs"].items()},
            "method_name": signature["method_name"],
        }
        for name, signature in signatures(model).items()
    }
    return {
        "model_spec": {"name": model.name, "signature_name": "", "version": model.version},
        "metadata": {"signature_def": {"signature_def": printed}},
    }


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    dimensions = [{"size": str(size), "name": ""} for size in (-1, *spec.shape)]
    return {
        "dtype": dtype_name(spec.dtype),
        "tensor_shape": {"dim": dimensions, "unknown_rank": False},
        "name": spec.name,
    }

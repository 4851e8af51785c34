"""The models that all serve: made by Bedplate's own command, with a sample row, its bodies and its golden answer."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.bundle import Bundle
from bedplate.core.arrays import take
from benchmarks.serving.environments import ROOT

NAMES = ("cnn", "adult", "resnet18", "sst2")
TITLES = {
    "cnn": "CNN 32-64-64 on 28×28 grey images (MNIST)",
    "adult": "MLP 256-128 on the 14 raw columns of Adult",
    "resnet18": "ResNet-18 on 224×224 colour images, random weights",
    "sst2": "Transformer encoder, 2 blocks of 128, on a sentence of SST-2",
}
FORMS = {"cnn": ("json", "binary"), "adult": ("json",), "resnet18": ("binary", "jpeg"), "sst2": ("json",)}
SETTINGS = {"sst2": ("model={name: transformer-encoder}",)}
"""What is set beside the shipped recipe's own, by model."""
FORM_TITLES = {"json": "one row as JSON", "binary": "one row's uint8 pixels, not as text", "jpeg": "one JPEG file"}


@dataclass(frozen=True)
class Model:
    """One model and its sample.

    Attributes:
        name: as in `NAMES`.
        bundle: the bundle's folder.
        labels: the classes, in the order of the probabilities.
        instance: the sample as JSON: nested lists of pixels, an object by column, or a text.
        pixels: the sample's pixels (height, width, channels) uint8; empty for a table.
        jpeg: the sample as a file; empty where the model isn't asked for files.
        golden: form → the probabilities that ONNX Runtime gives the sample, float32 of (classes,).
        graph: the file that all peers run.
        inputs: what the graph takes of a request, {name, dtype, shape} without the row axis; of a text the text itself.
        tokenizer: of texts, what the peers need to make token numbers: {tokenizer, length}; else empty.
    """

    name: str
    bundle: Path
    labels: tuple[str, ...]
    instance: Any
    pixels: np.ndarray
    jpeg: bytes
    golden: dict[str, np.ndarray]
    graph: Path
    inputs: tuple[dict[str, Any], ...]
    output: str = "probabilities"
    tokenizer: dict[str, Any] = field(default_factory=dict)
    connections: int = field(default=32)

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms in which the sample is sent."""
        return FORMS[self.name]

    @property
    def kind(self) -> str:
        """What a row is: image, table or text."""
        return "text" if self.tokenizer else "image" if len(self.pixels) else "table"

    @property
    def heavy(self) -> bool:
        """Whether a call takes many milliseconds, so that threads pay."""
        return self.name == "resnet18"

    @property
    def base64(self) -> str:
        """The sample's pixels as text."""
        return base64.b64encode(self.pixels.tobytes()).decode()

    def write(self, folder: Path) -> Path:
        """Write what the peers need to know, and return the file."""
        path = folder / f"{self.name}.json"
        known = {
            "name": self.name, "kind": self.kind, "graph": str(self.graph), "inputs": self.inputs,
            "output": self.output, "heavy": self.heavy, "classes": len(self.labels), **self.tokenizer,
        }  # fmt: skip
        path.write_text(json.dumps(known))
        return path


def _bedplate(*words: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bedplate", *map(str, words)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"bedplate {words[0]} failed:\n{done.stderr[-2000:]}")


def _make(name: str, folder: Path) -> Path:
    """Make a model's bundle in a folder, unless it is there already; return the bundle."""
    bundle = folder / name / "bundle"
    if (bundle / "BUNDLE_ID").exists():
        return bundle
    print(f"making the model {name}", flush=True)
    if name == "resnet18":
        folder.mkdir(parents=True, exist_ok=True)
        graph, labels = folder / "resnet18.onnx", folder / "classes.txt"
        subprocess.run([sys.executable, "-m", "benchmarks.serving.networks", graph], check=True, cwd=ROOT)
        labels.write_text("".join(f"class {k}\n" for k in range(1000)))
        _bedplate(
            "import", graph, "--codec", "image", "--labels", labels, "--mean", "0.485,0.456,0.406", "--std",
            "0.229,0.224,0.225", "--name", name, "--out", bundle,
        )  # fmt: skip
        return bundle
    if not os.environ.get("BEDPLATE_DATA"):
        raise SystemExit(f"the model {name} is trained on a dataset: set BEDPLATE_DATA, or leave it out with --models")
    _bedplate(
        "run", {"cnn": "mnist"}.get(name, name), "--out", folder / name, "--quiet", "--fresh", "--set",
        "training.epochs=1", "gate={}", "evaluation.baselines=false", "compression.methods=[]", *SETTINGS.get(name, ()),
    )  # fmt: skip
    return bundle


def picture(size: int = 224) -> bytes:
    """Return a JPEG file with the shapes and the noise of a photograph, about 25 kB."""
    from PIL import Image

    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (9, 9, 3), np.uint8)).resize(
        (size, size), Image.Resampling.BICUBIC
    )
    grain = random.normal(0, 6, (size, size, 1))
    pixels = np.clip(np.asarray(coarse, np.float64) + grain, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def make(name: str, folder: Path) -> Model:
    """Return a model with its sample and its golden answers, made in a folder unless it is there already."""
    path = _make(name, folder.resolve())
    bundle = Bundle.open(path)
    predict = bundle.session("f32", bundle.graph("f32"), 1)
    row: Mapping[str, np.ndarray] = take(bundle.golden.inputs, slice(0, 1))
    pixels, jpeg, instance, golden, tokenizer = np.empty(0, np.uint8), b"", None, {}, {}
    if bundle.codec.kind == "table":
        instance = {spec.name: row[spec.name][0] for spec in bundle.inputs}
        instance = {name: value if isinstance(value, str) else float(value) for name, value in instance.items()}
        golden["json"] = predict(row)["probabilities"][0]
    elif bundle.codec.kind == "text":
        contract = bundle.codec.contract()
        assert not contract.get("shift"), "the peers take the tokenizer's numbers as they are"
        tokenizer = {"tokenizer": contract["tokenizer"], "length": contract["length"]}
        instance = str(row[bundle.inputs[0].name][0])
        golden["json"] = predict(row)["probabilities"][0]
    else:
        pixels = row[bundle.inputs[0].name][0]
        instance = pixels.tolist()
        golden["json"] = golden["binary"] = predict(row)["probabilities"][0]
        if "jpeg" in FORMS[name]:
            jpeg = picture()
            golden["jpeg"] = predict(bundle.codec.decode([jpeg]))["probabilities"][0]
    graph = path / "graphs" / "f32.onnx"
    return Model(
        name, path, bundle.answers.labels or (), instance, pixels, jpeg, golden, graph,
        tuple({"name": one.name, "dtype": one.dtype, "shape": list(one.shape)} for one in bundle.inputs),
        tokenizer=tokenizer, connections=4 if name == "resnet18" else 32,
    )  # fmt: skip

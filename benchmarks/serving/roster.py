"""Who is measured: how each server is installed, started with its best documented settings, and asked."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving.environments import ROOT
from benchmarks.serving.models import Model

PEERS = Path(__file__).parent / "peers"
CORES = 2
ENGINE = "onnxruntime==1.31.1"
NUMPY = "numpy==2.4.6"
PILLOW = "pillow==13.0.0"
BATCH = 16

JSON = {"Content-Type": "application/json"}
BYTES = {"Content-Type": "application/octet-stream"}
JPEG = {"Content-Type": "image/jpeg"}


@dataclass(frozen=True)
class Ask:
    """One request, and how its reply is read: bytes to probabilities, float32 of (classes,)."""

    path: str
    body: bytes
    headers: dict[str, str]
    read: Callable[[bytes], np.ndarray]


@dataclass(frozen=True)
class Peer:
    """One server.

    Attributes:
        name: as in the tables.
        environment: the name of its environment, which peers may share.
        packages: what pip installs there.
        command: the words after the environment's `bin` folder; PORT, MODEL and BUNDLE are filled in.
        ask: the request for a model in a form, or None where the server has no such form.
        settings: what was set, in words.
        processes: how many processes run the model.
        kind: "own", "floor" (a bare loop) or "peer".
        aim: Bedplate is to be so many times as fast; 0 for no aim.
        prepare: a command that is run once a model before the clock starts.
        models: the models it is measured with.
        warmth: how many times as long it is warmed up as the others.
        main: the distributions whose versions are told.
    """

    name: str
    environment: str
    packages: tuple[str, ...]
    command: tuple[str, ...]
    ask: Callable[[Model, str], Ask | None]
    settings: str
    processes: int = 1
    kind: str = "peer"
    aim: float = 0.0
    prepare: tuple[str, ...] = ()
    models: tuple[str, ...] = ("cnn", "adult", "resnet18")
    warmth: float = 1.0
    main: tuple[str, ...] = ()

    def threads(self, model: Model) -> int:
        """Return the threads of one session: one for small models; for others all cores shared by the processes."""
        return max(1, CORES // self.processes) if model.heavy else 1


def predictions(reply: bytes) -> np.ndarray:
    """Read `{"predictions": [[…]]}`."""
    return np.asarray(json.loads(reply)["predictions"][0], np.float32)


def raw(reply: bytes) -> np.ndarray:
    """Read float32 as they lie in memory."""
    return np.frombuffer(reply, np.float32)


def v2_binary(reply: bytes) -> np.ndarray:
    """Read the last tensor of a reply in the Open Inference Protocol's binary form."""
    return np.frombuffer(reply[_json_end(reply) :], np.float32)


def _json_end(reply: bytes) -> int:
    _, end = json.JSONDecoder().raw_decode(reply.decode("latin-1"))
    return end


def v2_json(reply: bytes) -> np.ndarray:
    """Read the first output of a reply of the Open Inference Protocol."""
    return np.asarray(json.loads(reply)["outputs"][0]["data"], np.float32).reshape(-1)


def native(model: Model) -> Callable[[bytes], np.ndarray]:
    """Return the reader of Bedplate's own replies."""

    def read(reply: bytes) -> np.ndarray:
        found: dict[str, Any] = json.loads(reply)["answers"][0]["probabilities"]
        return np.array([found[label] for label in model.labels], np.float32)

    return read


def dumps(value: Any) -> bytes:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def by_hand(model: Model, form: str) -> Ask:
    """Ask a server whose paths are ours: `/json`, `/binary`, `/jpeg`."""
    if form == "json":
        return Ask("/json", dumps({"instances": [model.instance]}), JSON, predictions)
    if form == "binary":
        return Ask("/binary", model.pixels.tobytes(), BYTES, raw)
    return Ask("/jpeg", model.jpeg, JPEG, predictions)


def ask_bedplate(model: Model, form: str) -> Ask:
    """Ask Bedplate: TensorFlow Serving's JSON, the Open Inference Protocol's raw bodies, or a file as it is."""
    if form == "json":
        return Ask(f"/v1/models/{model.name}:predict", dumps({"instances": [model.instance]}), JSON, predictions)
    if form == "jpeg":
        return Ask(f"/predict/{model.name}", model.jpeg, JPEG, native(model))
    headers = {**BYTES, "Inference-Header-Content-Length": "0"}  # a raw body, as the other servers are sent one
    return Ask(f"/v2/models/{model.name}/infer", model.pixels.tobytes(), headers, v2_binary)


def ask_bentoml(model: Model, form: str) -> Ask | None:
    """Ask BentoML: arrays and rows as JSON, files as a form."""

    def read(reply: bytes) -> np.ndarray:
        return np.asarray(json.loads(reply)[0], np.float32)

    if form == "json" and len(model.pixels):
        return Ask("/pixels", dumps({"image": [model.instance]}), JSON, read)
    if form == "json" and model.kind == "text":
        return Ask("/texts", dumps({"texts": [model.instance]}), JSON, read)
    if form == "json":
        return Ask("/rows", dumps({"rows": [model.instance]}), JSON, read)
    if form == "jpeg":
        line = "--the-end-of-a-part"
        head = f'{line}\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\nContent-Type: image/jpeg'
        body = f"{head}\r\n\r\n".encode() + model.jpeg + f"\r\n{line}--\r\n".encode()
        return Ask("/files", body, {"Content-Type": f"multipart/form-data; boundary={line[2:]}"}, read)
    return None


def ask_litserve(model: Model, form: str) -> Ask:
    """Ask LitServe, which takes JSON: bytes go as base64."""
    if form == "json":
        return Ask("/predict", dumps({"instances": [model.instance]}), JSON, predictions)
    return Ask("/predict", dumps({"image": as_base64(model, form)}), JSON, predictions)


def ask_mlserver(model: Model, form: str) -> Ask:
    """Ask MLServer in the Open Inference Protocol's JSON: bytes go as base64, for want of the binary extension."""
    if form != "json":
        inputs = [{
            "name": model.inputs[0]["name"], "shape": [1], "datatype": "BYTES",
            "parameters": {"content_type": "base64"}, "data": [as_base64(model, form)],
        }]  # fmt: skip
    elif len(model.pixels):
        flat = model.pixels.reshape(-1).tolist()
        inputs = [{
            "name": model.inputs[0]["name"], "shape": [1, *model.pixels.shape], "datatype": "UINT8", "data": flat,
        }]  # fmt: skip
    elif model.kind == "text":
        inputs = [{"name": model.inputs[0]["name"], "shape": [1], "datatype": "BYTES", "data": [model.instance]}]
    else:
        kinds = {"string": "BYTES", "float64": "FP64"}
        inputs = [
            {"name": one["name"], "shape": [1], "datatype": kinds[one["dtype"]], "data": [model.instance[one["name"]]]}
            for one in model.inputs
        ]
    return Ask(f"/v2/models/{model.name}/infer", dumps({"inputs": inputs}), JSON, v2_json)


def ask_mlflow(model: Model, form: str) -> Ask | None:
    """Ask MLflow: tensors and rows as JSON; files and the large model's pixels as base64."""

    def read(reply: bytes) -> np.ndarray:
        found = json.loads(reply)["predictions"]
        found = found["probabilities"] if isinstance(found, dict) else found
        return np.asarray(found[0], np.float32)

    if form == "json" and len(model.pixels):
        body: Any = {"inputs": [model.instance]}
    elif form == "json":
        body = {"inputs": {name: [value] for name, value in model.instance.items()}}
    elif model.heavy:
        body = {"dataframe_split": {"columns": ["image"], "data": [[as_base64(model, form)]]}}
    else:
        return None
    return Ask("/invocations", dumps(body), JSON, read)


def ask_torchserve(model: Model, form: str) -> Ask:
    """Ask TorchServe: bodies as they are, replies as JSON."""
    asked = by_hand(model, form)
    return Ask(f"/predictions/{model.name}", asked.body, asked.headers, predictions)


def as_base64(model: Model, form: str) -> str:
    """Return the sample's pixels, or its file, as text."""
    return base64.b64encode(model.jpeg if form == "jpeg" else model.pixels.tobytes()).decode()


BEDPLATE = ("bedplate", "serve", "--name", "BUNDLE", "--port", "PORT", "--processes", "PROCESSES")
FLOOR = (ENGINE, NUMPY, PILLOW, "orjson==3.13.0", "uvloop==0.23.0")
UVICORN = ("uvloop==0.23.0", "httptools==0.9.0")
"""What uvicorn's pages recommend for speed, for peers that run it and don't bring these."""

OWN = (f"--editable={ROOT}",)
TOKENIZERS = "tokenizers==0.23.3"


def script(name: str) -> tuple[str, ...]:
    """Return the command of a peer's own file."""
    return ("python", str(PEERS / name))


SERVERS: tuple[Peer, ...] = (
    Peer(
        "Bedplate", "bedplate", OWN, (*BEDPLATE, "--engine", "onnxruntime"), ask_bedplate,
        "as it comes, on ONNX Runtime", kind="own", main=("bedplate", "onnxruntime"),
    ),
    Peer(
        "Bedplate, 2 processes", "bedplate", OWN, (*BEDPLATE, "--engine", "onnxruntime"), ask_bedplate,
        "--processes 2, on ONNX Runtime", processes=2, kind="own",
    ),
    Peer(
        "Bedplate, any engine", "bedplate-openvino", (f"--editable={ROOT}[openvino]",), BEDPLATE, ask_bedplate,
        "as it comes, with bedplate[openvino]", kind="own", models=("resnet18",), main=("openvino",),
    ),
    *(
        Peer(
            f"bare ASGI, {words}", "bare-asgi", (*FLOOR, "uvicorn==0.54.0", "httptools==0.9.0"),
            script("bare_asgi.py"), by_hand, "uvicorn, uvloop, httptools, orjson; the model on the event loop",
            processes=processes, kind="floor", main=("uvicorn", "uvloop", "httptools", "orjson"),
        )
        for processes, words in ((1, "1 process"), (2, "2 processes"))
    ),
    *(
        Peer(
            f"bare Granian, {words}", "granian", (*FLOOR, "granian==2.8.7"), script("bare_granian.py"), by_hand,
            "RSGI, uvloop, orjson; the model on the event loop", processes=processes, kind="floor",
            main=("granian",),
        )
        for processes, words in ((1, "1 process"), (2, "2 processes"))
    ),
    Peer(
        "FastAPI", "fastapi", (*FLOOR, "fastapi==0.165.0", "uvicorn==0.54.0", "httptools==0.9.0"),
        script("fastapi_.py"), by_hand, "pydantic bodies; uvicorn with 2 workers, uvloop and httptools",
        processes=2, aim=2.5, main=("fastapi", "pydantic", "uvicorn"),
    ),
    Peer(
        "LitServe", "litserve", (ENGINE, NUMPY, PILLOW, "litserve==0.2.19", "pyzmq"), script("litserve_.py"),
        ask_litserve, "batches of 16, 2 workers, 2 API servers, fast_queue (ZeroMQ)", processes=2, aim=4.0,
        main=("litserve",),
    ),
    Peer(
        "BentoML", "bentoml", (ENGINE, NUMPY, PILLOW, "bentoml==1.4.40", *UVICORN),
        ("bentoml", "serve", "bentoml_:Model", "--working-dir", "PEERS", "--host", "127.0.0.1", "--port", "PORT"),
        ask_bentoml, "adaptive batches of 16, 2 workers; access log and metrics off", processes=2, aim=4.0,
        main=("bentoml",),
    ),
    *(
        Peer(
            name, "mlserver", (ENGINE, NUMPY, PILLOW, "mlserver==1.7.1", "uvloop==0.21.0"), script("mlserver_.py"),
            ask_mlserver, words, processes=processes, aim=4.0, main=("mlserver",),
        )
        # Its workers end at once with later versions of uvloop, which no longer make a loop unasked.
        for name, processes, words in (
            ("MLServer", 1, "batches of 16; parallel_workers=0"),
            ("MLServer, 2 workers", 2, "batches of 16; parallel_workers=2"),
        )
    ),
    Peer(
        "Ray Serve", "ray", (ENGINE, NUMPY, PILLOW, "ray[serve]==2.60.0", "orjson==3.13.0"), script("ray_.py"), by_hand,
        "serve.batch of 16, 2 replicas, RAY_SERVE_THROUGHPUT_OPTIMIZED; access log off", processes=2, aim=4.0,
        main=("ray",),
    ),
    Peer(
        "MLflow", "mlflow", (ENGINE, NUMPY, PILLOW, "onnx==1.23.2", "mlflow==3.17.2", *UVICORN), script("mlflow_.py"),
        ask_mlflow,
        "mlflow models serve with 2 workers", processes=2, aim=4.0, prepare=(*script("mlflow_.py"), "prepare"),
        main=("mlflow",),
    ),
    Peer(
        "TorchServe", "torchserve",
        (
            ENGINE, NUMPY, PILLOW, "torch==2.13.0", "torchserve==0.12.0", "torch-model-archiver==0.12.0", "setuptools",
            "pyyaml",
        ),
        script("torchserve_.py"), ask_torchserve, "batches of 16, 2 workers; system metrics off, logs asynchronous",
        processes=2, aim=3.0, prepare=(*script("torchserve_.py"), "prepare"), warmth=4.0,
        main=("torchserve", "torch"),
    ),
)  # fmt: skip


def with_texts(peer: Peer) -> Peer:
    """Return a server with an environment that has tokenizers besides; other models needn't carry them."""
    own = (f"--editable={ROOT}[text]",)
    packages = own if peer.kind == "own" else (*peer.packages, TOKENIZERS)
    return replace(
        peer, environment=f"{peer.environment}-texts", packages=packages, models=("sst2",),
        main=(*peer.main, "tokenizers"),
    )  # fmt: skip


TEXT_SERVERS = tuple(
    with_texts(peer)
    for peer in SERVERS
    if peer.name.startswith(("bare ASGI", "FastAPI", "LitServe", "BentoML", "MLServer"))
    or peer.name in ("Bedplate", "Bedplate, 2 processes")
)
"""Who serves texts. The others weren't adapted to them."""

PARTS = {"rows": SERVERS, "texts": TEXT_SERVERS}
"""What is measured together, on one machine and day, and with whom."""

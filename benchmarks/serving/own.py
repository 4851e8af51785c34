"""What only Bedplate is asked: its engine without a server around it, and gRPC."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np

from bedplate.serving.messages import message
from benchmarks.serving.environments import ROOT, environment
from benchmarks.serving.measure import Place, Visit
from benchmarks.serving.models import Model
from benchmarks.serving.processes import free_port
from benchmarks.serving.roster import PEERS, Peer


def engine_alone(peer: Peer, model: Model, place: Place) -> dict[str, Any]:
    """Return the rows a second of the engine that this server chose, driven directly with the same threads."""
    binaries = environment(peer.environment, peer.packages)
    wanted = peer.command[peer.command.index("--engine") + 1] if "--engine" in peer.command else "auto"
    done = subprocess.run(
        [binaries / "python", PEERS / "engine.py", model.bundle, wanted, str(place.seconds)], capture_output=True,
        text=True, check=False, cwd=place.folder,
    )  # fmt: skip
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:200]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def grpc(peer: Peer, model: Model, place: Place) -> dict[str, Any]:
    """Return the gRPC calls a second of a server with one image a call, after its answer was found right."""
    import grpc as rpc

    request = message("inference.ModelInferRequest")(
        model_name=model.name,
        inputs=[{"name": model.inputs[0]["name"], "datatype": "UINT8", "shape": [1, *model.pixels.shape]}],
        raw_input_contents=[model.pixels.tobytes()],
    ).SerializeToString()
    port = free_port()
    with Visit(peer, model, place, more=("--grpc-port", str(port))) as one:
        one.ready()
        with rpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            infer = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer", request_serializer=None,
                response_deserializer=message("inference.ModelInferResponse").FromString,
            )  # fmt: skip
            found = np.frombuffer(infer(request, timeout=30, wait_for_ready=True).raw_output_contents[0], np.float32)
        if not np.allclose(found, model.golden["binary"], atol=1e-3, rtol=0):
            return {"failed": "another answer than the golden one"}
        file = one.folder / "request"
        file.write_bytes(request)
        words = [sys.executable, "-m", "benchmarks.serving.grpc_load", "--port", str(port), "--request", str(file)]
        for seconds in (place.warm, place.seconds):
            done = subprocess.run(
                [*words, "--seconds", str(seconds)], capture_output=True, text=True, check=False, cwd=ROOT
            )
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["?"])[-1][:200]}
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured

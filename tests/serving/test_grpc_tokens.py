"""Tokens over gRPC: the same file, the same roles."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest
from tests.bundle.boxes import images
from tests.serving.running import running
from tests.serving.test_grpc_server import HEALTH, PREDICTION, health, method, predict

from bedplate.bundle import Bundle
from bedplate.serving import messages
from bedplate.serving.grpc_tokens import role_of

MODEL = "tensorflow.serving.ModelService"
TRITON = "inference.GRPCInferenceService"


def test_every_method_has_a_role() -> None:
    roles = {
        f"{service}/{name}": role_of(f"/{service}/{name}")
        for service in (HEALTH, PREDICTION, MODEL, TRITON)
        for name in messages.service(service)
    }
    assert {name for name, role in roles.items() if not role} == {
        f"{HEALTH}/Check", f"{HEALTH}/Watch", f"{TRITON}/ServerLive", f"{TRITON}/ServerReady",
        f"{TRITON}/ServerMetadata", f"{HEALTH}/List",
    } & roles.keys()  # fmt: skip
    assert {name for name, role in roles.items() if role == "manage"} == {
        f"{MODEL}/HandleReloadConfigRequest", f"{TRITON}/RepositoryModelLoad", f"{TRITON}/RepositoryModelUnload",
    }  # fmt: skip


def test_a_call_needs_a_token_with_the_role(image_box: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    tokens = [
        {"name": "a", "token": "may-predict-0123456789", "roles": ["predict"]},
        {"name": "b", "token": "may-manage-0123456789", "roles": ["manage"]},
    ]
    file.write_text(json.dumps({"tokens": tokens}))
    file.chmod(0o600)
    reload = messages.message("tensorflow.serving.ReloadConfigRequest")()
    with running([("", image_box.path)], grpc_port=0, token_file=str(file)) as server:
        with grpc.insecure_channel(server.grpc) as channel:
            assert method(channel, HEALTH, "Check")(health(), timeout=20).status == 1
            for service, name, request, header, expected in (
                (PREDICTION, "Predict", predict(images(1)), None, "UNAUTHENTICATED"),
                (PREDICTION, "Predict", predict(images(1)), "Bearer wrong", "UNAUTHENTICATED"),
                (PREDICTION, "Predict", predict(images(1)), "Bearer may-manage-0123456789", "PERMISSION_DENIED"),
                (PREDICTION, "Predict", predict(images(1)), "Bearer may-predict-0123456789", "OK"),
                (MODEL, "HandleReloadConfigRequest", reload, "Bearer may-predict-0123456789", "PERMISSION_DENIED"),
                (MODEL, "HandleReloadConfigRequest", reload, "Bearer may-manage-0123456789", "INVALID_ARGUMENT"),
            ):
                metadata = [("authorization", header)] if header else []
                call = method(channel, service, name)
                if expected == "OK":
                    assert call(request, timeout=20, metadata=metadata).model_spec.name == "small"
                    continue
                with pytest.raises(grpc.RpcError) as error:
                    call(request, timeout=20, metadata=metadata)
                assert error.value.code().name == expected, error.value.details()
            stream = channel.stream_stream(f"/{TRITON}/ModelStreamInfer")(iter([]), timeout=20)
            with pytest.raises(grpc.RpcError) as error:
                next(stream)
            assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert server.stop()[0] == 0

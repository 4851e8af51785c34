"""The gRPC server: health, limits, deadlines, faults, and an end that loses nothing."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from tests.bundle.boxes import images
from tests.serving.running import Running, running, start

from bedplate.bundle import Bundle
from bedplate.serving import messages
from bedplate.serving.grpc_server import status_code
from bedplate.serving.problems import Problem

HEALTH = "grpc.health.v1.Health"
PREDICTION = "tensorflow.serving.PredictionService"


@pytest.fixture(scope="module")
def served(image_box: Bundle) -> Iterator[Running]:
    with running([("", image_box.path)], grpc_port=0) as server:
        yield server
        code, said = server.stop()
        assert (code, said.strip()) == (0, "HEAVY []")


@pytest.fixture
def channel(served: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.grpc) as found:
        yield found


def method(channel: grpc.Channel, service: str, name: str) -> Any:
    shape = messages.service(service)[name]
    make = channel.unary_stream if shape.reply_stream else channel.unary_unary
    return make(
        f"/{service}/{name}",
        request_serializer=lambda request: request if isinstance(request, bytes) else request.SerializeToString(),
        response_deserializer=shape.reply.FromString,
    )


def health(service: str = "") -> Any:
    return messages.message("grpc.health.v1.HealthCheckRequest")(service=service)


def predict(pixels: np.ndarray) -> Any:
    request = messages.message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = "small"
    tensor = request.inputs["image"]
    tensor.dtype, tensor.tensor_content = 4, pixels.tobytes()
    for size in pixels.shape:
        tensor.tensor_shape.dim.add().size = size
    return request


def test_health_of_the_server_and_of_each_service(channel: grpc.Channel) -> None:
    check = method(channel, HEALTH, "Check")
    for name in ("", HEALTH, PREDICTION, "tensorflow.serving.ModelService"):
        assert check(health(name), timeout=20).status == 1
    with pytest.raises(grpc.RpcError) as error:
        check(health("absent"), timeout=20)
    assert error.value.code() is grpc.StatusCode.NOT_FOUND
    watch = method(channel, HEALTH, "Watch")
    for name, status in (("", 1), ("absent", 3)):
        call = watch(health(name), timeout=20)
        assert next(call).status == status
        call.cancel()


def test_what_is_no_message_and_what_is_no_method(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as error:
        method(channel, PREDICTION, "Predict")(b"\xff\xff", timeout=20)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "isn't a tensorflow.serving.PredictRequest" in error.value.details()
    for path in (f"/{PREDICTION}/Guess", "/absent/Predict"):
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary(path)(b"", timeout=20)
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_message_over_the_limit_is_refused_as_sent_and_as_unpacked(image_box: Bundle) -> None:
    options = [("grpc.max_send_message_length", 1 << 30)]
    with running([("", image_box.path)], grpc_port=0, limits={"body_bytes": 1 << 20}) as server:
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            with grpc.insecure_channel(server.grpc, options=options, compression=compression) as channel:
                call = method(channel, PREDICTION, "Predict")
                assert len(call(predict(images(100)), timeout=20).outputs["probabilities"].float_val) == 300
                with pytest.raises(grpc.RpcError) as error:
                    call(predict(np.zeros((100_000, 8, 8, 1), np.uint8)), timeout=20)
                assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert server.stop()[0] == 0


def test_a_callers_deadline_counts(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as error:
        method(channel, PREDICTION, "Predict")(predict(np.repeat(images(1), 9000, axis=0)), timeout=0.003)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_problems_become_status_codes() -> None:
    expected = {
        400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
        409: "ALREADY_EXISTS", 413: "RESOURCE_EXHAUSTED", 429: "RESOURCE_EXHAUSTED", 499: "CANCELLED",
        501: "UNIMPLEMENTED", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED", 500: "INTERNAL", 418: "INTERNAL",
    }  # fmt: skip
    assert {status: status_code(Problem(status, "")).name for status in expected} == expected


def test_many_calls_at_once_each_get_their_own_answer(channel: grpc.Channel, image_box: Bundle) -> None:
    rows = images(60, seed=3)
    expected = image_box.predictor()({"image": rows})["probabilities"]
    call = method(channel, PREDICTION, "Predict")
    pending = [call.future(predict(rows[k : k + 1]), timeout=20) for k in range(60)]
    for k, one in enumerate(pending):
        np.testing.assert_allclose(one.result().outputs["probabilities"].float_val, expected[k], atol=1e-6)


def test_calls_in_hand_are_answered_and_watchers_told_when_it_stops(image_box: Bundle) -> None:
    many = predict(np.repeat(images(1), 9000, axis=0))
    with running([("", image_box.path)], grpc_port=0) as server, grpc.insecure_channel(server.grpc) as channel:
        watch = method(channel, HEALTH, "Watch")(health(), timeout=60)
        assert next(watch).status == 1
        pending = [method(channel, PREDICTION, "Predict").future(many, timeout=60) for _ in range(6)]
        deadline = time.monotonic() + 20
        while 'bedplate_rows_total{model="small"} 0' in httpx.get(f"{server.url}/metrics", timeout=30).text:
            assert time.monotonic() < deadline
        seen: list[int] = []
        follower = threading.Thread(target=lambda: seen.extend(one.status for one in watch))
        follower.start()
        begun = time.monotonic()
        code, _ = server.stop(signal.SIGTERM)
        assert [len(one.result().outputs["probabilities"].float_val) for one in pending] == [27000] * 6
        follower.join()
        assert (code, seen) == (0, [2])
        assert time.monotonic() - begun < 20  # an open watch holds nothing up


def test_a_port_that_is_taken_is_said_before_anything_is_loaded(served: Running, image_box: Bundle) -> None:
    refused = start([("", image_box.path)], grpc_port=int(served.grpc.rpartition(":")[2]))
    assert "the port is in use" in refused.url
    assert refused.process.wait(timeout=30) == 2
    refused.process.communicate()


def test_it_is_silent_unless_asked_for(image_box: Bundle, tmp_path: Path) -> None:
    with running([("", image_box.path)]) as server:
        assert server.grpc == ""
        assert server.stop()[0] == 0


def test_several_processes_share_the_port(image_box: Bundle) -> None:
    with running([("", image_box.path)], grpc_port=0, processes=2) as server:
        for _ in range(6):
            with grpc.insecure_channel(server.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
                assert method(channel, HEALTH, "Check")(health(), timeout=20).status == 1
        assert server.stop()[0] == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_tls_with_the_certificate_of_https(image_box: Bundle, tmp_path: Path) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(chain), *subject],
        check=True, capture_output=True,
    )  # fmt: skip
    with running([("", image_box.path)], grpc_port=0, tls=[str(chain), str(key)]) as server:
        trusted = grpc.ssl_channel_credentials(chain.read_bytes())
        with grpc.secure_channel(server.grpc, trusted) as channel:
            assert method(channel, HEALTH, "Check")(health(), timeout=20).status == 1
        with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError):
            method(channel, HEALTH, "Check")(health(), timeout=5)
        assert server.stop()[0] == 0

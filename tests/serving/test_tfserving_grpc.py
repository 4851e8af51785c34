"""TensorFlow Serving's gRPC services over a repository of versions; the official client's tests are in conformance/."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from tests.bundle.boxes import image_bundle, image_graph, images
from tests.serving.running import running
from tests.serving.test_grpc_server import method, predict

from bedplate.bundle import Bundle
from bedplate.serving.messages import message
from bedplate.serving.tfserving_signature import UNLOADABLE

PREDICTION = "tensorflow.serving.PredictionService"
MODEL = "tensorflow.serving.ModelService"
PIXELS = images(2, seed=4)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    folder = tmp_path_factory.mktemp("boxes")
    return [image_bundle(folder / str(seed), graphs={"f32": image_graph(seed)}) for seed in (0, 1, 2)]


@pytest.fixture
def channel(boxes: list[Bundle], tmp_path: Path) -> Iterator[grpc.Channel]:
    """A server over a repository: 'small' with versions 1 and 2, the newer served, and 'other' beside it."""
    for name, version, box in (("small", 1, boxes[0]), ("small", 2, boxes[1]), ("other", 5, boxes[2])):
        shutil.copytree(box.path, tmp_path / "models" / name / str(version))
    with running([], repository=tmp_path / "models", grpc_port=0) as server:
        with grpc.insecure_channel(server.grpc) as found:
            yield found
        assert server.stop()[0] == 0


def ask(channel: grpc.Channel, name: str = "small", version: int = 0, label: str = "") -> tuple[int, np.ndarray]:
    request = predict(PIXELS)
    request.model_spec.name = name
    if version:
        request.model_spec.version.value = version
    if label:
        request.model_spec.version_label = label
    reply = method(channel, PREDICTION, "Predict")(request, timeout=20)
    return reply.model_spec.version.value, np.array(reply.outputs["probabilities"].float_val).reshape(-1, 3)


def states(channel: grpc.Channel, name: str) -> dict[int, int]:
    request = message("tensorflow.serving.GetModelStatusRequest")()
    request.model_spec.name = name
    found = method(channel, MODEL, "GetModelStatus")(request, timeout=20).model_version_status
    return {one.version: one.state for one in found}


def reload(channel: grpc.Channel, *models: dict[str, Any]) -> Any:
    request = message("tensorflow.serving.ReloadConfigRequest")()
    request.config.model_config_list.SetInParent()
    for model in models:
        one = request.config.model_config_list.config.add(name=model["name"], base_path=str(model["path"]))
        if "specific" in model:
            one.model_version_policy.specific.versions.extend(model["specific"])
        if model.get("all"):
            one.model_version_policy.all.SetInParent()
        if "latest" in model:
            one.model_version_policy.latest.num_versions = model["latest"]
        for label, version in model.get("labels", {}).items():
            one.version_labels[label] = version
    return method(channel, MODEL, "HandleReloadConfigRequest")(request, timeout=60)


def fails(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code(), error.value.details()


def test_a_reload_replaces_the_whole_set(channel: grpc.Channel, boxes: list[Bundle]) -> None:
    expected = [box.predictor()({"image": PIXELS})["probabilities"] for box in boxes]
    assert ask(channel)[0] == 2
    assert ask(channel, "other")[0] == 5

    reply = reload(channel, {"name": "small", "path": "small", "all": True, "labels": {"stable": 1, "canary": 2}})
    assert reply.status.error_code == 0
    for given, version in (({}, 2), ({"version": 1}, 1), ({"label": "stable"}, 1), ({"label": "canary"}, 2)):
        found, values = ask(channel, **given)
        assert found == version
        np.testing.assert_allclose(values, expected[version - 1], atol=1e-6)
    assert states(channel, "small") == {1: 30, 2: 30}
    code, words = fails(lambda: ask(channel, "other"))
    assert (code, words) == (grpc.StatusCode.NOT_FOUND, "Servable not found for request: Latest(other)")
    assert states(channel, "other") == {5: 50}

    reload(channel, {"name": "small", "path": "small", "specific": [1]}, {"name": "mine", "path": "other"})
    assert (ask(channel)[0], ask(channel, "mine")[0]) == (1, 5)
    assert states(channel, "small") == {1: 30, 2: 50}
    code, words = fails(lambda: ask(channel, label="canary"))
    assert (code, words) == (grpc.StatusCode.INVALID_ARGUMENT, "Unrecognized servable version label: canary")


def test_a_reload_that_makes_no_sense_changes_nothing(channel: grpc.Channel, tmp_path: Path) -> None:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    for path in ("/etc", "..", str(tmp_path), "absent"):
        code, words = fails(lambda path=path: reload(channel, {"name": "small", "path": path}))
        assert (code, "inside the server's repository" in words, str(tmp_path) in words) == (invalid, True, False)
    twice = {"name": "small", "path": "small"}
    assert fails(lambda: reload(channel, twice, twice))[0] is invalid
    assert fails(lambda: reload(channel, {"name": "a/b", "path": "small"}))[0] is invalid
    assert (ask(channel)[0], ask(channel, "other")[0]) == (2, 5)


def test_a_damaged_version_is_said_without_naming_a_folder(
    channel: grpc.Channel, boxes: list[Bundle], tmp_path: Path
) -> None:
    damaged = tmp_path / "models" / "small" / "3"
    shutil.copytree(boxes[2].path, tmp_path / "models" / "small" / "_3")
    (tmp_path / "models" / "small" / "_3" / "report.json").write_text("{}")
    (tmp_path / "models" / "small" / "_3").rename(damaged)
    code, words = fails(lambda: reload(channel, {"name": "small", "path": "small", "all": True}))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "isn't the file that was sealed" in words
    assert str(tmp_path) not in words
    request = message("tensorflow.serving.GetModelStatusRequest")()
    request.model_spec.name = "small"
    found = method(channel, MODEL, "GetModelStatus")(request, timeout=20).model_version_status
    (failed,) = [one for one in found if one.version == 3]
    assert (failed.state, failed.status.error_code, failed.status.error_message) == (50, 2, UNLOADABLE)
    assert ask(channel)[0] == 2


def test_messages_at_random_are_never_a_fault_of_the_server(channel: grpc.Channel) -> None:
    """Valid requests with bytes changed, cut and repeated: the answer is a reply, or the caller's fault."""
    rng = np.random.default_rng(0)
    example = message("tensorflow.serving.ClassificationRequest")()
    example.model_spec.name = "small"
    one = example.input.example_list_with_context.examples.add()
    one.features.feature["image"].int64_list.value.extend(PIXELS[0].ravel().tolist())
    one.features.feature["other"].float_list.value.append(1.5)
    metadata = message("tensorflow.serving.GetModelMetadataRequest")(metadata_field=["signature_def"])
    metadata.model_spec.name = "small"
    allowed = {"INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "UNIMPLEMENTED"}
    seen = set()
    for name, request in (("Predict", predict(PIXELS)), ("Classify", example), ("GetModelMetadata", metadata)):
        whole, call = request.SerializeToString(), method(channel, PREDICTION, name)
        for _ in range(300):
            data = bytearray(whole)
            for _ in range(rng.integers(1, 4)):
                at = int(rng.integers(len(data)))
                match int(rng.integers(3)):
                    case 0:
                        data[at] = int(rng.integers(256))
                    case 1:
                        del data[at : at + int(rng.integers(1, 20))]
                    case _:
                        data[at:at] = data[at : at + int(rng.integers(1, 20))]
                data = data or bytearray(whole)
            try:
                call(bytes(data), timeout=20)
            except grpc.RpcError as error:
                seen.add(error.code().name)
            else:
                seen.add("OK")
    assert seen <= {"OK", *allowed}, seen
    assert {"OK", "INVALID_ARGUMENT"} <= seen


def test_labels_and_versions_over_rest(boxes: list[Bundle], tmp_path: Path) -> None:
    expected = [box.predictor()({"image": PIXELS})["probabilities"] for box in boxes]
    for version in (1, 2):
        shutil.copytree(boxes[version - 1].path, tmp_path / "small" / str(version))
    (tmp_path / "small" / "serving.json").write_text('{"versions": "all", "labels": {"stable": 1}}')
    with running([], repository=tmp_path) as server:
        for path, version in (("small", 2), ("small/labels/stable", 1), ("small/versions/2", 2)):
            base = f"{server.url}/v1/models/{path}"
            reply = httpx.post(f"{base}:predict", json={"instances": PIXELS.tolist()}).json()
            np.testing.assert_allclose(reply["predictions"], expected[version - 1], atol=1e-6)
            assert httpx.get(f"{base}/metadata").json()["model_spec"]["version"] == str(version)
        listed = httpx.get(f"{server.url}/v1/models/small").json()["model_version_status"]
        assert [(one["version"], one["state"]) for one in listed] == [("2", "AVAILABLE"), ("1", "AVAILABLE")]
        (labelled,) = httpx.get(f"{server.url}/v1/models/small/labels/stable").json()["model_version_status"]
        assert labelled["version"] == "1"
        assert server.stop()[0] == 0


def test_status_of_versions_that_are_not_there(channel: grpc.Channel) -> None:
    request = message("tensorflow.serving.GetModelStatusRequest")()
    request.model_spec.name = "small"
    request.model_spec.version.value = 9
    status = method(channel, MODEL, "GetModelStatus")
    assert fails(lambda: status(request, timeout=20)) == (
        grpc.StatusCode.NOT_FOUND, "Could not find version 9 of model small",
    )  # fmt: skip
    request.model_spec.version.value = -1
    assert fails(lambda: status(request, timeout=20))[0] is grpc.StatusCode.INVALID_ARGUMENT
    request.model_spec.Clear()
    assert fails(lambda: status(request, timeout=20))[1] == "ModelSpec has no name specified."

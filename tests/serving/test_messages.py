"""The compiled messages: up to date, complete, and apart from what other packages load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from bedplate.serving import messages

ROOT = Path(__file__).parents[2]


def test_the_compiled_file_is_up_to_date() -> None:
    pytest.importorskip("grpc_tools")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "build_protos.py"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_another_file_of_the_same_name_does_no_harm() -> None:
    """As where tritonclient of another release is loaded in the same process."""
    other = descriptor_pb2.FileDescriptorProto(name="grpc_service.proto", package="inference", syntax="proto3")
    other.message_type.add(name="ModelInferRequest").field.add(name="other", number=1, type=9, label=1)
    descriptor_pool.Default().Add(other)
    assert "other" in descriptor_pool.Default().FindMessageTypeByName("inference.ModelInferRequest").fields_by_name
    found = messages.message("inference.ModelInferRequest")(model_name="small", raw_input_contents=[b"x"])
    assert messages.message("inference.ModelInferRequest").FromString(found.SerializeToString()) == found


def test_services_name_their_methods() -> None:
    predict = messages.service("tensorflow.serving.PredictionService")["Predict"]
    assert predict.request is messages.message("tensorflow.serving.PredictRequest")
    assert (predict.request_stream, predict.reply_stream) == (False, False)
    stream = messages.service("inference.GRPCInferenceService")["ModelStreamInfer"]
    assert (stream.request_stream, stream.reply_stream) == (True, True)
    assert messages.enum_values("tensorflow.DataType")["DT_STRING"] == 7
    with pytest.raises(KeyError):
        messages.message("inference.NoSuchMessage")


def test_every_interface_has_its_licence() -> None:
    folders = [folder for folder in (ROOT / "third_party").iterdir() if any(folder.rglob("*.proto"))]
    assert {folder.name for folder in folders} >= {"grpc", "tensorflow", "tensorflow_serving", "triton"}
    for folder in folders:
        assert (folder / "LICENSE").stat().st_size > 1000
        assert f"`{folder.name}/`" in (ROOT / "third_party" / "README.md").read_text()

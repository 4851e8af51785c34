"""What the official tensorflow-serving-api asks of a server; run by that client's environment, not by pytest.

    python tfserving_checks.py 127.0.0.1:8500

It prints one line of JSON a check: its name, and "" or what went wrong. The server serves 'echo' (a tensor of each type
and back), 'small' (images of 8×8×1) and 'prices' (a table).
"""

from __future__ import annotations

import sys
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from script import IMAGES, run_all, values
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

CHANNEL = grpc.insecure_channel(sys.argv[1])
PREDICTION = prediction_service_pb2_grpc.PredictionServiceStub(CHANNEL)
MODEL = model_service_pb2_grpc.ModelServiceStub(CHANNEL)


def asked(name: str, inputs: dict[str, Any], **more: Any) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(**more)
    request.model_spec.name = name
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(value)
    return request


def fails(call: Any, code: grpc.StatusCode, words: str) -> None:
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() is code, (error.code(), error.details())
        assert words in error.details(), error.details()
        return
    raise AssertionError("it was answered")


def example(**features: Any) -> tf.train.Example:
    found = tf.train.Example()
    for name, value in features.items():
        feature = found.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, float):
            feature.float_list.value.append(value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.int64_list.value.extend(value)
    return found


def check_predict_every_type() -> None:
    arrays = values()
    reply = PREDICTION.Predict(asked("echo", {f"in_{k}": tf.make_tensor_proto(v) for k, v in arrays.items()}), 20)
    assert (reply.model_spec.name, reply.model_spec.version.value) == ("echo", 1)
    assert reply.model_spec.signature_name == "serving_default"
    for name, array in arrays.items():
        given = tf.make_ndarray(reply.outputs[f"out_{name}"])
        assert given.tolist() == array.tolist(), name
        assert given.dtype == array.dtype, (name, given.dtype)


def check_predict_typed_fields_and_broadcast() -> None:
    """Values in the typed fields, and one value for a whole tensor."""
    arrays = values()
    inputs = {f"in_{k}": tf.make_tensor_proto(v) for k, v in arrays.items()}
    one = inputs["in_float32"]
    one.ClearField("tensor_content")
    one.float_val.append(2.5)
    whole = inputs["in_int64"]
    whole.ClearField("tensor_content")
    whole.int64_val.extend([1, 2, 3, 4, 5, -6])
    reply = PREDICTION.Predict(asked("echo", inputs), 20)
    assert tf.make_ndarray(reply.outputs["out_float32"]).tolist() == [[2.5, 2.5]] * 3
    assert tf.make_ndarray(reply.outputs["out_int64"]).tolist() == [[1, 2], [3, 4], [5, -6]]
    assert not reply.outputs["out_float32"].tensor_content and len(reply.outputs["out_float32"].float_val) == 6


def check_predict_output_filter() -> None:
    arrays = {f"in_{k}": tf.make_tensor_proto(v) for k, v in values().items()}
    reply = PREDICTION.Predict(asked("echo", arrays, output_filter=["out_int8"]), 20)
    assert list(reply.outputs) == ["out_int8"]
    request = asked("echo", arrays, output_filter=["nothing"])
    fails(lambda: PREDICTION.Predict(request, 20), grpc.StatusCode.INVALID_ARGUMENT, "output tensor alias not found")


def check_predict_images() -> None:
    whole = tf.make_ndarray(
        PREDICTION.Predict(asked("small", {"image": tf.make_tensor_proto(IMAGES)}), 20).outputs["probabilities"]
    )
    assert whole.shape == (3, 3) and np.allclose(whole.sum(1), 1)
    files = [tf.io.encode_png(image).numpy() for image in IMAGES]
    given = PREDICTION.Predict(asked("small", {"image": tf.make_tensor_proto(files)}), 20).outputs["probabilities"]
    assert tf.make_ndarray(given).tolist() == whole.tolist()


def check_predict_table() -> None:
    columns = {
        "age": tf.make_tensor_proto([40.5, np.nan], tf.float32),
        "town": tf.make_tensor_proto([b"east", b""]),
        "since": tf.make_tensor_proto([b"2015-02-03", b"2020-01-31"]),
    }
    reply = PREDICTION.Predict(asked("prices", columns), 20)
    assert tf.make_ndarray(reply.outputs["value"]).shape == (2,)


def check_versions() -> None:
    for version, found in ((1, True), (7, False)):
        request = asked("small", {"image": tf.make_tensor_proto(IMAGES)})
        request.model_spec.version.value = version
        if found:
            assert PREDICTION.Predict(request, 20).model_spec.version.value == 1
        else:
            words = "Servable not found for request: Specific(small, 7)"
            fails(lambda r=request: PREDICTION.Predict(r, 20), grpc.StatusCode.NOT_FOUND, words)
    request = asked("small", {"image": tf.make_tensor_proto(IMAGES)})
    request.model_spec.version_label = "canary"
    words = "Unrecognized servable version label: canary"
    fails(lambda: PREDICTION.Predict(request, 20), grpc.StatusCode.INVALID_ARGUMENT, words)


def check_classify() -> None:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "small"
    files = [tf.io.encode_png(image).numpy() for image in IMAGES]
    request.input.example_list.examples.extend(example(image=file) for file in files)
    reply = PREDICTION.Classify(request, 20)
    whole = tf.make_ndarray(
        PREDICTION.Predict(asked("small", {"image": tf.make_tensor_proto(IMAGES)}), 20).outputs["probabilities"]
    )
    assert reply.model_spec.version.value == 1
    for row, found in zip(whole, reply.result.classifications, strict=True):
        assert [one.label for one in found.classes] == ["zero", "one", "two"]
        assert np.allclose([one.score for one in found.classes], row)
    pixels = classification_pb2.ClassificationRequest(model_spec=request.model_spec)
    pixels.input.example_list.examples.extend(example(image=image.ravel().tolist()) for image in IMAGES)
    assert PREDICTION.Classify(pixels, 20).result == reply.result
    wrong = regression_pb2.RegressionRequest(model_spec=request.model_spec, input=request.input)
    words = (
        "Expected regression signature method_name to be tensorflow/serving/regress. Was: tensorflow/serving/classify"
    )
    fails(lambda: PREDICTION.Regress(wrong, 20), grpc.StatusCode.INVALID_ARGUMENT, words)


def check_regress_with_context() -> None:
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "prices"
    held = request.input.example_list_with_context
    held.context.CopyFrom(example(town=b"east", since=b"2015-02-03"))
    held.examples.extend([example(age=40.0), example(age=41), example(age=40.0, town=b"west")])
    found = [one.value for one in PREDICTION.Regress(request, 20).result.regressions]
    plain = regression_pb2.RegressionRequest(model_spec=request.model_spec)
    plain.input.example_list.examples.extend(
        example(age=age, town=town, since=b"2015-02-03")
        for age, town in ((40.0, b"east"), (41.0, b"east"), (40.0, b"west"))
    )
    assert found == [one.value for one in PREDICTION.Regress(plain, 20).result.regressions]
    empty = regression_pb2.RegressionRequest(model_spec=request.model_spec)
    fails(lambda: PREDICTION.Regress(empty, 20), grpc.StatusCode.INVALID_ARGUMENT, "Input is empty")


def check_multi_inference() -> None:
    request = inference_pb2.MultiInferenceRequest()
    for signature in ("", "classification"):
        task = request.tasks.add(method_name="tensorflow/serving/classify")
        task.model_spec.name, task.model_spec.signature_name = "small", signature
    request.input.example_list.examples.extend(example(image=image.ravel().tolist()) for image in IMAGES)
    results = PREDICTION.MultiInference(request, 20).results
    assert [one.model_spec.signature_name for one in results] == ["serving_default", "classification"]
    assert results[0].classification_result == results[1].classification_result
    assert len(results[0].classification_result.classifications) == 3
    request.tasks[1].model_spec.signature_name = ""
    fails(lambda: PREDICTION.MultiInference(request, 20), grpc.StatusCode.INVALID_ARGUMENT, "Duplicate evaluation")
    request.tasks[1].model_spec.name = "prices"
    fails(lambda: PREDICTION.MultiInference(request, 20), grpc.StatusCode.INVALID_ARGUMENT, "the same model name")


def check_metadata() -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "small"
    reply = PREDICTION.GetModelMetadata(request, 20)
    assert reply.model_spec.version.value == 1
    packed = get_model_metadata_pb2.SignatureDefMap()
    assert reply.metadata["signature_def"].Unpack(packed)
    signature = packed.signature_def["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    assert signature.inputs["image"].dtype == tf.uint8.as_datatype_enum
    assert [dim.size for dim in signature.inputs["image"].tensor_shape.dim] == [-1, 8, 8, 1]
    assert packed.signature_def["classification"].method_name == "tensorflow/serving/classify"
    request.metadata_field[0] = "weights"
    fails(lambda: PREDICTION.GetModelMetadata(request, 20), grpc.StatusCode.INVALID_ARGUMENT, "is not supported")


def check_status() -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "small"
    (one,) = MODEL.GetModelStatus(request, 20).model_version_status
    assert (one.version, one.state) == (1, get_model_status_pb2.ModelVersionStatus.AVAILABLE)
    assert (one.status.error_code, one.status.error_message) == (0, "")
    request.model_spec.name = "absent"
    fails(
        lambda: MODEL.GetModelStatus(request, 20),
        grpc.StatusCode.NOT_FOUND,
        "Could not find any versions of model absent",
    )


def check_reload_without_a_repository() -> None:
    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.config.add(name="small", base_path="small", model_platform="tensorflow")
    fails(lambda: MODEL.HandleReloadConfigRequest(request, 20), grpc.StatusCode.INVALID_ARGUMENT, "--repository")
    empty = model_management_pb2.ReloadConfigRequest()
    fails(
        lambda: MODEL.HandleReloadConfigRequest(empty, 20),
        grpc.StatusCode.INVALID_ARGUMENT,
        "Config type not supported",
    )


def check_errors() -> None:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    fails(lambda: PREDICTION.Predict(predict_pb2.PredictRequest(), 20), invalid, "Missing ModelSpec")
    absent = asked("absent", {})
    words = "Servable not found for request: Latest(absent)"
    fails(lambda: PREDICTION.Predict(absent, 20), grpc.StatusCode.NOT_FOUND, words)
    nothing = asked("small", {})
    fails(lambda: PREDICTION.Predict(nothing, 20), invalid, "input size does not match signature: 0!=1")
    floats = asked("small", {"image": tf.make_tensor_proto(IMAGES.astype(np.float32))})
    fails(lambda: PREDICTION.Predict(floats, 20), invalid, "expected uint8, received float32")
    flat = asked("small", {"image": tf.make_tensor_proto(IMAGES.reshape(3, 64))})
    fails(lambda: PREDICTION.Predict(flat, 20), invalid, "expected the shape")
    signature = asked("small", {"image": tf.make_tensor_proto(IMAGES)})
    signature.model_spec.signature_name = "mine"
    words = 'Serving signature key "mine" not found'
    fails(lambda: PREDICTION.Predict(signature, 20), grpc.StatusCode.FAILED_PRECONDITION, words)


def check_deadline() -> None:
    many = asked("small", {"image": tf.make_tensor_proto(np.repeat(IMAGES, 3000, axis=0))})
    fails(lambda: PREDICTION.Predict(many, 0.003), grpc.StatusCode.DEADLINE_EXCEEDED, "")


if __name__ == "__main__":
    run_all(globals())

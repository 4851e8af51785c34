"""TensorFlow Serving's gRPC services: PredictionService and ModelService.

The messages are those of `third_party/tensorflow_serving`. Inputs come as typed fields or as `tensor_content`; outputs
go out as typed fields, as TensorFlow Serving sends them. Every reply's `model_spec` names the version that answered.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from bedplate.codecs.codec import STRINGS, TensorSpec
from bedplate.core.arrays import Arrays
from bedplate.serving.dataplane import DataPlane
from bedplate.serving.exchange import Call, Protocol, Question
from bedplate.serving.grpc_server import Context, ask_model, service_handler
from bedplate.serving.messages import message
from bedplate.serving.models import Model
from bedplate.serving.problems import Problem, bad_request
from bedplate.serving.tfserving_examples import (
    CLASSIFY,
    METHOD,
    REGRESS,
    SIGNATURES,
    check_verb,
    read_message,
    results,
)
from bedplate.serving.tfserving_read import SIGNATURE
from bedplate.serving.tfserving_signature import UNLOADABLE, not_found, signatures, versions
from bedplate.serving.tfserving_tensors import check_shape, dtype_number, fill, fitted, texts, to_array

_VERBS = {METHOD[verb]: verb for verb in (CLASSIFY, REGRESS)}
_UNKNOWN = 2  # google.rpc.Code


def handlers(plane: DataPlane) -> list[grpc.GenericRpcHandler]:
    """Return the protocol's services."""
    prediction, management = Prediction(plane), Management(plane)
    return [
        service_handler(
            plane,
            "tensorflow.serving.PredictionService",
            {
                "Predict": prediction.predict,
                "Classify": prediction.classify,
                "Regress": prediction.regress,
                "MultiInference": prediction.multi_inference,
                "GetModelMetadata": prediction.metadata,
            },
        ),
        service_handler(
            plane,
            "tensorflow.serving.ModelService",
            {"GetModelStatus": management.status, "HandleReloadConfigRequest": management.reload},
        ),
    ]


def _asked(request: Any) -> tuple[str, str, str]:
    """Return (name, version, label) of a request's model_spec; "" where not given. Raises Problem 400."""
    if not request.HasField("model_spec"):
        raise bad_request("Missing ModelSpec")
    spec = request.model_spec
    if not spec.name:
        raise bad_request("ModelSpec has no name specified.")
    version = str(spec.version.value) if spec.WhichOneof("version_choice") == "version" else ""
    if version.startswith("-"):
        raise bad_request(f"model_spec: expected a version from 0 on, received {version}")
    return spec.name, version, spec.version_label


def _write_spec(reply: Any, model: Model, signature: str) -> None:
    """Say in a reply which model, version and signature answered."""
    reply.model_spec.name = model.name
    reply.model_spec.version.value = int(model.version)
    reply.model_spec.signature_name = signature


class Prediction:
    """The methods of PredictionService."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def _model(self, request: Any) -> Model:
        name, version, label = _asked(request)
        try:
            return self._plane.repository.find(name, version, label, not_found)
        except Problem as problem:
            self._plane.metrics.refused(PREDICT.name, str(problem.status))
            raise

    async def predict(self, request: Any, context: Context) -> Any:
        """Answer PredictRequest with PredictResponse."""
        return await ask_model(self._plane, PREDICT, self._model(request), request, context)

    async def classify(self, request: Any, context: Context) -> Any:
        """Answer ClassificationRequest with ClassificationResponse."""
        return await ask_model(self._plane, _EXAMPLES[CLASSIFY], self._model(request), request, context)

    async def regress(self, request: Any, context: Context) -> Any:
        """Answer RegressionRequest with RegressionResponse."""
        return await ask_model(self._plane, _EXAMPLES[REGRESS], self._model(request), request, context)

    async def multi_inference(self, request: Any, context: Context) -> Any:
        """Answer several classify and regress tasks over one input of one model."""
        if not request.tasks:
            raise bad_request("expected at least one task")
        names = {task.model_spec.name for task in request.tasks}
        if len(names) > 1:
            raise bad_request("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        asked = [(task.model_spec.signature_name, task.method_name) for task in request.tasks]
        if len({name for name, _ in asked}) < len(asked):
            raise bad_request("Duplicate evaluation of signature: a signature's name may stand in one task only")
        calls = []
        for task in request.tasks:
            verb = _VERBS.get(task.method_name)
            if verb is None:
                raise Problem(501, f"Unsupported signature method_name: {task.method_name[:100]}")
            model = self._model(task)
            check_verb(model, verb, task.model_spec.signature_name)
            one = message(_MESSAGES[verb][0])(model_spec=task.model_spec, input=request.input)
            calls.append(ask_model(self._plane, _EXAMPLES[verb], model, one, context))
        reply = message("tensorflow.serving.MultiInferenceResponse")()
        for (_, method), found in zip(asked, await asyncio.gather(*calls), strict=True):
            result = reply.results.add()
            result.model_spec.CopyFrom(found.model_spec)
            field = "classification_result" if method == METHOD[CLASSIFY] else "regression_result"
            getattr(result, field).CopyFrom(found.result)
        return reply

    async def metadata(self, request: Any, _: Context) -> Any:
        """Answer GetModelMetadataRequest: the signatures, packed as a SignatureDefMap."""
        name, version, label = _asked(request)
        if not request.metadata_field:
            raise bad_request("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise bad_request(f"Metadata field {field[:100]} is not supported; expected 'signature_def'")
        model = self._plane.repository.find(name, version, label, not_found)
        packed = message("tensorflow.serving.SignatureDefMap")()
        for key, signature in signatures(model).items():
            written = packed.signature_def[key]
            written.method_name = signature["method_name"]
            for side in ("inputs", "outputs"):
                for tensor, spec in signature[side].items():
                    info = getattr(written, side)[tensor]
                    info.name, info.dtype = spec.name, dtype_number(spec.dtype)
                    for size in (-1, *spec.shape):
                        info.tensor_shape.dim.add().size = size
        reply = message("tensorflow.serving.GetModelMetadataResponse")()
        reply.model_spec.name, reply.model_spec.version.value = model.name, int(model.version)
        held = reply.metadata["signature_def"]
        held.type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
        held.value = packed.SerializeToString(deterministic=True)
        return reply


def read_predict(call: Call) -> Question:
    """Read a PredictRequest; the notes are the names of the outputs that are asked for."""
    request, model = call.payload, call.model
    signature = request.model_spec.signature_name or SIGNATURE
    if signature != SIGNATURE:
        raise Problem(412, f'Serving signature key "{signature[:100]}" not found.')
    known = [spec.name for spec in model.outputs]
    wanted = list(request.output_filter) or known
    for name in wanted:
        if name not in known:
            raise bad_request(
                f"output tensor alias not found in signature: {name[:100]} Outputs expected to be in the set"
                f" {{{','.join(known)}}}."
            )
    if len(set(wanted)) < len(wanted):
        raise bad_request(f"duplicate output tensor alias: {next(n for n in wanted if wanted.count(n) > 1)[:100]}")
    arrays = _inputs(model, request.inputs)
    sizes = {len(array) for array in arrays.values()}
    if len(sizes) > 1:
        raise bad_request(f"inputs: they have different numbers of rows ({min(sizes)} to {max(sizes)})")
    return Question(arrays, sizes.pop(), wanted)


def _inputs(model: Model, given: Any) -> Arrays:
    specs = {spec.name: spec for spec in model.inputs}
    if given.keys() != specs.keys():
        if model.is_table and given:
            return _table_columns(model, given)
        sent, missing = sorted(given.keys() - specs.keys()), sorted(specs.keys() - given.keys())
        raise bad_request(
            f"input size does not match signature: {len(given)}!={len(specs)}. Sent extra: {{{','.join(sent)[:200]}}}."
            f" Missing but required: {{{','.join(missing)}}}."
        )
    arrays: dict[str, Any] = {}
    for name, spec in specs.items():
        where, proto = f"input '{name}'", given[name]
        if model.bundle.codec.kind == "image" and proto.dtype == dtype_number("string"):
            check_shape(proto, TensorSpec(name, "string"), where)  # encoded files, one a row
            return model.decode(to_array(proto, where).tolist())
        check_shape(proto, spec, where)
        arrays[name] = fitted(to_array(proto, where), spec, where)
    return model.cleaned(arrays, "inputs") if model.is_table or model.bundle.codec.kind in STRINGS else arrays


def _table_columns(model: Model, given: Any) -> Arrays:
    """Return the tensors of a table's own columns, each with a value a row."""
    columns = {}
    for name, proto in given.items():
        where = f"input '{name[:100]}'"
        check_shape(proto, TensorSpec(name, ""), where)
        array = to_array(proto, where)
        columns[name] = (texts(array, where) if array.dtype == object else array).tolist()
    return model.decode_columns(columns, "inputs")


def write_predict(call: Call, question: Question, outputs: Arrays) -> Any:
    """Write a PredictResponse."""
    reply = message("tensorflow.serving.PredictResponse")()
    for name in question.notes:
        fill(reply.outputs[name], outputs[name])
    _write_spec(reply, call.model, SIGNATURE)
    return reply


def _read_examples(verb: str) -> Any:
    def read(call: Call) -> Question:
        check_verb(call.model, verb, call.payload.model_spec.signature_name)
        return read_message(call.model, call.payload.input)

    return read


def _write_examples(verb: str) -> Any:
    def write(call: Call, _: Question, outputs: Arrays) -> Any:
        reply = message(_MESSAGES[verb][1])()
        for row in results(call.model, outputs):
            if verb == REGRESS:
                reply.result.regressions.add().value = row
                continue
            classes = reply.result.classifications.add().classes
            for label, score in row:
                classes.add(label=label, score=score)
        _write_spec(reply, call.model, call.payload.model_spec.signature_name or SIGNATURE)
        return reply

    return write


_MESSAGES = {
    CLASSIFY: ("tensorflow.serving.ClassificationRequest", "tensorflow.serving.ClassificationResponse"),
    REGRESS: ("tensorflow.serving.RegressionRequest", "tensorflow.serving.RegressionResponse"),
}
PREDICT = Protocol("tfserving-grpc", read_predict, write_predict)
_EXAMPLES = {verb: Protocol("tfserving-grpc", _read_examples(verb), _write_examples(verb)) for verb in SIGNATURES}


class Management:
    """The methods of ModelService."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    async def status(self, request: Any, _: Context) -> Any:
        """Answer GetModelStatusRequest with the state of every version, or of the one asked for."""
        found = versions(self._plane.repository, *_asked(request))
        reply = message("tensorflow.serving.GetModelStatusResponse")()
        states = message("tensorflow.serving.ModelVersionStatus").State
        for version in found:
            one = reply.model_version_status.add(version=version.number, state=states.Value(version.state.value))
            one.status.error_code = _UNKNOWN if version.error else 0
            one.status.error_message = UNLOADABLE if version.error else ""
        return reply

    async def reload(self, request: Any, _: Context) -> Any:
        """Replace the whole set of what is served; the paths lie in the server's repository folder."""
        kind = request.config.WhichOneof("config")
        if kind != "model_config_list":
            raise bad_request("Config type not supported: expected model_config_list")
        listed = [_config(one) for one in request.config.model_config_list.config]
        names = [one["name"] for one in listed]
        if len(set(names)) < len(names):
            raise bad_request(f"Illegal to list model {next(n for n in names if names.count(n) > 1)[:100]} twice")
        await self._plane.manage("reconfigure", config=listed)
        reply = message("tensorflow.serving.ReloadConfigResponse")()
        reply.status.error_code = 0
        return reply


def _config(given: Any) -> dict[str, Any]:
    """Return a ModelConfig as the repository takes it."""
    policy = given.model_version_policy
    chosen = policy.WhichOneof("policy_choice")
    found: Any = "latest"
    if chosen == "all":
        found = "all"
    elif chosen == "latest" and policy.latest.num_versions:
        found = {"latest": policy.latest.num_versions}
    elif chosen == "specific":
        found = {"specific": list(policy.specific.versions)}
    return {
        "name": given.name,
        "base_path": given.base_path,
        "policy": found,
        "labels": dict(given.version_labels),
    }

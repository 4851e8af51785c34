"""NNCF's post-training quantisation of an ONNX graph, without and with accuracy control."""

from functools import partial

import nncf
import numpy as np
import onnx
import onnxruntime
from given import GRAPH, SETTINGS, batches, rows, run

CALIBRATION = batches(rows("calibration"), 1)
TARGETS = np.load(str(GRAPH.parent / "validation_targets.npy"))
VALIDATION = [
    {**batch, "": TARGETS[k : k + 1]} for k, batch in enumerate(batches(rows("validation"), 1))
]  # the labels go along under a name that no graph has
COMMON = {"target_device": nncf.TargetDevice.CPU, "subset_size": len(CALIBRATION)}


def features(row):
    return {key: value for key, value in row.items() if key}


def validate(model, data):
    """Return the accuracy, and of each row whether it is right."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )  # fmt: skip
    right = [
        float(session.run([SETTINGS["output"]], features(row))[0].argmax(1)[0] == row[""][0]) for row in data
    ]  # fmt: skip
    return float(np.mean(right)), right


def plain(preset, path):
    quantised = nncf.quantize(onnx.load(str(GRAPH)), nncf.Dataset(CALIBRATION), preset=preset, **COMMON)
    onnx.save(quantised, str(path))


def controlled(path):
    quantised = nncf.quantize_with_accuracy_control(
        onnx.load(str(GRAPH)), nncf.Dataset(CALIBRATION), nncf.Dataset(VALIDATION, features), validate,
        max_drop=SETTINGS["max_drop"], **COMMON,
    )  # fmt: skip
    onnx.save(quantised, str(path))


run({
    "ptq": partial(plain, nncf.QuantizationPreset.PERFORMANCE),
    "ptq-mixed": partial(plain, nncf.QuantizationPreset.MIXED),
    "accuracy-control": controlled,
})  # fmt: skip

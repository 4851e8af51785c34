"""Olive's ONNX quantisation passes, on what its documentation sets for CPUs; no telemetry."""

import os
from functools import partial

os.environ["OLIVE_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
from given import GRAPH, INPUTS, OUT, SETTINGS, rows, run
from olive.model import ONNXModelHandler
from olive.passes.olive_pass import create_pass_from_dict
from olive.passes.onnx.quantization import OnnxDynamicQuantization, OnnxStaticQuantization


def calibration():
    """Return the data configuration of the calibration rows: raw files, one row each."""
    arrays = rows("calibration")
    for name, values in arrays.items():
        folder = INPUTS / "raw" / name
        folder.mkdir(parents=True, exist_ok=True)
        for k in range(len(values)):
            np.ascontiguousarray(values[k : k + 1]).tofile(folder / f"{k:05d}.bin")
    return {
        "name": "calibration",
        "type": "RawDataContainer",
        "load_dataset_config": {
            "type": "raw_dataset", "data_dir": str(INPUTS / "raw"), "input_names": list(arrays),
            "input_shapes": [[1, *values.shape[1:]] for values in arrays.values()],
            "input_types": [str(values.dtype) for values in arrays.values()],
        },
    }  # fmt: skip


def made(kind, config, path):
    by = create_pass_from_dict(kind, config, disable_search=True)
    result = by.run(ONNXModelHandler(str(GRAPH)), str(OUT / f"olive-{path.stem}"))
    onnx.save(onnx.load(result.model_path), str(path))


COMMON = {"quant_preprocess": True, "per_channel": True, "reduce_range": SETTINGS["reduce_range"], "precision": "int8"}
run({
    "static": lambda path: made(
        OnnxStaticQuantization,
        {
            **COMMON, "quant_format": "QDQ", "activation_type": "uint8", "calibrate_method": "MinMax",
            "data_config": calibration(),
        },
        path,
    ),
    "dynamic": partial(made, OnnxDynamicQuantization, COMMON),
})  # fmt: skip

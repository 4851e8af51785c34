"""ONNX Runtime's static quantisation by its documentation: pre-processed, QDQ, per channel, U8 and S8."""

from functools import partial

from given import GRAPH, OUT, SETTINGS, batches, rows, run
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process


class Reader(CalibrationDataReader):
    def __init__(self):
        self.left = iter(batches(rows("calibration")))

    def get_next(self):
        return next(self.left, None)


def static(method, path):
    prepared = OUT / "prepared"
    quant_pre_process(str(GRAPH), str(prepared))
    quantize_static(
        str(prepared), str(path), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        reduce_range=SETTINGS["reduce_range"], activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        calibrate_method=method,
    )  # fmt: skip


run({
    "minmax": partial(static, CalibrationMethod.MinMax),
    "entropy": partial(static, CalibrationMethod.Entropy),
})  # fmt: skip

"""Make a model smaller or faster and say, measured, what it cost: one method a file."""

from bedplate.compression import fp16_storage, int8_dynamic, int8_static, int8_weights, mixed_precision
from bedplate.compression.measure import Latency, measure_latencies
from bedplate.compression.registry import methods

__all__ = [
    "Latency",
    "fp16_storage",
    "int8_dynamic",
    "int8_static",
    "int8_weights",
    "measure_latencies",
    "methods",
    "mixed_precision",
]

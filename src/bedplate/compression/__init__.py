"""Make a model smaller or faster and say, measured, what it cost: one method a file."""

from bedplate.compression import (
    clean_up,
    factorised_layers,
    fp16_storage,
    int8_dynamic,
    int8_static,
    int8_weights,
    layers,
    mixed_precision,
    shapes,
    tensor_decomposition,
)
from bedplate.compression.measure import Latency, measure_latencies
from bedplate.compression.registry import methods

__all__ = [
    "Latency",
    "clean_up",
    "factorised_layers",
    "fp16_storage",
    "int8_dynamic",
    "int8_static",
    "int8_weights",
    "layers",
    "measure_latencies",
    "methods",
    "mixed_precision",
    "shapes",
    "tensor_decomposition",
]

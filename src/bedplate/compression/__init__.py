"""Make a model smaller or faster and say, measured, what it cost: one method a file."""

from bedplate.compression import int8_dynamic, int8_static
from bedplate.compression.measure import Latency, measure_latencies
from bedplate.compression.registry import methods

__all__ = [
    "Latency",
    "int8_dynamic",
    "int8_static",
    "measure_latencies",
    "methods",
]

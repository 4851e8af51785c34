"""The registry of compression methods, and what a method is given.

A method is a plain function `f(model, features, cpu) -> onnx.ModelProto` over the network's graph (features → answer).
It must leave inputs and outputs as they are. Whether its result is any good is not its business: that is measured.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx

from bedplate.core.arrays import Arrays
from bedplate.core.registry import Registry

Method = Callable[[onnx.ModelProto, Arrays, frozenset[str]], onnx.ModelProto]
"""Takes the f32 graph, calibration features (training rows), and the CPU's features; returns the smaller graph."""

methods: Registry[Method] = Registry("compression method")

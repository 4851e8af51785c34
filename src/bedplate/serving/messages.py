"""The gRPC messages and services of the protocols, in a descriptor pool of their own.

`protos.binpb` holds what `tools/build_protos.py` compiled from `third_party/`. A process that also imports
tensorflow-serving-api or tritonclient has the same names in protobuf's default pool; a private pool can't clash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


@dataclass(frozen=True)
class Method:
    """One method of a service: its message classes, and whether either side is a stream."""

    name: str
    request: type[Any]
    reply: type[Any]
    request_stream: bool
    reply_stream: bool


@cache
def pool() -> Any:
    """Return the private DescriptorPool with all files; it is read when first asked for."""
    raw = (files("bedplate.serving") / "protos.binpb").read_bytes()
    found = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(raw).file:  # what a file imports stands before it
        found.Add(file)
    return found


@cache
def message(name: str) -> type[Any]:
    """Return a message's class by its full name, as "tensorflow.serving.PredictRequest". Raises KeyError."""
    found: type[Any] = message_factory.GetMessageClass(pool().FindMessageTypeByName(name))
    return found


@cache
def enum_values(name: str) -> Mapping[str, int]:
    """Return an enum's numbers by value name, as of "tensorflow.DataType". Raises KeyError."""
    return {value.name: value.number for value in pool().FindEnumTypeByName(name).values}


@cache
def service(name: str) -> Mapping[str, Method]:
    """Return a service's methods by name, as of "tensorflow.serving.PredictionService". Raises KeyError."""
    return {
        method.name: Method(
            method.name, message(method.input_type.full_name), message(method.output_type.full_name),
            method.client_streaming, method.server_streaming,
        )
        for method in pool().FindServiceByName(name).methods
    }  # fmt: skip

"""TensorFlow Serving's gRPC services."""

from __future__ import annotations

import grpc

from bedplate.serving.dataplane import DataPlane


def handlers(plane: DataPlane) -> list[grpc.GenericRpcHandler]:
    """Return the protocol's services."""
    return []

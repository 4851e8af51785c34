"""torch → ONNX, with parity proof."""

from bedplate.export.onnx import export_network, finish, join
from bedplate.export.parity import Parity, check_parity

__all__ = ["Parity", "check_parity", "export_network", "finish", "join"]

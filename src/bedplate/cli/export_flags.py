"""The flags of `bedplate export`; apart from the verb, so that `--help` loads no engine."""

from __future__ import annotations

import argparse


def add_export_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `bedplate export`."""
    parser.add_argument("bundle", help="a bundle's folder or archive, or a run's folder")
    parser.add_argument("--to", metavar="FORMAT", required=True, help="litert, openvino, onnx-fp16 or torch-export")
    parser.add_argument("--int8", action="store_true", help="in int8 (litert, openvino)")
    parser.add_argument("--out", metavar="DIR", help="a new folder (default: exported/FORMAT beside the bundle)")

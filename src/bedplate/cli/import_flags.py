"""The flags of `bedplate import`; apart from the verb, so that `--help` loads no engine."""

from __future__ import annotations

import argparse


def add_import_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `bedplate import`."""
    parser.add_argument("model", metavar="MODEL.onnx", help="an ONNX file; weights in a second file are packed in")
    parser.add_argument(
        "--codec", choices=("tensor", "image", "table"), default="tensor",
        help="what payloads are: tensors by input name (default), images, or rows of a table",
    )  # fmt: skip
    parser.add_argument("--labels", metavar="FILE", help="the classes, one a line, in the order of the output")
    parser.add_argument(
        "--activation", choices=("auto", "softmax", "none"), default="auto",
        help="what makes probabilities of the output (default: auto, softmax unless its rows add up to 1)",
    )  # fmt: skip
    parser.add_argument("--output", metavar="NAME", help="which output the labels belong to")
    parser.add_argument("--golden", metavar="ROWS.npz", help="rows to seal with their answers (default: made up)")
    parser.add_argument("--rows", metavar="N", type=int, default=8, help="how many rows are made up (default: 8)")
    parser.add_argument("--columns", metavar="FILE", help="a table's columns, one a line, in the order of the input")
    parser.add_argument("--target", metavar="WORDS", default="answer", help="what is predicted, in words")
    parser.add_argument("--name", help="the bundle's name (default: the file's)")
    parser.add_argument("--out", metavar="DIR", help="the bundle's folder (default: bundles/NAME)")
    image = parser.add_argument_group("images", "a pixel of 0 to 255 becomes (pixel × scale − mean) / std")
    image.add_argument("--scale", metavar="FIGURE", help="default: 1/255; 1 where the graph takes uint8")
    image.add_argument("--mean", metavar="A,B,C", help="one figure, or one a channel (default: 0)")
    image.add_argument("--std", metavar="A,B,C", help="one figure, or one a channel (default: 1)")
    image.add_argument("--layout", choices=("nchw", "nhwc"), help="where the channels are (default: as the shape says)")
    image.add_argument("--size", metavar="HxW", help="where the graph takes any size")
    image.add_argument("--order", choices=("rgb", "bgr"), help="the colours' order (default: rgb)")
    image.add_argument("--resize", choices=("stretch", "pad", "crop"), help="how images are fitted (default: stretch)")

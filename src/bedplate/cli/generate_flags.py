"""The flags by which `bedplate predict` continues texts; apart from the verb, so that `--help` loads no engine."""

from __future__ import annotations

import argparse

FLAGS = ("text", "max_tokens", "temperature", "top_k", "top_p", "seed", "stop", "beams")


def add_generate_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--text` and the flags of a model that writes text; one that isn't given is None."""
    parser.add_argument(
        "--text",
        metavar="TEXT",
        action="append",
        help="a text, instead of files, to answer or go on from; may be repeated",
    )
    group = parser.add_argument_group("a model that writes text")
    group.add_argument(
        "--max-tokens",
        metavar="N",
        type=int,
        help="write at most so many tokens (default: 200, or an answer whole)",
    )
    group.add_argument(
        "--temperature", metavar="T", type=float, help="0: the likeliest token (default: 0.8, for answers 0)"
    )
    group.add_argument("--top-k", metavar="K", type=int, help="draw from the K likeliest tokens (default: all)")
    group.add_argument("--top-p", metavar="P", type=float, help="draw from the likeliest that reach P (default: 1)")
    group.add_argument("--seed", metavar="N", type=int, help="of the draws (default: 0)")
    group.add_argument("--stop", metavar="TEXT", action="append", help="end where this would come; may be repeated")
    group.add_argument(
        "--beams",
        metavar="N",
        type=int,
        help="the likeliest of N, instead of a draw (answers: the recipe's)",
    )

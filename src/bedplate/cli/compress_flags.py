"""What `bedplate compress` takes beside a recipe's flags; read at every start, so it imports nothing heavy."""

from __future__ import annotations

import argparse


def add_compress_flags(parser: argparse.ArgumentParser) -> None:
    """Add what only a search under a budget takes."""
    budget = parser.add_argument_group("for a run's folder or a bundle")
    budget.add_argument("--max-latency-ms", metavar="MS", help="the most milliseconds that one row may take")
    budget.add_argument("--max-size-mb", metavar="MB", help="the most that the graph may take, in 10^6 bytes")
    budget.add_argument(
        "--max-drop", metavar="D", help="the most that may be lost: points of a rate, relative percent of an error"
    )
    budget.add_argument("--metric", metavar="NAME", help="of which the drop is (default: the task's leading one)")
    budget.add_argument(
        "--target", choices=("this", "avx2", "vnni", "arm"), help="the processor that int8 is made for (default: this)"
    )
    budget.add_argument("--steps", metavar="FILE", help="do again what a front's NAME.steps.yaml says, and measure it")
    budget.add_argument("--effort", choices=("quick", "normal", "thorough"), help="how much is tried (default: normal)")

"""`bedplate export`: a bundle's model in another format, proved in that format's own runtime."""

from __future__ import annotations

import argparse
import json

from bedplate.cli.main import console_for
from bedplate.stages.export_bundle import export_bundle, show


def export(arguments: argparse.Namespace) -> int:
    """`bedplate export`."""
    console = console_for(arguments)
    found = export_bundle(arguments.bundle, arguments.to, out=arguments.out, int8=arguments.int8, console=console)
    show(found, console)
    if arguments.json:
        print(json.dumps({**found.record, "out": str(found.path.resolve())}, ensure_ascii=False))
    elif arguments.quiet:
        print(found.path)
    return 0

"""One of several processes of a server: `python -m bedplate.serving.worker ORDER`, started by `processes.py`."""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import replace
from typing import Any

from bedplate.core.errors import BedplateError
from bedplate.core.machine import threads_granted
from bedplate.serving.channel import error_to
from bedplate.serving.hub import Hub
from bedplate.serving.listen import Listener
from bedplate.serving.server import run
from bedplate.serving.spec import ServerSpec, spec_from_json
from bedplate.serving.state import PROCESS


def own_spec(spec: ServerSpec, number: int) -> ServerSpec:
    """Return what one of several processes serves: its share of the threads, and a state folder of its own."""
    threads = max(1, (spec.threads or threads_granted()) // spec.processes)
    state = None if spec.state is None else spec.state / f"{PROCESS}{number}"
    return replace(spec, threads=threads, state=state)


def post(end: socket.socket, what: str, **arguments: Any) -> None:
    """Tell the supervisor something before this process has an event loop; its answer isn't waited for."""
    end.sendall(json.dumps({"number": 0, "ask": what, "arguments": arguments}).encode() + b"\n")


def main(text: str) -> int:
    """Serve as the order says, until SIGTERM."""
    order = json.loads(text)
    end = socket.socket(fileno=order["channel"])
    listeners = [Listener(fileno=number) for number in order["listeners"]]
    hub = Hub(end)
    try:
        return run(
            own_spec(spec_from_json(order["spec"]), order["number"]),
            listeners,
            say=lambda line: post(end, "say", line=line),
            hub=hub,
        )
    except BedplateError as error:
        post(end, "failed", error=error_to(error))
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

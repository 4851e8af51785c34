"""Serve the same graphs with Bedplate and its peers, in turns in one run, and write tables of rates and latencies.

    BEDPLATE_DATA=… python -m benchmarks.serving [--rounds 3] [--seconds 6] [--peers NAME …] [--models NAME …] [--quick]

Each server lives in an environment of its own (made in the system's temporary folder when missing) and is alone when it
is measured. In every round each of them is started, proved, warmed, loaded, weighed and ended; the order moves by one
a round. Then the open loop asks all of them at rates that most of them can bear. The figures go to
`benchmarks/results/serving.json`, the tables to docs/serving.md: those of images and tables, or those of texts (with
the servers that were adapted to them), or both; each part if nothing of it was left out, and the other stays as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bedplate.core.machine import describe
from benchmarks.serving import own, summary
from benchmarks.serving.environments import HOME, ROOT, Missing, environment, installed, megabytes
from benchmarks.serving.load import find_wrk
from benchmarks.serving.measure import Place, Visit, visit
from benchmarks.serving.models import NAMES, Model, make
from benchmarks.serving.open_loop import Schedule
from benchmarks.serving.roster import PARTS, Peer
from benchmarks.serving.table import table

LAST = HOME / "serving-last.json"
RESULTS = ROOT / "benchmarks" / "results" / "serving.json"
PAGE = ROOT / "docs" / "serving.md"
MARKS = {
    "rows": ("<!-- speed -->", "<!-- end of speed -->"),
    "texts": ("<!-- speed of texts -->", "<!-- end of speed of texts -->"),
}


def prepared(peers: Sequence[Peer]) -> dict[str, Any]:
    """Make the environments; return by server its versions and size, or why it is missing."""
    found: dict[str, Any] = {}
    for peer in peers:
        try:
            binaries = environment(peer.environment, peer.packages)
        except Missing as error:
            print(f"{peer.name}: {error}", flush=True)
            found[peer.name] = {"missing": str(error)}
            continue
        found[peer.name] = {
            "versions": installed(binaries, peer.main), "installed_mb": megabytes(binaries), "settings": peer.settings,
        }  # fmt: skip
    return found


def closed(peers: Sequence[Peer], model: Model, place: Place, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Return each server's rounds. The order moves on by one a round."""
    found: dict[str, list[dict[str, Any]]] = {peer.name: [] for peer in peers}
    for number in range(rounds):
        shift = number % len(peers)
        for peer in [*peers[shift:], *peers[:shift]]:
            one = visit(peer, model, place)
            found[peer.name].append(one)
            rates = {form: round(figures.get("rate", 0)) for form, figures in one["forms"].items()}
            fault = one.get("failed") or "; ".join(f["failed"] for f in one["forms"].values() if "failed" in f)
            print(f"{model.name} round {number + 1}/{rounds}: {peer.name} {rates} {fault[:160]}".rstrip(), flush=True)
    return found


def opened(
    peers: Sequence[Peer], model: Model, place: Place, closed_rounds: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    """Return form → the rates of the open loop, and what each server made of them."""
    found: dict[str, Any] = {
        form: {"rates": summary.shared_rates(peers, closed_rounds, form), "servers": {}} for form in model.forms
    }
    for peer in peers:
        bearable = {form: summary.middle(closed_rounds[peer.name], form, "rate") for form in model.forms}
        if not any(bearable.values()):
            continue
        try:
            with Visit(peer, model, place) as one:
                one.ready()
                for form, ask in one.asks().items():
                    best = bearable[form]
                    if not best:
                        continue
                    low, high = found[form]["rates"]
                    wanted = {"low": low, "high": high, **({"own": 0.7 * best} if peer.kind == "own" else {})}
                    one.load(form, ask)  # as warm as in the closed loop
                    found[form]["servers"][peer.name] = {
                        name: scheduled(one.schedule(ask, rate)) for name, rate in wanted.items()
                    }
        except (Missing, RuntimeError, OSError) as error:
            print(f"{model.name} open loop: {peer.name}: {str(error)[:160]}", flush=True)
            continue
        print(f"{model.name} open loop: {peer.name}", flush=True)
    return found


def scheduled(figures: dict[str, Any]) -> dict[str, Any]:
    """Return a schedule's figures with the verdict whether the server kept up."""
    return figures if "failed" in figures else {**figures, "kept_up": Schedule(**figures).kept_up}


def measure(peers: Sequence[Peer], model: Model, place: Place, rounds: int) -> dict[str, Any]:
    """Return everything that is measured with one model."""
    ours = [peer for peer in peers if peer.kind == "own"]
    closed_rounds = closed(peers, model, place, rounds)
    return {
        "forms": model.forms, "connections": model.connections, "closed": closed_rounds,
        "open": opened(peers, model, place, closed_rounds),
        # Of a small model the server is most of the work, and its engine alone says nothing of the server.
        "engine": {
            peer.name: own.engine_alone(peer, model, place) for peer in ours if model.heavy and peer.processes == 1
        },
        "grpc": {peer.name: own.grpc(peer, model, place) for peer in ours if model.name == "cnn"},
    }  # fmt: skip


def main() -> None:
    """Measure, write the figures, and put the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of one figure")
    parser.add_argument("--peers", nargs="*", default=[], help="parts of servers' names; Bedplate always runs")
    parser.add_argument("--models", nargs="*", default=list(NAMES), choices=NAMES)
    parser.add_argument("--quick", action="store_true", help="one round of 2 s figures, to see that all works")
    given = parser.parse_args()
    rounds, seconds = (1, 2.0) if given.quick else (given.rounds, given.seconds)
    wanted = [word.lower() for word in given.peers]
    find_wrk()
    for part, servers in PARTS.items():
        chosen = [p for p in servers if not wanted or p.name == "Bedplate" or any(w in p.name.lower() for w in wanted)]
        names = [name for name in given.models if any(name in peer.models for peer in servers)]
        if not names:
            continue
        results = part_of(chosen, names, rounds, seconds, quick=given.quick)
        text = table(results, chosen)
        print(text)
        left_out = {name for name in NAMES if any(name in peer.models for peer in servers)} - set(names)
        if given.quick or wanted or left_out:
            print(f"Something was left out, so the page stays as it is; the figures are in {LAST}.")
            continue
        keep(part, results)
        write_page(*MARKS[part], text)


def part_of(
    chosen: Sequence[Peer], names: Sequence[str], rounds: int, seconds: float, *, quick: bool
) -> dict[str, Any]:
    """Return all figures of some models with some servers; they are kept after each model, too."""
    servers = prepared(chosen)
    present = [peer for peer in chosen if "missing" not in servers[peer.name]]
    results: dict[str, Any] = {
        "machine": describe(), "date": time.strftime("%Y-%m-%d"), "rounds": rounds, "seconds": seconds,
        "load": os.getloadavg()[0], "servers": servers, "models": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="bedplate-serving-", ignore_cleanup_errors=True) as text:
        place = Place(Path(text), seconds, 1.0 if quick else 2.0)
        for name in names:
            model = make(name, HOME / "serving-models")
            model.write(place.folder)
            with_it = [peer for peer in present if name in peer.models]
            results["models"][name] = measure(with_it, model, place, rounds)
            results["aims"] = summary.aims(chosen, results["models"])
            LAST.write_text(json.dumps(results, indent=1) + "\n")
    return results


def keep(part: str, results: dict[str, Any]) -> None:
    """Put a part's figures into the file: those of texts under a key of their own, the others as they always lay."""
    there: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if part == "rows":
        found = {**results, **({"texts": there["texts"]} if "texts" in there else {})}
    else:
        found = {**there, part: results}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def write_page(begin: str, end: str, text: str) -> None:
    """Put the tables between two marks of the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()

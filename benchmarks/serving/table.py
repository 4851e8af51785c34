"""The figures as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.serving import summary
from benchmarks.serving.models import FORM_TITLES, TITLES
from benchmarks.serving.roster import Peer

BUSY = 1.0
"""A load of the machine, before anything is measured, from which the foreword tells of other work."""
LATE_MS = 2.0
"""A generator that sends so much behind its schedule is told of beside the figures."""


def table(results: Mapping[str, Any], peers: Sequence[Peer]) -> str:
    """Return the whole section."""
    parts = [_foreword(results)]
    for name, model in results["models"].items():
        for form in model["forms"]:
            parts.append(_closed(name, model, form, peers))
            if model["open"].get(form):
                parts.append(_open(model["open"][form], peers))
        parts.append(_footprint(name, model, peers))
        parts.append(_own(model))
    parts.append(_aims(results))
    parts.append(_settings(results, peers))
    machine = results["machine"]
    parts.append(f"{machine['cpu']}, {machine['threads']} threads; {results['date']}.")
    return "\n\n".join(part for part in parts if part)


def _foreword(results: Mapping[str, Any]) -> str:
    load = results.get("load", 0.0)
    busy = (
        f" Other work ran beside (a load of {load:.1f} on {results['machine']['threads']} threads as the first server "
        "started), and came and went between two visits: the rates are those of a crowded machine, and a ratio whose "
        "range holds 1 tells nothing of who is faster."
    )
    return (
        "Every server runs the same ONNX graph on ONNX Runtime, no other server beside it, on the machine's "
        f"{results['machine']['threads']} threads together with the load generator: {results['rounds']} rounds in "
        f"turns, {results['seconds']:g} s a figure, medians. A server is timed only if its answer to the sample is the "
        "golden one, before and after the load." + (busy if load > BUSY else "")
    )


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def _closed(name: str, model: Mapping[str, Any], form: str, peers: Sequence[Peer]) -> str:
    lines = [
        f"**{TITLES[name]}**, {FORM_TITLES[form]}, closed loop (wrk, {model['connections']} connections):", "",
        "| server | requests/s | p50 ms | p99 ms | Bedplate with as many processes is … times as fast (low to high) |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    found = model["closed"]
    for peer in (one for one in peers if one.name in found):
        rounds = found[peer.name]
        rate = summary.middle(rounds, form, "rate")
        fault = summary.fault(rounds, form)
        if rate is None:
            lines.append(f"| {peer.name} | {_plain(fault) or 'has no such form'} | | | |")
            continue
        ours = summary.counterpart(peer, peers)
        share = summary.ratio(found[ours.name], rounds, form) if ours and ours.name in found else None
        share = None if peer.kind == "own" else share
        words = f"{share[0]:.2f} ({share[1]:.2f} to {share[2]:.2f})" if share else ""
        note = f" (in a round: {_plain(fault)})" if fault else ""
        p50, p99 = summary.middle(rounds, form, "p50"), summary.middle(rounds, form, "p99")
        lines.append(f"| {peer.name}{note} | {rate:,.0f} | {_ms(p50)} | {_ms(p99)} | {words} |")
    return "\n".join(lines)


def _plain(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:120]


def _open(found: Mapping[str, Any], peers: Sequence[Peer]) -> str:
    low, high = found["rates"]
    lines = [
        "Open loop at fixed rates, latency from the intended send time, p50 / p99 / p99.9 in ms; the rates are 50 % "
        "and 80 % of what three quarters of the peers reach; of fewer than 1,000 requests p99.9 is the slowest:", "",
        f"| server | {low:,.0f}/s | {high:,.0f}/s |", "| --- | ---: | ---: |",
    ]  # fmt: skip
    extra = []
    for peer in (one for one in peers if one.name in found["servers"]):
        cells = found["servers"][peer.name]
        lines.append(f"| {peer.name} | {_cell(cells.get('low'))} | {_cell(cells.get('high'))} |")
        if "own" in cells and "rate" in cells["own"]:
            extra.append(f"{peer.name} at 70 % of its own best, {cells['own']['rate']:,.0f}/s: {_cell(cells['own'])}.")
    return "\n".join([*lines, *([""] if extra else []), *extra])


def _cell(figures: Mapping[str, Any] | None) -> str:
    if not figures:
        return ""
    if "failed" in figures:
        return _plain(figures["failed"])
    words = " / ".join(_ms(figures[key]) for key in ("p50", "p99", "p999"))
    if figures["late"] > LATE_MS:
        words += f", the generator {_ms(figures['late'])} late"
    return words if figures["kept_up"] else f"doesn't keep up ({words})"


def _footprint(name: str, model: Mapping[str, Any], peers: Sequence[Peer]) -> str:
    lines = [
        f"Start and memory with {name}; resident sizes are summed over all processes, proportional ones count shared "
        "pages once:", "",
        "| server | s to the first good answer | resident MB | proportional MB |", "| --- | ---: | ---: | ---: |",
    ]  # fmt: skip
    for peer in (one for one in peers if one.name in model["closed"]):
        rounds = model["closed"][peer.name]
        ready, resident = summary.plain(rounds, "ready"), summary.plain(rounds, "resident_mb")
        if ready is None:
            continue
        first = summary.plain(rounds, "ready_first")
        start = f"{ready:.2f}" + (f" (engines measured first: {first:.2f})" if first else "")
        proportional = summary.plain(rounds, "proportional_mb")
        weights = f"{resident:,.0f} | {proportional:,.0f}" if resident and proportional else " | "
        lines.append(f"| {peer.name} | {start} | {weights} |")
    return "\n".join(lines)


def _own(model: Mapping[str, Any]) -> str:
    lines = []
    for name, found in model["engine"].items():
        if "failed" in found:
            lines.append(f"{name}'s engine alone: {_plain(found['failed'])}.")
        else:
            lines.append(f"{name}'s engine alone: {found['rows_per_second']:,.0f} rows/s ({_plain(found['words'])}).")
    for name, found in model["grpc"].items():
        words = _plain(found["failed"]) if "failed" in found else (
            f"{found['rate']:,.0f} calls/s, p50 {_ms(found['p50'])} ms, p99 {_ms(found['p99'])} ms"
        )  # fmt: skip
        lines.append(f"{name} by gRPC, asked by two Python processes with 8 calls under way each: {words}.")
    return "\n".join(lines)


def _aims(results: Mapping[str, Any]) -> str:
    lines = ["Aims, which aren't moved:", "", "| what | aim | measured | |", "| --- | ---: | ---: | --- |"]
    for row in results["aims"]:
        sign = "≤" if "seconds" in row["what"] or "resident" in row["what"] else "≥"
        verdict = "met" if row["met"] else "**missed**"
        lines.append(f"| {row['what']} | {sign} {row['aim']:g} | {row['found']:.2f} | {verdict} |")
    return "\n".join(lines)


def _settings(results: Mapping[str, Any], peers: Sequence[Peer]) -> str:
    lines = ["| server | versions | settings | installed MB |", "| --- | --- | --- | ---: |"]
    for peer in (one for one in peers if one.name in results["servers"]):
        known = results["servers"][peer.name]
        if "missing" in known:
            lines.append(f"| {peer.name} | | {_plain(known['missing'])} | |")
            continue
        versions = ", ".join(f"{name} {version}" for name, version in known["versions"].items())
        lines.append(f"| {peer.name} | {versions} | {peer.settings} | {known['installed_mb']:,.0f} |")
    java = "Java isn't counted in TorchServe's size. " if "TorchServe" in results["servers"] else ""
    return "\n".join([*lines, "", f"{java}Bare loops share an environment each."])

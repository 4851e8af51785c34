"""From rounds to figures: medians, ratios within a round, the rates of the open loop, and the aims."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.serving.roster import Peer

FLOOR_AIM, ENGINE_AIM, READY_AIM, MEMORY_AIM = 0.8, 0.95, 1.0, 150.0

Rounds = Sequence[Mapping[str, Any]]


def rates(rounds: Rounds, form: str) -> list[float | None]:
    """Return the requests a second of each round; None where it failed."""
    found = []
    for one in rounds:
        figures = one["forms"].get(form, {})
        found.append(None if "failed" in figures or "rate" not in figures else float(figures["rate"]))
    return found


def middle(rounds: Rounds, form: str, key: str) -> float | None:
    """Return the median over the rounds that didn't fail."""
    values = [one["forms"][form][key] for one, rate in zip(rounds, rates(rounds, form), strict=True) if rate]
    return statistics.median(values) if values else None


def plain(rounds: Rounds, key: str) -> float | None:
    """Return the median of a figure of the whole visit."""
    values = [one[key] for one in rounds if key in one]
    return statistics.median(values) if values else None


def fault(rounds: Rounds, form: str) -> str:
    """Return why there is no figure, or ""."""
    for one in rounds:
        if "failed" in one:
            return str(one["failed"])
        if "failed" in one["forms"].get(form, {}):
            return str(one["forms"][form]["failed"])
    return ""


def ratio(own: Rounds, other: Rounds, form: str) -> tuple[float, float, float] | None:
    """Return the median, lowest and highest of own rate / other rate, each within one round."""
    pairs = zip(rates(own, form), rates(other, form), strict=True)
    found = [mine / theirs for mine, theirs in pairs if mine and theirs]
    return (statistics.median(found), min(found), max(found)) if found else None


def counterpart(peer: Peer, peers: Sequence[Peer]) -> Peer | None:
    """Return Bedplate with as many processes as this server has."""
    ours = [one for one in peers if one.kind == "own" and one.processes == peer.processes]
    return ours[0] if ours else None


def shared_rates(peers: Sequence[Peer], found: Mapping[str, Rounds], form: str) -> tuple[float, float]:
    """Return the open loop's rates: 50 % and 80 % of what three quarters of the peers reach in the closed loop."""
    reached = sorted(
        rate for peer in peers if peer.kind == "peer" and (rate := middle(found.get(peer.name, ()), form, "rate"))
    )
    if not reached:
        reached = sorted(rate for rounds in found.values() if (rate := middle(rounds, form, "rate")))
    if not reached:
        return 0.0, 0.0
    base = reached[len(reached) // 4]
    return rounded(0.5 * base), rounded(0.8 * base)


def rounded(rate: float) -> float:
    """Return a rate of two digits, at least 1."""
    digits = max(1.0, 10.0 ** (len(str(int(rate))) - 2))
    return max(1.0, digits * round(rate / digits))


def aims(peers: Sequence[Peer], models: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every aim with what was measured: {what, aim, found, met}."""
    rows: list[dict[str, Any]] = []

    def add(what: str, aim: float, value: float | None, *, most: bool = False) -> None:
        if value is not None:
            rows.append({"what": what, "aim": aim, "found": value, "met": value <= aim if most else value >= aim})

    for name, model in models.items():
        found = model["closed"]
        for form in model["forms"]:
            for own in (one for one in peers if one.kind == "own" and one.name in found):
                floors = [p for p in peers if p.kind == "floor" and p.processes == own.processes and p.name in found]
                shares = [share for p in floors if (share := ratio(found[own.name], found[p.name], form))]
                if shares:
                    add(f"{name}, {form}: {own.name} / the faster bare loop", FLOOR_AIM, min(one[0] for one in shares))
                alone = model["engine"].get(own.name, {}).get("rows_per_second")
                rate = middle(found[own.name], form, "rate")
                if alone and rate and form == "binary":
                    add(f"{name}, {form}: {own.name} / its engine alone", ENGINE_AIM, rate / alone)
            for peer in (one for one in peers if one.aim and one.name in found):
                ours = counterpart(peer, peers)
                share = ratio(found[ours.name], found[peer.name], form) if ours and ours.name in found else None
                if share:
                    add(f"{name}, {form}: Bedplate / {peer.name}", peer.aim, share[0])
        if "Bedplate" in found:
            add(f"{name}: seconds to the first answer", READY_AIM, plain(found["Bedplate"], "ready"), most=True)
            if name == "cnn":
                add(f"{name}: resident MB", MEMORY_AIM, plain(found["Bedplate"], "resident_mb"), most=True)
    return rows

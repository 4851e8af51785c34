"""Which engine runs a model, with how many threads, and how its requests are batched: measured at load.

ONNX Runtime is the guarantee: it runs every bundle, and its answers were sealed. OpenVINO, where it is installed, is
taken where it was measured to be faster here and gives the golden answers. A choice is remembered for the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from bedplate.bundle import Bundle
from bedplate.bundle.onnxscan import scan_graph
from bedplate.codecs.answers import PROBABILITIES
from bedplate.core.arrays import Arrays, concatenate, count, take
from bedplate.core.errors import BundleError, InputError
from bedplate.core.machine import give_back_memory, memory_limit
from bedplate.serving import engine_cache, engine_openvino
from bedplate.serving.batcher import BatchPlan, Outputs
from bedplate.serving.costs import CostModel
from bedplate.serving.engine_cache import Remembered
from bedplate.serving.engine_openvino import OpenVinoPredict
from bedplate.serving.engine_timing import SIZES, Candidate, best_size, quickest, race

ENGINES = ("auto", "onnxruntime", "openvino")

INLINE_SECONDS = 0.001
"""A full batch that is run on the event loop takes at most about this long."""

FASTER = 1.05
"""OpenVINO is taken where it answers so many times as many rows, and a lone row isn't slower by more than a tenth."""

LOOSE = {"atol": 0.02, "rtol": 0.0}
"""How far probabilities may lie from the sealed ones where every golden row keeps its label: bf16 rounds by 0.4 %."""

PATIENCE = 10.0
"""A choice takes about so many seconds at most; what doesn't fit in isn't tried."""

_WIDE = 1.1
_COPIES = 8


@dataclass(frozen=True)
class Chosen:
    """An engine that is ready to run, how it is used, and the figures that decided.

    `tolerance` is what the golden replay must allow beyond the variant's own; `rates` are the rows a second of every
    candidate by name; `note` says why an engine wasn't taken.
    """

    run: Callable[[Arrays], Outputs]
    plan: BatchPlan
    costs: CostModel
    engine: str
    variant: str
    threads: int
    precision: str = "f32"
    tolerance: dict[str, float] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    note: str = ""
    remembered: bool = False

    @property
    def words(self) -> str:
        """Say in one line how the model is run, and by which figures."""
        plan = self.plan
        how = "between requests" if plan.inline else f"{plan.runners} × {self.threads} threads"
        batches = f"batches of up to {plan.most_rows}" if plan.most_rows > 1 else "no batching"
        engine = self.engine if self.precision == "f32" else f"{self.engine} in {self.precision}"
        rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in sorted(self.rates.items(), key=lambda item: -item[1]))
        figures = f"; rows/s: {rates}" if rates else ""
        note = f"; {self.note}" if self.note else ""
        again = " (remembered)" if self.remembered and rates else ""
        return f"variant {self.variant} on {engine}, {how}, {batches}{figures}{again}{note}"


def choose_engine(bundle: Bundle, *, threads: int, batching: bool = True, wanted: str = "auto") -> Chosen:
    """Return the engine for a bundle on this machine.

    Args:
        bundle: an opened bundle; its runnable default variant is taken.
        threads: what all runners may use together; runners × threads of each never exceeds it.
        batching: whether requests may be run together.
        wanted: "auto" measures; "onnxruntime" or "openvino" leaves the other out.

    Raises:
        InputError: no such engine, or OpenVINO is asked for and isn't installed.
        BundleError: ONNX Runtime can't load the graph.
    """
    _check_wanted(wanted)
    variant = bundle.runnable()
    graph = bundle.graph(variant)
    parts = engine_cache.key(bundle.id, variant, threads, wanted)
    found = _from_memory(bundle, variant, graph, parts, batching)
    if found is not None:
        return found
    with engine_cache.alone():
        # Another process may have measured while this one waited.
        found = _from_memory(bundle, variant, graph, parts, batching)
        found = found or _Choice(bundle, variant, graph, threads, wanted).make(parts, batching)
    # The engines that lost are gone; what they held would stay with this process.
    give_back_memory()
    return found


def _check_wanted(wanted: str) -> None:
    if wanted not in ENGINES:
        raise InputError("no such engine", where="--engine", expected=f"one of {ENGINES}", received=wanted)
    if wanted == "openvino" and not engine_openvino.installed():
        raise InputError(
            "OpenVINO isn't installed", where="--engine openvino", hint='pip install "bedplate[openvino]", or leave '
            "--engine out",
        )  # fmt: skip


def _from_memory(bundle: Bundle, variant: str, graph: bytes, parts: dict[str, object], batching: bool) -> Chosen | None:
    remembered = engine_cache.recall(parts)
    threads = parts["threads"]
    assert isinstance(threads, int)
    if remembered is None or remembered.runners * remembered.threads > threads:
        return None
    if remembered.engine == "onnxruntime":
        ours = bundle.session(variant, graph, remembered.threads)
        return _chosen(ours, variant, remembered, {}, batching, remembered=True)
    try:
        run = _openvino(bundle, variant, graph, remembered.precision, remembered.runners, remembered.threads)
    except (BundleError, ImportError):
        return None
    tolerance = agreement(bundle, run, variant)
    return None if tolerance is None else _chosen(run, variant, remembered, tolerance, batching, remembered=True)


def _openvino(
    bundle: Bundle, variant: str, graph: bytes, precision: str, runners: int, threads: int
) -> OpenVinoPredict:
    like = bundle.session(variant, graph, 1)
    return OpenVinoPredict(
        graph, like, threads=runners * threads, streams=runners, precision="bf16" if precision == "bf16" else "f32"
    )


def _chosen(
    run: Callable[[Arrays], Outputs],
    variant: str,
    choice: Remembered,
    tolerance: dict[str, float],
    batching: bool,
    *,
    remembered: bool,
) -> Chosen:
    most = choice.most_rows if batching else 1
    plan = BatchPlan(
        most_rows=most, most_wait=0.0 if most == 1 or choice.inline else 0.005, runners=choice.runners,
        inline=choice.inline,
    )  # fmt: skip
    return Chosen(
        run, plan, CostModel(choice.times.items()), choice.engine, variant, choice.threads, choice.precision, tolerance,
        choice.rates, choice.note, remembered,
    )  # fmt: skip


class _Choice:
    """One measurement of one variant."""

    def __init__(self, bundle: Bundle, variant: str, graph: bytes, threads: int, wanted: str) -> None:
        self.bundle, self.variant, self.graph, self.threads = bundle, variant, graph, threads
        self.wanted = wanted
        self.begun = time.monotonic()
        self.inputs = bundle.golden.inputs
        self.lone = bundle.session(variant, graph, 1)
        self.note = ""

    def make(self, parts: dict[str, object], batching: bool) -> Chosen:
        """Measure, remember and return the choice."""
        least = quickest(self.lone, self.inputs)
        joined = not self.lone.row_by_row and batches_agree(self.lone, self.inputs)
        if not joined and not self.lone.row_by_row:
            self.note = "batching changes the answers, so it is off"
        # How long a loop runs its inputs may decide: on the event loop it would hold up everybody.
        endless = scan_graph(self.graph, self.variant).operators & {"Loop", "Scan"}
        inline = least <= INLINE_SECONDS and not endless
        best, rates = self._race(least, SIZES if joined else (1,), inline)
        fitting = {rows: s for rows, s in best.times.items() if not inline or s <= INLINE_SECONDS or rows == 1}
        choice = Remembered(
            best.engine, best.precision, best.runners, best.threads, inline, best_size(fitting), best.times, rates,
            self.note,
        )  # fmt: skip
        engine_cache.remember(parts, choice)
        return _chosen(best.run, self.variant, choice, best.tolerance, batching, remembered=False)

    def _race(self, least: float, sizes: tuple[int, ...], inline: bool) -> tuple[Candidate, dict[str, float]]:
        candidates = list(self._candidates(inline))
        race(candidates, self.inputs, self._seconds(40 * least * len(candidates)), sizes)
        if inline:
            # One form each: the engine's own overhead decides here, and threads would only add to it.
            for candidate in candidates:
                candidate.times = {n: s for n, s in candidate.times.items() if n == 1 or s <= 2 * INLINE_SECONDS}
        if self.threads > 1 and not inline:
            # The precision that is best in one form is tried in the other one, too.
            rival = max((c for c in candidates if c.engine == "openvino"), key=lambda c: c.best_rate, default=None)
            same = [c.best_rate for c in candidates if c.engine == "onnxruntime" and c.runners == 1]
            near = rival is not None and rival.best_rate > 0.9 * max(same, default=0.0)
            if rival is not None and near and self._left() > 0.4 * PATIENCE:
                beside = self._rival(rival.precision, self.threads, 1)
                if beside is not None:
                    # Against the others again, since the machine may be busier now than it was then.
                    candidates.append(beside)
                    finalists = [beside, rival, *(c for c in candidates if c.engine == "onnxruntime")]
                    race(finalists, self.inputs, self._seconds(30 * least * len(finalists)), sizes)
        rates = {candidate.name: round(candidate.best_rate, 1) for candidate in candidates}
        ours = _best([c for c in candidates if c.engine == "onnxruntime"])
        theirs = _best([c for c in candidates if c.engine == "openvino"])
        if theirs is None or ours is None:
            found = ours or theirs
            assert found is not None
            return found, rates
        faster = theirs.best_rate >= FASTER * ours.best_rate and theirs.times[1] <= 1.1 * ours.times[1]
        return theirs if self.wanted == "openvino" or faster else ours, rates

    def _left(self) -> float:
        """Return the seconds that are left for the choice."""
        return self.begun + PATIENCE - time.monotonic()

    def _seconds(self, wanted: float) -> float:
        """Return how long a race may take: what is wanted, at least half a second, and half of what is left."""
        return max(0.5, min(wanted, self._left() / 2))

    def _candidates(self, inline: bool) -> Iterator[Candidate]:
        wide = 1 if inline else self.threads
        limit = memory_limit()
        roomy = limit is None or _COPIES * len(self.graph) < limit // 2
        rivals: list[Candidate] = []
        if self.lone.past:
            self.note = "not on openvino: texts are continued on onnxruntime"
        elif self.wanted != "onnxruntime" and roomy and engine_openvino.installed():
            # The quicker precision first: a large model may leave no time for the other.
            for precision in reversed(engine_openvino.precisions()):
                rival = self._rival(precision, 1, wide) if self._left() > 0.6 * PATIENCE else None
                rivals += [rival] if rival is not None else []
        yield from rivals
        if self.wanted == "openvino" and rivals:
            return
        if wide > 1:
            wider = self.bundle.session(self.variant, self.graph, wide)
            yield Candidate("onnxruntime", "f32", 1, wide, wider)
            if not roomy:  # a model that fills half the memory isn't held twice
                return
        yield Candidate("onnxruntime", "f32", wide, 1, self.lone)

    def _rival(self, precision: str, runners: int, threads: int) -> Candidate | None:
        """Return OpenVINO as a candidate, or None where it can't run the graph or doesn't give the golden answers."""
        try:
            run = OpenVinoPredict(
                self.graph, self.lone, threads=runners * threads, streams=runners,
                precision="bf16" if precision == "bf16" else "f32",
            )  # fmt: skip
            tolerance = agreement(self.bundle, run, self.variant)
        except (BundleError, ImportError, RuntimeError) as error:
            said = error.message if isinstance(error, BundleError) else "it can't be loaded"
            self.note = self.note or f"not on openvino: {said}"
            return None
        if tolerance is None:
            if precision == "f32":
                self.note = self.note or "not on openvino: it doesn't give the golden answers"
            return None
        return Candidate("openvino", precision, runners, threads, run, tolerance)


def _best(candidates: list[Candidate]) -> Candidate | None:
    """Return the fastest; calls side by side only where they beat one call on all threads by a tenth."""
    wide = max((c for c in candidates if c.runners == 1), key=lambda c: c.best_rate, default=None)
    beside = max((c for c in candidates if c.runners > 1), key=lambda c: c.best_rate, default=None)
    if wide is None or beside is None:
        return wide or beside
    return beside if beside.best_rate > _WIDE * wide.best_rate else wide


def agreement(bundle: Bundle, run: Callable[[Arrays], Arrays], variant: str) -> dict[str, float] | None:
    """Return the tolerance under which an engine gives the golden answers, or None where it doesn't.

    Either the variant's own tolerance holds (returned as `{}`), or every row keeps its label and all probabilities lie
    within 0.02 of the sealed ones (`LOOSE`).
    """
    own = bundle.manifest.variants[variant].tolerance
    try:
        bundle.golden.replay(run, variant, own, bundle.name)
        return {}
    except BundleError:
        sealed = bundle.golden.outputs[variant]
    if set(sealed) != {PROBABILITIES}:
        return None
    given, expected = run(bundle.golden.inputs)[PROBABILITIES], sealed[PROBABILITIES]
    if given.shape != expected.shape or not np.array_equal(given.argmax(axis=1), expected.argmax(axis=1)):
        return None
    return dict(LOOSE) if bool(np.all(np.abs(given - expected) <= LOOSE["atol"])) else None


def batches_agree(run: Callable[[Arrays], Arrays], inputs: Arrays, rows: int = 8) -> bool:
    """Return whether rows get the same answers together as alone: a graph may mix the rows of a batch."""
    rows = min(rows, count(inputs))
    some = take(inputs, slice(0, rows))
    if rows == 1:  # one golden row: two of it
        some = take(inputs, np.array([0, 0]))
    try:
        together = run(some)
        alone = concatenate([run(take(some, slice(k, k + 1))) for k in range(count(some))])
    except Exception:  # noqa: BLE001 - a graph made for one row fails in ways of its own
        return False
    return set(together) == set(alone) and all(_same(together[name], alone[name]) for name in together)


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape or one.dtype == object:
        return one.shape == other.shape and bool(np.all(one == other))
    return np.allclose(one.astype(float), other.astype(float), rtol=1e-3, atol=1e-4, equal_nan=True)

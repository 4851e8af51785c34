"""What a search under a budget tries: shapes first, more training for those that are worth it, quantisation last.

1. Shapes: the original with fewer channels, with blocks removed, with factors in place of layers; each is exported and
   timed before it is trained, since times don't depend on weights, and what gains nothing goes no further.
2. Successive halving: all learn a little from the original, the better half goes on, until few have learnt enough.
3. The original and those few are quantised in every way that the effort allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import onnx
import optuna

from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.codec import TOKENS
from bedplate.compression.cost import macs_and_parameters
from bedplate.compression.front import MB, Budget
from bedplate.compression.halving import survivors
from bedplate.compression.int8_weights import only_stored
from bedplate.compression.isa import isa, target_features
from bedplate.compression.measure import Latency, measure_latencies
from bedplate.compression.registry import methods
from bedplate.compression.variants import FOUNDATION, SMALLER
from bedplate.core.arrays import Predict
from bedplate.core.errors import GateError, InputError
from bedplate.core.seeds import derive
from bedplate.export import export_network, join
from bedplate.export.stepwise import check_steps
from bedplate.models import Network
from bedplate.models.registry import Stepwise
from bedplate.stages.compress_bench import State, few
from bedplate.stages.compress_judge import ORIGINAL, Candidate
from bedplate.stages.compress_maker import Maker, Step
from bedplate.stages.compress_steps import plural

Effort = Literal["quick", "normal", "thorough"]


@dataclass(frozen=True)
class Plan:
    """How much is tried.

    Attributes:
        shares: what pruned students keep of the cost, half of which is time and half parameters.
        factors: shares of the parameters that factorised students keep.
        blocks: whether whole blocks are removed.
        rungs: how long students are trained before each halving, as shares of the original's epochs.
        forms: ways of quantising, beside those of the recipe.
        aware: epochs of quantisation-aware training, as a share of the original's; 0: none.
        trials: how many more students optuna draws.
    """

    shares: tuple[float, ...]
    factors: tuple[float, ...]
    blocks: bool
    rungs: tuple[float, ...]
    forms: tuple[str, ...]
    aware: float
    trials: int


PLANS: dict[Effort, Plan] = {
    "quick": Plan((0.25,), (), False, (0.34,), (), 0.0, 0),
    "normal": Plan(
        (0.5, 0.25, 0.12), (0.4,), True, (0.15, 0.6), ("int8-entropy", "int8-mixed", "int8-weights"), 0.1, 0
    ),
    "thorough": Plan(
        (0.7, 0.5, 0.35, 0.25, 0.12, 0.06), (0.6, 0.35), True, (0.15, 0.3, 0.8),
        ("int8-entropy", "int8-percentile", "int8-mixed", "int8-weights", "fp16-storage", "clean-up"), 0.2, 16,
    ),
}  # fmt: skip

INSTEAD = 0.4
"""Share of dense layers' parameters that factors keep where an effort plans none and its pruning leads nowhere."""
MOSTLY = 0.5
"""A share of the numbers in embeddings and recurrent layers above which storing them in int8 is always tried."""
RANGED = ("int8-static", "int8-entropy", "int8-percentile", "int8-mixed")
"""Ways of quantising that measure ranges of what is computed in one call: not for graphs that go on from a past."""
QUARTER = 0.27
"""About how large an int8 graph is beside the same in float32."""


@dataclass(frozen=True)
class Exported:
    """A network's graph, alone and with the codec's part before it."""

    network: onnx.ModelProto
    whole: bytes


class Search:
    """Finds the candidates of one original."""

    def __init__(self, maker: Maker, effort: Effort, budget: Budget, target: str) -> None:
        self.maker, self.bench, self.plan, self.budget = maker, maker.bench, PLANS[effort], budget
        self.work, self.console = self.bench.work, self.bench.work.console
        self.cpu = target_features(target)
        self.epochs = max(1, self.work.recipe.training.epochs)
        self.refused: list[tuple[str, str]] = []
        self._graphs: dict[int, Exported] = {}
        self.steps = isinstance(self.bench.original.body, Stepwise)

    def candidates(self) -> list[Candidate]:
        """Return the original, its students, and the quantised forms of each."""
        students = self._students()
        self.console.stage("compress", f"quantising the original and {counted(len(students))}")
        found = self.forms(ORIGINAL, ())
        for name, steps in students.items():
            found += self.forms(name, steps)
        return found

    def _students(self) -> dict[str, tuple[Step, ...]]:
        """Return the students that are worth having, trained."""
        if len(self.bench.objective.steps) != 1:
            self.console.detail("no students: the objective takes several steps a batch")
            return {}
        if not self.work.recipe.training.epochs:
            self.console.detail("no students: the recipe trains for no epochs")
            return {}
        shapes = self._worth_training(self._shapes())
        if not shapes and not self.plan.factors:
            self.console.detail("no pruned student is worth training: factors are tried instead")
            shapes = self._worth_training(_factored(INSTEAD))
        if self.plan.trials:
            shapes |= self._drawn()
        return self._halved(shapes)

    def _shapes(self) -> dict[str, tuple[Step, ...]]:
        """Return what is tried, by name: the steps before training."""
        found: dict[str, tuple[Step, ...]] = {}
        if self.bench.groups:
            found |= {f"cost-{share:.0%}".rstrip("%"): (self._pruned("cost", share),) for share in self.plan.shares}
            found |= self._aimed()
        else:
            self.console.detail("no pruning: this model has no channels that go together")
        if self.plan.blocks:
            found |= {f"blocks-{count}": ({"do": "remove", "layers": count},) for count in (1, 2)}
        for share in self.plan.factors:
            found |= _factored(share)
            found[f"tucker-{share:.0%}".rstrip("%")] = ({"do": "decompose", "parameters": share},)
        student = self.work.recipe.compression.student
        if student is not None:
            found["student"] = ({"do": "student", "name": student.name, **student.arguments},)
        return found

    def _pruned(self, of: str, share: float) -> Step:
        """Return a step of pruning by what was measured of the original: its answers, and its layers' times."""
        times = {"times": self.maker.times} if of in ("cost", "time") else {}
        return {"do": "prune", of: share, "allocation": "sensitivity", **times}

    def _aimed(self) -> dict[str, tuple[Step, ...]]:
        """Return a shape that is as small, and one that is as fast, as the budget asks, if int8 alone is not enough."""
        found: dict[str, tuple[Step, ...]] = {}
        original = self._exported(self.maker.make(()))
        if self.budget.max_size_mb:
            share = self.budget.max_size_mb * MB / len(original.whole) / QUARTER * 0.9
            if share < SMALLER:
                found["size"] = (self._pruned("parameters", round(share, 3)),)
        if self.budget.max_latency_ms:
            time = measure_latencies(
                {ORIGINAL: self._timed(original)}, self.work.dataset.validation.inputs, seed=self.work.recipe.seed
            )[ORIGINAL]
            layers = min(sum(self.maker.times.values()) / 1e3, time.median)
            share = (self.budget.max_latency_ms * 0.9 - (time.median - layers)) / max(layers, 1e-6)
            if 0 < share < SMALLER:
                found["latency"] = (self._pruned("time", round(share, 3)),)
        return found

    def _worth_training(self, shapes: Mapping[str, tuple[Step, ...]]) -> dict[str, tuple[Step, ...]]:
        """Leave out what can't be done here, and what is neither smaller nor faster than the original."""
        states: dict[str, State] = {ORIGINAL: self.maker.make(())}
        for name, steps in shapes.items():
            try:
                states[name] = self.maker.make(steps)
            except InputError as error:
                self.refused.append((name, str(error)))
        graphs = {name: self._exported(state) for name, state in states.items()}
        times = self._times(graphs)
        found = {}
        for name in list(states)[1:]:
            ratio = len(graphs[name].whole) / len(graphs[ORIGINAL].whole)
            if ratio > SMALLER and times[name].ratio_high >= 1:
                self.refused.append(
                    (name, f"not trained: {ratio:.2f}× the size, {times[name].ratio:.2f}× the latency of the original")
                )
            else:
                found[name] = shapes[name]
        return found

    def _times(self, graphs: Mapping[str, Exported]) -> dict[str, Latency]:
        predictors: dict[str, Predict] = {name: self._timed(graph) for name, graph in graphs.items()}
        return measure_latencies(predictors, self.work.dataset.validation.inputs, seed=self.work.recipe.seed)

    def _timed(self, graph: Exported) -> OnnxPredict:
        prepare = self.work.dataset.codec.prepare
        return OnnxPredict(graph.whole, variant=FOUNDATION, threads=1, prepare=prepare)

    def _halved(self, shapes: Mapping[str, tuple[Step, ...]]) -> dict[str, tuple[Step, ...]]:
        """Train all, keep the better half, and so on; return those that were trained to the end."""
        alive = dict(shapes)
        for rung, share in enumerate(self.plan.rungs):
            if not alive:
                break
            distil = self._distil(share)
            verb = "learns" if len(alive) == 1 else "learn"
            told = f"{counted(len(alive))} {verb} from the original for {plural(distil['epochs'])}"
            self.console.stage("compress", f"round {rung + 1}: {told}")
            alive = {name: (*steps, distil) for name, steps in alive.items()}
            costs = self._costs(alive)
            alive = {name: steps for name, steps in alive.items() if name in costs}
            if rung < len(self.plan.rungs) - 1:
                kept = survivors(costs, max(2, (len(alive) + 1) // 2))
                self.refused += [
                    (name, f"others were better after round {rung + 1}") for name in alive if name not in kept
                ]
                alive = {name: alive[name] for name in kept}
        return alive

    def _distil(self, share: float) -> dict[str, Any]:
        part = self.work.recipe.compression.distillation
        return {"do": "distil", "epochs": max(1, round(self.epochs * share)), "name": part.name, **part.arguments}

    def _costs(self, students: Mapping[str, tuple[Step, ...]]) -> dict[str, tuple[float, ...]]:
        """Return size, latency and validation loss of each."""
        states, losses = {}, {}
        for name, steps in students.items():
            try:
                states[name] = self.maker.make(steps)
            except GateError as error:  # one that diverges takes no other with it
                self.refused.append((name, str(error)))
                self.console.detail(f"{name}: {error.what}")
                continue
            losses[name] = self.bench.loss(states[name])
            self.console.detail(f"{name}: validation loss {losses[name]:.4f}")
        graphs = {name: self._exported(state) for name, state in states.items()}
        times = self._times(graphs)
        return {name: (float(len(graphs[name].whole)), times[name].median, losses[name]) for name in states}

    def _drawn(self) -> dict[str, tuple[Step, ...]]:
        """Return the best of the students that optuna draws, by size, latency and loss after the first round."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed = derive(self.work.recipe.seed, "optuna") % 2**31
        sampler = optuna.samplers.NSGAIISampler(population_size=max(4, self.plan.trials // 2), seed=seed)
        study = optuna.create_study(directions=["minimize"] * 3, sampler=sampler)
        tried: dict[int, tuple[Step, ...]] = {}
        self.console.stage("compress", f"optuna draws {self.plan.trials} students")

        def objective(trial: optuna.Trial) -> tuple[float, ...]:
            steps: list[Step] = []
            if self.bench.groups:
                share = trial.suggest_float("cost", 0.04, 0.8, log=True)
                kind = trial.suggest_categorical("importance", ["taylor", "magnitude"])
                steps.append({**self._pruned("cost", round(share, 3)), "importance": kind})
            factors = trial.suggest_float("factors", 0.2, 1.4)
            if factors < 1:  # more than all of the parameters: not factorised
                kind = trial.suggest_categorical("ranks", ["energy", "sensitivity"])
                steps.append({"do": "factorise", "parameters": round(factors, 3), "ranks": kind})
            try:
                tried[trial.number] = tuple(steps)
                name = f"trial-{trial.number}"
                found = self._costs({name: (*steps, self._distil(self.plan.rungs[0]))})
                if name not in found:
                    raise optuna.TrialPruned("it diverged")
                return found[name]
            except InputError as error:
                raise optuna.TrialPruned(str(error)) from error

        study.optimize(objective, n_trials=self.plan.trials)
        return {f"trial-{trial.number}": tried[trial.number] for trial in study.best_trials}

    def _exported(self, state: State) -> Exported:
        key = id(state.network)
        if key not in self._graphs:
            sample = few(self.bench.calibration)
            graph = export_network(state.network, sample)
            self._graphs[key] = Exported(graph, self._complete(graph))
            timed = self._timed(self._graphs[key])
            if timed.past:
                check_steps(state.network, timed, sample[TOKENS])
        return self._graphs[key]

    def _complete(self, graph: onnx.ModelProto) -> bytes:
        whole: bytes = join(self.work.dataset.codec.graph(), graph).SerializeToString()
        return whole

    def original(self) -> Candidate:
        """Return the original as it is."""
        return self._plain(ORIGINAL, ())

    def replayed(self, name: str, steps: Sequence[Step]) -> Candidate:
        """Return what steps lead to, done again.

        Raises:
            InputError: a step that can't be done here.
        """
        last = steps[-1] if steps else {"do": ""}
        if last["do"] == "quantise":
            return self._quantised(name, steps[:-1], str(last.get("method")))
        if last["do"] == "quantise-aware":
            return self._aware(name, steps[:-1], int(last.get("epochs", 1)))
        return self._plain(name, steps)

    def forms(self, name: str, steps: Sequence[Step]) -> list[Candidate]:
        """Return a network's graph in float and its quantised ones."""
        found = [self._plain(name, steps)]
        for method in self._methods():
            try:
                found.append(self._quantised(f"{name}-{method}", steps, method))
            except InputError as error:
                self.refused.append((f"{name}-{method}", str(error)))
        learns = self.plan.aware and not self.steps and len(self.bench.objective.steps) == 1
        if learns and self.work.recipe.compression.methods:
            epochs = max(1, round(self.epochs * self.plan.aware))
            try:
                found.append(self._aware(f"{name}-int8-aware", steps, epochs))
            except (InputError, GateError) as error:
                self.refused.append((f"{name}-int8-aware", str(error)))
        return found

    def _plain(self, name: str, steps: Sequence[Step]) -> Candidate:
        state = self.maker.make(steps)
        graph = self._exported(state).whole
        return Candidate(
            name, tuple(steps), state.said, graph, _model_json(state), FOUNDATION, {}, self._counts(state.network)
        )  # fmt: skip

    def _quantised(self, name: str, steps: Sequence[Step], method: str) -> Candidate:
        """Return a network's graph quantised by a registered method, which must find something to quantise."""
        state = self.maker.make(steps)
        graph = self._exported(state).network
        changed = methods.get(method)(graph, self.bench.calibration, self.cpu)
        if changed.SerializeToString() == graph.SerializeToString():
            raise InputError("there is nothing to quantise in this graph", where=method)
        return Candidate(
            name, (*steps, {"do": "quantise", "method": method}), (*state.said, method), self._complete(changed),
            _model_json(state), method, isa(self.cpu, changed), self._counts(state.network),
        )  # fmt: skip

    def _aware(self, name: str, steps: Sequence[Step], epochs: int) -> Candidate:
        """Return the network after training in 8 bits."""
        state = self.maker.make(steps)
        changed = self.bench.quantised_aware(state, self.cpu, epochs)
        return Candidate(
            name, (*steps, {"do": "quantise-aware", "epochs": epochs}),
            (*state.said, f"{plural(epochs)} of training in 8 bits"), self._complete(changed), _model_json(state),
            "int8-aware", isa(self.cpu, changed), self._counts(state.network),
        )  # fmt: skip

    def _methods(self) -> list[str]:
        """Return the recipe's ways of quantising and the effort's; none where the recipe wants none.

        Where most numbers lie in embeddings and recurrent layers, they are stored in int8 at any effort: the ways that
        compute in int8 would make the graph hardly smaller.
        """
        own = self.work.recipe.compression.methods
        if not own:
            return []
        forms = [name for name in self.plan.forms if not (self.steps and name in RANGED)]
        stored = only_stored(self._exported(self.maker.make(())).network) > MOSTLY
        return list(dict.fromkeys((*own, *forms, *(("int8-weights",) if stored else ()))))

    def _counts(self, network: Network) -> dict[str, Any]:
        parameters = sum(parameter.numel() for parameter in network.parameters())
        try:
            return {"parameters": parameters, "macs": macs_and_parameters(network, self.bench.calibration).macs}
        except InputError:  # a graph that can't be drawn
            return {"parameters": parameters}


def _factored(share: float) -> dict[str, tuple[Step, ...]]:
    """Return a student whose dense layers and convolutions are factors, by name."""
    return {f"low-rank-{share:.0%}".rstrip("%"): ({"do": "factorise", "parameters": share},)}


def counted(students: int) -> str:
    """Return a number of students in words."""
    return "1 student" if students == 1 else f"{students} students"


def _model_json(state: State) -> dict[str, Any]:
    return {**state.model, **({"changes": list(state.changes)} if state.changes else {})}

"""Makes networks by steps, and none twice: what was trained is kept in a folder by all that decided it.

So a search that was stopped, or is asked again under another budget, trains only what is new.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from bedplate.compression.layer_times import layer_times
from bedplate.core.errors import InputError, listing
from bedplate.core.files import read_json, write_bytes, write_json
from bedplate.core.hashing import fingerprint
from bedplate.core.machine import cpu_model
from bedplate.stages.compress_bench import Bench, State
from bedplate.stages.compress_steps import STEPS, check_step

Step = Mapping[str, Any]


@dataclass
class Maker:
    """Makes networks by steps from one original.

    Attributes:
        bench: the original, and what the steps work with.
        store: the folder of trained networks.
    """

    bench: Bench
    store: Path
    _states: dict[str, State] = field(default_factory=dict)

    @cached_property
    def times(self) -> dict[str, float]:
        """What each layer of the original takes here, in µs; kept, so that the next search asks for the same."""
        path, machine = self.store / "layer-times.json", cpu_model()
        if path.exists():
            kept = read_json(path)
            if (kept.get("original"), kept.get("cpu")) == (self.bench.identity, machine):
                return dict(kept["times"])
        measured = layer_times(self.bench.original, self.bench.calibration)
        times = {name: round(time, 1) for name, time in measured.items()}
        self.store.mkdir(parents=True, exist_ok=True)
        write_json(path, {"original": self.bench.identity, "cpu": machine, "times": times})
        return times

    def make(self, steps: Sequence[Step]) -> State:
        """Return the network that steps lead to; none of them is done twice.

        Raises:
            InputError: an unknown step, or one that can't be done here.
        """
        key = fingerprint({"original": self.bench.identity, "steps": [dict(step) for step in steps]})
        if key in self._states:
            return self._states[key]
        if not steps:
            state = State(self.bench.original, self.bench.model)
        else:
            before, last = self.make(steps[:-1]), dict(steps[-1])
            check_step(last)
            name = last.pop("do")
            kept = self._kept(before, key) if name == "distil" else None
            state = kept or _done(name, self.bench, before, last)
            if name == "distil" and kept is None:
                self._keep(state, key)
        self._states[key] = state
        return state

    def _keep(self, state: State, key: str) -> None:
        self.store.mkdir(parents=True, exist_ok=True)
        write_json(self.store / f"{key}.json", {"said": state.said[-1]})
        write_bytes(self.store / f"{key}.safetensors", save(state.network.state_dict()))

    def _kept(self, before: State, key: str) -> State | None:
        """Return what these steps made before; None where nothing was kept, or what was kept doesn't fit.

        An earlier version may have chosen other widths by the same words, and a file may be damaged.
        """
        path = self.store / f"{key}.safetensors"
        if not path.exists():
            return None
        network = copy.deepcopy(before.network)
        try:
            network.load_state_dict(load_file(path))
            said = str(read_json(self.store / f"{key}.json")["said"])
        except (RuntimeError, SafetensorError, OSError, InputError, KeyError, TypeError) as error:
            fault = str(error).splitlines()[0][:100]
            self.bench.work.console.detail(f"what was trained before can't be used, so it is made anew: {fault}")
            return None
        self.bench.work.console.detail(f"trained before: {said}")
        return before.then(network, (), said)


def _done(name: str, bench: Bench, before: State, arguments: dict[str, Any]) -> State:
    try:
        return STEPS[name](bench, before, **arguments)
    except (TypeError, ValueError) as error:  # numbers out of range, words for numbers: files are written by people
        raise InputError(
            f"the step '{name}' can't be done", received=str(error), where=f"steps: {listing(arguments)}"
        ) from error

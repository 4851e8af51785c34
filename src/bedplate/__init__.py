"""Bedplate: one recipe and one command carry a deep-learning model through its whole life.

The names below are loaded when they are first used; importing `bedplate` imports neither torch nor onnxruntime.

    import bedplate as bp

    outcome = bp.run("recipe.yaml", out="runs/first")
    bundle = bp.Bundle.open(outcome.figures["bundle"])
    bundle.predict([open("digit.png", "rb").read()])
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# From 1.29 on, onnxruntime on Linux reports its use to its maker unless this is set before it is loaded, with names of
# models and hashes of weights among it. Nothing here phones home.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

if TYPE_CHECKING:
    from bedplate.bundle import Bundle
    from bedplate.core.errors import BedplateError, GateError, InputError, ServerError
    from bedplate.evaluation import Report, evaluate
    from bedplate.experiments.experiment import experiment
    from bedplate.experiments.sweep import sweep
    from bedplate.models.registry import models as _models
    from bedplate.objectives.registry import Objective, Step
    from bedplate.operations.monitor import monitor
    from bedplate.pipeline import run, run_stage
    from bedplate.recipe.load import load as load_recipe
    from bedplate.serving import serve
    from bedplate.serving.client import AsyncClient, Client
    from bedplate.serving.client_grpc import AsyncGrpcClient, GrpcClient
    from bedplate.stages.compress_bundle import compress
    from bedplate.stages.export_bundle import export_bundle
    from bedplate.stages.plan import plan

    register_model = _models.register

_NAMES = {
    "BedplateError": ("bedplate.core.errors", "BedplateError"),
    "GateError": ("bedplate.core.errors", "GateError"),
    "InputError": ("bedplate.core.errors", "InputError"),
    "AsyncClient": ("bedplate.serving.client", "AsyncClient"),
    "AsyncGrpcClient": ("bedplate.serving.client_grpc", "AsyncGrpcClient"),
    "Bundle": ("bedplate.bundle", "Bundle"),
    "Client": ("bedplate.serving.client", "Client"),
    "GrpcClient": ("bedplate.serving.client_grpc", "GrpcClient"),
    "ServerError": ("bedplate.core.errors", "ServerError"),
    "Objective": ("bedplate.objectives.registry", "Objective"),
    "Report": ("bedplate.evaluation", "Report"),
    "Step": ("bedplate.objectives.registry", "Step"),
    "evaluate": ("bedplate.evaluation", "evaluate"),
    "check_plugin": ("bedplate.checks", "check_file"),
    "compress": ("bedplate.stages.compress_bundle", "compress"),
    "compare": ("bedplate.stages.compare", "compare_runs"),
    "experiment": ("bedplate.experiments.experiment", "experiment"),
    "export_bundle": ("bedplate.stages.export_bundle", "export_bundle"),
    "init": ("bedplate.stages.init", "init"),
    "load_recipe": ("bedplate.recipe.load", "load"),
    "monitor": ("bedplate.operations", "monitor"),
    "plan": ("bedplate.stages.plan", "plan"),
    "recipes": ("bedplate.stages.resolve", "shipped_recipes"),
    "register_augment": ("bedplate.training.augment", "augments.register"),
    "register_compression": ("bedplate.compression.registry", "methods.register"),
    "register_model": ("bedplate.models.registry", "models.register"),
    "register_objective": ("bedplate.objectives.registry", "objectives.register"),
    "run": ("bedplate.pipeline", "run"),
    "run_stage": ("bedplate.pipeline", "run_stage"),
    "serve": ("bedplate.serving", "serve"),
    "sweep": ("bedplate.experiments.sweep", "sweep"),
}

__all__ = ["__version__", *_NAMES]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _NAMES:
        raise AttributeError(f"module 'bedplate' has no attribute '{name}'")
    module, path = _NAMES[name]
    value: Any = importlib.import_module(module)
    for part in path.split("."):
        value = getattr(value, part)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return sorted(__all__)

"""The recipe's budget: when the run has its bundle, look for a smaller or faster one, as `bedplate compress` does."""

from __future__ import annotations

import shutil
from typing import Any

from bedplate.compression.front import Budget
from bedplate.core.files import read_json
from bedplate.stages.compress_bundle import RESULT, compress_bundle, show
from bedplate.stages.compress_trained import leading_metric
from bedplate.stages.work import Work

FRONT = "compressed"


def budget_stage(work: Work, bundle_id: str) -> dict[str, Any] | None:
    """Return what the search found, or found before; None where the recipe has no budget.

    Args:
        work: the run, its bundle sealed.
        bundle_id: of that bundle.
    """
    spec = work.recipe.compression.budget
    if spec is None:
        return None
    budget = Budget(spec.max_latency_ms, spec.max_size_mb, spec.max_drop)
    out = work.folder.path / FRONT
    before = _before(work, bundle_id)
    if before is not None:
        work.console.stage("compress", "the budget's search was done before")
        return before
    shutil.rmtree(out, ignore_errors=True)  # of another bundle, or another budget
    found = compress_bundle(
        work.folder.path, budget, out=out, effort=spec.effort, metric=spec.metric, target=spec.target,
        console=work.console,
    )  # fmt: skip
    show(found, work.console)
    return found.to_json()


def _before(work: Work, bundle_id: str) -> dict[str, Any] | None:
    spec, path = work.recipe.compression.budget, work.folder.path / FRONT / RESULT
    assert spec is not None
    if not path.exists():
        return None
    found: dict[str, Any] = read_json(path)
    wanted = {key: getattr(spec, key) for key in ("max_latency_ms", "max_size_mb", "max_drop")}
    wanted["metric"] = spec.metric or leading_metric(work.dataset.answers, work.task.primary)
    same = (found["bundle_id"], found["budget"], found["effort"], found["target"]) == (
        bundle_id, wanted, spec.effort, spec.target,
    )  # fmt: skip
    return found if same else None

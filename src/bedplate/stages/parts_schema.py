"""The JSON Schema of the registered parts, from their functions' signatures."""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import TypeAdapter

from bedplate.core.registry import Registry
from bedplate.models import models
from bedplate.objectives import objectives
from bedplate.training import augments, optimizers, schedules


def _schema(registry: Registry[Any], name: str) -> dict[str, Any]:
    hints = inspect.get_annotations(registry.get(name), eval_str=True)
    properties: dict[str, Any] = {"name": {"const": name}}
    for key, parameter in registry.arguments(name).items():
        properties[key] = TypeAdapter(hints.get(key, Any)).json_schema()
        if parameter.default is not parameter.empty:
            properties[key]["default"] = parameter.default
    about = inspect.getdoc(registry.get(name)) or ""
    return {
        "type": "object",
        "description": about.partition("\n")[0],
        "properties": properties,
        "required": ["name"],
        "additionalProperties": False,
    }


def parts_schema() -> dict[str, dict[str, Any]]:
    """Return, for each key that names a registered part, the schema of the parts that fit there."""
    registries: dict[str, Registry[Any]] = {
        "model": models,
        "objective": objectives,
        "optimizer": optimizers,
        "schedule": schedules,
        "augment": augments,
    }
    return {
        key: {"oneOf": [_schema(registry, name) for name in registry.names()]} for key, registry in registries.items()
    }

"""Answer requests from bundles: engines, batching, protocols, limits, metrics, and sketches of what was seen."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedplate.serving.app import create_app
    from bedplate.serving.launch import serve
    from bedplate.serving.spec import ServerSpec

__all__ = ["ServerSpec", "create_app", "serve"]

_HOMES = {"ServerSpec": "spec", "create_app": "app", "serve": "launch"}


def __getattr__(name: str) -> Any:
    # Loaded when they are asked for: the process that only minds others holds no engine.
    if name not in _HOMES:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"bedplate.serving.{_HOMES[name]}"), name)

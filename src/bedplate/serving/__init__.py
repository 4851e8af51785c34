"""Answer requests from bundles: engines, protocols, limits, metrics, and sketches of what was seen."""

from bedplate.serving.app import create_app
from bedplate.serving.server import serve

__all__ = ["create_app", "serve"]

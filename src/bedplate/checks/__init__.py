"""A conformance battery that every registered part must pass; shipped, so that plug-ins use it too."""

from bedplate.checks.battery import Result, check_all, check_model, check_objective
from bedplate.checks.plugin import PluginReport, check_file

__all__ = ["PluginReport", "Result", "check_all", "check_file", "check_model", "check_objective"]

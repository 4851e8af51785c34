"""Benchmarks: ratios measured side by side, and the recipes' scores."""

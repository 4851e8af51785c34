"""Turn YAML into a typed, fingerprinted recipe, or into an error that says what to write instead."""

from bedplate.recipe.load import json_schema, load, parse, recipe_fingerprint, save, to_dict, to_yaml
from bedplate.recipe.schema import Recipe

__all__ = ["Recipe", "json_schema", "load", "parse", "recipe_fingerprint", "save", "to_dict", "to_yaml"]

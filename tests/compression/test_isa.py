from __future__ import annotations

import numpy as np
import pytest

from bedplate.checks.battery import SAMPLES, sample_features
from bedplate.compression import isa, methods
from bedplate.core.errors import InputError
from bedplate.core.machine import FEATURES, cpu_features
from bedplate.export import export_network
from bedplate.models import Outputs, build


def test_types_suit_the_processor() -> None:
    found = {name: isa.types_for(isa.target_features(name)) for name in isa.TARGETS}
    assert (found["avx2"].activations, found["avx2"].reduce_range, found["avx2"].levels) == ("uint8", True, 63)
    assert (found["vnni"].activations, found["vnni"].reduce_range, found["vnni"].levels) == ("uint8", False, 127)
    assert (found["arm"].activations, found["arm"].reduce_range) == ("int8", False)
    assert not isa.types_for(frozenset({"avx2", "amx_int8"})).reduce_range
    assert not isa.types_for(frozenset({"neon"})).reduce_range
    assert isa.types_for(frozenset()).reduce_range  # of which nothing is known: what is exact everywhere


def test_targets_are_features_that_machines_can_say_of_themselves() -> None:
    assert isa.target_features("this") == cpu_features()
    for features in (*isa.TARGETS.values(), isa.ARM, isa.EXACT):
        assert set(features) <= set(FEATURES)
    with pytest.raises(InputError, match="vnni"):
        isa.target_features("vnn")


def test_two_products_fit_into_sixteen_bits_exactly_where_it_is_said() -> None:
    assert 2 * 255 * isa.types_for(frozenset()).levels < 2**15
    assert 2 * 255 * isa._PORTABLE < 2**15 <= 2 * 255 * 127


@pytest.mark.parametrize(
    ("method", "target", "bound"),
    [
        ("int8-static", "vnni", True),
        ("int8-static", "arm", True),
        ("int8-static", "avx2", False),
        ("int8-dynamic", "vnni", True),
        ("int8-dynamic", "avx2", False),
        ("int8-weights", "vnni", False),
        ("fp16-storage", "vnni", False),
    ],
)
def test_only_graphs_that_multiply_full_bytes_are_bound_to_processors(method: str, target: str, bound: bool) -> None:
    inputs = SAMPLES["a table of numbers"]
    features = sample_features(inputs, rows=32)
    graph = export_network(build("mlp", {"hidden": [16]}, inputs, Outputs(3), 0), features)
    cpu = isa.target_features(target)
    small = methods.get(method)(graph, features, cpu)
    assert isa.needs(small) == (list(isa.EXACT) if bound else [])
    record = isa.isa(cpu, small.SerializeToString())
    assert record == {"any_of": isa.needs(small), "made_on": sorted(cpu_features())}
    assert isa.isa(cpu, small, made_on=cpu)["made_on"] == sorted(cpu)
    assert isa.needs(graph) == []


def test_without_a_graph_it_is_what_int8_for_that_processor_needs() -> None:
    assert isa.isa(isa.TARGETS["vnni"])["any_of"] == list(isa.EXACT)
    assert isa.isa(isa.TARGETS["avx2"])["any_of"] == []
    assert np.isin(isa.isa(frozenset())["made_on"], sorted(cpu_features())).all()

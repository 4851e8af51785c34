"""Which layers a network's numbers go through."""

from __future__ import annotations

from bedplate.checks.battery import SAMPLES, TAGGED
from bedplate.compression.flow import steps_of
from bedplate.models import build


def test_a_recurrent_network_is_followed_without_a_warning() -> None:
    arguments = {"size": 8, "shape": 4, "letter": 4, "filters": 4, "hidden": 8}
    network = build("bilstm-tagger", arguments, SAMPLES["sentences"], TAGGED, 0)
    assert any("head" in name for name in steps_of(network))

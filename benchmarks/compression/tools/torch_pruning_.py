"""Torch-Pruning on the run's own network: half of the channels by magnitude, then as many epochs as our points get.

It is trained on by the labels, with the recipe's rows, augmentation and optimiser, by the same loop as ours, and
exported by the same exporter, so that the pruning is what differs.
"""

from pathlib import Path

import torch
import torch_pruning
from given import SETTINGS, run

from bedplate.core.console import Console
from bedplate.export import export_network, join
from bedplate.models import to_tensors
from bedplate.stages.compress_bench import few
from bedplate.stages.compress_source import open_source

LABELS = {"weight": 0.0}


def pruned(path):
    source = open_source(Path(SETTINGS["run"]), Console(quiet=True))
    bench = source.maker.bench
    network = bench.original
    example = to_tensors(network, few(bench.calibration))
    layers = [one for one in network.modules() if isinstance(one, torch.nn.Conv2d | torch.nn.Linear)]
    pruner = torch_pruning.pruner.BasePruner(
        network, example if len(example) > 1 else example[0],
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2), pruning_ratio=0.5,
        ignored_layers=layers[-1:],  # the classes stay
    )  # fmt: skip
    pruner.step()
    learnt = bench.trained(network.eval(), SETTINGS["epochs"], "hard-target", LABELS)
    graph = join(bench.work.dataset.codec.graph(), export_network(learnt, few(bench.calibration)))
    path.write_bytes(graph.SerializeToString())


run({"magnitude-50": pruned})

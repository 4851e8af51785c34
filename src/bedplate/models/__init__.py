"""What computes: one architecture a file; the scikit-learn baselines too."""

from bedplate.models import cnn, linear, mlp, perceptron, resnet
from bedplate.models.network import Answering, Network, build, predictor, to_tensors
from bedplate.models.registry import ImageInput, Inputs, Outputs, TableInput, inputs_from_spec, models

__all__ = [
    "Answering",
    "ImageInput",
    "Inputs",
    "Network",
    "Outputs",
    "TableInput",
    "build",
    "cnn",
    "inputs_from_spec",
    "linear",
    "mlp",
    "models",
    "perceptron",
    "predictor",
    "resnet",
    "to_tensors",
]

"""What computes: one architecture a file; the scikit-learn baselines too."""

from bedplate.models import (
    bag,
    cnn,
    dlinear,
    linear,
    mlp,
    perceptron,
    recurrent,
    resnet,
    tcn,
    text_cnn,
    transformer_encoder,
)
from bedplate.models.network import Answering, Network, build, predictor, to_tensors
from bedplate.models.registry import (
    ImageInput,
    Inputs,
    Outputs,
    SeriesInput,
    TableInput,
    TextInput,
    inputs_from_spec,
    models,
)

__all__ = [
    "Answering",
    "ImageInput",
    "Inputs",
    "Network",
    "Outputs",
    "SeriesInput",
    "TableInput",
    "TextInput",
    "bag",
    "build",
    "cnn",
    "dlinear",
    "inputs_from_spec",
    "linear",
    "mlp",
    "models",
    "perceptron",
    "predictor",
    "recurrent",
    "resnet",
    "tcn",
    "text_cnn",
    "to_tensors",
    "transformer_encoder",
]

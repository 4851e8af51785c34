"""A neural network's parts in plain NumPy, to learn from and to check the real ones by.

Read in this order: `perceptron`, `layer`, `dense`, `activations`, `losses`, `network`, `optimizers`, `fitting`; then
`differences`, which checks gradients without calculus, `initialisation`, `convolution`, `pooling`, `recurrent` and
`gated`.
"""

from bedplate.reference.activations import ReLU, Sigmoid, Tanh, sigmoid
from bedplate.reference.convolution import Convolution, convolve_by_loops
from bedplate.reference.dense import Dense, Dropout, Flatten
from bedplate.reference.differences import gradient_errors, numerical_gradient
from bedplate.reference.fitting import accuracy, fit, train_step
from bedplate.reference.gated import LSTM
from bedplate.reference.initialisation import glorot_uniform, he_normal
from bedplate.reference.layer import Layer
from bedplate.reference.losses import Loss, MeanSquaredError, PerceptronCriterion, SoftmaxCrossEntropy, one_hot, softmax
from bedplate.reference.network import Sequential
from bedplate.reference.optimizers import SGD, Adam, Momentum, Optimizer
from bedplate.reference.perceptron import Perceptron
from bedplate.reference.pooling import AveragePool, MaxPool
from bedplate.reference.recurrent import LastStep, Recurrent

__all__ = [
    "LSTM",
    "SGD",
    "Adam",
    "AveragePool",
    "Convolution",
    "Dense",
    "Dropout",
    "Flatten",
    "LastStep",
    "Layer",
    "Loss",
    "MaxPool",
    "MeanSquaredError",
    "Momentum",
    "Optimizer",
    "Perceptron",
    "PerceptronCriterion",
    "ReLU",
    "Recurrent",
    "Sequential",
    "Sigmoid",
    "SoftmaxCrossEntropy",
    "Tanh",
    "accuracy",
    "convolve_by_loops",
    "fit",
    "glorot_uniform",
    "gradient_errors",
    "he_normal",
    "numerical_gradient",
    "one_hot",
    "sigmoid",
    "softmax",
    "train_step",
]

"""The recurrent layer: a state that reads a sequence step by step; and back-propagation through time.

Sequences are [rows, time, features]. The state starts at zero, h₀ = 0, and

    h_t = tanh(W x_t + U h_{t−1} + b)

with the same W, U, b at every step. Unrolled, that is a network as deep as the sequence is long, whose layers share
their parameters: gradients flow from the last step to the first, and each parameter's gradient is the sum over the
steps. Sources: Elman 1990, "Finding Structure in Time"; Werbos 1990, "Backpropagation through time".
"""

from __future__ import annotations

import numpy as np

from bedplate.reference.initialisation import glorot_uniform
from bedplate.reference.layer import Array, Layer, expect


class Recurrent(Layer):
    """Elman's recurrent layer.

    With d_t = ∂L/∂(the tanh's argument) = (1 − h_t²) · (∂L/∂h_t from above + Uᵀ d_{t+1} from the step after):

        ∂L/∂W = Σ_t d_t x_tᵀ      ∂L/∂U = Σ_t d_t h_{t−1}ᵀ      ∂L/∂b = Σ_t d_t      ∂L/∂x_t = Wᵀ d_t

    Args:
        inputs: features of a step.
        units: size of the state.
        rng: draws W [units, inputs] by Glorot's rule and U [units, units] orthogonal, so that at first the state is
            turned but neither grows nor fades; the bias [units] is zero.
    """

    def __init__(self, inputs: int, units: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.parameters = {
            "input_weight": glorot_uniform((units, inputs), rng),
            "state_weight": np.linalg.qr(rng.normal(size=(units, units)))[0],
            "bias": np.zeros(units),
        }
        self.x = np.zeros((0, 0, inputs))
        self.states = np.zeros((0, 1, units))

    def forward(self, x: Array) -> Array:
        """Map [rows, time, inputs] to the states [rows, time, units]."""
        W, U, b = self.parameters["input_weight"], self.parameters["state_weight"], self.parameters["bias"]
        expect(x, ("rows", "time", W.shape[1]), "Recurrent.forward")
        self.x = x
        self.states = np.zeros((len(x), x.shape[1] + 1, len(b)))  # states[:, t] is h_t; h_0 stays zero
        for t in range(x.shape[1]):
            self.states[:, t + 1] = np.tanh(x[:, t] @ W.T + self.states[:, t] @ U.T + b)
        return self.states[:, 1:]

    def backward(self, gradient: Array) -> Array:
        """Map ∂L/∂(h_1 … h_T) [rows, time, units] to ∂L/∂x [rows, time, inputs]."""
        W, U = self.parameters["input_weight"], self.parameters["state_weight"]
        expect(gradient, (len(self.x), self.x.shape[1], len(U)), "Recurrent.backward")
        dW, dU, db = np.zeros_like(W), np.zeros_like(U), np.zeros(len(U))
        dx = np.zeros(self.x.shape)
        later = np.zeros((len(self.x), len(U)))  # Uᵀ d_{t+1}: what the steps after say about h_t
        for t in reversed(range(self.x.shape[1])):
            d = (1 - self.states[:, t + 1] ** 2) * (gradient[:, t] + later)
            dW += d.T @ self.x[:, t]
            dU += d.T @ self.states[:, t]
            db += d.sum(axis=0)
            dx[:, t] = d @ W
            later = d @ U
        self.gradients = {"input_weight": dW, "state_weight": dU, "bias": db}
        return dx


class LastStep(Layer):
    """y = the last step of a sequence; all other steps have no gradient of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.shape: tuple[int, ...] = (0, 0, 0)

    def forward(self, x: Array) -> Array:
        """Map [rows, time, features] to [rows, features]."""
        expect(x, ("rows", "time", "features"), "LastStep.forward")
        self.shape = x.shape
        return x[:, -1]

    def backward(self, gradient: Array) -> Array:
        """Put the gradient at the last step, and zeros before it."""
        expect(gradient, (self.shape[0], self.shape[2]), "LastStep.backward")
        whole = np.zeros(self.shape)
        whole[:, -1] = gradient
        return whole

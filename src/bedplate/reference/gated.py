"""The LSTM: a recurrent layer whose memory has gates, so that gradients survive many steps.

Beside the state h there is a memory c that is only scaled and added to. With x_t and h_{t−1} each step computes

    i = σ(…)   how much is written           f = σ(…)   how much is kept
    g = tanh(…) what is written              o = σ(…)   how much is shown
    c_t = f · c_{t−1} + i · g                h_t = o · tanh(c_t)

where every … is W x_t + U h_{t−1} + b with its own W, U, b; the four are stacked in that order. From c_t to c_{t−1} the
gradient is multiplied by f alone: near 1, it stays. Sources: Hochreiter and Schmidhuber 1997; the forget gate: Gers et
al. 2000.
"""

from __future__ import annotations

import numpy as np

from bedplate.reference.activations import sigmoid
from bedplate.reference.initialisation import glorot_uniform
from bedplate.reference.layer import Array, Layer, expect


class LSTM(Layer):
    """Long short-term memory.

    Args:
        inputs: features of a step.
        units: size of the state and of the memory.
        rng: draws W [4·units, inputs] by Glorot's rule and U [4·units, units] as four orthogonal matrices. The bias is
            zero but for the forget gate's, which is 1: at first the memory keeps (Jozefowicz et al. 2015).
    """

    def __init__(self, inputs: int, units: int, rng: np.random.Generator) -> None:
        super().__init__()
        bias = np.zeros(4 * units)
        bias[units : 2 * units] = 1.0
        self.parameters = {
            "input_weight": np.concatenate([glorot_uniform((units, inputs), rng) for _ in range(4)]),
            "state_weight": np.concatenate([np.linalg.qr(rng.normal(size=(units, units)))[0] for _ in range(4)]),
            "bias": bias,
        }
        self.units = units
        self.x = np.zeros((0, 0, inputs))
        self.states = self.memories = np.zeros((0, 1, units))
        self.gates = np.zeros((0, 0, 4 * units))

    def forward(self, x: Array) -> Array:
        """Map [rows, time, inputs] to the states [rows, time, units]."""
        W, U, b = self.parameters["input_weight"], self.parameters["state_weight"], self.parameters["bias"]
        expect(x, ("rows", "time", W.shape[1]), "LSTM.forward")
        rows, time = x.shape[:2]
        self.x = x
        self.states, self.memories = np.zeros((2, rows, time + 1, self.units))
        self.gates = np.zeros((rows, time, 4 * self.units))
        for t in range(time):
            i, f, g, o = np.split(x[:, t] @ W.T + self.states[:, t] @ U.T + b, 4, axis=1)
            i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
            self.gates[:, t] = np.concatenate([i, f, g, o], axis=1)
            self.memories[:, t + 1] = f * self.memories[:, t] + i * g
            self.states[:, t + 1] = o * np.tanh(self.memories[:, t + 1])
        return self.states[:, 1:]

    def backward(self, gradient: Array) -> Array:
        """Map ∂L/∂(h_1 … h_T) [rows, time, units] to ∂L/∂x [rows, time, inputs]."""
        W, U = self.parameters["input_weight"], self.parameters["state_weight"]
        expect(gradient, (len(self.x), self.x.shape[1], self.units), "LSTM.backward")
        dW, dU, db, dx = np.zeros_like(W), np.zeros_like(U), np.zeros(len(U)), np.zeros(self.x.shape)
        dh, dc = np.zeros((2, len(self.x), self.units))  # what the steps after say about h_t and c_t
        for t in reversed(range(self.x.shape[1])):
            i, f, g, o = np.split(self.gates[:, t], 4, axis=1)
            shown = np.tanh(self.memories[:, t + 1])
            dh = dh + gradient[:, t]
            dc = dc + dh * o * (1 - shown**2)
            d = np.concatenate(
                [
                    dc * g * i * (1 - i),
                    dc * self.memories[:, t] * f * (1 - f),
                    dc * i * (1 - g**2),
                    dh * shown * o * (1 - o),
                ],
                axis=1,
            )
            dW += d.T @ self.x[:, t]
            dU += d.T @ self.states[:, t]
            db += d.sum(axis=0)
            dx[:, t] = d @ W
            dh, dc = d @ U, dc * f
        self.gradients = {"input_weight": dW, "state_weight": dU, "bias": db}
        return dx

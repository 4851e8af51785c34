"""A network: layers one after another, and back-propagation through them."""

from __future__ import annotations

from bedplate.reference.layer import Array, Layer


class Sequential:
    """y = f_n(… f_2(f_1(x))). `layers` is a plain list; look into it at any time."""

    def __init__(self, *layers: Layer) -> None:
        self.layers = list(layers)

    def forward(self, x: Array) -> Array:
        """Feed each layer's output to the next."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, gradient: Array) -> Array:
        """Hand ∂L/∂y from the last layer to the first; every layer writes its gradients. Return ∂L/∂x."""
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient)
        return gradient

    @property
    def parameters(self) -> dict[str, Array]:
        """The layers' own arrays, by "position.name" ("0.weight"): to change one in place is to change the network."""
        return {f"{k}.{name}": p for k, layer in enumerate(self.layers) for name, p in layer.parameters.items()}

    @property
    def gradients(self) -> dict[str, Array]:
        """∂L/∂θ of the last `backward`, named like the parameters."""
        return {f"{k}.{name}": g for k, layer in enumerate(self.layers) for name, g in layer.gradients.items()}

    def train(self, on: bool) -> None:
        """Tell every layer whether it is being trained."""
        for layer in self.layers:
            layer.training = on

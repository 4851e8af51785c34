"""Central differences, on functions whose derivatives are known, and on a layer whose backward is wrong."""

from __future__ import annotations

import numpy as np

from bedplate.reference import Dense, gradient_errors, numerical_gradient


def test_the_derivative_of_known_functions() -> None:
    a = np.array([[0.5, -1.0], [2.0, 0.1]])
    before = a.copy()
    np.testing.assert_allclose(numerical_gradient(lambda: float(np.sin(a).sum()), a), np.cos(a), atol=1e-9)
    np.testing.assert_allclose(numerical_gradient(lambda: float((a**3).sum()), a), 3 * a**2, atol=1e-8)
    np.testing.assert_array_equal(a, before)


class Mistaken(Dense):
    """A dense layer that forgets to sum the bias's gradient over the rows."""

    def backward(self, gradient: np.ndarray) -> np.ndarray:
        back = super().backward(gradient)
        self.gradients["bias"] = gradient[0]
        return back


def test_a_wrong_gradient_is_found_where_it_is() -> None:
    rng = np.random.default_rng(0)
    errors = gradient_errors(Mistaken(3, 2, rng), rng.normal(size=(4, 3)), rng)
    assert errors["bias"] > 0.1
    assert max(errors["x"], errors["weight"]) < 1e-8

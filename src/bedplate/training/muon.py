"""Muon: momentum whose update is made orthogonal, for hidden matrices; AdamW for the other weights.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the rate's factor
0.2 · √max(rows, columns) is that of Liu et al. 2025, "Muon is scalable for LLM training", section 2.2, so that one rate
serves both kinds. A convolution's kernel [out, in, height, width] is taken as the matrix [out, in · height · width].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_A, _B, _C = 3.4445, -4.7750, 2.0315  # the quintic's coefficients in Jordan's text
_EPS, _EPS_ADAM = 1e-7, 1e-8


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """Return bfloat16 [rows, columns] with singular values pulled near 1, by Newton and Schulz's iteration.

    X ← a X + (b A + c A²) X with A = X Xᵀ, begun at `matrix` over its Frobenius norm.
    """
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    x = x / x.norm().clamp(min=_EPS)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Muon and AdamW in one optimiser.

    Args:
        params: parameters, or groups; a group's `matrix` says whether it is Muon's (left out: those of two or more
            dimensions are).
        lr: learning rate of both.
        momentum: of Muon (Nesterov's).
        betas: of AdamW.
        weight_decay: decoupled, of both.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        groups = []
        for group in [item if isinstance(item, dict) else {"params": [item]} for item in params]:
            parameters = list(group["params"])
            groups.append({**group, "params": parameters, "matrix": group.get("matrix", parameters[0].ndim >= 2)})
        defaults = {"lr": lr, "momentum": momentum, "betas": betas, "weight_decay": weight_decay, "taken": 0}
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            parameters: list[Tensor] = [p for p in group["params"] if p.grad is not None]
            if group["matrix"]:
                for parameter in parameters:
                    self._muon(parameter, group)
            elif parameters:
                self._adamw(parameters, group)

    def _muon(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        gradient = parameter.grad
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(state["momentum"], group["momentum"])
        rows, columns = parameter.shape[0], parameter[0].numel()
        update = orthogonalise(ahead.reshape(rows, columns)).reshape(parameter.shape)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(rows, columns)))

    def _adamw(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Take one step of AdamW (Loshchilov and Hutter 2019, algorithm 2)."""
        lr, (beta1, beta2) = group["lr"], group["betas"]
        gradients: list[Tensor] = []
        for parameter in parameters:
            assert parameter.grad is not None
            gradients.append(parameter.grad)
            if not self.state[parameter]:
                self.state[parameter] = {"mean": torch.zeros_like(parameter), "square": torch.zeros_like(parameter)}
        group["taken"] += 1
        means = [self.state[p]["mean"] for p in parameters]
        squares = [self.state[p]["square"] for p in parameters]
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)
        denominators = torch._foreach_div(squares, 1 - beta2 ** group["taken"])
        torch._foreach_sqrt_(denominators)
        torch._foreach_add_(denominators, _EPS_ADAM)
        torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
        torch._foreach_addcdiv_(parameters, means, denominators, value=-lr / (1 - beta1 ** group["taken"]))

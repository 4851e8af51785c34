"""Schedule-free AdamW: an average of the iterates takes the place of a falling learning rate.

Source: Defazio et al. 2024, "The Road Less Scheduled". There are three points: z moves by the gradient, x is the
weighted mean of the z, and the gradient is taken at y = (1 − β₁) z + β₁ x. While training the parameters hold y;
`eval()` puts x in their place, which is what is judged and kept, and `train()` puts y back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_EPS = 1e-8


class ScheduleFreeAdamW(torch.optim.Optimizer):
    """AdamW without a schedule.

    Args:
        params: parameters or groups.
        lr: learning rate; a linear warm-up of it is advised.
        betas: β₁ of the interpolation, β₂ of the mean square of the gradient.
        weight_decay: decoupled, at y.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "weight_decay": weight_decay,
                "taken": 0,
                "weight_sum": 0.0,
                "largest_lr": 0.0,
                "training": True,
            },
        )

    def _move(self, training: bool, share: Callable[[float], float]) -> None:
        for group in self.param_groups:
            if group["training"] != training:
                for parameter in group["params"]:
                    if "z" in self.state[parameter]:
                        parameter.lerp_(self.state[parameter]["z"], share(group["betas"][0]))
                group["training"] = training

    @torch.no_grad()
    def eval(self) -> None:
        """Put the average x into the parameters: x = y + (1 − 1/β₁)(z − y)."""
        self._move(False, lambda beta: 1 - 1 / beta)

    @torch.no_grad()
    def train(self) -> None:
        """Put y back into the parameters: y = x + (1 − β₁)(z − x)."""
        self._move(True, lambda beta: 1 - beta)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient.

        Raises:
            RuntimeError: the parameters hold x (`eval()` was called last).
        """
        for group in self.param_groups:
            if not group["training"]:
                raise RuntimeError("call train() before step(): the parameters hold the average")
            parameters: list[Tensor] = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._update(parameters, group)

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        group["taken"] += 1
        group["largest_lr"] = max(group["largest_lr"], lr)
        weight = group["largest_lr"] ** 2
        group["weight_sum"] += weight
        share = weight / group["weight_sum"] if group["weight_sum"] else 0.0
        gradients: list[Tensor] = []
        for parameter in parameters:
            assert parameter.grad is not None
            gradients.append(parameter.grad)
            if not self.state[parameter]:
                self.state[parameter] = {"z": parameter.detach().clone(), "square": torch.zeros_like(parameter)}
        z = [self.state[p]["z"] for p in parameters]
        squares = [self.state[p]["square"] for p in parameters]
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)
        denominators = torch._foreach_div(squares, 1 - beta2 ** group["taken"])
        torch._foreach_sqrt_(denominators)
        torch._foreach_add_(denominators, _EPS)
        directions = torch._foreach_div(gradients, denominators)
        if group["weight_decay"]:
            torch._foreach_add_(directions, parameters, alpha=group["weight_decay"])
        torch._foreach_lerp_(parameters, z, share)
        torch._foreach_add_(parameters, directions, alpha=lr * (beta1 * (1 - share) - 1))
        torch._foreach_sub_(z, directions, alpha=lr)

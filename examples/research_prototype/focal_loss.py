"""A new loss in one file: the focal loss of Lin et al. 2017, "Focal Loss for Dense Object Detection", eq. 4.

loss = -(1 - p_y)^gamma · log p_y: rows that are answered well already count less.
"""

from torch import Tensor, nn
from torch.nn import functional

import bedplate as bp


@bp.register_objective("focal")
def focal(*, gamma: float = 2.0) -> bp.Objective:
    """Return the mean focal loss; gamma = 0 is cross-entropy."""

    def loss(network: nn.Module, features: list[Tensor], targets: Tensor) -> dict[str, Tensor]:
        log_p = functional.log_softmax(network(*features), dim=1).gather(1, targets[:, None])[:, 0]
        return {"loss": (-((1 - log_p.exp()) ** gamma) * log_p).mean()}

    return bp.Objective((bp.Step(loss),), "classes")

"""Masked-language pre-training: before it learns labels, a model of texts learns to say which tokens were hidden.

Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", section 3.1,
task 1, and appendices A.1 and A.2. The sentence pairs of its task 2 are left out, as Liu et al. 2019, "RoBERTa", do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bedplate.codecs.codec import PAD, TOKENS
from bedplate.codecs.text_masking import MaskTokens
from bedplate.core.errors import GateError, Interrupted
from bedplate.core.seeds import derive
from bedplate.models import Encoder, Network
from bedplate.recipe.schema import PretrainSpec
from bedplate.training.batches import Resident, longest
from bedplate.training.execution import Execution
from bedplate.training.loop import catch_interrupt
from bedplate.training.optimizers import optimizers
from bedplate.training.run import seed_step
from bedplate.training.schedules import schedules
from bedplate.training.updates import steps_per_epoch

MASKED, RANDOM = 0.8, 0.1
"""Shares of the chosen tokens that the mask, and that a random token replaces; the others stay as they are."""

WARMUP, LARGEST_GRADIENT = 0.1, 1.0
"""The share of the steps in which the rate rises, and the largest norm of a gradient."""


def hide(tokens: Tensor, masks: MaskTokens, share: float, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose tokens and hide them, as appendix A.1 has it.

    Of each row `share` of its own tokens is chosen, rounded, and one at the least where it has any: padding and special
    tokens never are. Of those the mask replaces 80 %, a random token 10 %, and 10 % stay.

    Args:
        tokens: token numbers, int [rows, length], filled up with 0.
        masks: which numbers are a text's own, and which one hides others.
        share: above 0, below 1.
        source: a generator on the tokens' device; it decides everything.

    Returns:
        The tokens with some hidden, and which were chosen (bool), both [rows, length].
    """
    device = tokens.device
    own = torch.from_numpy(masks.own).to(device)[tokens.long()]
    wanted = (own.sum(1, keepdim=True) * share).round().clamp(min=1.0)
    order = torch.rand(tokens.shape, generator=source, device=device).masked_fill(~own, 2.0).argsort(dim=1)
    chosen = (order.argsort(dim=1) < wanted) & own
    how = torch.rand(tokens.shape, generator=source, device=device)
    others = torch.from_numpy(np.flatnonzero(masks.own)).to(device)
    drawn = others[torch.randint(len(others), tokens.shape, generator=source, device=device)].to(tokens.dtype)
    hidden = torch.where(chosen & (how < MASKED), torch.full_like(tokens, masks.mask), tokens)
    return torch.where(chosen & (how >= 1.0 - RANDOM), drawn, hidden), chosen


class MaskedHead(nn.Module):
    """dense → GELU → normalisation → products with the tokens' own vectors; thrown away after the pre-training.

    Padding is never the answer: its vector isn't asked, and so isn't moved.
    """

    def __init__(self, vocabulary: int, size: int) -> None:
        super().__init__()
        self.dense, self.normal = nn.Linear(size, size), nn.LayerNorm(size)
        self.bias = nn.Parameter(torch.zeros(vocabulary - 1))

    def forward(self, states: Tensor, vectors: Tensor) -> Tensor:
        """Return scores [tokens, vocabulary - 1] of the numbers from 1 on.

        Args:
            states: of the hidden tokens, [tokens, size].
            vectors: of all token numbers, [vocabulary, size].
        """
        return functional.linear(self.normal(functional.gelu(self.dense(states))), vectors[PAD + 1 :], self.bias)


def masked_scores(encoder: Encoder, head: MaskedHead, hidden: Tensor, chosen: Tensor) -> Tensor:
    """Return scores [tokens, vocabulary - 1] of what stood at the chosen places, which alone are computed."""
    scores: Tensor = head(encoder.states(hidden)[chosen], encoder.vectors)
    return scores.float()


def answers(tokens: Tensor, chosen: Tensor) -> Tensor:
    """Return what stood at the chosen places, as the head counts: from token number 1 on, int64 [tokens]."""
    return tokens[chosen].long() - 1


@dataclass(frozen=True)
class MaskedTexts:
    """What is pre-trained on.

    Attributes:
        tokens: int32 [texts, length], filled up with 0; every text has a token that may be hidden.
        held_out: texts that are only judged, likewise.
        masks: which numbers are what.
    """

    tokens: np.ndarray
    held_out: np.ndarray
    masks: MaskTokens


@dataclass(frozen=True)
class Judged:
    """Of the hidden tokens of the held-out texts: the mean cross-entropy in nats, and the share that was told right."""

    loss: float
    accuracy: float


class Pretraining:
    """A pre-training under way: the network's own body, the head above it, the optimiser, and where batches come from.

    Adam with decoupled weight decay, a rate that rises and falls linearly, gradients cut at a norm of 1 (A.2).
    Weights that no state depends on, such as the task's head, get no gradient and stay as they are.

    Args:
        network: its body is an `Encoder`; it is moved to the execution's device, and its body's weights in place.
        texts: what is learnt and judged.
        spec: the recipe's `training.pretrain`, its rate written out.
        execution: device and precision.
        seed: the recipe's seed; order, masks and dropout derive from it and the step's number alone.
    """

    def __init__(
        self, network: Network, texts: MaskedTexts, spec: PretrainSpec, execution: Execution, seed: int
    ) -> None:
        assert spec.lr is not None
        self.network, self.spec, self.execution, self.seed = network, spec, execution, derive(seed, "pretrain")
        self.rate = spec.lr
        execution.prepare(network)
        self.encoder, self.masks = cast("Encoder", network.body), texts.masks
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(self.seed, "head") % 2**31)
            self.head = MaskedHead(*self.encoder.vectors.shape).to(execution.device)
        self.parameters = [*network.body.parameters(), *self.head.parameters()]
        self.optimizer = optimizers.get("adamw")(self.parameters, lr=spec.lr)
        self.schedule = schedules.get("linear")(warmup=WARMUP)
        self.batches = Resident(
            network, {TOKENS: texts.tokens}, np.zeros(len(texts.tokens)), self.seed, "shuffled", execution.device,
            spec.batch_size,
        )  # fmt: skip
        self.steps_per_epoch = max(1, steps_per_epoch(self.batches.rows, spec.batch_size))
        held_out = torch.from_numpy(texts.held_out).to(execution.device)
        held_out = held_out[torch.argsort((held_out != PAD).sum(1), stable=True)]
        self.held_out = held_out, *hide(held_out, self.masks, spec.masked, self._source("held out"))

    @property
    def steps(self) -> int:
        """How many steps it takes in all."""
        return self.steps_per_epoch * self.spec.epochs

    def _source(self, *names: str | int) -> torch.Generator:
        return torch.Generator(self.execution.device).manual_seed(derive(self.seed, *names))

    def step(self, number: int) -> Tensor:
        """Take the step of this number, from 0, and return its loss, a scalar on the device."""
        epoch, place = divmod(number, self.steps_per_epoch)
        start = place * self.spec.batch_size
        (tokens,), _ = self.batches.batch(epoch, start, min(start + self.spec.batch_size, self.batches.rows))
        hidden, chosen = hide(tokens, self.masks, self.spec.masked, self._source("mask", number))
        seed_step(self.seed, number)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * self.schedule(number / self.steps, epoch, ())
        self.optimizer.zero_grad(set_to_none=True)
        self.network.train()
        with self.execution.autocast():
            scores = masked_scores(self.encoder, self.head, hidden, chosen)
        loss = functional.cross_entropy(scores, answers(tokens, chosen))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, LARGEST_GRADIENT)
        self.optimizer.step()
        return loss.detach()

    @torch.inference_mode()
    def judge(self) -> Judged:
        """Judge the held-out texts, whose masks are the same every time; in float32, without dropout."""
        self.network.eval()
        loss, right, told = 0.0, 0, 0
        for start in range(0, len(self.held_out[0]), self.spec.batch_size):
            part = [tensor[start : start + self.spec.batch_size] for tensor in self.held_out]
            tokens, hidden, chosen = (tensor[:, : longest(part[0])] for tensor in part)
            scores, wanted = masked_scores(self.encoder, self.head, hidden, chosen), answers(tokens, chosen)
            loss += functional.cross_entropy(scores, wanted, reduction="sum").item()
            right += int((scores.argmax(1) == wanted).sum())
            told += len(wanted)
        return Judged(loss / told, right / told)


def pretrain(
    under_way: Pretraining,
    *,
    advance: Callable[[int, int], None] = lambda step, epoch: None,
    announce: Callable[[dict[str, float]], None] = lambda entry: None,
) -> tuple[Judged, list[dict[str, float]]]:
    """Take all steps; the network comes back pre-trained, on the CPU, in evaluation mode. The last weights are kept.

    Args:
        under_way: at its beginning.
        advance: told the steps done and the epoch under way, after every step.
        announce: told each epoch's figures.

    Returns:
        How the held-out texts were judged before, with a fresh head, and each epoch's figures: its number, the mean
        training loss, loss and accuracy of the held-out texts, and the seconds so far.

    Raises:
        Interrupted: Ctrl-C or SIGTERM.
        GateError: the loss is not finite.
    """
    before, history, seconds = under_way.judge(), list[dict[str, float]](), 0.0
    with catch_interrupt() as wanted:
        for epoch in range(under_way.spec.epochs):
            started, total = time.monotonic(), 0.0
            for number in range(epoch * under_way.steps_per_epoch, (epoch + 1) * under_way.steps_per_epoch):
                total += under_way.step(number).item()
                advance(number + 1, epoch + 1)
                if wanted.is_set():
                    raise Interrupted("stopped by the user", hint="the pre-training begins again with the next run")
            loss, judged = total / under_way.steps_per_epoch, under_way.judge()
            if not math.isfinite(loss) or not math.isfinite(judged.loss):
                raise GateError(
                    "the pre-training diverged: the loss is not finite", where=f"epoch {epoch + 1}",
                    received=f"training loss {loss}", hint="lower training.pretrain.lr",
                )  # fmt: skip
            seconds += time.monotonic() - started
            entry = {"epoch": epoch + 1, "train_loss": loss, "loss": judged.loss, "accuracy": judged.accuracy}
            history.append({**entry, "seconds": round(seconds, 3)})
            announce(history[-1])
    network = Execution().prepare(under_way.network)
    network.memory_format = None
    network.eval()
    return before, history

"""Two players in one learner: a generator, first by likelihood, then by what its critic says, and
the critic, by telling its texts from those of the training text.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from wenmo.models.base import LanguageModel
from wenmo.models.critic import inside
from wenmo.models.gan import Gan
from wenmo.text.batches import Batches
from wenmo.training.learners import Gradient, StepMetrics, part
from wenmo.training.optimizers import Optimizer
from wenmo.training.rollouts import relax, values, write
from wenmo.training.updates import Adam
from wenmo.types import END, IGNORE, Batch, Tokens

BETAS = (0.5, 0.999)  # of Adam: with less inertia the players circle each other less


class Adversarial(Gradient):
    """The stages of `Gan`: likelihood, then the critic alone, then both by turns.

    Randomness is drawn afresh from the seed and the step's number, in every stage.

    Args:
        texts: what the critic is shown of the training text, whatever its length.
        longest: the most tokens of a text that the generator writes, END counted.
        max_grad_norm: the largest norm of either player's gradient; 0: unbounded.
        **likelihood: how the first stage learns; see `Gradient`.
    """

    keeps: Literal["best", "last"] = "last"

    def __init__(
        self,
        model: LanguageModel,
        batches: Batches,
        texts: Batches,
        optimizer: Optimizer,
        *,
        longest: int,
        **likelihood: Any,
    ) -> None:
        if not isinstance(model, Gan):
            raise TypeError(f"{type(model).__name__} has no critic to learn from")
        super().__init__(model, batches, optimizer, **likelihood)
        self.gan, self.texts, self.longest = model, texts, longest
        config = model.config
        self.generator_adam = adam(model.generator, config.adversarial_learning_rate)
        self.critic_adam = adam(model.critic, config.critic_learning_rate)
        self._frozen = set()  # the rival is made in training: checkpoints hold it, too

    def schedule_progress(self, progress: float) -> float:
        return self.gan.share_of_stage(progress)

    def learn(self, step: int, rate: float) -> StepMetrics:
        if self.gan.stage == "likelihood":
            return super().learn(step, rate)
        torch.manual_seed((self.seed << 32) + step)
        self.gan.part()
        steps = self.gan.config.critic_steps
        watched: dict[str, float] = {}
        for turn in range(steps):
            batch = self.texts[step * steps + turn].to(self.gan.device)
            watched |= self._train_critic(padded(batch, self.longest), rate)
        if self.gan.stage == "adversarial":
            real = padded(batch, self.longest)
            watched |= self._train_generator(real, rate)
        tokens = int((batch.targets != IGNORE).sum())
        return StepMetrics(watched["critic_loss"], tokens, rate, watched)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from super().tensors()
        optimizers = {"generator_adam": self.generator_adam, "critic_adam": self.critic_adam}
        for name, optimizer in optimizers.items():
            for key, tensor in optimizer.tensors():
                yield f"{name}.{key}", tensor

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        super().restore(tensors)
        self.generator_adam.restore(part(tensors, "generator_adam."))
        self.critic_adam.restore(part(tensors, "critic_adam."))

    def _train_critic(self, real: Tokens, rate: float) -> dict[str, float]:
        """One step of the critic, on as many texts of the generator as of the training text."""
        gan, rows = self.gan, len(real)
        gan.generator.eval()
        gan.critic.train()
        if gan.config.method == "policy":
            fake = gan.critic(write(self.gan.generator, rows, self.longest))
            true = gan.critic(real)
            loss = 0.5 * (F.softplus(fake) + F.softplus(-true)).mean()
            right = 0.5 * ((fake < 0).float().mean() + (true > 0).float().mean())
        else:
            with torch.no_grad():
                texts, shares = self._relax(rows)
            fake, true = gan.critic.judge_mixed(shares, texts), gan.critic(real)
            loss = F.softplus(fake - true).mean()
            right = (fake < true).float().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        self._move(gan.critic, self.critic_adam, rate)
        return {"critic_loss": float(loss.detach()), "critic_right": float(right)}

    def _train_generator(self, real: Tokens, rate: float) -> dict[str, float]:
        gan = self.gan
        gan.generator.eval()
        gan.critic.eval()
        if gan.config.method == "policy":
            loss, watched = self._policy_loss(len(real))
        else:
            texts, shares = self._relax(len(real))
            verdict = gan.critic.judge_mixed(shares, texts)
            with torch.no_grad():
                true = gan.critic(real)
            # Relativistic: to look more real than what is (Jolicoeur-Martineau 2019).
            loss = F.softplus(true - verdict).mean()
            watched = {"reward": float(verdict.detach().sigmoid().mean())}
        loss.backward()  # type: ignore[no-untyped-call]
        self._move(gan.generator, self.generator_adam, rate)
        return watched

    def _policy_loss(self, rows: int) -> tuple[Tensor, dict[str, float]]:
        """Minus the rewards that are expected of each token, above the baseline: the policy
        gradient (Yu et al. 2017, equation 8; Williams 1992).
        """
        gan = self.gan

        def judge(texts: Tokens) -> Tensor:
            return gan.critic(texts).sigmoid()

        texts = write(self.gan.generator, rows, self.longest)
        worth = values(self.gan.generator, texts, gan.config.rollouts, judge)
        batch = as_batch(texts)
        mask = batch.targets != IGNORE
        logits, _ = gan.generator(batch.tokens)
        nats = F.cross_entropy(
            logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORE, reduction="none"
        ).view(mask.shape)
        above = worth - baseline(worth, mask) if gan.config.baseline else worth
        reward = worth[mask].mean()
        return (above * mask * nats).sum() / mask.sum(), {"reward": float(reward)}

    def trial(self, rows: int) -> float:
        """Seconds in which so many texts are written and judged, as the generator's step asks for;
        nothing is learnt.
        """
        self.gan.generator.eval()
        self.gan.critic.eval()
        begun = time.perf_counter()
        with torch.no_grad():
            if self.gan.config.method == "policy":
                self._policy_loss(rows)
            else:
                self._relax(rows)
        return time.perf_counter() - begun

    def _relax(self, rows: int) -> tuple[Tokens, Tensor]:
        """Relaxed texts, sharper from step to step (RelGAN: Nie et al. 2019, section 2.2)."""
        gan = self.gan
        done = gan.share_of_stage(gan.progress) if gan.stage == "adversarial" else 0.0
        sharpness = math.exp(math.log(gan.config.inverse_temperature) * done)
        return relax(self.gan.generator, gan.generator.embedding, rows, self.longest, sharpness)

    def _move(self, player: torch.nn.Module, optimizer: Optimizer, rate: float) -> None:
        """Move one player; what the other was given on the way is forgotten."""
        limit = self.max_grad_norm if self.max_grad_norm > 0 else math.inf
        torch.nn.utils.clip_grad_norm_(player.parameters(), limit)
        optimizer.step(rate)
        self.gan.zero_grad(set_to_none=True)


def adam(player: torch.nn.Module, rate: float) -> Optimizer:
    return Optimizer([Adam([{"params": list(player.parameters())}], lr=rate, betas=BETAS)])


def baseline(worth: Tensor, mask: Tensor) -> Tensor:
    """What a text is worth at each place on the average of all *others* in the batch, (rows, time),
    so that it does not depend on what it is taken from (Kool et al. 2019).

    Args:
        worth: float32 (rows, time), counted where ``mask`` is true.
    """
    counted = worth * mask
    others = mask.sum(0) - mask.long()
    return (counted.sum(0) - counted) / others.clamp_min(1)


def padded(batch: Batch, longest: int) -> Tokens:
    """The texts of a batch, (rows, longest), END behind each."""
    texts = batch.targets.where(batch.targets != IGNORE, END)[:, :longest]
    return F.pad(texts, (0, longest - texts.shape[1]), value=END)


def as_batch(texts: Tokens) -> Batch:
    """Texts with END behind each, of which the first is to be predicted, too."""
    before = F.pad(texts[:, :-1], (1, 0), value=END)
    return Batch(before, texts.where(inside(texts), IGNORE))

"""Adversarial training: a generator, first by likelihood, then against a critic, which learns to
distinguish its texts from the training text.
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
from wenmo.models.critic import text_mask
from wenmo.models.gan import Gan
from wenmo.text.batches import Batches
from wenmo.training.learners import Gradient, StepMetrics, with_prefix
from wenmo.training.optimizers import Optimizer
from wenmo.training.rollouts import relax, values, write
from wenmo.training.updates import Adam
from wenmo.types import END, IGNORE, Batch, Tokens

BETAS = (0.5, 0.999)  # of Adam: less momentum makes the two players oscillate less


class Adversarial(Gradient):
    """The stages of `Gan`: likelihood, then the critic alone, then both in turn.

    In every stage the random generator is seeded with the seed and the number of the step.

    Args:
        texts: records of the training text for the critic.
        longest: the most tokens of a text that the generator writes, END included.
        max_grad_norm: the gradient of each player is clipped to this norm; 0: no clipping.
        **likelihood: settings of the first stage; see `Gradient`.
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
        self._frozen = set()  # the baseline is made in training: checkpoints hold it, too

    def schedule_progress(self, progress: float) -> float:
        return self.gan.phase_progress(progress)

    def learn(self, step: int, lr_factor: float) -> StepMetrics:
        if self.gan.phase == "likelihood":
            return super().learn(step, lr_factor)
        torch.manual_seed((self.seed << 32) + step)
        self.gan.keep_pretrained()
        steps = self.gan.config.critic_steps
        extra: dict[str, float] = {}
        for turn in range(steps):
            batch = self.texts[step * steps + turn].to(self.gan.device)
            extra |= self._train_critic(padded(batch, self.longest), lr_factor)
        if self.gan.phase == "adversarial":
            real = padded(batch, self.longest)
            extra |= self._train_generator(real, lr_factor)
        tokens = int((batch.targets != IGNORE).sum())
        return StepMetrics(extra["critic_loss"], tokens, lr_factor, extra)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from super().tensors()
        optimizers = {"generator_adam": self.generator_adam, "critic_adam": self.critic_adam}
        for name, optimizer in optimizers.items():
            for key, tensor in optimizer.tensors():
                yield f"{name}.{key}", tensor

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        super().restore(tensors)
        self.generator_adam.restore(with_prefix(tensors, "generator_adam."))
        self.critic_adam.restore(with_prefix(tensors, "critic_adam."))

    def _train_critic(self, real: Tokens, lr_factor: float) -> dict[str, float]:
        """Take a step of the critic, on as many generated texts as there are real ones."""
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
            fake, true = gan.critic.score_soft_tokens(shares, texts), gan.critic(real)
            loss = F.softplus(fake - true).mean()
            right = (fake < true).float().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        self._update(gan.critic, self.critic_adam, lr_factor)
        return {"critic_loss": float(loss.detach()), "critic_right": float(right)}

    def _train_generator(self, real: Tokens, lr_factor: float) -> dict[str, float]:
        gan = self.gan
        gan.generator.eval()
        gan.critic.eval()
        if gan.config.method == "policy":
            loss, extra = self._policy_loss(len(real))
        else:
            texts, shares = self._relax(len(real))
            verdict = gan.critic.score_soft_tokens(shares, texts)
            with torch.no_grad():
                true = gan.critic(real)
            # Relativistic: more real than real texts (Jolicoeur-Martineau 2019).
            loss = F.softplus(true - verdict).mean()
            extra = {"reward": float(verdict.detach().sigmoid().mean())}
        loss.backward()  # type: ignore[no-untyped-call]
        self._update(gan.generator, self.generator_adam, lr_factor)
        return extra

    def _policy_loss(self, rows: int) -> tuple[Tensor, dict[str, float]]:
        """The policy-gradient loss of generated texts, with the expected reward of each token above
        the baseline (Yu et al. 2017, equation 8; Williams 1992), and the mean reward.
        """
        gan = self.gan

        def judge(texts: Tokens) -> Tensor:
            return gan.critic(texts).sigmoid()

        texts = write(self.gan.generator, rows, self.longest)
        reward = values(self.gan.generator, texts, gan.config.rollouts, judge)
        batch = as_batch(texts)
        mask = batch.targets != IGNORE
        logits, _ = gan.generator(batch.tokens)
        nats = F.cross_entropy(
            logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORE, reduction="none"
        ).view(mask.shape)
        advantage = reward - baseline(reward, mask) if gan.config.baseline else reward
        loss = (advantage * mask * nats).sum() / mask.sum()
        return loss, {"reward": float(reward[mask].mean())}

    def trial(self, rows: int) -> float:
        """Seconds that writing and judging so many texts takes, as in a step of the generator; the
        weights do not change.
        """
        self.gan.generator.eval()
        self.gan.critic.eval()
        started = time.perf_counter()
        with torch.no_grad():
            if self.gan.config.method == "policy":
                self._policy_loss(rows)
            else:
                self._relax(rows)
        return time.perf_counter() - started

    def _relax(self, rows: int) -> tuple[Tokens, Tensor]:
        """Relaxed texts; the inverse temperature rises exponentially over the stage (RelGAN: Nie et
        al. 2019, section 2.2).
        """
        gan = self.gan
        done = gan.phase_progress(gan.progress) if gan.phase == "adversarial" else 0.0
        sharpness = math.exp(math.log(gan.config.inverse_temperature) * done)
        return relax(gan.generator, gan.generator.embedding, rows, self.longest, sharpness)

    def _update(self, player: torch.nn.Module, optimizer: Optimizer, lr_factor: float) -> None:
        """Update the weights of one player, and drop the gradients of both."""
        limit = self.max_grad_norm if self.max_grad_norm > 0 else math.inf
        torch.nn.utils.clip_grad_norm_(player.parameters(), limit)
        optimizer.step(lr_factor)
        self.gan.zero_grad(set_to_none=True)


def adam(player: torch.nn.Module, learning_rate: float) -> Optimizer:
    weights = list(player.parameters())
    return Optimizer([Adam([{"params": weights}], lr=learning_rate, betas=BETAS)])


def baseline(reward: Tensor, mask: Tensor) -> Tensor:
    """For each text and position, the mean reward of all *other* texts of the batch, (rows, time),
    so that it does not depend on the text itself (Kool et al. 2019).

    Args:
        reward: float32 (rows, time), counted where ``mask`` is true.
    """
    counted = reward * mask
    others = mask.sum(0) - mask.long()
    return (counted.sum(0) - counted) / others.clamp_min(1)


def padded(batch: Batch, longest: int) -> Tokens:
    """The texts of a batch, int64 (rows, longest), padded with END."""
    texts = batch.targets.where(batch.targets != IGNORE, END)[:, :longest]
    return F.pad(texts, (0, longest - texts.shape[1]), value=END)


def as_batch(texts: Tokens) -> Batch:
    """Texts, padded with END, as inputs and targets; the first token is a target, too."""
    before = F.pad(texts[:, :-1], (1, 0), value=END)
    return Batch(before, texts.where(text_mask(texts), IGNORE))

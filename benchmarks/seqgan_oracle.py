"""SeqGAN's synthetic task (Yu et al. 2017, section 4): texts of a random LSTM, the oracle, which
also tells how likely it finds what a generator writes. Published, in nats a token by the oracle:
9.038 (likelihood), 8.736 (SeqGAN); later work has 8.683.

    python benchmarks/seqgan_oracle.py --seeds 0 1 2

The sizes are the paper's: 5,000 tokens, texts of 20, LSTMs of 32, 10,000 texts to learn from. The
generator learns by likelihood until the oracle likes it no better, then from its critic.
What likelihood alone writes at lower temperatures stands beside it, and what each gives up for it:
how likely the generator finds new texts of the oracle.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from common import arguments, report, timed
from wenmo.config import override
from wenmo.models.base import LanguageModel
from wenmo.models.gan_config import GanConfig
from wenmo.models.recurrent import Recurrent
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.training.adversarial import Adversarial, as_batch
from wenmo.training.optimizers import make_optimizer
from wenmo.training.rollouts import draw, write
from wenmo.training.schedules import factor
from wenmo.types import END, Batch, SpecialTokens, Tokens

VOCABULARY, LENGTH, WIDTH = 5_000, 20, 32
TEXTS = 10_000
ROWS = 64
EPOCH = TEXTS // ROWS
JUDGED = 4_000  # texts of each generator
TEMPERATURES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)


@dataclass
class ShuffledRecords:
    """Batches of texts in random order."""

    texts: Tokens
    seed: int

    def __getitem__(self, number: int) -> Batch:
        epoch, place = divmod(number, EPOCH)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.texts))
        return as_batch(self.texts[order[place * ROWS : (place + 1) * ROWS]])


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=60, help="by likelihood")
    parser.add_argument("--rounds", type=int, default=400, help="of the generator and its critic")
    parser.add_argument("--alone", type=int, default=200, help="steps of the critic before that")
    parser.add_argument("settings", nargs="*", help="of the model, as key=value")
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        found, seconds = timed(lambda seed=seed: play(seed, options))
        rows += [{"seed": seed, **row, "seconds": seconds} for row in found]
        report("nats a token", rows, options.json)


def play(seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The whole of one seed: oracle, likelihood, critic."""
    torch.manual_seed(seed)
    oracle = make_oracle()
    texts, unseen = write(oracle, TEXTS, LENGTH), write(oracle, JUDGED, LENGTH)
    learner = make_learner(texts, seed, options)
    gan = learner.gan
    before, alone, total = stages(options)
    rows = [{"generator": "the oracle itself", **judged(oracle, oracle, unseen)}]
    for step in range(total):
        if step == before:
            for temperature in TEMPERATURES:
                name = f"likelihood at {temperature:g}"
                rows.append({"generator": name, **judged(gan, oracle, unseen, temperature)})
                print(rows[-1], flush=True)
        gan.set_progress(step / total, step)
        share = learner.schedule_progress(step / total)
        learned = learner.learn(step, factor("cosine", share, warmup=0.02, decay=1.0, floor=0.0))
        if (step + 1) % (5 * EPOCH) == 0 or (step >= before + alone and step % 25 == 0):
            own, new = nll(oracle, write(gan.generator, 2000, LENGTH)), nll(gan, unseen)
            print(f"{step + 1}: {own:.3f} by the oracle, {new:.3f} of unseen texts", flush=True)
            print(f"    {learned.extra}", flush=True)
    rows.append({"generator": gan.config.method, **judged(gan, oracle, unseen)})
    print(rows[-1], flush=True)
    return rows


def stages(options: argparse.Namespace) -> tuple[int, int, int]:
    """Steps by likelihood, then of the critic alone, and of all three stages together."""
    before = options.epochs * EPOCH
    return before, options.alone, before + options.alone + options.rounds


def make_oracle() -> Recurrent:
    """All weights are drawn from N(0, 1), and END is never written."""
    config = RecurrentConfig("lstm", embedding_size=WIDTH, hidden_size=WIDTH, dropout=0.0)
    oracle = config.build(VOCABULARY + 1)
    for name, weight in oracle.named_parameters():
        torch.nn.init.zeros_(weight) if "hidden_bias" in name else torch.nn.init.normal_(weight)
    oracle.special_tokens = SpecialTokens(suppressed=(END,))
    return oracle.eval()


def make_learner(texts: Tokens, seed: int, options: argparse.Namespace) -> Adversarial:
    before, alone, total = stages(options)
    config = GanConfig(
        embedding_size=WIDTH,
        hidden_size=WIDTH,
        context_length=LENGTH,
        dropout=0.0,
        mle_ratio=before / total,
        critic_pretrain_ratio=alone / total,
    )
    config = override(config, options.settings)
    gan = config.build(VOCABULARY + 1)
    gan.special_tokens = SpecialTokens(suppressed=(END,))
    adam = make_optimizer(
        "adam", gan.generator, rate=0.01, weight_decay=0.0, momentum=0.0, betas=(0.9, 0.99)
    )
    return Adversarial(
        gan,
        ShuffledRecords(texts, seed),
        ShuffledRecords(texts, seed + 1000),
        adam,
        longest=LENGTH,
        clip=5.0,
        accumulate=1,
        precision="float32",
        seed=seed,
    )


def judged(
    model: LanguageModel, oracle: LanguageModel, unseen: Tokens, temperature: float = 1.0
) -> dict[str, float]:
    """What the oracle makes of the model's texts, and the model of the oracle's."""
    torch.manual_seed(1)
    written = write_at(model.eval(), temperature)
    pairs = {tuple(pair) for text in written.tolist() for pair in pairwise(text)}
    return {
        "by the oracle": nll(oracle, written),
        "of the oracle's": nll(model, unseen, temperature),
        "distinct pairs": len(pairs) / (len(written) * (LENGTH - 1)),
    }


@torch.no_grad()
def write_at(model: LanguageModel, temperature: float) -> Tokens:
    """As ``write``, all texts side by side, at a temperature."""
    read, state, found = torch.full((JUDGED, 1), END), model.initial_state(JUDGED), []
    for _ in range(LENGTH):
        logits, state = model(read, state)
        read = draw(logits[:, 0] / temperature, (END,))[:, None]
        found.append(read)
    return torch.cat(found, 1)


@torch.no_grad()
def nll(model: LanguageModel, texts: Tokens, temperature: float = 1.0) -> float:
    """Nats a token at a temperature, END left out of what is possible."""
    total = 0.0
    for some in texts.split(500):
        batch = as_batch(some)
        logits, _ = model.eval()(batch.tokens)
        logits[..., END] = -torch.inf
        logits = (logits / temperature).flatten(0, 1)
        total += float(F.cross_entropy(logits, some.flatten(), reduction="sum"))
    return total / texts.numel()


if __name__ == "__main__":
    main()

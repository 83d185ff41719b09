"""The masked model beside the autoregressive one of the same size and minutes, on tinyshakespeare's
characters: bits per character, and what seeing both sides of a gap is worth.

    python benchmarks/masked_shakespeare.py --data DIR --minutes 10

The first 90 % of the characters are trained on, the rest is scored in windows of the context, which
begin empty. The masked model's figure is a bound. Gaps of several lengths stand in the middle of
windows of the rest; each is scored, character by character in a random order, with both sides in
view, and with the left side alone: there, all that follows the gap is hidden, too. The other model
sees the left side by its nature, and scores the same gaps exactly.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

import wenmo
from common import arguments, report
from training import split
from wenmo.evaluation.likelihood import gather
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import Infills, capability
from wenmo.types import IGNORE, Batch

GAPS = (1, 4, 16)
WINDOWS = 500  # in which a gap of each length is scored
ROWS = 50
ORDERS = 4  # in which each gap's characters are scored


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--size", default="small")
    options = parser.parse_args()
    train, held_out = split(options.data / "lm" / "tinyshakespeare.txt", options.out)
    rows = []
    for family in ("gpt", "masked"):
        run = wenmo.fit(
            train,
            model=f"{family}:{options.size}",
            out=options.out / f"{family}-{options.size}-{options.minutes:g}-{options.seed}",
            settings={"ngram_prior.enabled": False, "train.seed": options.seed},
            minutes=options.minutes,
        )
        figures = run.evaluate(held_out)
        row: dict[str, Any] = {
            "model": family,
            "parameters": run.card.results["parameters"],
            "steps": run.card.results["steps"],
            "bits/character": figures.nats_per_token / math.log(2),
            "bound": str(figures.bound),
        }
        ids = run.tokenizer.encode(held_out.read_text("utf-8"))
        for size in GAPS:
            row |= gaps(run.model, ids, size)
        rows.append(row)
        report(f"tinyshakespeare, {options.minutes:g} minutes", rows, options.json)


@torch.inference_mode()
def gaps(model: LanguageModel, ids: np.ndarray, size: int) -> dict[str, float]:
    """Bits per character of gaps of a size, with the left side and with both in view."""
    rng, infills = np.random.default_rng(0), capability(model, Infills)
    context = model.context or 256
    starts = rng.integers(0, len(ids) - context - 1, WINDOWS)
    first = (context - size) // 2
    left = both = 0.0
    for begin in range(0, WINDOWS, ROWS):
        batch = gather(ids, starts[begin : begin + ROWS, None] + np.arange(context))
        if infills is None:
            targets = torch.full_like(batch.targets, IGNORE)
            gap = slice(first, first + size)
            targets[:, gap] = batch.targets[:, gap]
            left += float(model.score(Batch(batch.tokens, targets)).nats.sum())
            continue
        tokens = torch.cat([batch.tokens, batch.targets[:, -1:]], 1)
        left += in_random_orders(infills, tokens, first + 1, size, hide_rest=True)
        both += in_random_orders(infills, tokens, first + 1, size, hide_rest=False)
    unit = WINDOWS * size * math.log(2)
    found = {f"gap of {size}: left": left / unit}
    return found | {f"gap of {size}: both": both / unit if infills else float("nan")}


def in_random_orders(
    model: Infills, tokens: torch.Tensor, first: int, size: int, *, hide_rest: bool
) -> float:
    """Nats of the gaps of all rows, their characters in random orders, on average over those."""
    generator = torch.Generator().manual_seed(0)
    nats = 0.0
    for _ in range(orders := min(ORDERS, math.factorial(size))):
        hidden = torch.zeros_like(tokens, dtype=torch.bool)
        hidden[:, first : first + size] = True
        if hide_rest:
            hidden[:, first + size :] = True
        for place in (torch.randperm(size, generator=generator) + first).tolist():
            predicted = torch.zeros_like(hidden)
            predicted[:, place] = True
            logp = model.fill(tokens, hidden, predicted).log_softmax(1)
            nats -= float(logp.gather(1, tokens[:, place, None]).sum()) / orders
            hidden[:, place] = False
    return nats


if __name__ == "__main__":
    main()

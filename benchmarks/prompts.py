"""Prompts: how long rows that write wait for a long one, and what prompts share.

    python benchmarks/prompts.py
    python benchmarks/prompts.py --prompt 1023 --rows 8

A GPT with random weights. *Wait*: rows write, and a request with a long prompt arrives; the time of
each step until it writes too, over that of the steps before. *Shared*: requests whose prompts begin
with the same text, with and without the prefix cache; and `n` texts of a prompt.
"""

from __future__ import annotations

import statistics
import time

import torch

from common import arguments, report
from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.models import configure
from wenmo.models.base import LanguageModel

LAYERS, HIDDEN, HEADS, VOCAB, CONTEXT = 12, 768, 12, 8192, 1024


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=700, help="tokens of the long prompt")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    sizes = {"layers": LAYERS, "hidden_size": HIDDEN, "heads": HEADS, "context_length": CONTEXT}
    model = configure("gpt", sizes).build(VOCAB).eval()
    waits = [wait(model, options.rows, options.prompt) for _ in range(options.turns)]
    median, longest = (statistics.median(column) for column in zip(*waits, strict=True))
    row = {"rows": options.rows, "prompt": options.prompt}
    report(
        "Steps beside a long prompt, over ordinary steps",
        [{**row, "median": median, "longest": longest}],
        options.json,
    )
    rows = []
    for name, prompts in {
        "n texts of a prompt": [[5, 6, 7] * 100] * options.rows,
        "one after another": [[5, 6, 7] * 100 + [n] * 20 for n in range(1, 1 + options.rows)],
    }.items():
        together = name == "n texts of a prompt"
        times: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(options.turns):
            for shares, found in times.items():
                found.append(first_tokens(model, prompts, shares=shares, together=together))
        shared, alone = (statistics.median(times[shares]) for shares in (True, False))
        rows.append(
            {"prompts": name, "shared, s": shared, "alone, s": alone, "ratio": alone / shared}
        )
    report("Seconds to the first tokens of prompts of 300 tokens", rows, None)


def wait(model: LanguageModel, rows: int, prompt: int) -> tuple[float, float]:
    """The median and the longest step beside a long prompt, over the median of the steps before."""
    engine = AutoregressiveEngine(model, rows=rows + 1)
    for number in range(rows):
        engine.submit(Request([number + 1], Sampling(max_tokens=900, min_tokens=900, seed=number)))
    before = [step(engine) for _ in range(40)][8:]
    late = engine.submit(Request([5, 6, 7, 8] * (prompt // 4), Sampling(max_tokens=2)))
    beside = []
    while engine.is_open(late):
        beside.append(step(engine))
    ordinary = statistics.median(before)
    return statistics.median(beside) / ordinary, max(beside) / ordinary


def step(engine: AutoregressiveEngine) -> float:
    begun = time.perf_counter()
    engine.step()
    return time.perf_counter() - begun


def first_tokens(
    model: LanguageModel, prompts: list[list[int]], *, shares: bool, together: bool
) -> float:
    """Seconds to write one token for each prompt, at once or one after another."""
    engine = AutoregressiveEngine(model, rows=len(prompts))
    if not shares:
        engine.prefix_cache.max_bytes = 0
        engine._reader._shares = False
    begun = time.perf_counter()
    for prompt in prompts:
        engine.submit(Request(prompt, Sampling(max_tokens=1, min_tokens=1)))
        if not together:
            list(engine.run())
    list(engine.run())
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()

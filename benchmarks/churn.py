"""Rows that arrive and end beside rows that stay: tokens a second of one engine.

    python benchmarks/churn.py
    python benchmarks/churn.py --model gpt:small --rows 32 --prompt 1

A GPT with random weights writes with all its rows for a while. *Stay*: every row goes on. *Churn*:
every step one request ends and another takes its slot. Both are measured in turns, and the ratio is
that of the medians. With a longer prompt, reading it is a part of what arriving costs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import torch

from common import arguments, report
from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.models import configure
from wenmo.models.base import LanguageModel

LAYERS, HIDDEN, HEADS, VOCAB = 12, 768, 12, 8192


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--steps", type=int, default=64, help="of each turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=1, help="tokens, the first included")
    parser.add_argument("--hidden-size", type=int, default=HIDDEN)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    sizes = {"layers": LAYERS, "hidden_size": options.hidden_size, "heads": HEADS}
    model = configure("gpt", {**sizes, "context_length": 1024}).build(VOCAB).eval()
    speeds: dict[str, list[float]] = {"stay": [], "churn": []}
    for _ in range(options.turns):
        for name, found in speeds.items():
            found.append(speed(model, options.rows, options.steps, options.prompt, name == "churn"))
    stay, churn = (statistics.median(found) for found in speeds.values())
    row = {
        "weights": sum(p.numel() for p in model.parameters()),
        "rows": options.rows,
        "prompt": options.prompt,
        "stay, tokens/s": stay,
        "churn, tokens/s": churn,
        "ratio": churn / stay,
    }
    report("Rows that arrive and end, beside rows that stay", [row], options.json)


def speed(model: LanguageModel, rows: int, steps: int, prompt: int, churn: bool) -> float:
    """Tokens a second of so many steps, after one step for each row."""
    engine = AutoregressiveEngine(model, rows=rows)
    for request in requests(rows, steps, prompt, churn):
        engine.submit(request)
    for _ in range(rows):
        engine.step()
    begun, written = time.perf_counter(), 0
    for _ in range(steps):
        written += len(engine.step())
    return written / (time.perf_counter() - begun)


def requests(rows: int, steps: int, prompt: int, churn: bool) -> Iterator[Request]:
    """Requests of which one ends at each step, or none."""
    ids = list(range(1, prompt))
    for number in range(rows + churn * (rows + steps)):
        length = rows + steps + 1
        if churn:  # the first end one after another, and each that follows writes as many tokens
            length = min(number + 1, rows)
        yield Request(ids, Sampling(max_tokens=length, min_tokens=length, seed=number))


if __name__ == "__main__":
    main()

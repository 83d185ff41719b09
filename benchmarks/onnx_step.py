"""One token's step in PyTorch, and in onnxruntime by the graph that ``wenmo export`` writes.

    pip install --constraint constraints.txt --editable ".[onnx]"
    python benchmarks/onnx_step.py
    python benchmarks/onnx_step.py --models --run smollm2

Models have random weights, which changes nothing in their speed. Both programs go on from the same
state of ``--past`` tokens, a hundred steps each in turns; the ratio is the median of the turns'.
With ``--run`` both also go on greedily from ten prompts, one by one, by ``--tokens``.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer as Library

import wenmo
from common import arguments, percentile, report
from smollm2 import PROMPTS
from wenmo.interchange.onnx import INFO_FILE, NEXT_PREFIX, STEP_FILE, write_onnx
from wenmo.models import find
from wenmo.models.base import LanguageModel
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer

MODELS = ["rnn:small", "gru:small", "lstm:small", "lstm:medium", "gpt:tiny", "gpt:small"]
STEPS = 100


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--run", help="a run, or a model that others trained")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--past", type=int, default=100, help="tokens read before")
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    rows = [measured(name, options) for name in options.models]
    if rows:
        report(f"One step after {options.past} tokens", rows, options.json)
    if options.run is not None:
        report(f"Greedy texts of {options.run}", [texts(options)], options.json)


def measured(name: str, options: Any) -> dict[str, Any]:
    """Milliseconds of a step in both, and what writing the graph took."""
    tokenizer = Tokenizer.train(["春眠不觉晓"], TokenizerConfig("bytes"))
    _, config = find(name)
    model = config.build(tokenizer.vocab_size).eval()
    with TemporaryDirectory() as folder:
        begun = time.perf_counter()
        write_onnx(Path(folder) / "graph", model, tokenizer, answers=False)
        seconds = time.perf_counter() - begun
        graph = opened(Path(folder) / "graph", options.threads)
    ours, theirs = steps(model, graph, options)
    pairs = [(timed(ours), timed(theirs)) for _ in range(options.turns + 1)][1:]
    return {
        "model": name,
        "export s": seconds,
        "torch ms": percentile([a for a, _ in pairs]),
        "onnxruntime ms": percentile([b for _, b in pairs]),
        "times as fast": statistics.median(a / b for a, b in pairs),
    }


def opened(folder: Path, threads: int) -> Any:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(folder / STEP_FILE, settings)


def empty(graph: Any, rows: int) -> dict[str, Any]:
    """The state of texts of which nothing is read yet."""
    sizes = {"rows": rows, "past": 0}
    types = {"tensor(int64)": np.int64, "tensor(float)": np.float32}
    return {
        value.name: np.zeros([sizes.get(size, size) for size in value.shape], types[value.type])
        for value in graph.get_inputs()[1:]
    }


def steps(
    model: LanguageModel, graph: Any, options: Any
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """One step of each program after the same tokens, which must say the same."""
    past = torch.randint(model.vocab_size, (options.rows, options.past))
    token = torch.randint(model.vocab_size, (options.rows, 1))
    with torch.inference_mode():
        _, state = model(past, model.initial_state(options.rows, capacity=options.past + 1))
        inputs = empty(graph, options.rows)
        _, *after = graph.run(None, {"tokens": past.numpy(), **inputs})
        inputs = dict(zip(inputs, after, strict=True)) | {"tokens": token.numpy()}
        expected, _ = model(token, state)
        np.testing.assert_allclose(graph.run(None, inputs)[0], expected, atol=1e-3)

    def ours() -> Any:
        with torch.inference_mode():
            return model(token, state)

    return ours, lambda: graph.run(None, inputs)


def texts(options: Any) -> dict[str, Any]:
    """How many greedy texts are the same, and how fast both write them, one at a time."""
    run = wenmo.load(options.run)
    with TemporaryDirectory() as name:
        folder = Path(name) / "graph"
        begun = time.perf_counter()
        run.export("onnx", folder)
        seconds = {"export": time.perf_counter() - begun, "wenmo": 0.0, "onnxruntime": 0.0}
        megabytes = (folder / STEP_FILE).stat().st_size / 1e6
        graph = opened(folder, options.threads)
        library = Library.from_file(str(folder / "tokenizer.json"))
        about = json.loads((folder / INFO_FILE).read_text("utf-8"))
    equal = written = 0
    for prompt in PROMPTS:
        begun = time.perf_counter()
        [[ours]] = run.write([prompt], method="greedy", max_tokens=options.tokens)
        halfway = time.perf_counter()
        ids = about["text"]["before"] + library.encode(prompt, add_special_tokens=False).ids
        theirs = greedy(graph, ids, about["end"], options.tokens)
        seconds["wenmo"] += halfway - begun
        seconds["onnxruntime"] += time.perf_counter() - halfway
        equal += theirs == run.tokenizer.external_ids(ours.ids)
        written += len(theirs)
    return {
        "export s": seconds["export"],
        "MB": megabytes,
        "equal": f"{equal} of {len(PROMPTS)}",
        "wenmo tokens/s": written / seconds["wenmo"],
        "onnxruntime tokens/s": written / seconds["onnxruntime"],
    }


def greedy(graph: Any, ids: list[int], end: int, tokens: int) -> list[int]:
    names = [value.name.removeprefix(NEXT_PREFIX) for value in graph.get_outputs()[1:]]
    state, written = empty(graph, 1), []
    while len(written) < tokens and end not in written:
        logits, *after = graph.run(None, {"tokens": np.array([ids]), **state})
        state |= dict(zip(names, after, strict=True))
        ids = [int(logits[0, -1].argmax())]
        written += ids
    return written


def timed(step: Callable[[], Any]) -> float:
    """Milliseconds of a step, over many."""
    begun = time.perf_counter()
    for _ in range(STEPS):
        step()
    return 1000 * (time.perf_counter() - begun) / STEPS


if __name__ == "__main__":
    main()

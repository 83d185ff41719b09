"""One token's step in PyTorch, and in onnxruntime by the graph that ``wenmo export`` writes.

    pip install --constraint constraints.txt --editable ".[onnx]"
    python benchmarks/onnx_step.py --threads 1

Models have random weights, which changes nothing in their speed. Both programs go on from the same
state of ``--past`` tokens, a hundred steps each in turns; the ratio is the median of the turns'.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch

from common import arguments, percentile, report
from wenmo.interchange.onnx import STEP, write_onnx
from wenmo.models import find
from wenmo.models.base import LanguageModel
from wenmo.text.tokenizers import Tokenizer, TokenizerConfig

MODELS = ["rnn:small", "gru:small", "lstm:small", "lstm:medium", "gpt:tiny", "gpt:small"]
STEPS = 100


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--past", type=int, default=100, help="tokens read before")
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    rows = [measured(name, options) for name in options.models]
    report(f"One step after {options.past} tokens", rows, options.json)


def measured(name: str, options: Any) -> dict[str, Any]:
    """Milliseconds of a step in both, and what writing the graph took."""
    tokenizer = Tokenizer.train(["春眠不觉晓"], TokenizerConfig("bytes"))
    _, config = find(name)
    model = config.build(tokenizer.vocab_size).eval()
    with TemporaryDirectory() as folder:
        begun = time.perf_counter()
        write_onnx(Path(folder) / "graph", model, tokenizer, answers=False)
        seconds = time.perf_counter() - begun
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        graph = onnxruntime.InferenceSession(Path(folder) / "graph" / STEP, settings)
    ours, theirs = steps(model, graph, options)
    pairs = [(timed(ours), timed(theirs)) for _ in range(options.turns + 1)][1:]
    return {
        "model": name,
        "export s": seconds,
        "torch ms": percentile([a for a, _ in pairs]),
        "onnxruntime ms": percentile([b for _, b in pairs]),
        "times as fast": statistics.median(a / b for a, b in pairs),
    }


def steps(
    model: LanguageModel, graph: Any, options: Any
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """One step of each program after the same tokens, which must say the same."""
    past = torch.randint(model.vocab_size, (options.rows, options.past))
    token = torch.randint(model.vocab_size, (options.rows, 1))
    with torch.inference_mode():
        _, state = model(past, model.begin(options.rows, capacity=options.past + 1))
        sizes = {"rows": options.rows, "past": 0}
        inputs = {
            value.name: np.zeros(
                [sizes.get(size, size) for size in value.shape],
                np.int64 if value.type == "tensor(int64)" else np.float32,
            )
            for value in graph.get_inputs()[1:]
        }
        _, *after = graph.run(None, {"tokens": past.numpy(), **inputs})
        inputs = dict(zip(inputs, after, strict=True)) | {"tokens": token.numpy()}
        expected, _ = model(token, state)
        np.testing.assert_allclose(graph.run(None, inputs)[0], expected, atol=1e-3)

    def ours() -> Any:
        with torch.inference_mode():
            return model(token, state)

    return ours, lambda: graph.run(None, inputs)


def timed(step: Callable[[], Any]) -> float:
    """Milliseconds of a step, over many."""
    begun = time.perf_counter()
    for _ in range(STEPS):
        step()
    return 1000 * (time.perf_counter() - begun) / STEPS


if __name__ == "__main__":
    main()

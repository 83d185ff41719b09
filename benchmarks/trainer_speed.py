"""A GPT-2 trained by our loop and by the Trainer of `transformers`, in one process and in turns.

    pip install --constraint constraints.txt --editable ".[benchmark]"
    python benchmarks/trainer_speed.py --data DIR

Both are given the characters of tinyshakespeare in batches of the same size, the same arrangement
and number of weights, AdamW and clipping, and the same precision. Each makes its own batches and
keeps its own books, within the time that is measured: from the end of one step to the end of the
next. Neither evaluates or saves meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)

from common import arguments, percentile, report
from wenmo.models.transformer.presets import GPT2
from wenmo.text.batches import Windows
from wenmo.train_config import Precision, TrainConfig
from wenmo.training.checkpoints import Checkpoints
from wenmo.training.learners import Gradient
from wenmo.training.loop import Event
from wenmo.training.loop import Trainer as Loop
from wenmo.training.optimizers import make_optimizer

RATE, DECAY, BETAS, CLIP = 1e-3, 0.1, (0.9, 0.99), 1.0
WARM = 3  # the first steps of a turn are not counted

Turn = Callable[[], list[float]]


@dataclass(frozen=True)
class Size:
    """A model and its batches."""

    width: int
    layers: int
    heads: int
    context: int
    rows: int


SIZES = {
    "0.8 M": Size(128, 4, 4, context=64, rows=12),
    "4.8 M": Size(256, 6, 4, context=256, rows=8),
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20, help="of each program in a turn")
    options = parser.parse_args()
    text = (options.data / "lm" / "tinyshakespeare.txt").read_text("utf-8")
    letters = sorted(set(text))
    ids = np.array([letters.index(letter) + 1 for letter in text], np.int64)  # 0 is our END
    rows: list[dict[str, Any]] = []
    for name, size in SIZES.items():
        for precision in ("float32", "bfloat16"):
            with TemporaryDirectory() as folder:
                steps, vocab_size = WARM + options.steps, len(letters) + 1
                programs: dict[str, Turn] = {
                    "wenmo": ours(size, ids, vocab_size, precision, steps, Path(folder)),
                    "transformers": theirs(size, ids, vocab_size, precision, steps, folder),
                }
                seconds: dict[str, list[float]] = {program: [] for program in programs}
                for _ in range(options.turns):
                    for program, turn in programs.items():
                        seconds[program] += [b - a for a, b in pairwise(turn()[WARM - 1 :])]
            theirs_p20 = percentile(seconds["transformers"])
            for program, times in seconds.items():
                rows.append(
                    {
                        "weights": name,
                        "precision": precision,
                        "program": program,
                        "ms/step p20": 1e3 * percentile(times),
                        "ms/step median": 1e3 * percentile(times, 0.5),
                        "tokens/s p20": size.rows * size.context / percentile(times),
                        "ratio": theirs_p20 / percentile(times),
                    }
                )
    report("Training a GPT-2, ours beside the Trainer of transformers", rows, options.json)


def ours(
    size: Size,
    ids: NDArray[np.int64],
    vocab_size: int,
    precision: Precision,
    steps: int,
    folder: Path,
) -> Turn:
    config = replace(
        GPT2,
        hidden_size=size.width,
        layers=size.layers,
        heads=size.heads,
        context_length=size.context,
        dropout=0.0,
    )
    torch.manual_seed(0)
    model = config.build(vocab_size)

    def turn() -> list[float]:
        optimizer = make_optimizer(
            "adamw", model, rate=RATE, weight_decay=DECAY, momentum=0.0, betas=BETAS
        )
        batches = Windows(ids, size.rows, size.context)
        learner = Gradient(
            model, batches, optimizer, clip=CLIP, accumulate=1, precision=precision, seed=0
        )
        ends: list[float] = []

        def note(event: Event) -> None:
            if event.kind == "step":
                ends.append(time.perf_counter())

        Loop(
            learner=learner,
            config=TrainConfig(steps=steps, eval_count=1),
            checkpoints=Checkpoints(folder / "ours", lambda _: None),
            evaluate=lambda: {"nats_per_token": 0.0},
            sample=str,
            keep_best=lambda: None,
            report=note,
        ).run()
        return ends

    return turn


class Pieces(torch.utils.data.Dataset[dict[str, Any]]):
    """The text cut into sequences, as the examples of `transformers` do."""

    def __init__(self, ids: NDArray[np.int64], length: int) -> None:
        self.pieces = torch.from_numpy(ids[: len(ids) // length * length].reshape(-1, length))

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {"input_ids": self.pieces[number], "labels": self.pieces[number]}


class Clock(TrainerCallback):
    """Keeps when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


def theirs(
    size: Size,
    ids: NDArray[np.int64],
    vocab_size: int,
    precision: Precision,
    steps: int,
    folder: str,
) -> Turn:
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=size.context,
        n_embd=size.width,
        n_layer=size.layers,
        n_head=size.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
    )
    torch.manual_seed(0)
    model = GPT2LMHeadModel(config)
    settings = TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=size.rows,
        learning_rate=RATE,
        weight_decay=DECAY,
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        max_grad_norm=CLIP,
        bf16=precision == "bfloat16",
        use_cpu=True,
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )

    def turn() -> list[float]:
        clock = Clock()
        trainer = Trainer(
            model=model,
            args=settings,
            train_dataset=Pieces(ids, size.context),
            data_collator=default_data_collator,
            callbacks=[clock],
        )
        with quiet():
            trainer.train()
        return clock.ends

    return turn


@contextmanager
def quiet() -> Iterator[None]:
    """Without the summary that the Trainer prints."""
    with redirect_stdout(StringIO()):
        yield


if __name__ == "__main__":
    main()

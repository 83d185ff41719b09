"""A training step on Multi30k, English to German, beside JoeyNMT's, in one process and in turns.

    pip install --constraint constraints.txt --editable ".[joeynmt]"
    python benchmarks/pairs_speed.py --data DIR

Both programs are given the same pairs in the same joint BPE of 6,000 tokens, and train models of
the same arrangement and size in float32, with the same dropout, label smoothing and clipping. Each
makes its batches in its own way, within the time that is measured. Tokens are those of source and
target, an end each, without padding. JoeyNMT closes a batch when its rows times its longest side
reach ``batch_size``, so that both sides together take up to twice as much; our budget is for both
together, and therefore twice its.

The attention that JoeyNMT calls "bahdanau" looks with the new hidden state, and what it finds is
fed to the next step: in ours that order is "concat".
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
import torch
from joeynmt.builders import build_gradient_clipper, build_optimizer
from joeynmt.config import parse_global_args
from joeynmt.prediction import prepare
from torch import Tensor

from common import arguments, percentile, report
from joeynmt_translation import settings, transformer, write_words
from translation import lines
from wenmo.models.seq2seq_config import Seq2seqConfig
from wenmo.models.transformer.config import TransformerConfig
from wenmo.models.transformer.presets import VASWANI
from wenmo.text.pairs import Buckets, Pairs
from wenmo.training.learners import Gradient
from wenmo.training.optimizers import make_optimizer
from wenmo.types import IGNORE

BUDGET = 2048  # JoeyNMT's batch_size
DROPOUT, SMOOTHING, CLIP, RATE = 0.1, 0.1, 1.0, 5e-4

Config = TransformerConfig | Seq2seqConfig


class Program(Protocol):
    """One of the two."""

    weights: int

    def step(self) -> None:
        """Make a batch and learn from it."""
        ...

    def masks(self) -> tuple[Tensor, Tensor]:
        """Where that batch holds tokens: bool (rows, time) of its sources and of its targets."""
        ...


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10, help="of each program in a turn")
    options = parser.parse_args()
    logging.disable(logging.INFO)  # JoeyNMT tells every setting
    data, folder = options.data / "mt" / "multi30k", (options.out / "pairs-speed").resolve()
    tokenizer = write_words(data, folder, "en", "de")
    texts = zip(lines(data / "train.en.gz"), lines(data / "train.de.gz"), strict=True)
    pieces = tokenizer.encode_pieces((text, True) for pair in texts for text in pair)
    ids = np.concatenate([ids for ids, _ in pieces])
    rows: list[dict[str, Any]] = []
    for name, (ours, theirs) in models().items():
        programs: dict[str, Program] = {
            "wenmo": Wenmo(ours, tokenizer.vocab_size, ids, options.seed),
            "JoeyNMT": JoeyNMT(theirs, folder, options.seed),
        }
        measured = measure(programs, options.turns, options.steps)
        rate = measured["JoeyNMT"]["tokens/s p20"]
        for program, figures in measured.items():
            ratio = figures["tokens/s p20"] / rate
            rows.append({"model": name, "program": program, **figures, "ratio": ratio})
    title = f"Training on Multi30k, English to German, {options.turns} turns of {options.steps}"
    report(f"{title} steps, seed {options.seed}", rows, options.json)


def models() -> dict[str, tuple[Config, dict[str, Any]]]:
    """Settings of the same models, ours and JoeyNMT's."""
    vaswani = replace(VASWANI, heads=4, dropout=DROPOUT, attention_dropout=DROPOUT)
    sizes = {
        "256, 3+3": {"width": 256, "layers": 3, "inner": 512},
        "128, 4+4": {"width": 128, "layers": 4, "inner": 256},
    }
    both: dict[str, tuple[Config, dict[str, Any]]] = {
        name: (
            replace(
                vaswani,
                hidden_size=size["width"],
                layers=size["layers"],
                encoder_layers=size["layers"],
                ffn_size=size["inner"],
            ),
            transformer(**size, heads=4, dropout=DROPOUT, norm="post"),
        )
        for name, size in sizes.items()
    }
    recurrent = Seq2seqConfig(
        embedding_size=256,
        hidden_size=512,
        attention="concat",
        tie_embeddings=False,
        dropout=DROPOUT,
    )
    return {**both, "GRU 256/512": (recurrent, gru(256, 512))}


def gru(embedding: int, hidden: int) -> dict[str, Any]:
    """JoeyNMT's settings of a recurrent encoder–decoder."""
    stack = {
        "type": "recurrent",
        "rnn_type": "gru",
        "hidden_size": hidden,
        "embeddings": {"embedding_dim": embedding, "dropout": DROPOUT},
    }
    return {
        "encoder": {**stack, "bidirectional": True},
        "decoder": {**stack, "hidden_dropout": DROPOUT, "attention": "bahdanau"},
    }


def measure(programs: dict[str, Program], turns: int, steps: int) -> dict[str, dict[str, Any]]:
    """The figures of each program, which take turns; its first step is not counted."""
    for program in programs.values():
        program.step()
    counts: dict[str, list[list[Count]]] = {name: [] for name in programs}
    for _ in range(turns):
        for name, program in programs.items():
            counts[name].append([count(program) for _ in range(steps)])
    return {name: figures(programs[name].weights, counts[name]) for name in programs}


@dataclass(frozen=True)
class Count:
    """What one step did: its tokens, the places in its batch, and its seconds."""

    tokens: int
    places: int
    seconds: float


def count(program: Program) -> Count:
    begun = time.perf_counter()
    program.step()
    seconds = time.perf_counter() - begun
    masks = program.masks()
    return Count(sum(int(m.sum()) for m in masks), sum(m.numel() for m in masks), seconds)


def figures(weights: int, turns: list[list[Count]]) -> dict[str, Any]:
    """Batches differ in size, so that the percentile is one of seconds per token."""
    steps = list(chain.from_iterable(turns))
    tokens = sum(step.tokens for step in steps)
    of_turns = [sum(s.tokens for s in turn) / sum(s.seconds for s in turn) for turn in turns]
    return {
        "weights M": weights / 1e6,
        "tokens/step": tokens / len(steps),
        "padding %": 100 * (1 - tokens / sum(step.places for step in steps)),
        "ms/step p20": 1e3 * percentile([step.seconds for step in steps]),
        "tokens/s p20": 1 / percentile([step.seconds / step.tokens for step in steps]),
        "median turn": median(of_turns),
    }


class Wenmo:
    """A step of our learner."""

    def __init__(self, config: Config, vocab_size: int, ids: np.ndarray, seed: int) -> None:
        torch.manual_seed(seed)
        model = config.build(vocab_size)
        self.weights = sum(p.numel() for p in model.parameters())
        self.number = -1
        self.batches = Buckets(Pairs(ids, "encoder", model.context), 2 * BUDGET, seed)
        self.learner = Gradient(
            model,
            self.batches,
            make_optimizer(
                "adam", model, rate=RATE, weight_decay=0.0, momentum=0.0, betas=(0.9, 0.98)
            ),
            clip=CLIP,
            accumulate=1,
            precision="float32",
            seed=seed,
            label_smoothing=SMOOTHING,
        )

    def step(self) -> None:
        self.number += 1
        self.learner.learn(self.number, 1.0)

    def masks(self) -> tuple[Tensor, Tensor]:
        batch = self.batches[self.number]
        assert batch.source is not None
        return batch.source != IGNORE, batch.targets != IGNORE


class JoeyNMT:
    """A step of JoeyNMT's training, put together from its parts."""

    def __init__(self, model: dict[str, Any], folder: Path, seed: int) -> None:
        config = settings(folder, "en", "de", model, seed)
        Path(config["model_dir"]).mkdir(exist_ok=True)
        changes = {"batch_size": BUDGET, "label_smoothing": SMOOTHING, "clip_grad_norm": CLIP}
        config["training"] |= {**changes, "learning_rate": RATE}
        args = parse_global_args(config, mode="train")
        self.model, pairs, _, _ = prepare(args, rank=0, mode="train")
        self.normalization = args.train.normalization
        self.weights = sum(p.numel() for p in self.model.parameters())
        self.optimizer = build_optimizer(args.train._asdict(), self.model.parameters())
        self.clip = build_gradient_clipper(args.train._asdict())
        loader = pairs.make_iter(
            batch_size=args.train.batch_size,
            batch_type=args.train.batch_type,
            seed=seed,
            shuffle=True,
            pad_index=self.model.pad_index,
            eos_index=self.model.eos_index,
        )
        self.batches = chain.from_iterable(repeat(loader))
        self.model.train()

    def step(self) -> None:
        self.batch = next(self.batches)
        self.batch.sort_by_src_length()
        loss, _, _, correct = self.model(return_type="loss", **vars(self.batch))
        mean = self.batch.normalize(loss, normalization=self.normalization)
        mean.backward()
        mean.item(), correct.item()  # it keeps both for its log
        self.clip(parameters=self.model.parameters())
        self.optimizer.step()
        self.model.zero_grad()

    def masks(self) -> tuple[Tensor, Tensor]:
        return self.batch.src_mask[:, 0], self.batch.trg_mask[:, 0]


if __name__ == "__main__":
    main()

"""Loss against seconds on tinyshakespeare: counts, networks, and networks on counts.

    pip install --constraint constraints.txt --editable ".[benchmark]"
    python benchmarks/training.py --data DIR --json figures.json --plot docs/training.svg
    python benchmarks/training.py --data DIR --seeds 1 --minutes 0.25 1.2

The first 90 % of the characters are trained on, the rest is scored, all of it. The seconds begin
before the file is read and end with the last step; counting, cross-fitting and evaluations on the
way are among them, PyTorch's import (two seconds) is not. There is one evaluation, at the end, so
that nothing is chosen by the held-out text. Each loss is told twice: in windows of 256 characters
(for the GPT: its context of 128) that begin empty, as nanoGPT's of 64 and 256 do; and streaming,
each character with text before it: an LSTM and counts read on and on, the GPT's windows move by a
quarter of its context.

nanoGPT's own figures: 1.898 after its documented CPU run (73 s measured on a quiet machine of two
cores), 1.4697 after three minutes of an A100.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import wenmo
from common import arguments, report


@dataclass(frozen=True)
class Setting:
    """One way to train."""

    name: str
    model: str
    settings: dict[str, Any]


COUNTS = [Setting(f"counts, order {n}", "ngram", {"order": n}) for n in (4, 5, 6, 7)]
WINDOW = 256
NETWORKS = [
    Setting("LSTM alone", "lstm", {"ngram_prior.enabled": False}),
    Setting("LSTM on counts", "lstm", {"ngram_prior.enabled": True}),
    Setting("GPT alone", "gpt", {"ngram_prior.enabled": False}),
    Setting("GPT on counts", "gpt", {"ngram_prior.enabled": True}),
]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only", nargs="*", default=[s.name for s in NETWORKS], help="by name")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, nargs="+", default=[0.25, 73 / 60, 3])
    parser.add_argument("--plot", type=Path, help="an SVG of the curves")
    options = parser.parse_args()
    train, held_out = split(options.data / "lm" / "tinyshakespeare.txt", options.out)
    rows = []
    for setting in COUNTS:
        rows.append(row(setting, [measure(setting, train, held_out, options.out, {})]))
    for setting in [setting for setting in NETWORKS if setting.name in options.only]:
        for minutes in options.minutes:
            runs = [
                measure(setting, train, held_out, options.out, {"minutes": minutes, "seed": seed})
                for seed in range(options.seeds)
            ]
            rows.append(row(setting, runs))
            report("tinyshakespeare, characters", rows, options.json)
    if options.plot is not None:
        plot(options.plot, rows)


def split(path: Path, folder: Path) -> tuple[Path, Path]:
    """nanoGPT's own division."""
    text = path.read_text("utf-8")
    cut = int(0.9 * len(text))
    folder.mkdir(parents=True, exist_ok=True)
    parts = folder / "shakespeare-train.txt", folder / "shakespeare-rest.txt"
    for part, content in zip(parts, (text[:cut], text[cut:]), strict=True):
        part.write_text(content, "utf-8")
    return parts


def measure(
    setting: Setting, train: Path, held_out: Path, folder: Path, more: dict[str, Any]
) -> dict[str, float]:
    """Train once; seconds and both losses."""
    moments: list[float] = []
    out = folder / "-".join([setting.name.replace(" ", "-"), *map(str, more.values())])
    budget = {f"train.{key}": value for key, value in more.items()}
    begun = time.perf_counter()
    run = wenmo.fit(
        train,
        model=setting.model,
        valid=held_out,
        out=out,
        settings={**setting.settings, **budget, "eval_count": 1},
        on_event=lambda event: (
            moments.append(time.perf_counter()) if event.kind == "step" else None
        ),
    )
    context = run.model.context
    empty = run.evaluate(held_out, window=WINDOW)
    streaming = run.evaluate(held_out, stride=None if context is None else context // 4)
    return {
        "seconds": moments[-1] - begun,
        "nats": empty.nats_per_token,
        "streaming": streaming.nats_per_token,
        "weights": run.card.results["parameters"],
    }


def row(setting: Setting, runs: list[dict[str, float]]) -> dict[str, Any]:
    """The mean over the seeds, and the range."""
    nats = [run["nats"] for run in runs]
    return {
        "model": setting.name,
        "weights": int(runs[0]["weights"]),
        "seconds": mean(run["seconds"] for run in runs),
        "nats": mean(nats),
        "range": f"{min(nats):.4f} to {max(nats):.4f}",
        "streaming": mean(run["streaming"] for run in runs),
        "seeds": len(runs),
    }


def plot(path: Path, rows: list[dict[str, Any]]) -> None:
    """Streaming losses against seconds, a line for each model, beside nanoGPT's."""
    from matplotlib import pyplot

    pyplot.rcParams["svg.fonttype"] = "none"  # text as text: a tenth of the file
    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for name in dict.fromkeys(row["model"].partition(",")[0] for row in rows):
        mine = [row for row in rows if row["model"].partition(",")[0] == name]
        losses = [row["streaming"] for row in mine]
        axes.plot([row["seconds"] for row in mine], losses, marker="o", label=name)
    for name, loss, style in (("CPU, 73 s", 1.898, ":"), ("A100, 3 minutes", 1.4697, "--")):
        axes.axhline(loss, color="grey", linestyle=style, label=f"nanoGPT, {name}")
    axes.set_xscale("log")
    axes.set_xlabel("seconds, reading and counting included")
    axes.set_ylabel("nats a character on the held-out tenth")
    axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    main()

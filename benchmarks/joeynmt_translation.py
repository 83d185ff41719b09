"""Multi30k by JoeyNMT's own Transformer: BLEU on test2016 against minutes of training.

    pip install --constraint constraints.txt --editable ".[joeynmt]"
    python benchmarks/joeynmt_translation.py --data DIR --source en --target de --minutes 10
    python benchmarks/joeynmt_translation.py --data DIR training.learning_rate_warmup=1000

JoeyNMT's own commands train and translate, each in a process of its own. The minutes begin with its
first epoch; validations are among them. Its words are the tokens of our joint BPE, and what it
writes is decoded to raw text before it is scored, here and in ``translation.py`` in the same way.
The weights of the best perplexity on the validation sentences are kept. The seconds of a method are
those of ``joeynmt test``, its start included.

Its schedule "plateau" does not run with PyTorch 2.7 or newer, so the schedule is "noam".
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from common import arguments, report, timed
from translation import lines, scores
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer

VOCABULARY = 6000
VALIDATED = 100  # sentences: as many as ours writes on the way


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--source", default="en")
    parser.add_argument("--target", default="de")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("settings", nargs="*", help="any of JoeyNMT's: model.encoder.dropout=0.1")
    options = parser.parse_args()
    data, source, target = options.data / "mt" / "multi30k", options.source, options.target
    name = f"joeynmt-{source}-{target}-{options.minutes:g}-{options.seed}"
    folder = (options.out / "-".join([name, *options.settings])).resolve()
    tokenizer = write_words(data, folder, source, target)
    model = transformer(width=128, layers=4, heads=4, inner=256, dropout=0.3, norm="pre")
    config = settings(folder, source, target, model, options.seed)
    for change in options.settings:
        override(config, change)
    begun = train(config, folder, options.minutes)
    references, rows = lines(data / f"test2016.{target}"), []
    for method, width in (("greedy", 1), ("beam", 5)):
        written, seconds = timed(lambda w=width: translate(config, folder, beam=w))
        texts = [decode(tokenizer, words) for words in written]
        rows.append({"method": method, **scores(texts, references), "seconds": seconds})
    validated = lines(data / f"valid.{target}")[:VALIDATED]
    curve = points(folder / "model", begun, tokenizer, validated)
    weights = re.search(r"Total params: (\d+)", (folder / "model" / "train.log").read_text("utf-8"))
    report(
        f"{source} to {target}, JoeyNMT, {int(weights[1]) if weights else 0:,} weights, "
        f"{options.minutes:g} minutes, seed {options.seed}",
        rows,
        options.json,
        curve=curve,
        settings={section: config[section] for section in ("model", "training", "testing")},
    )
    report(f"on the way, {VALIDATED} sentences of the validation split, greedy", curve, None)


def write_words(data: Path, folder: Path, source: str, target: str) -> Tokenizer:
    """Write the splits in JoeyNMT's plain format, the ids of a joint BPE as words, and the words.

    Returns:
        The tokenizer, made of both sides of the training split.
    """
    texts = {
        f"{split}.{language}": lines(data / file.format(language))
        for language in (source, target)
        for split, file in (("train", "train.{}.gz"), ("dev", "valid.{}"), ("test", "test2016.{}"))
    }
    both = [*texts[f"train.{source}"], *texts[f"train.{target}"]]
    tokenizer = Tokenizer.train(both, TokenizerConfig("bpe", vocab_size=VOCABULARY))
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in texts.items():
        kept = content[:VALIDATED] if name.startswith("dev") else content
        words = (" ".join(map(str, tokenizer.encode(text).tolist())) + "\n" for text in kept)
        (folder / name).write_text("".join(words), encoding="utf-8")
    ids = "".join(f"{id_}\n" for id_ in range(1, tokenizer.vocab_size))
    (folder / "words.txt").write_text(ids, encoding="utf-8")
    return tokenizer


def settings(
    folder: Path, source: str, target: str, model: dict[str, Any], seed: int
) -> dict[str, Any]:
    """JoeyNMT's settings for a small corpus."""
    side = {"level": "word", "voc_file": str(folder / "words.txt")}
    return {
        "name": "multi30k",
        "model_dir": str(folder / "model"),
        "use_cuda": False,
        "random_seed": seed,
        "data": {
            **{split: str(folder / split) for split in ("train", "dev", "test")},
            "dataset_type": "plain",
            "src": {"lang": source, **side},
            "trg": {"lang": target, **side},
        },
        "model": model,
        "training": {
            "overwrite": True,
            "optimizer": "adam",
            "adam_betas": [0.9, 0.98],
            "learning_rate": 5e-4,
            "learning_rate_min": 0.0,
            "scheduling": "noam",
            "learning_rate_factor": 0.5,
            "learning_rate_warmup": 400,
            "label_smoothing": 0.1,
            "normalization": "tokens",
            "clip_grad_norm": 1.0,
            "batch_size": 2048,
            "batch_type": "token",
            "epochs": 1000,
            "logging_freq": 100,
            "validation_freq": 200,
            "early_stopping_metric": "ppl",
            "keep_best_ckpts": 1,
            "print_valid_sents": [],
        },
        "testing": {
            "batch_size": 64,
            "batch_type": "sentence",
            "max_output_length": 60,  # the longest target of the training split has 58
            "eval_metrics": ["bleu"],
            "beam_size": 5,
            "beam_alpha": 1.0,
        },
    }


def transformer(
    *, width: int, layers: int, heads: int, inner: int, dropout: float, norm: str
) -> dict[str, Any]:
    """JoeyNMT's settings of a Transformer with one embedding for both sides and the softmax."""

    def stack() -> dict[str, Any]:
        return {
            "type": "transformer",
            "num_layers": layers,
            "num_heads": heads,
            "hidden_size": width,
            "ff_size": inner,
            "dropout": dropout,
            "layer_norm": norm,
            "embeddings": {"embedding_dim": width, "scale": True, "dropout": 0.0},
        }

    return {
        "initializer": "xavier_uniform",
        "embed_initializer": "xavier_uniform",
        "tied_embeddings": True,
        "tied_softmax": True,
        "encoder": stack(),
        "decoder": stack(),
    }


def override(config: dict[str, Any], change: str) -> None:
    """Put ``section.name=value`` into the settings."""
    dotted, value = change.split("=", 1)
    *path, name = dotted.split(".")
    for section in path:
        config = config[section]
    config[name] = yaml.safe_load(value)


def train(config: dict[str, Any], folder: Path, minutes: float) -> float:
    """Train for so many minutes from the first epoch on; when that was, in seconds of the clock."""
    # A process that ignores the interrupt, as in the background of a script, would hand that on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with (folder / "train.out").open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            command("train", config, folder, "--skip-test"), stdout=out, stderr=out
        )
        while "EPOCH 1" not in (folder / "train.out").read_text("utf-8"):
            if process.poll() is not None:
                sys.exit(f"JoeyNMT has not begun to train: see {folder / 'train.out'}")
            time.sleep(0.1)
        begun = time.time()
        try:
            process.wait(60 * minutes)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # it ends its step and writes its weights
        if process.wait():
            sys.exit(f"JoeyNMT failed: see {folder / 'train.out'}")
    if not (folder / "model" / "best.ckpt").exists():
        sys.exit("no validation in this time: ask for more minutes or a lower validation_freq")
    return begun


def translate(config: dict[str, Any], folder: Path, *, beam: int) -> list[str]:
    """The test split as JoeyNMT translates it with its best weights, in words."""
    data = {name: value for name, value in config["data"].items() if name not in ("train", "dev")}
    testing = {**config["testing"], "beam_size": beam}
    output = folder / f"written-{beam}"
    with (folder / "test.out").open("w", encoding="utf-8") as out:
        subprocess.run(
            command(
                "test",
                {**config, "data": data, "testing": testing},
                folder,
                *("--output-path", str(output)),
            ),
            check=True,
            stdout=out,
            stderr=out,
        )
    return lines(output.with_name(f"{output.name}.test"))


def command(mode: str, config: dict[str, Any], folder: Path, *more: str) -> list[str]:
    path = folder / f"{mode}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return [sys.executable, "-m", "joeynmt", mode, str(path), *more]


def points(
    model: Path, begun: float, tokenizer: Tokenizer, references: Sequence[str]
) -> list[dict[str, float]]:
    """Minutes and BLEU of every validation, from the texts that JoeyNMT keeps of each."""
    kept = sorted((int(path.stem), path) for path in model.glob("*.hyps"))
    return [
        {
            "minutes": (path.stat().st_mtime - begun) / 60,
            "step": step,
            "BLEU": scores([decode(tokenizer, w) for w in lines(path)], list(references))["BLEU"],
        }
        for step, path in kept
    ]


def decode(tokenizer: Tokenizer, words: str) -> str:
    """Raw text; what is no id, as JoeyNMT's mark for an empty sentence, is nothing."""
    text = tokenizer.decode(int(word) for word in words.split() if word.isdecimal())
    return " ".join(text.split())


if __name__ == "__main__":
    main()

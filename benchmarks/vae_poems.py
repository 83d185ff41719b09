"""Tang poems: a variational autoencoder of their couplets, two lines of five or seven characters,
or of whole quatrains, and walks between those of poems that it was not trained on.

    python benchmarks/vae_poems.py --data DIR --minutes 25
    python benchmarks/vae_poems.py --data DIR --minutes 12 --lines 4 ngram_prior.enabled=true
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import wenmo
from common import arguments, report
from vae_ptb import DRAWN

FILES = {
    "train": "poems_train.jsonl.gz",
    "valid": "poems_valid.jsonl",
    "test": "poems_test.jsonl",
}
WALKS = 5
SETTINGS = {
    "tokenizer.kind": "characters",
    "ngram_prior.enabled": False,
    "layers": 2,
    "tie_embeddings": True,
    "dropout": 0.2,
    "free_bits": 8.0,
    "learning_rate": 0.003,
    "tokens_per_batch": 1024,
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--lines", type=int, default=2, choices=(2, 4), help="of a text")
    parser.add_argument("--samples", type=int, default=20, help="for importance weighting")
    parser.add_argument("settings", nargs="*", help="more settings, as key=value")
    options = parser.parse_args()
    name = f"vae-poems-{options.lines}-{options.minutes:g}-{options.seed}"
    train, valid, test = (
        write(options.data / "zh" / file, options.lines, options.out / f"{name}-{part}.txt")
        for part, file in FILES.items()
    )
    run = wenmo.fit(
        train,
        valid=valid,
        model="vae",
        out=options.out / name,
        minutes=options.minutes,
        settings=[
            *(f"{key}={json.dumps(value)}" for key, value in SETTINGS.items()),
            f"train.seed={options.seed}",
            *options.settings,
        ],
        on_progress=lambda what, share: print(what) if share is None else None,
    )
    figures = run.evaluate(test, samples=options.samples)
    usage, weighted = figures.latent_usage, figures.importance_weighted
    row = {
        "records": figures.records,
        "bound, nats": figures.nats_per_record,
        "KL": usage.kl,
        "mutual information": usage.mutual_information,
        "active": f"{usage.active_latents} of {usage.latents}",
        f"nats, {options.samples} draws": weighted.nats_per_record,
        f"perplexity, {options.samples} draws": weighted.perplexity,
        "steps": run.card.results["steps"],
    }
    report("Tang poems, test", [row], options.json, walks=walks(run, test))


def write(poems: Path, lines: int, out: Path) -> Path:
    """The parts of poems with so many lines, each a line of a text file."""
    packed = poems.suffix == ".gz"
    content = gzip.decompress(poems.read_bytes()) if packed else poems.read_bytes()
    found = parts(content.decode("utf-8").splitlines(), lines)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(f"{part}\n" for part in found), "utf-8")
    return out


def parts(poems: Iterable[str], lines: int) -> Iterator[str]:
    """Couplets of all poems, or the whole of those that are quatrains."""
    for poem in map(json.loads, poems):
        written = poem["lines"]
        couplets = zip(written[::2], written[1::2], strict=True)
        texts = [f"{first}，{second}。" for first, second in couplets]
        if lines == 2:
            yield from texts
        elif len(written) == lines:
            yield "".join(texts)


def walks(run: wenmo.Run, test: Path) -> list[list[str]]:
    """Between texts from poems that are far from each other in the file, but of one length."""
    texts = test.read_text("utf-8").splitlines()
    lengths = {len(text): [t for t in texts if len(t) == len(text)] for text in texts}
    written = []
    for number in range(WALKS):
        alike = lengths[sorted(lengths)[number % len(lengths)]]
        first, last = alike[number * len(alike) // WALKS], alike[-1 - number]
        found = [output.text.strip() for output in run.latents.walk(first, last, **DRAWN)]
        written.append([first, *found, last])
        print("", first, *(f"  {text}" for text in found), last, sep="\n")
    return written


if __name__ == "__main__":
    main()

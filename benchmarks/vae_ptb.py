r"""Penn Treebank, sentences: a variational autoencoder. Published bounds, in nats a sentence:
102.54 with an LSTM, 101.61 with a Transformer as decoder; 103.97 with a divergence of 7.27 nats.

    python benchmarks/vae_ptb.py --data DIR python benchmarks/vae_ptb.py --data DIR
    model.decoder=transformer hidden_size=192 embedding_size=192 \
      layers=3 dropout=0.2 optimizer=muon learning_rate=0.02 precision=float32 steps=8_000
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import wenmo
from common import arguments, report, timed

RECIPE = Path(__file__).parents[1] / "recipes" / "ptb-vae.toml"
WALKS = 5
# The likeliest texts are short or go in circles; drawn with the same randomness at each step,
# texts differ by their latents alone, too.
DRAWN = {"method": "sample", "temperature": 0.5, "seed": 1}
UNLIKELY = -8.0  # what `<unk>` is biased by in walks: it stands for any rare word
LENGTHS = range(8, 16)  # words of the sentences that are walked between


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--samples", type=int, default=20, help="for importance weighting")
    parser.add_argument("--run", type=Path, help="a run folder to judge, or to train into")
    parser.add_argument("settings", nargs="*", help="what differs from the recipe, as key=value")
    options = parser.parse_args()
    ptb = options.data / "lm" / "ptb"
    seeds = [f"train.seed={options.seed}", f"split.seed={options.seed}"]
    run, seconds = timed(
        lambda: wenmo.fit(
            ptb / "train.txt.gz",
            valid=ptb / "valid.txt",
            recipe=RECIPE,
            out=options.run or options.out / f"vae-ptb-{options.seed}",
            settings=[*seeds, *options.settings],
            on_progress=lambda what, share: print(what) if share is None else None,
        )
    )
    figures = run.evaluate(ptb / "test.txt", samples=options.samples)
    usage, weighted = figures.latent_usage, figures.importance_weighted
    row = {
        "counts": run.card.recipe.prior.counts,
        "bound, nats": figures.nats_per_record,
        "KL": usage.kl,
        "mutual information": usage.mutual_information,
        "active": f"{usage.active_latents} of {usage.latents}",
        "perplexity": figures.perplexity,
        f"nats, {options.samples} draws": weighted.nats_per_record,
        f"perplexity, {options.samples} draws": weighted.perplexity,
        "seconds": run.card.results["seconds"],
        "tokens/s": run.card.results["tokens_seen"] / run.card.results["seconds"],
        "weights": run.card.results["parameters"],
    }
    report(
        "Penn Treebank, test sentences", [row], options.json, walks=walks(run, ptb), wall=seconds
    )


def walks(run: wenmo.Run, ptb: Path) -> list[list[str]]:
    """Between sentences of the test text, of which the first is the last of the walk before."""
    sentences = (ptb / "test.txt").read_text(encoding="utf-8").splitlines()
    chosen = [line for line in map(str.strip, sentences) if len(line.split()) in LENGTHS]
    [unknown] = run.tokenizer.encode("<unk>").tolist()
    written = []
    for first, last in pairwise(chosen[: WALKS + 1]):
        outputs = run.latents.walk(
            first, last, **DRAWN, logit_bias=[(unknown, UNLIKELY)], max_tokens=40
        )
        texts = [output.text.strip() for output in outputs]
        written.append([first, *texts, last])
        print("", first, *(f"  {text}" for text in texts), last, sep="\n")
    return written


if __name__ == "__main__":
    main()

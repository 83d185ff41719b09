"""Penn Treebank, words: the small LSTM (2 × 200). Published for it: 114.5 (Zaremba et al. 2014).

python benchmarks/lstm_ptb.py --data DIR
"""

from __future__ import annotations

from pathlib import Path

import wenmo
from common import arguments, report, timed

RECIPE = Path(__file__).parents[1] / "recipes" / "ptb-lstm.toml"
STEPS_PER_EPOCH = 1328


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--epochs", type=int, default=9)
    options = parser.parse_args()
    ptb = options.data / "lm" / "ptb"
    run, seconds = timed(
        lambda: wenmo.fit(
            ptb / "train.txt.gz",
            valid=ptb / "valid.txt",
            recipe=RECIPE,
            out=options.out / f"lstm-ptb-{options.seed}",
            settings={
                "steps": options.epochs * STEPS_PER_EPOCH,
                "train.seed": options.seed,
                "split.seed": options.seed,
            },
            on_progress=lambda what, share: print(what) if share is None else None,
        )
    )
    results = run.card.results
    row = {
        "model": "lstm:small",
        "seed": options.seed,
        "epochs": options.epochs,
        "valid perplexity": results["heldout"]["perplexity"],
        "test perplexity": run.evaluate(ptb / "test.txt").perplexity,
        "tokens/s": results["tokens_seen"] / results["seconds"],
        "seconds": seconds,
        "precision": results["precision"],
    }
    report("Penn Treebank, small LSTM (published: 114.5)", [row], options.json)


if __name__ == "__main__":
    main()

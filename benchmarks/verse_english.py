"""English poems of an n-gram model and an LSTM of tinyshakespeare's characters: are they what their
form says, by a checker that shares no code with what wrote them?

    python benchmarks/verse_english.py --data DIR --poems 200 --minutes 2

Each model writes so many poems of each form, with consecutive seeds, once with the words of the
dictionary and once with those of the training text alone (a form with the key ``words``). The
checker knows the words of the dictionary and those with -'d; it leaves lines with other words
unjudged and counts these words. The first poems of each form are printed whole.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import wenmo
from common import arguments, report
from english_checker import judge
from wenmo.verse.form import FORMS, load_form

NAMES = ("sonnet", "limerick", "haiku")
PRINTED = 10
BATCH = 20  # poems of a call
SETTINGS: dict[str, list[str]] = {
    "ngram": [],
    "lstm": ["layers=1", "hidden_size=192", "embedding_size=96"],
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--poems", type=int, default=200, help="of each form, model and lexicon")
    parser.add_argument("--minutes", type=float, default=2, help="of training the network")
    parser.add_argument("--models", nargs="*", default=list(SETTINGS))
    options = parser.parse_args()
    text = (options.data / "lm" / "tinyshakespeare.txt").read_text("utf-8")
    options.out.mkdir(parents=True, exist_ok=True)
    train = options.out / "verse-english.txt"
    train.write_text(text[: int(0.9 * len(text))], "utf-8")
    forms = {name: (own_words(name, train), name) for name in NAMES}
    rows, poems = [], {}
    for model in options.models:
        run = load(model, train, options)
        for name, alternatives in forms.items():
            for lexicon, form in zip(("training text", "dictionary"), alternatives, strict=True):
                row, texts = measure(run, name, form, options.poems, options.seed)
                rows.append({"model": model, "form": name, "words": lexicon, **row})
                print(rows[-1], file=sys.stderr, flush=True)
                poems[f"{model}, {name}, words of the {lexicon}"] = texts[:PRINTED]
    report("English verse", rows, options.json, poems=poems)
    for title, texts in poems.items():
        print(f"\n## {title}\n\n" + "\n\n".join(texts))


def load(model: str, train: Path, options: Any) -> wenmo.Run:
    """The run of a model, trained unless it is there."""
    folder = options.out / f"verse-english-{model}-{options.minutes:g}-{options.seed}"
    if folder.exists():
        return wenmo.load(folder)
    settings = ["tokenizer.kind=characters", f"train.seed={options.seed}", *SETTINGS[model]]
    minutes = {} if model == "ngram" else {"minutes": options.minutes}
    return wenmo.fit(train, model=model, out=folder, settings=settings, **minutes)


def own_words(name: str, train: Path) -> str:
    """A copy of a form that has the words of the training text alone."""
    path = train.parent / f"{name}.toml"
    content = (FORMS / f"{name}.toml").read_text("utf-8")
    keys = f'words = "{train.name}"\n'
    path.write_text(content.replace('language = "en"\n', f'language = "en"\n{keys}'), "utf-8")
    return str(path)


def measure(
    run: wenmo.Run, name: str, form: str, count: int, seed: int
) -> tuple[dict[str, Any], list[str]]:
    """The verdicts on poems of a form, and the poems."""
    run.generate(form=form, max_tokens=1500, seed=seed)  # what is made once
    begun = time.process_time()
    texts: list[str] = []
    for start in range(seed, seed + count, BATCH):
        some = min(BATCH, seed + count - start)
        texts += run.generate(n=some, form=form, max_tokens=1500, seed=1000 + start)
    seconds = time.process_time() - begun
    judged = [judge(name, text) for text in texts]
    own = [load_form(form).check(text).valid for text in texts]
    words, unknown = (sum(each[n] for each in judged) for n in (1, 2))
    row = {
        "poems": len(texts),
        "distinct": len(set(texts)),
        "valid": sum(own) / len(own),
        "valid for the checker": sum(not faults for faults, _, _ in judged) / len(judged),
        "words known to it": 1 - unknown / words,
        "CPU seconds a poem": seconds / len(texts),
    }
    return row, texts


if __name__ == "__main__":
    main()

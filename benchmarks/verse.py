"""Regulated verse by form: share valid by another judge, what the form costs, what is copied.

    python benchmarks/verse.py --families ngram --json benchmarks/out/verse.json

For each form and family, a model is trained on the Tang poems of the form, one verse a line. It
then writes poems by the form, and a fifth as many of the same lengths without tones and rhymes.
Bits are those of the free model, per Chinese character, with those of line ends and of the end. The
judge is `chinese_checker`, with a table and rules of its own.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import chinese_checker
import common
import wenmo
from wenmo.verse.form import load_form

FORMS = {"五绝": "五言绝句", "七绝": "七言绝句", "五律": "五言律诗", "七律": "七言律诗"}
COLUMNS = ("by wenmo", "bits", "bits, lengths only", "cost", "bits, people", "s/poem")
SPAN = 5  # characters of a copied span
FAMILIES: dict[str, list[str]] = {
    "ngram": ["order=4"],
    "lstm": ["hidden_size=256", "embedding_size=128", "layers=1"],
    "gpt": ["hidden_size=128", "layers=3", "heads=4"],
    "masked": ["hidden_size=128", "layers=3", "heads=4"],
}


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--families", nargs="+", default=["ngram"], choices=list(FAMILIES))
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=list(FORMS))
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=2, help="training time of a network")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows, printed = [], []
    for form in options.forms:
        train, test = (list(poems(options.data, form, split)) for split in ("train", "test"))
        spans = {span for poem in train for line in poem for span in spans_of(line)}
        rows.append({"form": form, "writer": "people (test)", **judged(form, test, spans)})
        for family in options.families:
            run = trained(options, form, family, train)
            written, more = measured(run, form, options, spans, test)
            rows.append({"form": form, "writer": family, **more})
            printed.append((form, family, written[:10]))
    common.report("regulated verse", rows, options.json)
    for form, family, written in printed:
        print(f"\n{form}, {family}, seed {options.seed}, the first ten:")
        print("\n".join("，".join(poem) + "。" for poem in written))


def poems(data: Path, form: str, split: str) -> Iterator[list[str]]:
    """The poems of a form, as lines."""
    names = {"train": ["train.jsonl.gz"], "test": ["test.jsonl", "valid.jsonl"]}[split]
    for name in names:
        path = data / "zh" / f"poems_{name}"
        opener: Any = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as file:
            for row in map(json.loads, file):
                if row["form"] == FORMS[form]:
                    yield row["lines"]


def trained(options: Any, form: str, family: str, train: Sequence[list[str]]) -> Any:
    """The run of a family on the poems of a form; it is kept."""
    folder = options.out / f"{form}-{family}"
    if not folder.exists():
        data = options.out / f"{form}.jsonl"
        with data.open("w", encoding="utf-8") as file:
            for poem in train:
                file.write(json.dumps({"lines": poem}, ensure_ascii=False) + "\n")
        settings = ["text_field=lines", "kind=characters", *FAMILIES[family]]
        minutes = {} if family == "ngram" else {"minutes": options.minutes}
        wenmo.fit(data, model=family, out=folder, settings=settings, **minutes)
    return wenmo.load(folder)


def measured(
    run: Any, form: str, options: Any, spans: set[str], test: Sequence[list[str]]
) -> tuple[list[list[str]], dict[str, Any]]:
    """What a run writes, and its figures."""
    n, seed = options.n, options.seed
    written, seconds = common.timed(lambda: run.generate(n=n, seed=seed, form=form))
    shape = options.out / f"{form}-lengths.toml"
    count, length = chinese_checker.LENGTHS[form]
    lines = "\n".join("中" * length for _ in range(count))
    shape.write_text(f'language = "zh"\npattern = """\n{lines}\n"""\n', encoding="utf-8")
    free = run.generate(n=max(1, n // 5), seed=seed, form=str(shape))
    bits, bits_free = (bits_per_character(run, texts) for texts in (written, free))
    figures = judged(form, [chinese_checker.split(text) for text in written], spans)
    valid = sum(load_form(form).check(text).valid for text in written) / n
    return [chinese_checker.split(text) for text in written], {
        **figures,
        "by wenmo": valid,
        "bits": bits,
        "bits, lengths only": bits_free,
        "cost": bits - bits_free,
        "bits, people": bits_per_character(run, ["\n".join(poem) for poem in test]),
        "s/poem": seconds / n,
    }


def judged(form: str, written: Sequence[list[str]], spans: set[str]) -> dict[str, Any]:
    """The figures that need no model."""
    valid = sum(not chinese_checker.judge(form, poem) for poem in written) / len(written)
    groups = {chinese_checker.group_of(poem) for poem in written} - {None}
    own = [span for poem in written for line in poem for span in spans_of(line)]
    return {
        "poems": len(written),
        "valid": valid,
        "rhyme groups": len(groups),
        "copied": sum(span in spans for span in own) / len(own),
        **dict.fromkeys(COLUMNS, ""),
    }


def spans_of(line: str) -> Iterator[str]:
    for start in range(len(line) - SPAN + 1):
        yield line[start : start + SPAN]


def bits_per_character(run: Any, texts: Sequence[str]) -> float:
    """Bits of the free model for each Chinese character of some texts."""
    scored = run.evaluate([{"lines": text.split("\n")} for text in texts])
    characters = sum(len("".join(chinese_checker.split(text))) for text in texts)
    return scored.bits_per_byte * scored.bytes / characters


if __name__ == "__main__":
    main()

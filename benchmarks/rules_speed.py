"""Texts drawn from a grammar by ours and by the `tracery` package, in turns.

    pip install tracery
    python benchmarks/rules_speed.py --data DIR

The grammar has 50 rules, the word lists among them, and writes about twelve words. Ours is asked
for texts through the sampler, each with a seed of its own, and through a run as a user would; the
other for ``flatten("#origin#")``. Scoring is the log-probability of such texts, summed over their
derivations. All of it runs in one thread, so that seconds are those of the processor.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tracery
from tracery.modifiers import base_english

import wenmo
from common import arguments, percentile, report
from wenmo.grammar.chart import Chart
from wenmo.grammar.reading import parse_grammar
from wenmo.grammar.sampler import Sampler

TEXTS, SCORED = 20_000, 1_000
SENTENCES = {
    "origin": ["#sentence#", "#sentence#", "#sentence# #also#"],
    "sentence": [
        "#the.capitalize# #verb# #preposition# #the#.",
        "#the.capitalize# #verb# #a#.",
        "#time.capitalize#, #the# #verb# #the#.",
    ],
    "also": ["And so #verb.ed# #the#.", "But #the# #verb# #a#."],
    "the": ["the #noun#", "the #adjective# #noun#", "the #noun# of #a#"],
    "a": ["#noun.a#", "#adjective.a# #noun#"],
    "noun": ["#animals#", "#objects#", "#fruits#", "#flowers#", "#occupations#"],
    "adjective": ["#adjectives#", "#moods#", "#colors#"],
    "verb": ["sees", "likes", "eats", "meets", "finds"],
    "preposition": ["with", "near", "behind", "under"],
    "time": ["today", "at noon", "once"],
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    rules = grammar_of(options.data)
    path = options.out / "rules_speed.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rules), encoding="utf-8")
    ours, run = Sampler(parse_grammar(json.dumps(rules))), wenmo.load(path)
    theirs = tracery.Grammar(rules)
    theirs.add_modifiers(base_english)
    chart = Chart.from_grammar(parse_grammar(json.dumps(rules)))
    sampler: list[float] = []
    facade: list[float] = []
    other: list[float] = []
    scoring: list[float] = []
    texts = run.generate(n=SCORED)
    for _ in range(options.turns):
        sampler.append(timed(lambda: [ours.sample(seed).text for seed in range(TEXTS)])[1] / TEXTS)
        facade.append(timed(lambda: run.generate(n=TEXTS))[1] / TEXTS)
        few = TEXTS // 10
        other.append(timed(lambda: [theirs.flatten("#origin#") for _ in range(few)])[1] / few)  # noqa: B023
        scoring.append(timed(lambda: [chart.logprob(text) for text in texts])[1] / SCORED)
    rows: list[dict[str, Any]] = [
        row("wenmo, the sampler alone", sampler, other),
        row("wenmo, run.generate", facade, other),
        row("tracery", other, other),
        row("wenmo, scoring", scoring, None),
    ]
    words = sum(len(text.split()) for text in texts) / len(texts)
    title = f"{len(rules)} rules, {words:.1f} words a text"
    report(title, rows, options.json, words=words, rules=len(rules))


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """What a function gives, and the seconds of the processor that it took."""
    begun = time.process_time()
    value = function()
    return value, time.process_time() - begun


def grammar_of(data: Path) -> dict[str, list[str]]:
    """Sentences and word lists, and rules that are called by nobody, up to 50."""
    lists = json.loads((data / "grammar/wordlists.json").read_text(encoding="utf-8"))
    plain = {
        name: [word for word in words if not set(word) & set("#[]\\")]
        for name, words in lists.items()
    }
    rules = SENTENCES | plain
    spare = {f"spare{n}": ["#noun# and #noun#"] for n in range(50 - len(rules))}
    return rules | spare


def row(name: str, seconds: list[float], beside: list[float] | None) -> dict[str, Any]:
    ratio = percentile(beside) / percentile(seconds) if beside else float("nan")
    million = 60 / percentile(seconds) / 1e6
    return {"program": name, "million texts a minute": million, "times tracery": ratio}


if __name__ == "__main__":
    main()

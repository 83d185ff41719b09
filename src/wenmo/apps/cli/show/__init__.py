"""What the command line prints: a live line while training, tables, texts, JSON."""

from wenmo.apps.cli.show.evaluations import (
    METRIC_NAMES,
    compared,
    evaluation,
    explained,
    likelihood_line,
    tradeoff,
)
from wenmo.apps.cli.show.plans import families, family, inspected, planned
from wenmo.apps.cli.show.progress import Training
from wenmo.apps.cli.show.terminal import (
    ERR,
    OUT,
    aligned,
    columns,
    cut,
    cut_sample,
    note,
    print_json,
)
from wenmo.apps.cli.show.texts import (
    alignments,
    ask,
    derivations,
    empty_texts,
    latent_texts,
    opened,
    output,
    reply,
    seed,
    stream,
    texts,
)
from wenmo.apps.cli.show.trained import sampling_line, trained, use, verdict_rows

__all__ = [
    "ERR",
    "METRIC_NAMES",
    "OUT",
    "Training",
    "aligned",
    "alignments",
    "ask",
    "columns",
    "compared",
    "cut",
    "cut_sample",
    "derivations",
    "empty_texts",
    "evaluation",
    "explained",
    "families",
    "family",
    "inspected",
    "latent_texts",
    "likelihood_line",
    "note",
    "opened",
    "output",
    "planned",
    "print_json",
    "reply",
    "sampling_line",
    "seed",
    "stream",
    "texts",
    "tradeoff",
    "trained",
    "use",
    "verdict_rows",
]

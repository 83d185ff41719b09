"""``wenmo classifier``: trains a classifier of beginnings of texts, which steers a run."""

from __future__ import annotations

from wenmo.apps.cli import option
from wenmo.runs import preflight


def classifier(
    folder: option.RunFolder,
    toward: option.ClassTexts,
    away: option.OtherTexts,
    out: option.ClassifierOut,
    encoding: option.Encoding = None,
    seed: option.ClassifierSeed = 0,
    json: option.Json = False,
) -> None:
    """Train a classifier of texts over a run's vocabulary; generate --classifier steers by it."""
    preflight.check_run(folder)
    preflight.check_paths(toward, away)
    preflight.check_file(out)
    from wenmo.api import load, read_texts
    from wenmo.apps.cli import show

    run = load(folder)
    show.print_card_note(run)
    with show.ProgressDisplay() as progress:
        positive, negative = (
            read_texts(path, run, encoding=encoding, lines=True, on_progress=progress.on_progress)
            for path in (toward, away)
        )
    result = run.fit_classifier(positive, negative, out, seed=seed)
    if json:
        show.print_json({"classifier": str(out), **result.to_dict()})
    else:
        show.print_note(
            f"written: {out}; of texts that it was not trained on {result.accuracy:.1%} are "
            f"classified rightly, of their beginnings {result.prefix_accuracy:.1%}"
        )

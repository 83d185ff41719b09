"""``wenmo evaluate`` and ``explain``: how likely a text is, as a whole and token by token."""

from __future__ import annotations

from wenmo.apps.cli import option
from wenmo.runs import preflight


def evaluate(
    folder: option.RunFolder,
    data: option.Data,
    settings: option.ReadSettings = None,
    target: option.Target = None,
    window: option.Window = None,
    stride: option.Stride = None,
    dynamic: option.Dynamic = None,
    cache: option.Cache = None,
    samples: option.Samples = None,
    *,
    read: option.ReadOptions,
    encoding: option.Encoding = None,
    sampling: option.AnswerSampling,
    seed: option.AnswerSeed = 0,
    json: option.Json = False,
) -> None:
    """Score a text: bits per byte, nats per token, perplexity; and for pairs, the answers."""
    reading = [*(f"{key}={value}" for key, value in read.items()), *(settings or [])]
    preflight.check_run(folder)
    preflight.check_paths(data, target)
    preflight.check_reading(reading)
    from wenmo.api import load
    from wenmo.apps.cli import show

    with show.ProgressDisplay() as progress:
        run = load(folder)
        show.print_card_note(run)
        evaluation = run.evaluate(
            data,
            target=target,
            encoding=encoding,
            window=window,
            stride=stride,
            dynamic=dynamic,
            cache=cache,
            samples=samples,
            settings=reading,
            on_progress=progress.on_progress,
            seed=seed,
            **sampling,
        )
    if json:
        show.print_json(evaluation)
    else:
        show.print_evaluation(evaluation)


def explain(folder: option.RunFolder, text: option.Text, json: option.Json = False) -> None:
    """Token by token: probability, rank, the likeliest token, and components of a mixture."""
    preflight.check_run(folder)
    from wenmo.api import load
    from wenmo.apps.cli import show

    run = load(folder)
    show.print_card_note(run)
    rows = run.explain(text)
    if json:
        show.print_json({"tokens": rows})
    else:
        show.print_explanation(rows)

"""``wenmo tradeoff``: quality against diversity of what runs write, over temperatures."""

from __future__ import annotations

from wenmo.apps.cli import option
from wenmo.runs import preflight
from wenmo.types import WenmoError


def tradeoff(
    data: option.Data,
    runs: option.Runs,
    encoding: option.Encoding = None,
    temperatures: option.Temperatures = "0.7,0.85,1.0,1.15",
    n: option.SweepCount = 200,
    *,
    sampling: option.SweepWriting,
    plot: option.Plot = None,
    json: option.Json = False,
) -> None:
    """Quality (BLEU) against diversity (Self-BLEU) of what runs write, over temperatures."""
    try:
        asked = [float(each) for each in temperatures.split(",")]
    except ValueError:
        raise WenmoError(f"--temperatures {temperatures}: say numbers, as in 0.7,1.0") from None
    for run in runs:
        preflight.check_run(run)
    preflight.check_paths(data)
    from wenmo.api import draw_seed, load, tradeoff_svg, write_text
    from wenmo.api import tradeoff as sweep
    from wenmo.apps.cli import show

    fresh = "seed" not in sampling
    sampling.setdefault("seed", draw_seed())
    opened = [show.opened(load(run)) for run in runs]
    with show.Training() as watcher:
        found = sweep(
            opened,
            data,
            temperatures=asked,
            texts=n,
            encoding=encoding,
            on_progress=watcher.on_progress,
            **sampling,
        )
    if plot is not None:
        write_text(plot, tradeoff_svg(found.curves))
        show.note(f"drawn: {plot}")
    if json:
        show.print_json({"seed": sampling["seed"], **found.to_dict()})
    else:
        show.tradeoff(found)
    if fresh:
        show.seed(sampling["seed"])

"""``wenmo tradeoff``: quality against diversity of generated texts, over temperatures."""

from __future__ import annotations

from wenmo.apps.cli import option
from wenmo.runs import preflight
from wenmo.types import WenmoError


def tradeoff(
    data: option.Data,
    folders: option.RunFolders,
    encoding: option.Encoding = None,
    temperatures: option.Temperatures = "0.7,0.85,1.0,1.15",
    n: option.TextsPerTemperature = 200,
    *,
    sampling: option.TradeoffSampling,
    plot: option.Plot = None,
    json: option.Json = False,
) -> None:
    """Quality (BLEU) against diversity (Self-BLEU) of generated texts, over temperatures."""
    try:
        temperature_list = [float(each) for each in temperatures.split(",")]
    except ValueError:
        raise WenmoError(f"--temperatures {temperatures}: give numbers, as in 0.7,1.0") from None
    for folder in folders:
        preflight.check_run(folder)
    preflight.check_paths(data)
    from wenmo.api import draw_seed, load, tradeoff_svg, write_text
    from wenmo.api import tradeoff as compute_tradeoff
    from wenmo.apps.cli import show

    prints_seed = "seed" not in sampling
    sampling.setdefault("seed", draw_seed())
    runs = [load(folder) for folder in folders]
    for run in runs:
        show.print_card_note(run)
    with show.ProgressDisplay() as progress:
        result = compute_tradeoff(
            runs,
            data,
            temperatures=temperature_list,
            texts=n,
            encoding=encoding,
            on_progress=progress.on_progress,
            **sampling,
        )
    if plot is not None:
        write_text(plot, tradeoff_svg(result.curves))
        show.print_note(f"plot written: {plot}")
    if json:
        show.print_json({"seed": sampling["seed"], **result.to_dict()})
    else:
        show.print_tradeoff(result)
    if prints_seed:
        show.print_seed(sampling["seed"])

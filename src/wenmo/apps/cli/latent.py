"""``wenmo latent``: reconstruct, interpolate and edit texts in the latent space of a run."""

from __future__ import annotations

from dataclasses import replace

from wenmo.apps.cli import option
from wenmo.runs import preflight
from wenmo.types import WenmoError


def latent(
    folder: option.RunFolder,
    reconstruct: option.Reconstruct = None,
    walk: option.Walk = None,
    edit: option.Edit = None,
    steps: option.WalkSteps = 7,
    toward: option.Toward = None,
    away: option.Away = None,
    scale: option.Scale = 1.0,
    encoding: option.Encoding = None,
    draw: option.Draw = None,
    *,
    sampling: option.LatentSampling,
    json: option.Json = False,
) -> None:
    """Reconstruct texts from their latents, walk between two, or move them along a direction."""
    if sum(map(bool, (reconstruct, walk, edit))) != 1:
        raise WenmoError("give one of --reconstruct TEXT, --walk TEXT TEXT and --edit TEXT")
    if bool(edit) != bool(toward and away):
        raise WenmoError("--edit TEXT needs --toward FILE and --from FILE: give all three")
    preflight.check_run(folder)
    preflight.check_paths(toward, away)
    from wenmo.api import draw_seed, load, read_texts
    from wenmo.apps.cli import show

    run = load(folder)
    show.print_card_note(run)
    latents = run.latents
    is_random = sampling.get("method") == "sample" or (
        "method" not in sampling and bool(sampling.get("temperature"))
    )
    prints_seed = "seed" not in sampling and is_random
    sampling.setdefault("seed", draw_seed())
    if walk:
        outputs = latents.walk(*walk, steps, **sampling)
        rows = [show.LatentText(share=step / (steps - 1)) for step in range(steps)]
    elif edit and toward and away:
        with show.ProgressDisplay() as progress:
            positive, negative = (
                read_texts(path, run, encoding=encoding, on_progress=progress.on_progress)
                for path in (toward, away)
            )
        outputs = latents.edit(edit, positive, negative, scale, **sampling)
        rows = [show.LatentText(text) for text in edit]
    else:
        outputs = latents.reconstruct(reconstruct or [], draw=draw, **sampling)
        rows = [show.LatentText(text) for text in reconstruct or []]
    rows = [
        replace(row, output=show.output_dict(output))
        for row, output in zip(rows, outputs, strict=True)
    ]
    if json:
        show.print_json({"seed": sampling["seed"], "outputs": rows})
    else:
        show.print_latent_texts(rows)
    if prints_seed:
        show.print_seed(sampling["seed"])

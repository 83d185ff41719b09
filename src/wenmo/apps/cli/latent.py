"""``wenmo latent``: texts in the space that a run writes from."""

from __future__ import annotations

from dataclasses import replace

from wenmo.apps.cli import option
from wenmo.runs import preflight
from wenmo.types import WenmoError


def latent(
    run: option.RunFolder,
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
    sampling: option.LatentWriting,
    json: option.Json = False,
) -> None:
    """Write texts again from their latents, walk between two, or move them along a direction."""
    if sum(map(bool, (reconstruct, walk, edit))) != 1:
        raise WenmoError("say one of --reconstruct TEXT, --walk TEXT TEXT and --edit TEXT")
    if bool(edit) != bool(toward and away):
        raise WenmoError("--edit TEXT goes with --toward FILE and --from FILE: give all three")
    preflight.check_run(run)
    preflight.check_paths(toward, away)
    from wenmo.api import draw_seed, load, read_texts
    from wenmo.apps.cli import show

    opened = show.opened(load(run))
    latents = opened.latents
    drawn = sampling.get("method") == "sample" or (
        "method" not in sampling and bool(sampling.get("temperature"))
    )
    fresh = "seed" not in sampling and drawn
    sampling.setdefault("seed", draw_seed())
    if walk:
        outputs = latents.walk(*walk, steps, **sampling)
        places = [show.LatentText(share=place / (steps - 1)) for place in range(steps)]
    elif edit and toward and away:
        with show.Training() as watcher:
            having, lacking = (
                read_texts(path, opened, encoding=encoding, on_progress=watcher.on_progress)
                for path in (toward, away)
            )
        outputs = latents.edit(edit, having, lacking, scale, **sampling)
        places = [show.LatentText(text) for text in edit]
    else:
        outputs = latents.reconstruct(reconstruct or [], draw=draw, **sampling)
        places = [show.LatentText(text) for text in reconstruct or []]
    rows = [
        replace(place, output=show.output(output))
        for place, output in zip(places, outputs, strict=True)
    ]
    if json:
        show.print_json({"seed": sampling["seed"], "outputs": rows})
    else:
        show.latent_texts(rows)
    if fresh:
        show.seed(sampling["seed"])

"""``wenmo chat``: a conversation with a run."""

from __future__ import annotations

from wenmo.apps.cli import option, streams
from wenmo.apps.cli.generate import parse_control
from wenmo.runs import preflight


def chat(
    folder: option.RunFolder,
    control: option.Control = None,
    *,
    sampling: option.ReplySampling,
    system: option.System = None,
    encoding: option.StdinEncoding = None,
) -> None:
    """Talk with a run that was trained on dialogue; an empty line ends it."""
    preflight.check_run(folder)
    from wenmo.api import draw_seed, load
    from wenmo.apps.cli import show

    if encoding is not None:
        streams.set_stdin_encoding(encoding)
    run = load(folder)
    show.print_card_note(run)
    run.generator.require_task("dialogue")
    fields = parse_control(control)
    for line in run.generator.resolve_control(fields)[1]:
        show.print_note(line)
    prints_seed = "seed" not in sampling and run.generator.is_random(**sampling)
    first_seed = sampling.get("seed", draw_seed())
    turns: list[str] = []
    while turn := show.read_turn():
        turns.append(turn)
        sampling["seed"] = first_seed + len(turns)
        pieces = run.reply(turns, control=fields, system=system, **sampling)
        turns.append(show.stream_reply(pieces))
        if prints_seed and len(turns) == 2:
            show.print_seed(first_seed)

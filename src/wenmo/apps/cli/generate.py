"""``wenmo generate``: texts for prompts, as plain text or JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wenmo.apps.cli import option
from wenmo.apps.cli.longform import refuse_other_options, write_outline
from wenmo.decoding.combination.settings import split_combination
from wenmo.runs import preflight
from wenmo.types import WenmoError

if TYPE_CHECKING:
    from wenmo.api import Output, Run

UNSEEN_SHOWN = 20  # characters


def generate(
    folder: option.RunFolder,
    prompt: option.Prompt = None,
    input: option.Input = None,  # noqa: A002 - the option's name
    encoding: option.Encoding = None,
    control: option.Control = None,
    prefix: option.Prefix = "",
    alignments: option.Alignments = None,
    n: option.TextsPerPrompt = 1,
    *,
    sampling: option.SamplingOptions,
    constraints: option.ConstraintOptions,
    combination: option.CombinationOptions,
    draft: option.DraftOptions,
    grammar: option.GrammarFile = None,
    derivations: option.Derivations = False,
    alternatives: option.Alternatives = None,
    explain_decoding: option.ExplainDecoding = False,
    plan: option.PlanFile = None,
    out: option.PlanOut = None,
    section: option.PlanSection = None,
    revise: option.Revise = None,
    json: option.Json = False,
) -> None:
    """Write text with a trained run, or by the rules of a grammar."""
    preflight.check_run(folder)
    preflight.check_paths(input, grammar)
    preflight.check_constraints(constraints)
    preflight.check_sampling(sampling)
    preflight.check_combination(folder, combination)
    preflight.check_draft(folder, draft, sampling)
    if plan is not None:
        others = {"prompt": prompt, "input": input, "control": control, "prefix": prefix}
        refuse_other_options(others | {"n": n > 1, "alignments": alignments, "grammar": grammar})
        refuse_other_options({"derivations": derivations, "alternatives": alternatives})
        refuse_other_options({"explain-decoding": explain_decoding, **combination, **draft})
        write_outline(folder, plan, out, section, revise, {**constraints, **sampling}, json=json)
        return
    if out or section or revise:
        raise WenmoError("--out, --section and --revise are for long texts: give --plan OUTLINE")
    from wenmo.api import draw_seed, load
    from wenmo.apps.cli import show

    run = load(folder)
    show.print_card_note(run)
    fields = parse_control(control)
    if "logit_bias" in sampling:
        sampling["logit_bias"] = run.logit_bias(sampling["logit_bias"])
    # A drawn seed is printed only where the texts depend on it.
    seed = run.generator.given_seed(**sampling)
    prints_seed = seed is None and run.generator.is_random(**sampling)
    if seed is None:
        seed = sampling["seed"] = draw_seed()
    prompts = _collect_prompts(run, prompt or [], input, encoding)
    _print_prompt_notes(run, prompts, fields)
    options = {"control": fields, "prefix": prefix, "grammar": grammar, **constraints}
    options |= {**combination, **draft, **sampling}
    explanation = run.explain_decoding(**options) if explain_decoding else []
    if explanation and not json:
        show.print_lines(explanation)
    if json or alignments or derivations or alternatives:
        if alternatives:
            options["alternatives"] = alternatives
        outputs = run.write(prompts, n, **options)
        texts = [[output.text for output in group] for group in outputs]
        if alignments is not None:
            _write_alignments(run, alignments, prompts, outputs, control=fields, prefix=prefix)
        if json:
            chain = run.generator.format_chain(**constraints, **sampling)
            content = {"seed": seed, "chain": chain}
            show.print_json(content | _json_content(explanation, combination, outputs))
        elif derivations:
            show.print_derivations(outputs)
        elif alternatives:
            show.print_alternatives(outputs)
        else:
            show.print_texts(run, prompts, prefix, texts)
    elif len(prompts) == n == 1:
        texts = [[show.stream_text(run, prompts[0], prefix, run.stream(prompts[0], **options))]]
    else:
        texts = run.texts(prompts, n, **options)
        show.print_texts(run, prompts, prefix, texts)
    show.print_empty_text_note(run, prompts, texts)
    _print_text_notes(run, prompts, n, sampling)
    if prints_seed:
        show.print_seed(seed)


def _write_alignments(
    run: Run,
    folder: Path,
    prompts: Sequence[str],
    outputs: Sequence[Sequence[Output]],
    **options: Any,
) -> None:
    from wenmo.apps.cli import show

    aligned = [
        run.align(prompt, output, **options)
        for prompt, group in zip(prompts, outputs, strict=True)
        for output in group
        if output.ids  # a blank source has no text
    ]
    show.write_alignments(folder, aligned)


def _json_content(
    explanation: Sequence[str],
    combination: Mapping[str, Any],
    outputs: Sequence[Sequence[Output]],
) -> dict[str, Any]:
    """What ``--json`` prints beside the seed and the chain."""
    from wenmo.apps.cli import show

    content: dict[str, Any] = {"decoding": explanation} if explanation else {}
    settings, _ = split_combination(combination)
    if settings.steers:
        content["combination"] = settings.to_dict()
    return content | {"outputs": [show.output_dict(each) for group in outputs for each in group]}


def parse_control(settings: Sequence[str] | None) -> dict[str, str]:
    """``FIELD=VALUE`` strings as a dict.

    Raises:
        WenmoError: a string has no ``=``.
    """
    fields = {}
    for setting in settings or []:
        field, equals, value = setting.partition("=")
        if not equals:
            raise WenmoError(f"--control {setting!r} has no '=': write FIELD=VALUE")
        fields[field] = value
    return fields


def _collect_prompts(
    run: Run, prompts: Sequence[str], input_path: Path | None, encoding: str | None
) -> list[str]:
    """The prompts of the options and of the input file; an empty one if there are none."""
    from wenmo.api import read_prompts
    from wenmo.apps.cli import show

    collected = list(prompts)
    if input_path:
        with show.ProgressDisplay() as progress:
            collected += read_prompts(
                input_path, run, encoding=encoding, on_progress=progress.on_progress
            )
    return collected or [""]


def _print_prompt_notes(run: Run, prompts: Sequence[str], fields: Mapping[str, str]) -> None:
    """Notes on how the prompts and control fields are read, before any text is generated."""
    from wenmo.api.prompts import ignores_gap, truncation_side
    from wenmo.apps.cli import show

    if side := next(filter(None, (truncation_side(run, each) for each in prompts)), None):
        show.print_note(f"a prompt is longer than the model can read: only its {side} is read")
    if any(ignores_gap(run, each) for each in prompts):
        show.print_note(
            "the gap is read as plain text, because this run does not fill gaps; runs trained "
            "with --model masked or --task infilling do"
        )
    for line in run.generator.resolve_control(fields)[1]:
        show.print_note(line)


def _print_text_notes(
    run: Run, prompts: Sequence[str], n: int, sampling: Mapping[str, Any]
) -> None:
    """Notes on the texts after they are printed."""
    from wenmo.api.prompts import chooses_gap_length, unseen_characters
    from wenmo.apps.cli import show

    if unseen := unseen_characters(run, prompts):
        shown = unseen[:UNSEEN_SHOWN] + "…" * (len(unseen) > UNSEEN_SHOWN)
        show.print_note(f"characters that are not in the training text: {shown}")
    if n > 1 and run.generator.repeats_text(**sampling):
        show.print_note(
            f"greedy text is the same every time: -n {n} repeats it; drop -n, or sample"
        )
    if any(chooses_gap_length(run, each, **sampling) for each in prompts):
        show.print_note("the model chose the length of the gap: --gap-tokens N sets it (in tokens)")

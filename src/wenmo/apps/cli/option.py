"""Arguments and options of the commands: groups from declared settings, then one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from wenmo.apps.cli.option_groups import (
    help_line,
    options_from,
    options_with_flags,
    require_utf8,
)
from wenmo.decoding.combination.settings import CombinationSettings
from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.decoding.drafts.settings import DraftSettings
from wenmo.decoding.params import Sampling
from wenmo.options import options_of
from wenmo.runs.config import TABLES
from wenmo.text.config import ReadConfig

SamplingOptions = Annotated[dict[str, Any], options_from(Sampling)]
DraftOptions = Annotated[dict[str, Any], options_from(DraftSettings)]
CombinationOptions = Annotated[dict[str, Any], options_from(CombinationSettings)]
ConstraintOptions = Annotated[dict[str, Any], options_from(ConstraintSettings)]
ReplySampling = Annotated[
    dict[str, Any],
    options_from(Sampling, "method", "temperature", "top_k", "top_p", "max_tokens", "seed"),
]
AnswerSampling = Annotated[
    dict[str, Any], options_from(Sampling, "method", "beam_width", "length_penalty")
]
LatentSampling = Annotated[
    dict[str, Any],
    options_from(
        Sampling,
        *("method", "temperature", "max_tokens", "seed"),
        method="greedy; sample with --temperature",
    ),
]
TradeoffSampling = Annotated[dict[str, Any], options_from(Sampling, "max_tokens", "seed")]
TrainOptions = Annotated[dict[str, Any], options_with_flags(TABLES)]
InspectOptions = Annotated[
    dict[str, Any], options_with_flags({table: TABLES[table] for table in ("task", "read")})
]
ReadOptions = Annotated[
    dict[str, Any], options_from(ReadConfig, "text_field", "source_field", "unit")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder made by train, or a grammar's file.")
]
RunFolders = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="One run folder or more, or grammars.")
]
Target = Annotated[
    str | None, typer.Option(help="The target of each line of DATA, for pairs in two files.")
]
Control = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=VALUE",
        callback=require_utf8,
        help="A control field of the text, such as form=sonnet; repeatable.",
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(help=help_line(options_of(ReadConfig)["encoding"])),
]
StdinEncoding = Annotated[
    str | None, typer.Option("--encoding", help="Encoding of your input [default: the terminal's].")
]
Data = Annotated[str, typer.Argument(metavar="DATA", help="A file or folder of text; - is stdin.")]
Settings = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Any setting: hidden_size=512.")
]
Model = Annotated[
    str | None, typer.Option(help="A family, or family:size; see wenmo models [default: lstm].")
]
Out = Annotated[Path | None, typer.Option(help="The run folder [default: runs/NAME-MODEL].")]
Prior = Annotated[
    str | None,
    typer.Option(
        help="N-gram counts that a network is combined with: ngram, none, or auto, which uses "
        "counts if text and time suit them [default: auto]."
    ),
]
Valid = Annotated[str | None, typer.Option(help="Held-out text [default: a part of DATA].")]
ValidTarget = Annotated[str | None, typer.Option(help="The same as --target, for --valid.")]
ControlFields = Annotated[
    str | None,
    typer.Option(metavar="FIELDS", help="Columns that become control codes: form,author."),
]
Base = Annotated[
    str | None,
    typer.Option("--from", help="A pretrained model or a run whose weights training starts from."),
]
Reference = Annotated[
    str | None, typer.Option(help="A text scored before and after, to measure forgetting.")
]
Recipe = Annotated[
    Path | None, typer.Option(help="A TOML file with settings; the command line overrides it.")
]
Prompt = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt",
        "-p",
        callback=require_utf8,
        help="The text to continue, or the source to answer; repeatable.",
    ),
]
Input = Annotated[Path | None, typer.Option(help="A file with one prompt a line.")]
Prefix = Annotated[
    str, typer.Option(callback=require_utf8, help="The beginning of every answer, for pairs.")
]
Alignments = Annotated[
    Path | None,
    typer.Option(help="A folder for attention weights: 1.json, 1.svg and so on."),
]
TextsPerPrompt = Annotated[int, typer.Option("-n", min=1, help="Number of texts for each prompt.")]
GrammarFile = Annotated[
    Path | None, typer.Option("--grammar", help="A grammar's file: write only texts of it.")
]
Alternatives = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=100,
        metavar="K",
        help="Show the K likeliest tokens at each position, before and after processing.",
    ),
]
ExplainDecoding = Annotated[
    bool,
    typer.Option(
        "--explain-decoding",
        help="Print what happens to the model's probabilities: constraints, processors, strategy.",
    ),
]
Derivations = Annotated[
    bool, typer.Option("--derivations", help="Show which rules made each text of a grammar.")
]
PlanFile = Annotated[
    Path | None,
    typer.Option(
        "--plan", help="Write a long text section by section, by this outline in Markdown."
    ),
]
PlanOut = Annotated[
    Path | None,
    typer.Option(
        "--out", help="The text of --plan, which is resumed [default: the outline's .draft.md]."
    ),
]
PlanSection = Annotated[
    str | None, typer.Option("--section", help="The section of --plan to revise: number or title.")
]
Revise = Annotated[
    str | None,
    typer.Option(
        metavar="rewrite|expand|continue",
        help="How the section of --plan is revised [default: rewrite].",
    ),
]
System = Annotated[
    str | None,
    typer.Option(help="An instruction before the conversation; for runs with a chat template."),
]
ReadSettings = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings of reading: encoding=gb18030."),
]
Window = Annotated[
    int | None,
    typer.Option(min=1, help="Size of a scoring window in tokens [default: the model's context]."),
]
Stride = Annotated[
    int | None,
    typer.Option(min=1, help="Tokens between the starts of windows [default: the window's size]."),
]
Dynamic = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Learning rate of dynamic evaluation, which trains while it scores; rnn, lstm, gru.",
    ),
]
Cache = Annotated[
    int | None,
    typer.Option(min=1, help="Size of a continuous cache in tokens; for networks."),
]
Text = Annotated[str, typer.Argument(callback=require_utf8, help="The text to explain.")]
AnswerSeed = Annotated[int, typer.Option(help="The same seed gives the same answers.")]
Samples = Annotated[
    int | None,
    typer.Option(
        min=1, help="Draws of the latents for importance weighting; for models with latents."
    ),
]
Reconstruct = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT",
        callback=require_utf8,
        help="Encode a text and decode it again; repeatable.",
    ),
]
Walk = Annotated[
    tuple[str, str] | None,
    typer.Option(metavar="TEXT TEXT", callback=require_utf8, help="Interpolate between two texts."),
]
Edit = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT", callback=require_utf8, help="Move a text along a direction; repeatable."
    ),
]
WalkSteps = Annotated[int, typer.Option(help="Number of texts of a walk, both ends included.")]
Toward = Annotated[Path | None, typer.Option(help="Texts with the attribute that --edit adds.")]
Away = Annotated[Path | None, typer.Option("--from", help="Texts without that attribute.")]
ClassTexts = Annotated[Path, typer.Option("--toward", help="Texts of the class, one a line.")]
OtherTexts = Annotated[Path, typer.Option("--from", help="Texts that are not of the class.")]
ClassifierOut = Annotated[Path, typer.Option("--out", help="The file to write.")]
ClassifierSeed = Annotated[int, typer.Option("--seed", help="The order of the texts in training.")]
Scale = Annotated[
    float, typer.Option(help="Length of the edit; a negative one moves in the other direction.")
]
Draw = Annotated[
    int | None,
    typer.Option(help="Seed of a draw of the latents [default: reconstruct from their mean]."),
]
PlanModel = Annotated[
    str, typer.Argument(help="A size (gpt2-xl, gpt3-175b), or a family and a size: gpt:small.")
]
ModelSettings = Annotated[
    list[str] | None, typer.Argument(help="Settings of the model: hidden_size=1024.")
]
VocabSize = Annotated[int, typer.Option(help="Number of tokens in the vocabulary.")]
Gpu = Annotated[str, typer.Option(help="v100, a100, h100, h200 or rtx4090.")]
Gpus = Annotated[int, typer.Option(help="Number of GPUs.")]
Tokens = Annotated[
    float | None, typer.Option(help="Tokens to train on, as 300e9 [default: 20 for each weight].")
]
Utilization = Annotated[float, typer.Option(help="Fraction of a GPU's peak FLOPs that is reached.")]
Rows = Annotated[int, typer.Option(help="Sequences in a step on each GPU.")]
Price = Annotated[float | None, typer.Option(help="US dollars for an hour of one GPU.")]
ExportFormat = Annotated[
    str, typer.Option("--to", help="huggingface, gguf, onnx, arpa or grammar.")
]
ExportOut = Annotated[Path, typer.Option("--out", help="The folder or file to write.")]
ExportPrecision = Annotated[
    str | None, typer.Option("--precision", help="Of GGUF's matrices: float32, float16, q8_0.")
]
NetworkOnly = Annotated[
    bool, typer.Option("--network-only", help="Leave out the n-gram counts of a network.")
]
Temperatures = Annotated[str, typer.Option(help="Sampling temperatures, separated by commas.")]
TextsPerTemperature = Annotated[int, typer.Option("-n", help="Number of texts per temperature.")]
Plot = Annotated[Path | None, typer.Option(help="Write the curves to this SVG file.")]

"""What the commands can be given: settings as they are declared, and each other option."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from wenmo.apps.cli.declared import flags_of, help_line, options_from, utf8
from wenmo.decoding.params import Sampling
from wenmo.options import options_of
from wenmo.runs.config import TABLES
from wenmo.text.config import ReadConfig

Writing = Annotated[dict[str, Any], options_from(Sampling)]
ReplyWriting = Annotated[
    dict[str, Any],
    options_from(Sampling, "method", "temperature", "top_k", "top_p", "max_tokens", "seed"),
]
AnswerWriting = Annotated[
    dict[str, Any], options_from(Sampling, "method", "beam_width", "length_penalty")
]
LatentWriting = Annotated[
    dict[str, Any],
    options_from(
        Sampling,
        *("method", "temperature", "max_tokens", "seed"),
        method="greedy; sample with --temperature",
    ),
]
SweepWriting = Annotated[dict[str, Any], options_from(Sampling, "max_tokens", "seed")]
Training = Annotated[dict[str, Any], flags_of(TABLES)]
Inspected = Annotated[dict[str, Any], flags_of({each: TABLES[each] for each in ("task", "read")})]
Reading = Annotated[dict[str, Any], options_from(ReadConfig, "text_field", "source_field", "unit")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder made by train, or a grammar's file.")
]
Target = Annotated[
    str | None, typer.Option(help="The text for each line of DATA, for pairs in two files.")
]
Control = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=VALUE", callback=utf8, help="What the text should be like; repeatable."
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(help=help_line(options_of(ReadConfig)["encoding"])),
]
StdinEncoding = Annotated[
    str | None, typer.Option("--encoding", help="Of what you say [default: the terminal's].")
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
        help="What the network stands on: ngram (counts), none, or auto, counts where they "
        "suit the text and the time [default: auto]."
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
    typer.Option("--from", help="A model that others trained, or a run, to begin from."),
]
Reference = Annotated[
    str | None, typer.Option(help="A text scored before and after: what is forgotten.")
]
Recipe = Annotated[
    Path | None, typer.Option(help="A TOML file with settings; the command's go before it.")
]
Prompt = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt", "-p", callback=utf8, help="What to go on from, or to answer; repeatable."
    ),
]
Input = Annotated[Path | None, typer.Option(help="A file with one prompt a line.")]
Prefix = Annotated[str, typer.Option(callback=utf8, help="How every answer must begin, for pairs.")]
Alignments = Annotated[
    Path | None,
    typer.Option(help="A folder for what each token attended to: 1.json, 1.svg and so on."),
]
Count = Annotated[int, typer.Option("-n", min=1, help="How many texts for each prompt.")]
ConstrainingGrammar = Annotated[
    Path | None, typer.Option("--grammar", help="A grammar's file: write only texts of it.")
]
Derivations = Annotated[
    bool, typer.Option("--derivations", help="Show which rules made each text of a grammar.")
]
System = Annotated[
    str | None,
    typer.Option(help="An instruction before the conversation; for runs with a chat template."),
]
ReadingSettings = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="How to read it: encoding=gb18030."),
]
Window = Annotated[
    int | None,
    typer.Option(min=1, help="Read so many tokens at once [default: the model's context]."),
]
Stride = Annotated[
    int | None, typer.Option(min=1, help="How far a window moves [default: by all of itself].")
]
Dynamic = Annotated[
    float | None,
    typer.Option(min=0, help="Go on learning from the text, at this rate; rnn, lstm and gru."),
]
Cache = Annotated[
    int | None,
    typer.Option(min=1, help="Expect again what the last so many tokens said; for networks."),
]
Text = Annotated[str, typer.Argument(callback=utf8, help="The text, read from its beginning.")]
AnswerSeed = Annotated[int, typer.Option(help="The same seed gives the same answers.")]
Samples = Annotated[
    int | None,
    typer.Option(min=1, help="Weigh so many draws of the latents, too; for models with some."),
]
Reconstruct = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", callback=utf8, help="Write it again; repeatable."),
]
Walk = Annotated[
    tuple[str, str] | None,
    typer.Option(metavar="TEXT TEXT", callback=utf8, help="Go from one to the other."),
]
Edit = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", callback=utf8, help="Move it along a direction; repeatable."),
]
WalkSteps = Annotated[int, typer.Option(help="How many texts a walk has, its ends included.")]
Toward = Annotated[Path | None, typer.Option(help="Texts that have what an edit gives.")]
Away = Annotated[Path | None, typer.Option("--from", help="Texts that do not have it.")]
Scale = Annotated[float, typer.Option(help="How far an edit goes; below 0: the other way.")]
Draw = Annotated[
    int | None,
    typer.Option(help="Reconstruct from a draw with this seed, not from the likeliest latents."),
]
PlannedModel = Annotated[
    str, typer.Argument(help="A size (gpt2-xl, gpt3-175b), or a family and a size: gpt:small.")
]
ModelSettings = Annotated[list[str] | None, typer.Argument(help="What differs: hidden_size=1024.")]
VocabSize = Annotated[int, typer.Option(help="The number of tokens that the model knows.")]
Gpu = Annotated[str, typer.Option(help="v100, a100, h100, h200 or rtx4090.")]
Gpus = Annotated[int, typer.Option(help="How many.")]
Tokens = Annotated[
    float | None, typer.Option(help="To train on, as 300e9; by default 20 for each weight.")
]
Utilization = Annotated[float, typer.Option(help="The share of a GPU's speed that is reached.")]
Rows = Annotated[int, typer.Option(help="Sequences that each GPU works on at once.")]
Price = Annotated[float | None, typer.Option(help="Dollars for a GPU and hour.")]
To = Annotated[str, typer.Option("--to", help="huggingface, gguf, onnx, arpa or grammar.")]
ExportOut = Annotated[Path, typer.Option("--out", help="The folder or file to write.")]
ExportPrecision = Annotated[
    str | None, typer.Option("--precision", help="Of GGUF's matrices: float32, float16, q8_0.")
]
NetworkOnly = Annotated[
    bool, typer.Option("--network-only", help="Leave out the counts that a network stands on.")
]
Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="One run folder or more, or grammars.")
]
Temperatures = Annotated[str, typer.Option(help="At which texts are written, with commas between.")]
SweepCount = Annotated[int, typer.Option("-n", help="How many texts at each temperature.")]
Plot = Annotated[Path | None, typer.Option(help="Draw the curves into this SVG file.")]

"""What the commands can be given: each option's type and its line of help."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, TypeVar, cast

import typer

T = TypeVar("T")


def _utf8(value: T) -> T:
    """Refuse text whose bytes on the command line are not UTF-8.

    Raises:
        BadParameter: they are not.
    """
    texts = [value] if isinstance(value, str) else value or ()
    for text in cast(Iterable[str], texts):
        if re.search("[\ud800-\udfff]", text):
            advice = "give it in UTF-8, or in a file (--input FILE --encoding=NAME)"
            raise typer.BadParameter(f"not valid UTF-8: {advice}")
    return value


def _positive(value: float | None) -> float | None:
    """Refuse numbers that are not above 0.

    Raises:
        BadParameter: it is not.
    """
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter("must be a positive number")
    return value


Method = Annotated[
    str | None,
    typer.Option(
        help="sample, greedy, beam, or for grammars uniform [default: beam; sample where the task "
        "is completion or dialogue]."
    ),
]
BeamWidth = Annotated[int | None, typer.Option(help="How many texts a beam follows [default: 5].")]
LengthPenalty = Annotated[
    float | None, typer.Option(help="Above 0, longer texts of a beam are favoured [default: 0.6].")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder made by train, or a grammar's file.")
]
TextField = Annotated[
    str | None,
    typer.Option(
        help="The column (by name, or number where there is no header) or key of the text."
    ),
]
SourceField = Annotated[
    str | None,
    typer.Option(help="The column or key of the source, for pairs; several with commas."),
]
GroupField = Annotated[
    str | None,
    typer.Option(help="For dialogue with a message a row: what names the conversation."),
]
SpeakerField = Annotated[
    str | None, typer.Option(help="For dialogue with a message a row: who speaks.")
]
Target = Annotated[
    str | None, typer.Option(help="The text for each line of DATA, for pairs in two files.")
]
Control = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=VALUE", callback=_utf8, help="What the text should be like; repeatable."
    ),
]
Unit = Annotated[
    str | None,
    typer.Option(help="What one record of a plain text is: document, paragraph or line."),
]
Encoding = Annotated[
    str | None,
    typer.Option(help="Of the text files, such as gb18030, big5 or cp1252 [default: detected]."),
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
Task = Annotated[
    str | None,
    typer.Option(
        help="completion, translation, summarization, paraphrase, data-to-text, dialogue or "
        "infilling [default: completion]."
    ),
]
Out = Annotated[Path | None, typer.Option(help="The run folder [default: runs/NAME-MODEL].")]
Prior = Annotated[
    str | None,
    typer.Option(
        help="What the network stands on: ngram (counts), none, or auto, counts where they "
        "suit the text and the time [default: auto]."
    ),
]
Tokenizer = Annotated[
    str | None, typer.Option(help="characters, bytes, words, bpe or unigram [default: characters].")
]
Minutes = Annotated[
    float | None, typer.Option(callback=_positive, help="How long to train [default: 3].")
]
Steps = Annotated[int | None, typer.Option(min=1, help="How many steps to train instead.")]
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
TrainingSeed = Annotated[int | None, typer.Option(help="Of all that is random [default: 0].")]
Prompt = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt", "-p", callback=_utf8, help="What to go on from, or to answer; repeatable."
    ),
]
Input = Annotated[Path | None, typer.Option(help="A file with one prompt a line.")]
Prefix = Annotated[
    str, typer.Option(callback=_utf8, help="How every answer must begin, for pairs.")
]
Alignments = Annotated[
    Path | None,
    typer.Option(help="A folder for what each token attended to: 1.json, 1.svg and so on."),
]
Count = Annotated[int, typer.Option("-n", min=1, help="How many texts for each prompt.")]
MaxTokens = Annotated[
    int | None,
    typer.Option(help="The most tokens to write [default: 256; pairs: the longest target's]."),
]
MinTokens = Annotated[int | None, typer.Option(help="The fewest tokens to write [default: 0].")]
Temperature = Annotated[
    float | None,
    typer.Option(
        min=0, help="Below 1 is safer, above 1 bolder [default: what the run's card says, or 0.8]."
    ),
]
TopK = Annotated[int | None, typer.Option(help="Keep the k likeliest tokens; 0: all [default: 0].")]
TopP = Annotated[
    float | None,
    typer.Option(
        help="Keep the likeliest tokens of this mass [default: what the run's card says, or 1; "
        "dialogue: 0.9]."
    ),
]
MinP = Annotated[
    float | None, typer.Option(help="Keep tokens this likely beside the likeliest [default: 0].")
]
TypicalP = Annotated[
    float | None, typer.Option(help="Keep the most typical tokens of this mass [default: 1].")
]
RepetitionPenalty = Annotated[
    float | None, typer.Option(help="Above 1 discourages repetition [default: 1].")
]
PresencePenalty = Annotated[
    float | None, typer.Option(help="Taken off tokens already written [default: 0].")
]
FrequencyPenalty = Annotated[
    float | None, typer.Option(help="Taken off for each time written [default: 0].")
]
NoRepeatNgram = Annotated[
    int | None, typer.Option(help="Repeat no n-gram of this length [default: 0].")
]
LogitBias = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT=AMOUNT", callback=_utf8, help="Favour or avoid a token."),
]
Stop = Annotated[
    list[str] | None, typer.Option(callback=_utf8, help="End before this text; repeatable.")
]
WritingSeed = Annotated[
    int | None,
    typer.Option(help="The same seed writes the same text [default: a new one, which is printed]."),
]
SameLength = Annotated[
    bool | None,
    typer.Option(
        "--same-length/--no-same-length",
        help="Answers have as many characters as their source [default: what the pairs had].",
    ),
]
UnseenCharacters = Annotated[
    bool | None,
    typer.Option(
        "--unseen-characters", help="Write characters that the training text does not contain, too."
    ),
]
LengthForm = Annotated[
    str | None, typer.Option(help="Of the length penalty: power or gnmt [default: power].")
]
CoveragePenalty = Annotated[
    float | None,
    typer.Option(help="Above 0 favours texts that leave nothing of the source out [default: 0]."),
]
BeamGroups = Annotated[int | None, typer.Option(help="Groups of a beam that differ [default: 1].")]
Diversity = Annotated[
    float | None, typer.Option(help="How much groups of a beam differ [default: 0.5].")
]
UnmaskOrder = Annotated[
    str | None,
    typer.Option(help="Of a masked model's writing: random, confidence or left [default: random]."),
]
UnmaskSteps = Annotated[
    int | None,
    typer.Option(
        help="In how many steps a masked model's text appears; 0: one for each token [default: 0]."
    ),
]
UnmaskSchedule = Annotated[
    str | None,
    typer.Option(help="linear, or cosine: few tokens at the first steps [default: linear]."),
]
Remask = Annotated[
    bool | None, typer.Option("--remask", help="Let a masked model change its mind.")
]
Gap = Annotated[
    int | None,
    typer.Option(help="How many tokens a gap ____ has; 0: what suits it best [default: 0]."),
]
Depth = Annotated[
    int | None, typer.Option(help="Of a grammar's text: how many rules within one another.")
]
ConstrainingGrammar = Annotated[
    Path | None, typer.Option("--grammar", help="A grammar's file: write only texts of it.")
]
Derivations = Annotated[
    bool, typer.Option("--derivations", help="Show which rules made each text of a grammar.")
]
ReplySeed = Annotated[
    int | None,
    typer.Option(help="The same seed gives the same replies [default: a new one, printed]."),
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
Text = Annotated[str, typer.Argument(callback=_utf8, help="The text, read from its beginning.")]
AnswerSeed = Annotated[int, typer.Option(help="The same seed gives the same answers.")]
Samples = Annotated[
    int | None,
    typer.Option(min=1, help="Weigh so many draws of the latents, too; for models with some."),
]
Reconstruct = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", callback=_utf8, help="Write it again; repeatable."),
]
Walk = Annotated[
    tuple[str, str] | None,
    typer.Option(metavar="TEXT TEXT", callback=_utf8, help="Go from one to the other."),
]
Edit = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", callback=_utf8, help="Move it along a direction; repeatable."),
]
WalkSteps = Annotated[int, typer.Option(help="How many texts a walk has, its ends included.")]
Toward = Annotated[Path | None, typer.Option(help="Texts that have what an edit gives.")]
Away = Annotated[Path | None, typer.Option("--from", help="Texts that do not have it.")]
Scale = Annotated[float, typer.Option(help="How far an edit goes; below 0: the other way.")]
Draw = Annotated[
    int | None,
    typer.Option(help="Reconstruct from a draw with this seed, not from the likeliest latents."),
]
LatentMethod = Annotated[
    str | None,
    typer.Option(
        "--method", help="greedy, sample or beam [default: greedy; sample with --temperature]."
    ),
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

"""The commands of the command line. A command's module is imported when the command is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup

from wenmo.types import WenmoError


class Command(NamedTuple):
    """Where a command is defined.

    Attributes:
        function: ``module:function``, below `wenmo.apps.cli`.
        summary: the first sentence of its help.
    """

    function: str
    summary: str


COMMANDS = {
    "train": Command(
        "train:train",
        "Train a generator on your text.",
    ),
    "generate": Command(
        "generate:generate",
        "Write text with a trained run, or by the rules of a grammar.",
    ),
    "chat": Command(
        "chat:chat",
        "Talk with a run that was trained on dialogue; an empty line ends it.",
    ),
    "evaluate": Command(
        "evaluate:evaluate",
        "Score a text: bits per byte, nats per token, perplexity; and for pairs, the answers.",
    ),
    "explain": Command(
        "evaluate:explain",
        "Token by token: probability, rank, the likeliest token, and components of a mixture.",
    ),
    "latent": Command(
        "latent:latent",
        "Reconstruct texts from their latents, walk between two, or move them along a direction.",
    ),
    "classifier": Command(
        "classifier:classifier",
        "Train a classifier of texts over a run's vocabulary; generate --classifier steers by it.",
    ),
    "tradeoff": Command(
        "tradeoff:tradeoff",
        "Quality (BLEU) against diversity (Self-BLEU) of generated texts, over temperatures.",
    ),
    "runs": Command(
        "run_folders:runs",
        "List run folders: family, task, bits per byte, minutes, size, and a sample of each.",
    ),
    "show": Command(
        "run_folders:show_run",
        "Show one run: its learning curve, settings, samples, and commands to use it.",
    ),
    "compare": Command(
        "compare:compare",
        "Score one text with several runs, the best first; families and tokenizers may differ.",
    ),
    "inspect": Command(
        "inspection:inspect",
        "Show how training would read DATA: encoding, format, fields, counts, split and samples.",
    ),
    "check": Command(
        "check:check",
        "Judge the texts of FILE by FORM, a form of verse; with --json one object a text.",
    ),
    "rm": Command(
        "run_folders:rm",
        "Move run folders to a trash folder beside them, from which they can be moved back.",
    ),
    "export": Command(
        "export:export",
        "Write a model for other programs: huggingface, gguf, onnx, arpa or grammar.",
    ),
    "plan": Command(
        "plan:plan",
        "What training a model of any size takes: memory, days, dollars and number of GPUs.",
    ),
    "models": Command(
        "plan:models",
        "List the model families with their uses, sizes and settings.",
    ),
    "demo": Command(
        "train:demo",
        "Train an n-gram, an LSTM and a GPT on Shakespeare's plays, and compare them.",
    ),
}


class LazyCommands(Mapping[str, Any]):
    """The commands by name; a command is imported when it is looked up."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = _load(name)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class CommandGroup(TyperGroup):
    """Commands with case-insensitive names. A message offers the nearest one for a wrong name."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: Any = LazyCommands()

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0].lower()
        if name not in COMMANDS and (matches := _names_with_prefix(name)):
            raise WenmoError(f"no such command {args[0]!r}; did you mean {' or '.join(matches)}?")
        return super().resolve_command(ctx, [name, *args[1:]])

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands with their summaries, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in COMMANDS.items()])


def _names_with_prefix(prefix: str) -> list[str]:
    """The quoted names of the commands that start with ``prefix``."""
    return [repr(name) for name in COMMANDS if name.startswith(prefix)]


def _load(name: str) -> Any:
    from wenmo.apps.cli.option_groups import expand_options

    module, _, function = COMMANDS[name].function.partition(":")
    command = getattr(import_module(f"wenmo.apps.cli.{module}"), function)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name)(expand_options(command))
    return typer.main.get_command(single)

"""Options of commands that come from the declarations of settings: see `wenmo.options`."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from inspect import Parameter, Signature
from typing import Annotated, Any

import typer

from wenmo.config import coerce, format_value
from wenmo.options import Option, options_of


@dataclass(frozen=True)
class Declared:
    """Stands in a command's signature for several options.

    Attributes:
        options: by the key of each in the dict that the command is given.
    """

    options: Mapping[str, Option]

    @property
    def keys(self) -> dict[str, list[str]]:
        """The keys that each parameter of the command line sets, by the parameter's name."""
        keys: dict[str, list[str]] = {}
        for key, declared in self.options.items():
            name = (declared.flag or declared.name).replace("-", "_")
            keys.setdefault(name, []).append(key)
        return keys

    @property
    def parameters(self) -> list[Parameter]:
        """The parameters; where one sets several options, the last of them describes it."""
        return [
            _parameter(name, keys[-1], self.options[keys[-1]]) for name, keys in self.keys.items()
        ]

    def take(self, values: dict[str, Any]) -> dict[str, Any]:
        """Take the parameters out of ``values``; those that the user gave, by key."""
        taken = {name: values.pop(name) for name in self.keys}
        return {
            key: taken[name]
            for name, keys in self.keys.items()
            for key in keys
            if taken[name] is not None
        }


def options_from(settings: type, *names: str, **unset: str) -> Declared:
    """The named options of a settings class, or all; each key is an option's name.

    Args:
        unset: by the name of an option, what this command takes where it is not given.
    """
    declared = options_of(settings)
    for name, told in unset.items():
        declared = {**declared, name: replace(declared[name], unset=told)}
    return Declared({name: declared[name] for name in names or declared})


def flags_of(tables: Mapping[str, type]) -> Declared:
    """The options of all tables that have a flag; the keys are ``table.name``."""
    return Declared(
        {
            f"{table}.{name}": declared
            for table, settings in tables.items()
            for name, declared in options_of(settings).items()
            if declared.flag
        }
    )


def expand(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter that is annotated with `Declared` by its options.

    The command gets a dict of those that the user gave.
    """
    declared: dict[str, Declared] = {}
    parameters: list[Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        metadata = getattr(parameter.annotation, "__metadata__", (None,))[0]
        if isinstance(metadata, Declared):
            declared[parameter.name] = metadata
            parameters += metadata.parameters
        else:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))

    @wraps(command)
    def expanded(**values: Any) -> None:
        given = {name: options.take(values) for name, options in declared.items()}
        command(**given, **values)

    expanded.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {each.name: each.annotation for each in parameters}
    return expanded


def _parameter(name: str, key: str, declared: Option) -> Parameter:
    [kind] = [each for each in declared.members if each is not type(None)]
    if declared.choices:
        kind = str
    elif typing.get_origin(kind) is tuple:
        kind = list[str]
    flag = name.replace("_", "-")
    names = f"--{flag}"
    if kind is bool and declared.unset:  # a run may have it on
        names += f"/--no-{flag}"
    information = typer.Option(
        names,
        help=help_line(declared),
        metavar=declared.metavar,
        callback=_checked(declared, key),
    )
    annotation = Annotated[kind | None, information]  # type: ignore[valid-type]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def help_line(declared: Option) -> str:
    """An option's line in the help of a command: what it does, and its default."""
    text = declared.help.replace("`", "")
    if not declared.help.startswith("`"):
        text = text[0].upper() + text[1:]
    default = declared.default
    known = default not in (None, ()) and default is not False
    number = isinstance(default, float)
    told = declared.unset or (f"{default:g}" if number else format_value(default) if known else "")
    return f"{text} [default: {told}]." if told else f"{text}."


def _checked(declared: Option, key: str) -> Callable[[Any], Any]:
    """The check of an option's value.

    Raises:
        WenmoError: it is none of the choices; the nearest is offered.
        BadParameter: it is out of range.
    """

    def check(value: Any) -> Any:
        utf8(value)
        if value is None or isinstance(value, list):
            return value or None
        fitted = coerce(value, declared.type, key)
        if not declared.admits(fitted):
            raise typer.BadParameter(f"must be {declared.wanted}")
        return fitted

    return check


def utf8(value: Any) -> Any:
    """Refuse text whose bytes on the command line are not UTF-8.

    Raises:
        BadParameter: they are not.
    """
    texts = value if isinstance(value, list | tuple) else [value]
    for text in texts:
        if isinstance(text, str) and re.search("[\ud800-\udfff]", text):
            advice = "give it in UTF-8, or in a file (--input FILE --encoding=NAME)"
            raise typer.BadParameter(f"not valid UTF-8: {advice}")
    return value

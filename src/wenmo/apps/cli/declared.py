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

from wenmo.config import coerce, shown
from wenmo.options import Option, options_of


@dataclass(frozen=True)
class Declared:
    """Stands in a command's signature for several options.

    Attributes:
        options: by the key of each in the dict that the command is given.
    """

    options: Mapping[str, Option]


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
    parameters: list[Parameter] = []
    flags: dict[str, dict[str, list[str]]] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        metadata = getattr(parameter.annotation, "__metadata__", ())
        if not (metadata and isinstance(metadata[0], Declared)):
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))
            continue
        by_flag: dict[str, dict[str, Option]] = {}
        for key, declared in metadata[0].options.items():
            flag = declared.flag or declared.name.replace("_", "-")
            by_flag.setdefault(flag, {})[key] = declared
        parameters += [_parameter(flag, keys) for flag, keys in by_flag.items()]
        flags[parameter.name] = {_name(flag): list(keys) for flag, keys in by_flag.items()}

    @wraps(command)
    def expanded(**values: Any) -> None:
        for parameter, names in flags.items():
            given = {name: values.pop(name) for name in names}
            values[parameter] = {
                key: value
                for name, value in given.items()
                if value is not None
                for key in names[name]
            }
        command(**values)

    expanded.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {each.name: each.annotation for each in parameters}
    return expanded


def _name(flag: str) -> str:
    return flag.replace("-", "_")


def _parameter(flag: str, keys: Mapping[str, Option]) -> Parameter:
    """The parameter of a flag; where it sets several options, the last one describes it."""
    key, declared = list(keys.items())[-1]
    [kind] = [each for each in declared.members if each is not type(None)]
    if declared.choices:
        kind = str
    elif typing.get_origin(kind) is tuple:
        kind = list[str]
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
    return Parameter(_name(flag), Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def help_line(declared: Option) -> str:
    """An option's line in the help of a command: what it does, and its default."""
    text = declared.help.replace("`", "")
    if not declared.help.startswith("`"):
        text = text[0].upper() + text[1:]
    default = declared.default
    known = default not in (None, ()) and default is not False
    number = isinstance(default, float)
    told = declared.unset or (f"{default:g}" if number else shown(default) if known else "")
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

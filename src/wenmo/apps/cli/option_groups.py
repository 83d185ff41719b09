"""Command line options that are made from the declarations of settings: see `wenmo.options`."""

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
class OptionGroup:
    """The annotation of one parameter of a command that stands for several options.

    Attributes:
        options: the options, by their keys in the dict that the command receives.
    """

    options: Mapping[str, Option]

    @property
    def keys(self) -> dict[str, list[str]]:
        """The keys that each command line parameter sets, by the parameter's name."""
        keys: dict[str, list[str]] = {}
        for key, option in self.options.items():
            name = (option.flag or option.name).replace("-", "_")
            keys.setdefault(name, []).append(key)
        return keys

    @property
    def parameters(self) -> list[Parameter]:
        """The command line parameters. If one sets several options, the last one describes it."""
        return [
            _parameter(name, keys[-1], self.options[keys[-1]]) for name, keys in self.keys.items()
        ]

    def pop_values(self, values: dict[str, Any]) -> dict[str, Any]:
        """Remove the group's parameters from ``values``; return those that are set, by key."""
        popped = {name: values.pop(name) for name in self.keys}
        return {
            key: popped[name]
            for name, keys in self.keys.items()
            for key in keys
            if popped[name] is not None
        }


def options_from(settings: type, *names: str, **unset: str) -> OptionGroup:
    """The options of a settings class; each key is an option's name.

    Args:
        settings: the class.
        names: the options to include; all if there are none.
        unset: by an option's name, the description of this command's default.
    """
    options = options_of(settings)
    for name, description in unset.items():
        options = {**options, name: replace(options[name], unset=description)}
    return OptionGroup({name: options[name] for name in names or options})


def options_with_flags(tables: Mapping[str, type]) -> OptionGroup:
    """The options of all tables that have a flag; the keys are ``table.name``."""
    return OptionGroup(
        {
            f"{table}.{name}": option
            for table, settings in tables.items()
            for name, option in options_of(settings).items()
            if option.flag
        }
    )


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter that is annotated with an `OptionGroup` by the group's options.

    The command receives a dict of the options that the user has set.
    """
    groups: dict[str, OptionGroup] = {}
    parameters: list[Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        metadata = getattr(parameter.annotation, "__metadata__", (None,))[0]
        if isinstance(metadata, OptionGroup):
            groups[parameter.name] = metadata
            parameters += metadata.parameters
        else:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))

    @wraps(command)
    def expanded(**values: Any) -> None:
        group_values = {name: group.pop_values(values) for name, group in groups.items()}
        command(**group_values, **values)

    expanded.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {each.name: each.annotation for each in parameters}
    return expanded


def _parameter(name: str, key: str, option: Option) -> Parameter:
    [value_type] = [each for each in option.members if each is not type(None)]
    if option.choices:
        value_type = str
    elif typing.get_origin(value_type) is tuple:
        value_type = list[str]
    flag = name.replace("_", "-")
    flags = f"--{flag}"
    if value_type is bool and option.unset:  # the default depends on the run
        flags += f"/--no-{flag}"
    information = typer.Option(
        flags,
        help=help_line(option),
        metavar=option.metavar,
        callback=_validator(option, key),
    )
    annotation = Annotated[value_type | None, information]  # type: ignore[valid-type]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def help_line(option: Option) -> str:
    """An option's line in the help of a command: its meaning and its default."""
    text = option.help.replace("`", "")
    if not option.help.startswith("`"):
        text = text[0].upper() + text[1:]
    default = option.unset or _default_text(option.default)
    return f"{text} [default: {default}]." if default else f"{text}."


def _default_text(default: Any) -> str:
    if default in (None, ()) or default is False:
        return ""
    return f"{default:g}" if isinstance(default, float) else format_value(default)


def _validator(option: Option, key: str) -> Callable[[Any], Any]:
    """The callback that checks an option's value.

    Raises:
        WenmoError: the value is not one of the choices; the message offers the nearest one.
        BadParameter: the value is out of range.
    """

    def validate(value: Any) -> Any:
        require_utf8(value)
        if value is None or isinstance(value, list):
            return value or None
        coerced = coerce(value, option.type, key)
        if not option.admits(coerced):
            raise typer.BadParameter(f"must be {option.wanted}")
        return coerced

    return validate


def require_utf8(value: Any) -> Any:
    """Return the value of an option or argument, a string or strings.

    Raises:
        BadParameter: its bytes on the command line were not UTF-8.
    """
    texts = value if isinstance(value, list | tuple) else [value]
    for text in texts:
        if isinstance(text, str) and re.search("[\ud800-\udfff]", text):
            advice = "give it in UTF-8, or in a file (--input FILE --encoding=NAME)"
            raise typer.BadParameter(f"not valid UTF-8: {advice}")
    return value

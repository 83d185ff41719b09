"""Convert settings (frozen dataclasses) from and to dicts and TOML; apply ``dotted.key=value``.

Unknown keys and values of the wrong type raise `WenmoError`, which names the key and suggests the
closest valid key, or lists all of them if none is close.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from wenmo.format1 import new_name
from wenmo.types import WenmoError

T = TypeVar("T")
GROUPED_DIGITS = re.compile(r"-?\d+(_\d+)+")  # 10_000, which TOML supports and JSON does not


def to_dict(config: Any) -> dict[str, Any]:
    """Convert a (nested) dataclass to a dict that can be saved as JSON."""
    return dataclasses.asdict(config)


def from_dict(cls: type[T], values: Mapping[str, Any], *, prefix: str = "") -> T:
    """Build a dataclass from a dict.

    Args:
        cls: a dataclass; its field types may be scalars, ``Literal``, ``X | None``, tuples of
            scalars, or dataclasses.
        values: values of fields; other fields keep their defaults.
        prefix: dotted prefix for error messages, such as ``"model."``.

    Raises:
        WenmoError: an unknown key, or a value of the wrong type.
    """
    hints = typing.get_type_hints(cls)
    fields = {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    changes = {}
    for key, value in values.items():
        if key not in fields:
            raise unknown_setting(prefix + key, [prefix + name for name in fields])
        changes[key] = coerce(value, fields[key], prefix + key)
    try:
        return cls(**changes)
    except ValueError as error:  # a __post_init__ refused the combination
        table = f"{prefix.rstrip('.')}: " if prefix else ""
        raise WenmoError(f"{table}{error}") from None


def override(config: T, settings: Iterable[str], *, prefix: str = "") -> T:
    """Apply ``key=value`` strings; a dot in the key selects a field of a nested dataclass.

    Values are parsed as JSON (``3``, ``0.1``, ``true``, ``null``) or, if they are not JSON, are
    strings.

    Raises:
        WenmoError: no ``=``, an unknown key, or a value of the wrong type.
    """
    values = to_dict(config)
    for setting in settings:
        key, text = key_of(setting), setting.partition("=")[2]
        *path, last = key.split(".")
        table = values
        for depth, name in enumerate(path):
            if not isinstance(table.get(name), dict):
                known = [".".join([*path[:depth], k]) for k in table]
                raise unknown_setting(prefix + key, known)
            table = table[name]
        if last not in table:
            path_prefix = prefix + ".".join([*path, ""])
            raise unknown_setting(prefix + key, [path_prefix + name for name in table])
        table[last] = parse_value(text)
    return from_dict(type(config), values, prefix=prefix)


def key_of(setting: str) -> str:
    """The key of a ``key=value`` setting.

    Raises:
        WenmoError: no ``=``.
    """
    key, equals, _ = setting.partition("=")
    if not equals:
        raise WenmoError(f"setting {setting!r} has no '=': write key=value")
    return key.strip()


def to_settings(values: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """Settings given in Python as the ``key=value`` strings of the command line."""
    if not isinstance(values, Mapping):
        return list(values)
    return [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in values.items()
    ]


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        WenmoError: no such file, or not valid TOML; the message has the line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WenmoError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WenmoError(f"{path}: not valid TOML: {error}") from None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` with the closest known name, or "" if none is close."""
    close = closest_match(name, known)
    return "" if close is None else f"; did you mean {close!r}?"


def closest_match(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most similar, ignoring case; None if none is close."""
    originals = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.casefold(), originals, n=1, cutoff=0.5)
    return originals[matches[0]] if matches else None


def match_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that is equal, or equal ignoring case; None if there is none or several."""
    known = list(known)
    if name in known:
        return name
    matches = [candidate for candidate in known if candidate.casefold() == name.casefold()]
    return matches[0] if len(matches) == 1 else None


def unknown_setting(key: str, known: Iterable[str]) -> WenmoError:
    """The error for an unknown setting, with its new name if it was renamed."""
    if now := new_name(key):
        return WenmoError(f"unknown setting {key!r}: it is called {now} now")
    known = sorted(known)
    suggested = closest_match(key, known)
    of_model = suggested is not None and suggested.startswith("model.")
    return WenmoError(
        f"unknown setting {key!r}{_suggestion(suggested, of_model, ', '.join(known))}"
    )


def _suggestion(suggested: str | None, of_model: bool, valid: str) -> str:
    """The end of a message: the closest setting, or all of them if none is close."""
    if suggested is None:
        return f" (valid: {valid})"
    return f"; did you mean {suggested!r}?{' (wenmo models NAME lists them)' if of_model else ''}"


def split_table(setting: str, tables: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """Split a setting ``table.key=value`` or ``key=value`` into its table and ``key=value``.

    A key of the table ``model`` has precedence over the same key of other tables.

    Raises:
        WenmoError: no ``=``, no table has the key, or several have it.
    """
    key = key_of(setting)
    head, dot, _ = key.partition(".")
    if dot and head in tables:
        return head, setting.partition(".")[2]
    owners = [table for table, names in tables.items() if key in names]
    if "model" in owners:
        return "model", setting
    if len(owners) == 1:
        return owners[0], setting
    if owners:
        choices = " or ".join(f"{owner}.{key}" for owner in owners)
        raise WenmoError(f"setting {key!r} is ambiguous: write {choices}")
    known = [name for names in tables.values() for name in names]
    if now := new_name(key):
        raise WenmoError(f"unknown setting {key!r}: it is called {now} now")
    valid = "; ".join(f"{table}: {', '.join(names)}" for table, names in tables.items())
    suggested = closest_match(key, known)
    raise WenmoError(
        f"unknown setting {key!r}"
        f"{_suggestion(suggested, suggested in tables.get('model', ()), valid)}"
    )


def parse_value(text: str) -> Any:
    """Parse a value as JSON (``3``, ``0.1``, ``true``, ``null``), or else as a string."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def coerce(value: Any, hint: Any, key: str) -> Any:
    """Convert a value to the type of a field.

    Args:
        hint: type of the field.
        key: name of the field, for error messages.

    Raises:
        WenmoError: the value does not have this type.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, hint):
            return value
        if isinstance(value, Mapping):
            return from_dict(hint, value, prefix=f"{key}.")
    elif origin in (types.UnionType, typing.Union):
        return _coerce_union(value, arguments, key)
    elif origin is typing.Literal:
        if value in arguments:
            return value
        names = [str(argument) for argument in arguments]
        if (matched := match_name(str(value), names)) is not None:
            return arguments[names.index(matched)]
        suggestion = did_you_mean(str(value), names)
        raise WenmoError(
            f"{key}={format_value(value)} is not one of: {', '.join(names)}{suggestion}"
        )
    elif origin is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        item_types = arguments[:1] * len(items) if arguments[-1] is Ellipsis else arguments
        if len(item_types) == len(items):
            pairs = zip(items, item_types, strict=True)
            return tuple(coerce(item, item_type, key) for item, item_type in pairs)
    elif hint is float and is_number:
        return float(value)
    elif hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    elif hint is str and is_number:
        return str(value)
    elif hint is int and isinstance(value, str) and GROUPED_DIGITS.fullmatch(value):
        return int(value)
    elif hint is int and isinstance(value, bool):
        pass  # a bool is not a number for the user, although it is an int in Python
    elif isinstance(hint, type) and isinstance(value, hint):
        return value
    raise WenmoError(f"{key}={format_value(value)}: expected {_type_name(hint)}")


def _coerce_union(value: Any, members: tuple[Any, ...], key: str) -> Any:
    if value is None and type(None) in members:
        return None
    candidates = [member for member in members if member is not type(None)]
    error: WenmoError | None = None
    for member in candidates:
        try:
            return coerce(value, member, key)
        except WenmoError as reason:
            error = reason
    if len(candidates) == 1 and error is not None:
        raise error
    raise WenmoError(
        f"{key}={format_value(value)}: expected {' or '.join(map(_type_name, members))}"
    )


TYPE_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "null",
}


def _type_name(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is tuple:
        return f"a list of {'text' if arguments[0] is str else 'numbers'}"
    return TYPE_NAMES.get(hint, "a table of settings")


def format_value(value: Any) -> str:
    """A value as a user writes it: printable text as it is, everything else as JSON."""
    if isinstance(value, str) and value and value.isprintable():
        return value
    text = json.dumps(value, ensure_ascii=False, default=str)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

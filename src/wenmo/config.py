"""Settings: frozen dataclasses to and from plain dicts and TOML, with ``dotted.key=value`` changes.

An unknown key, or a value of the wrong type, is the user's to mend: the error names the key and
the nearest valid one, or all of them where none comes close.
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
GROUPED = re.compile(r"-?\d+(_\d+)+")  # 10_000: a number as TOML has it, too, and JSON has not


def to_dict(config: Any) -> dict[str, Any]:
    """A plain, JSON-ready dict of a (nested) dataclass."""
    return dataclasses.asdict(config)


def from_dict(cls: type[T], values: Mapping[str, Any], *, where: str = "") -> T:
    """Build a dataclass from a dict.

    Args:
        cls: a dataclass type; its field types may be scalars, ``Literal``, ``X | None``, tuples of
            scalars, or dataclasses.
        values: the fields to set; the others keep their defaults.
        where: a dotted prefix for the error message, such as ``"model."``.

    Raises:
        WenmoError: an unknown key, or a value that the field's type does not admit.
    """
    hints = typing.get_type_hints(cls)
    fields = {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    changes = {}
    for key, value in values.items():
        if key not in fields:
            raise unknown(where + key, [where + name for name in fields])
        changes[key] = coerce(value, fields[key], where + key)
    try:
        return cls(**changes)
    except ValueError as error:  # a __post_init__ refused the combination
        table = f"{where.rstrip('.')}: " if where else ""
        raise WenmoError(f"{table}{error}") from None


def override(config: T, settings: Iterable[str], *, where: str = "") -> T:
    """Apply ``key=value`` strings, where a dot in the key goes into a nested dataclass.

    Values are read as JSON where they are JSON (``3``, ``0.1``, ``true``, ``null``) and as plain
    strings otherwise.

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
                raise unknown(where + key, known)
            table = table[name]
        if last not in table:
            prefix = where + ".".join([*path, ""])
            raise unknown(where + key, [prefix + name for name in table])
        table[last] = literal(text)
    return from_dict(type(config), values, where=where)


def key_of(setting: str) -> str:
    """The key of a ``key=value`` setting.

    Raises:
        WenmoError: no ``=``.
    """
    key, equals, _ = setting.partition("=")
    if not equals:
        raise WenmoError(f"setting {setting!r} has no '=': write key=value")
    return key.strip()


def as_settings(values: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """Settings given in Python as the ``key=value`` strings of the command line."""
    if not isinstance(values, Mapping):
        return list(values)
    return [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in values.items()
    ]


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; a syntax error is told with its line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WenmoError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WenmoError(f"{path}: not valid TOML: {error}") from None


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"``, or nothing where no known name comes close; case is ignored."""
    close = closest(name, known)
    return "" if close is None else f"; did you mean {close!r}?"


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like this one, case ignored; ``None`` if none comes close."""
    folded = {other.casefold(): other for other in known}
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return folded[found[0]] if found else None


def match(name: str, known: Iterable[str]) -> str | None:
    """The known name that is this one but for case; ``None`` if there is none, or several."""
    known = list(known)
    if name in known:
        return name
    same = [other for other in known if other.casefold() == name.casefold()]
    return same[0] if len(same) == 1 else None


def unknown(key: str, known: Iterable[str]) -> WenmoError:
    """The error of a setting that does not exist; one that was renamed is told its new name."""
    if now := new_name(key):
        return WenmoError(f"unknown setting {key!r}: it is called {now} now")
    known = sorted(known)
    near = closest(key, known)
    of_model = near is not None and near.startswith("model.")
    return WenmoError(f"unknown setting {key!r}{_offer(near, of_model, ', '.join(known))}")


def _offer(near: str | None, of_model: bool, valid: str) -> str:
    """The nearest setting, or all of them where none comes close."""
    if near is None:
        return f" (valid: {valid})"
    return f"; did you mean {near!r}?{' (wenmo models NAME lists them)' if of_model else ''}"


def table_of(setting: str, tables: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """Which table a ``table.key=value`` or ``key=value`` setting belongs to, and ``key=value``; a
    key that the model has is the model's.

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
        raise WenmoError(f"setting {key!r} is not clear: say {choices}")
    known = [name for names in tables.values() for name in names]
    if now := new_name(key):
        raise WenmoError(f"unknown setting {key!r}: it is called {now} now")
    valid = "; ".join(f"{table}: {', '.join(names)}" for table, names in tables.items())
    near = closest(key, known)
    raise WenmoError(
        f"unknown setting {key!r}{_offer(near, near in tables.get('model', ()), valid)}"
    )


def literal(text: str) -> Any:
    """A value as JSON where it is JSON (``3``, ``0.1``, ``true``, ``null``), else a string."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def coerce(value: Any, hint: Any, key: str) -> Any:
    """Fit a value to a field's type.

    Raises:
        WenmoError: it does not fit; ``key`` names the field in the message.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, hint):
            return value
        if isinstance(value, Mapping):
            return from_dict(hint, value, where=f"{key}.")
    elif origin in (types.UnionType, typing.Union):
        return _coerce_union(value, arguments, key)
    elif origin is typing.Literal:
        if value in arguments:
            return value
        names = [str(argument) for argument in arguments]
        if (same := match(str(value), names)) is not None:
            return arguments[names.index(same)]
        offer = nearest(str(value), names)
        raise WenmoError(f"{key}={shown(value)} is not one of: {', '.join(names)}{offer}")
    elif origin is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        kinds = arguments[:1] * len(items) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(items):
            pairs = zip(items, kinds, strict=True)
            return tuple(coerce(item, kind, key) for item, kind in pairs)
    elif hint is float and number:
        return float(value)
    elif hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    elif hint is str and number:
        return str(value)
    elif hint is int and isinstance(value, str) and GROUPED.fullmatch(value):
        return int(value)
    elif hint is int and isinstance(value, bool):
        pass  # to Python a bool is an int, to a user it is not
    elif isinstance(hint, type) and isinstance(value, hint):
        return value
    raise WenmoError(f"{key}={shown(value)}: expected {_name(hint)}")


def _coerce_union(value: Any, members: tuple[Any, ...], key: str) -> Any:
    if value is None and type(None) in members:
        return None
    wanted = [member for member in members if member is not type(None)]
    error: WenmoError | None = None
    for member in wanted:
        try:
            return coerce(value, member, key)
        except WenmoError as reason:
            error = reason
    if len(wanted) == 1 and error is not None:
        raise error
    raise WenmoError(f"{key}={shown(value)}: expected {' or '.join(map(_name, members))}")


NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "null",
}


def _name(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is tuple:
        return f"a list of {'text' if arguments[0] is str else 'numbers'}"
    return NAMES.get(hint, "a table of settings")


def shown(value: Any) -> str:
    """A value of a setting as a user writes it: text as it is, everything else as JSON."""
    if isinstance(value, str) and value and value.isprintable():
        return value
    text = json.dumps(value, ensure_ascii=False, default=str)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

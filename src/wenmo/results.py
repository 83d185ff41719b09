"""Results: frozen dataclasses, and their form as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from types import NoneType
from typing import Any, Self, TypeVar, get_args, get_origin, get_type_hints

INLINED = "inlined"
R = TypeVar("R", bound="Result")


def inlined(**options: Any) -> Any:
    """A field whose own keys stand in the JSON object in place of its name."""
    return field(metadata={INLINED: True}, **options)


@dataclass(frozen=True)
class Result:
    """A dataclass whose fields are the keys of a JSON object.

    A field whose default is None is left out of the object where it is None.
    """

    def to_dict(self) -> dict[str, Any]:
        """The JSON object: dicts, lists, strings and numbers."""
        content: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None and each.default is None:
                continue
            content |= plain(value) if INLINED in each.metadata else {each.name: plain(value)}
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Take back what `to_dict` gave. Keys that are no fields are passed over.

        Raises:
            KeyError: a field without a default is missing.
        """
        hints, values = get_type_hints(cls), {}
        for each in fields(cls):
            hint = _without_none(hints[each.name])
            if INLINED in each.metadata:
                if _is_result(hint):
                    values[each.name] = find(hint, content)
            elif each.name in content or not _is_optional(each):
                values[each.name] = _typed(content[each.name], hint)
        return cls(**values)


def plain(value: Any) -> Any:
    """Results, and collections of results, as JSON has them; other values as they are."""
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def find(kind: type[R], content: Mapping[str, Any]) -> R | None:
    """A result among the keys of an object; None: a key that it must have is not there."""
    found = all(each.name in content or _is_optional(each) for each in fields(kind))
    return kind.from_dict(content) if found else None


def _typed(value: Any, hint: Any) -> Any:
    """A value of JSON as the type of its field."""
    if value is None:
        return None
    hint = _without_none(hint)
    arguments = get_args(hint)
    if get_origin(hint) is dict:
        return {key: _typed(each, arguments[1]) for key, each in value.items()}
    if get_origin(hint) is list:
        return [_typed(each, arguments[0]) for each in value]
    return hint.from_dict(value) if _is_result(hint) else value


def _is_optional(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _is_result(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Result)


def _without_none(hint: Any) -> Any:
    """``X`` for ``X | None``."""
    members = [each for each in get_args(hint) if each is not NoneType]
    return members[0] if NoneType in get_args(hint) and len(members) == 1 else hint

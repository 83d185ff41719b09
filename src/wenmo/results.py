"""Results: frozen dataclasses that convert to and from JSON objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from types import NoneType
from typing import Any, Self, TypeVar, get_args, get_origin, get_type_hints

INLINED = "inlined"
R = TypeVar("R", bound="Result")


def inlined(**options: Any) -> Any:
    """A field whose keys are merged into the JSON object of its parent."""
    return field(metadata={INLINED: True}, **options)


@dataclass(frozen=True)
class Result:
    """A dataclass whose fields are the keys of a JSON object.

    A field with default None is omitted if its value is None.
    """

    def to_dict(self) -> dict[str, Any]:
        """The JSON object: dicts, lists, strings and numbers."""
        content: dict[str, Any] = {}
        for field_ in fields(self):
            value = getattr(self, field_.name)
            if value is None and field_.default is None:
                continue
            content |= plain(value) if INLINED in field_.metadata else {field_.name: plain(value)}
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`. Unknown keys are ignored.

        Raises:
            KeyError: a field without a default is missing.
        """
        hints, values = get_type_hints(cls), {}
        for field_ in fields(cls):
            hint = _without_none(hints[field_.name])
            if INLINED in field_.metadata:
                if _is_result(hint):
                    values[field_.name] = find(hint, content)
            elif field_.name in content or not _is_optional(field_):
                values[field_.name] = _typed(content[field_.name], hint)
        return cls(**values)


def plain(value: Any) -> Any:
    """Convert results, also in collections, to JSON values; other values are not changed."""
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: plain(field_) for key, field_ in value.items()}
    if isinstance(value, list | tuple):
        return [plain(field_) for field_ in value]
    return value


def find(result_type: type[R], content: Mapping[str, Any]) -> R | None:
    """A result of type ``kind`` from the keys of an object; None if a required key is missing."""
    found = all(field_.name in content or _is_optional(field_) for field_ in fields(result_type))
    return result_type.from_dict(content) if found else None


def _typed(value: Any, hint: Any) -> Any:
    """Convert a JSON value to the type of its field."""
    if value is None:
        return None
    hint = _without_none(hint)
    arguments = get_args(hint)
    if get_origin(hint) is dict:
        return {key: _typed(field_, arguments[1]) for key, field_ in value.items()}
    if get_origin(hint) is list:
        return [_typed(field_, arguments[0]) for field_ in value]
    return hint.from_dict(value) if _is_result(hint) else value


def _is_optional(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _is_result(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Result)


def _without_none(hint: Any) -> Any:
    """``X`` for ``X | None``."""
    members = [field_ for field_ in get_args(hint) if field_ is not NoneType]
    return members[0] if NoneType in get_args(hint) and len(members) == 1 else hint

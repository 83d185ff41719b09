"""The settings of a request as one text, such as ``temperature=0.8,top_p=0.95``, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from wenmo.config import did_you_mean, parse_value
from wenmo.decoding.params import CUTTING, PROCESSORS, Sampling
from wenmo.types import WenmoError

OWNERS = {other: main for main, others in PROCESSORS.items() for other in others}
"""The processor of each setting that turns none on."""


def format_chain(sampling: Sampling, defaults: Sampling | None = None) -> str:
    """Settings as a text that `expand_chain` reads: the processors that are on, in the order of
    application, with their settings, and behind them all others that are not the default.

    Args:
        defaults: the defaults of a run: a setting is also written where it differs from these.
    """
    standard = Sampling()
    items = []
    for name in sampling.order:
        items.append(name)
        items += [x for x in PROCESSORS[name] if getattr(sampling, x) != getattr(standard, x)]
    for field in fields(sampling):
        others = [getattr(each, field.name) for each in (standard, defaults) if each is not None]
        is_default = all(getattr(sampling, field.name) == other for other in others)
        of_processor = field.name in PROCESSORS or OWNERS.get(field.name) in sampling.order
        if not is_default and not of_processor and field.name != "chain":
            items.append(field.name)
    # a setting of a processor that is off changes nothing, but is told
    return ",".join(f"{name}={format_setting(getattr(sampling, name))}" for name in items)


def expand_chain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of which ``chain`` is the text of a chain, as the settings that it has.

    With a chain, a processor that it leaves out is off, unless it reads the text (as a penalty)
    and is given beside the chain: it then comes first. Options without a chain, or with the names
    that `Sampling` has, are returned as they are.

    Raises:
        WenmoError: an item without a value, of no setting, twice, or also given as an option.
    """
    texts = options.get("chain") or ()
    if isinstance(texts, tuple):  # names, as `Sampling` has them
        return dict(options)
    values = dict(_items(texts if isinstance(texts, str) else ",".join(texts)))
    given = {name: value for name, value in options.items() if name != "chain"}
    for name in given:
        if name in values:
            raise WenmoError(f"{name} is given twice, in the chain and beside it: leave one out")
        if name in CUTTING or OWNERS.get(name) in CUTTING:
            raise WenmoError(f"{name} beside a chain: write it in the chain, at its position")
    standard = Sampling()
    off = {name: getattr(standard, name) for name in (*PROCESSORS, *OWNERS) if name not in values}
    return {**off, **values, **given, "chain": tuple(x for x in values if x in PROCESSORS)}


def format_setting(value: Any) -> str:
    """A value as JSON without spaces; numbers in the fewest digits."""
    if isinstance(value, str):
        return value
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.removesuffix(".0") if isinstance(value, float) else text


def _items(text: str) -> Iterator[tuple[str, Any]]:
    """The names and values of a text."""
    known = [field.name for field in fields(Sampling) if field.name != "chain"]
    seen: set[str] = set()
    for item in _split(text):
        name, equals, value = item.partition("=")
        name = name.strip()
        if not equals or not value.strip():
            _refuse_item(item.strip())
        if name not in known:
            raise WenmoError(f"chain: no setting {name!r}{did_you_mean(name, known)}")
        if name in seen:
            raise WenmoError(f"chain: {name} is given twice: leave one out")
        seen.add(name)
        yield name, parse_value(value.strip())


def _split(text: str) -> Iterator[str]:
    """The items of a text: split by commas outside of brackets and quotes."""
    item, depth, quoted, escaped = "", 0, False, False
    for character in text:
        if character == "," and not depth and not quoted:
            yield item
            item = ""
            continue
        item += character
        if quoted:
            quoted = character != '"' or escaped
            escaped = character == "\\" and not escaped
        else:
            quoted = character == '"'
            depth += (character == "[") - (character == "]")
    yield item


def _refuse_item(item: str) -> None:
    raise WenmoError(f"chain: {item!r} has no value: write NAME=VALUE,NAME=VALUE")

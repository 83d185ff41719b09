"""Grammar files: Tracery's JSON as it is, and the native form in TOML.

JSON holds rules alone: a name, and its alternatives, as a text, a list, or an object of texts and
their weights. TOML holds ``[rules]`` of the same kinds, whose alternatives may also be tables, and
beside it ``start``, ``depth`` and ``[saved]``.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wenmo.config import nearest
from wenmo.grammar.agreement import agreed
from wenmo.grammar.ast import Alternative, Grammar
from wenmo.grammar.checks import check
from wenmo.grammar.syntax import parse
from wenmo.types import WenmoError

START = "origin"
MOST_BYTES = 4 << 20
LARGEST_WEIGHT = 1e15
MOST_ALTERNATIVES = 200_000
DEEPEST = 200  # rules within one another: the stack of the interpreter must hold them
OWN = ("start", "depth", "saved", "rules")
SUFFIXES = (".json", ".toml")


def read_grammar(path: Path) -> tuple[Grammar, str]:
    """A grammar, and its file's text.

    Raises:
        WenmoError: no such file, too large, or anything that `parse_grammar` refuses.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise WenmoError(f"{path}: larger than the {MOST_BYTES >> 20} MB a grammar may have")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise WenmoError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise WenmoError(f"{path}: not UTF-8: save it in that encoding") from None
    except OSError as error:
        raise WenmoError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_grammar(text, str(path)), text


def parse_grammar(text: str, where: str = "grammar") -> Grammar:
    """A grammar from the text of a file of either form.

    Args:
        where: what an error says first.

    Raises:
        WenmoError: not JSON or TOML, a rule that is not there or never ends, and whatever else is
            wrong, each in one line.
    """
    native = not text.lstrip().startswith("{")
    content = _toml(text, where) if native else {"rules": _json(text, where)}
    unknown = [key for key in content if key not in OWN]
    if unknown:
        raise WenmoError(
            f"{where}: unknown key {unknown[0]!r}{nearest(unknown[0], OWN)} (rules: in [rules])"
        )
    rules, saved = content.get("rules"), content.get("saved", {})
    if not isinstance(rules, dict) or not rules:
        raise WenmoError(f"{where}: no rules" + (": they stand in [rules]" if native else ""))
    start, depth = content.get("start", START), content.get("depth", Grammar.depth)
    if not isinstance(start, str):
        raise WenmoError(f"{where}: start: not the name of a rule")
    if type(depth) is not int or not 1 <= depth <= DEEPEST:
        raise WenmoError(f"{where}: depth: must be a whole number from 1 to {DEEPEST}")
    if not isinstance(saved, dict) or not all(isinstance(v, str) for v in saved.values()):
        raise WenmoError(f"{where}: saved: must hold names and texts")
    reader = _Reader(where, native)
    read = {name: reader.rule(name, value) for name, value in rules.items()}
    grammar = Grammar(read, start, depth, saved)
    check(grammar, where)
    return agreed(grammar, where)


def _json(text: str, where: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise WenmoError(f"{where}:{error.lineno}: not valid JSON: {error.msg}") from None
    except RecursionError:
        raise WenmoError(f"{where}: not a grammar: nested too deeply") from None
    if not isinstance(content, dict):
        raise WenmoError(f"{where}: not a grammar: it holds no object of rules")
    return content


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise WenmoError(f"{where}: not valid TOML: {error}") from None
    except RecursionError:
        raise WenmoError(f"{where}: not a grammar: nested too deeply") from None


class _Reader:
    """Rules from what JSON or TOML made of them."""

    def __init__(self, where: str, native: bool) -> None:
        self.where, self.native, self.count = where, native, 0

    def rule(self, name: str, value: Any) -> tuple[Alternative, ...]:
        entries: list[Any]
        if isinstance(value, list):
            entries = value
        elif isinstance(value, dict) and not _is_entry(value):
            entries = [{"text": text, "weight": weight} for text, weight in value.items()]
        else:
            entries = [value]
        alternatives = []
        for number, entry in enumerate(entries, 1):
            place = f"{self.where}: rule {name!r}"
            if len(entries) > 1:
                place += f", alternative {number}"
            alternatives += self.entry(entry, place)
        if not any(alternative.weight for alternative in alternatives):
            raise WenmoError(
                f"{self.where}: rule {name!r} has no alternative with a weight above 0"
            )
        return tuple(alternatives)

    def entry(self, entry: Any, place: str) -> list[Alternative]:
        if isinstance(entry, str | int | float) and not isinstance(entry, bool):
            entry = {"text": str(entry)}
        if not isinstance(entry, dict) or not _is_entry(entry):
            raise WenmoError(f"{place}: must be a text, or a table with a text")
        texts = entry["text"] if isinstance(entry["text"], list) else [entry["text"]]
        if not all(isinstance(text, str) for text in texts):
            raise WenmoError(f"{place}: text must be a text, or a list of texts")
        self.count += len(texts)
        if self.count > MOST_ALTERNATIVES:
            raise WenmoError(f"{self.where}: more than {MOST_ALTERNATIVES:,} alternatives")
        weight = entry.get("weight", 1.0)
        if not isinstance(weight, int | float) or isinstance(weight, bool):
            raise WenmoError(f"{place}: weight {weight!r}: must be a number")
        if not 0 <= weight <= LARGEST_WEIGHT:
            raise WenmoError(f"{place}: weight {weight}: must be from 0 to {LARGEST_WEIGHT:g}")
        when, features = self.conditions(entry.get("when", {}), place), self.features(entry, place)
        return [
            Alternative(
                parse(text, place, native=self.native), float(weight), when, features, source=text
            )
            for text in texts
        ]

    def conditions(self, value: Any, place: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        wrong = WenmoError(f"{place}: when: must hold names and the texts saved under them")
        if not isinstance(value, dict):
            raise wrong
        found = []
        for name, wanted in value.items():
            texts = wanted if isinstance(wanted, list) else [wanted]
            if not texts or not all(isinstance(text, str) for text in texts):
                raise wrong
            found.append((name, tuple(texts)))
        return tuple(found)

    def features(self, entry: Mapping[str, Any], place: str) -> frozenset[tuple[str, str]]:
        found = {key: v for key, v in entry.items() if key not in ("text", "weight", "when")}
        for key, value in found.items():
            if not self.native or not isinstance(value, str):
                raise WenmoError(f"{place}: {key}: a feature must be a text, in a TOML file")
        return frozenset(found.items())


def _is_entry(value: Mapping[str, Any]) -> bool:
    """Whether a table is one alternative, and not texts and their weights."""
    return isinstance(value.get("text"), str | list)

"""Readers of grammar files: Tracery's JSON, and the native format in TOML.

JSON contains rules only: each is a text, a list of alternatives, or an object of texts and weights.
TOML has ``[rules]`` of the same forms, whose alternatives can also be tables, and optionally
``start``, ``depth`` and ``[saved]``.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wenmo.config import did_you_mean
from wenmo.grammar.agreement import compile_agreement
from wenmo.grammar.ast import Alternative, Grammar
from wenmo.grammar.checks import validate_grammar
from wenmo.grammar.syntax import parse
from wenmo.types import WenmoError

START = "origin"
MAX_BYTES = 4 << 20
MAX_WEIGHT = 1e15
MAX_ALTERNATIVES = 200_000
MAX_DEPTH = 200  # of nested rules; bounded by the interpreter's stack
KEYS = ("start", "depth", "saved", "rules")
SUFFIXES = (".json", ".toml")


def read_grammar(path: Path) -> tuple[Grammar, str]:
    """The grammar in a file, and the file's text.

    Raises:
        WenmoError: the file does not exist, is too large, or is refused by `parse_grammar`.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise WenmoError(f"{path}: larger than the {MAX_BYTES >> 20} MB limit of a grammar")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise WenmoError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise WenmoError(f"{path}: not UTF-8: save it as UTF-8") from None
    except OSError as error:
        raise WenmoError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_grammar(text, str(path)), text


def parse_grammar(text: str, where: str = "grammar") -> Grammar:
    """The grammar in the text of a JSON or TOML file.

    Args:
        where: prefix of error messages (default "grammar").

    Raises:
        WenmoError: not valid JSON or TOML, a missing rule, a rule that never ends, or another
            error, in one line.
    """
    native = not text.lstrip().startswith("{")
    content = _toml(text, where) if native else {"rules": _json(text, where)}
    unknown = [key for key in content if key not in KEYS]
    if unknown:
        raise WenmoError(
            f"{where}: unknown key {unknown[0]!r}{did_you_mean(unknown[0], KEYS)} "
            "(rules go in [rules])"
        )
    rules, saved = content.get("rules"), content.get("saved", {})
    if not isinstance(rules, dict) or not rules:
        raise WenmoError(f"{where}: no rules" + (": they go in [rules]" if native else ""))
    start, depth = content.get("start", START), content.get("depth", Grammar.depth)
    if not isinstance(start, str):
        raise WenmoError(f"{where}: start: not the name of a rule")
    if type(depth) is not int or not 1 <= depth <= MAX_DEPTH:
        raise WenmoError(f"{where}: depth: must be an integer from 1 to {MAX_DEPTH}")
    if not isinstance(saved, dict) or not all(isinstance(v, str) for v in saved.values()):
        raise WenmoError(f"{where}: saved: must map names to texts")
    reader = _Reader(where, native)
    parsed_rules = {name: reader.rule(name, value) for name, value in rules.items()}
    grammar = Grammar(parsed_rules, start, depth, saved)
    validate_grammar(grammar, where)
    return compile_agreement(grammar, where)


def _json(text: str, where: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise WenmoError(f"{where}:{error.lineno}: not valid JSON: {error.msg}") from None
    except RecursionError:
        raise WenmoError(f"{where}: not a grammar: nested too deeply") from None
    if not isinstance(content, dict):
        raise WenmoError(f"{where}: not a grammar: not an object of rules")
    return content


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise WenmoError(f"{where}: not valid TOML: {error}") from None
    except RecursionError:
        raise WenmoError(f"{where}: not a grammar: nested too deeply") from None


class _Reader:
    """Converts parsed JSON or TOML to rules."""

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
        for index, entry in enumerate(entries, 1):
            location = f"{self.where}: rule {name!r}"
            if len(entries) > 1:
                location += f", alternative {index}"
            alternatives += self.entry(entry, location)
        if not any(alternative.weight for alternative in alternatives):
            raise WenmoError(
                f"{self.where}: rule {name!r} has no alternative with a weight above 0"
            )
        return tuple(alternatives)

    def entry(self, entry: Any, location: str) -> list[Alternative]:
        if isinstance(entry, str | int | float) and not isinstance(entry, bool):
            entry = {"text": str(entry)}
        if not isinstance(entry, dict) or not _is_entry(entry):
            raise WenmoError(f"{location}: must be a text, or a table with a text")
        texts = entry["text"] if isinstance(entry["text"], list) else [entry["text"]]
        if not all(isinstance(text, str) for text in texts):
            raise WenmoError(f"{location}: text must be a text, or a list of texts")
        self.count += len(texts)
        if self.count > MAX_ALTERNATIVES:
            raise WenmoError(f"{self.where}: more than {MAX_ALTERNATIVES:,} alternatives")
        weight = entry.get("weight", 1.0)
        if not isinstance(weight, int | float) or isinstance(weight, bool):
            raise WenmoError(f"{location}: weight {weight!r}: must be a number")
        if not 0 <= weight <= MAX_WEIGHT:
            raise WenmoError(f"{location}: weight {weight}: must be from 0 to {MAX_WEIGHT:g}")
        conditions, features = (
            self.conditions(entry.get("when", {}), location),
            self.features(entry, location),
        )
        return [
            Alternative(
                parse(text, location, native=self.native),
                float(weight),
                conditions,
                features,
                source=text,
            )
            for text in texts
        ]

    def conditions(self, value: Any, location: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        error = WenmoError(f"{location}: when: must map names to the texts saved under them")
        if not isinstance(value, dict):
            raise error
        found = []
        for name, wanted in value.items():
            texts = wanted if isinstance(wanted, list) else [wanted]
            if not texts or not all(isinstance(text, str) for text in texts):
                raise error
            found.append((name, tuple(texts)))
        return tuple(found)

    def features(self, entry: Mapping[str, Any], location: str) -> frozenset[tuple[str, str]]:
        found = {key: v for key, v in entry.items() if key not in ("text", "weight", "when")}
        for key, value in found.items():
            if not self.native or not isinstance(value, str):
                raise WenmoError(f"{location}: {key}: a feature must be a text, and the file TOML")
        return frozenset(found.items())


def _is_entry(value: Mapping[str, Any]) -> bool:
    """Whether a table is an alternative, not a mapping of texts to weights."""
    return isinstance(value.get("text"), str | list)

"""Regular expressions, JSON Schemas, choices and grammars as grammars of llguidance.

Errors of the library become one line that names the part which is wrong or not supported. No model
and no tokenizer is needed, so that they are found before one is loaded.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from wenmo.decoding.constraints.settings import ConstraintSettings, alternatives, parse_lengths
from wenmo.types import WenmoError

if TYPE_CHECKING:
    from llguidance import LLTokenizer
    from llguidance._lib import JsonCompileOptions

STRUCTURES = ("regex", "json_schema", "choice", "lark")
"""The options whose texts llguidance reads; a text has one of them at most."""

REGULAR = ("regex", "choice")
"""The structures that a length and phrases can be joined with, so that none leads to a dead end."""

JOINED = ("length", "require", "forbid")
NOT_JOINED = ("length", "require", "acrostic", "form")  # with the other structures

SEPARATORS: JsonCompileOptions = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
"""White space in JSON, as `json.dumps` writes it: none is free, so that none is endless."""

STRICT: JsonCompileOptions = {"lenient": False, "coerce_one_of": False}
"""What a schema may not switch off: parts that are not supported are refused, never left out."""

SUBSCHEMA = (
    *("items", "additionalProperties", "additionalItems", "contains", "propertyNames", "not"),
    *("if", "then", "else", "unevaluatedItems", "unevaluatedProperties"),
)
SUBSCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
SUBSCHEMA_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
DEFINITIONS = ("$defs", "definitions")
SEARCH_SECONDS = 0.5  # to find the part of a schema that is refused
ANYTHING = "/(?s:.*)/"
NO_TEXT = "no text is allowed"
RULE_OPTION = re.compile(r"^\s*[!?]*[\w-]+\[[^\]\n]*\b(temperature|stop)\s*=", re.MULTILINE)
QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"|#.*|//.*|/(?:[^/\\\n]|\\.)+/')
SPECIAL_TOKEN = re.compile(r"<[^<>\s]+>")
LOOKAROUND = re.compile(r"lookarounds not supported yet; (\w+)")


def structure_of(settings: ConstraintSettings) -> str | None:
    """The one of `STRUCTURES` that is given; None: there is none.

    Raises:
        WenmoError: several are given.
    """
    given = [name for name in STRUCTURES if name in settings.given]
    if len(given) > 1:
        raise WenmoError(
            f"{' and '.join(given)}: a text has one structure: give one of them (in a lark grammar "
            "terminals are joined by & and rules by |, and %json holds a schema)"
        )
    if not given:
        return None
    if others := [
        name for name in NOT_JOINED if name in settings.given and given[0] not in REGULAR
    ]:
        raise WenmoError(
            f"{given[0]} and {others[0]}: say in the {given[0]} itself what its texts must be, as "
            "with minLength or pattern"
        )
    return given[0]


def structure_settings(settings: ConstraintSettings) -> ConstraintSettings:
    """The structure that is given, and what is joined with it."""
    name = structure_of(settings)
    assert name is not None
    names = (name, *(JOINED if name in REGULAR else ()))
    return ConstraintSettings(**{each: getattr(settings, each) for each in names})


@lru_cache(maxsize=64)
def compile_structure(settings: ConstraintSettings) -> str:
    """The grammar of the structure that is given.

    Raises:
        WenmoError: it has an error, or a part that is not supported.
    """
    name = structure_of(settings)
    assert name is not None
    if name == "json_schema":
        return compile_schema(json.loads(settings.json_schema or ""))
    if name == "lark":
        return compile_lark(settings.lark or "")
    terms = _text_terms(settings)
    if name == "choice":
        return compile_choice(settings.choice, terms)
    return compile_regex(settings.regex or "", terms)


def compile_regex(pattern: str, terms: Sequence[str] = ()) -> str:
    """The grammar of all texts that a regular expression matches as a whole.

    Args:
        terms: other expressions in Lark's notation that match them, too.
    """
    from llguidance import regex_to_lark

    return _terminal("regex", f"/{regex_to_lark(pattern or '(?:)', '')}/", terms)


def compile_choice(choices: Sequence[str], terms: Sequence[str] = ()) -> str:
    """The grammar of some texts; ``terms`` as of `compile_regex`."""
    return _terminal("choice", "(" + " | ".join(map(_quoted, choices)) + ")", terms)


def _terminal(name: str, expression: str, terms: Sequence[str]) -> str:
    grammar = _lark("start: TEXT\nTEXT: " + " & ".join([expression, *terms]))
    error = _error(grammar)
    if error.startswith(NO_TEXT) and terms:
        raise WenmoError(f"{name}: no text of it has the length and phrases: change one of them")
    if error:
        raise WenmoError(f"{name}: {_regex_message(error)}")
    return grammar


def _text_terms(settings: ConstraintSettings) -> list[str]:
    """A length in characters and phrases as regular expressions in Lark's notation.

    Their own automata hold texts to them; here they let the structure foresee them.
    """
    terms = []
    for least, most, unit in parse_lengths(settings.length) if settings.length else ():
        if unit == "c":
            terms.append(f"/(?s:.{{{least},{'' if most == math.inf else f'{most:g}'}}})/")
    for required in settings.require:
        phrases = " | ".join(map(_quoted, alternatives(required)))
        terms.append(f"({ANYTHING} ({phrases}) {ANYTHING})")
    terms += [f"~({ANYTHING} {_quoted(phrase)} {ANYTHING})" for phrase in settings.forbid]
    return terms


def compile_lark(text: str) -> str:
    """The grammar in Lark's notation, as llguidance extends it, or in llama.cpp's (GBNF)."""
    converted = "::=" in text
    if converted:
        text = _gbnf_to_lark(text)
    if (found := RULE_OPTION.search(text)) is not None:
        raise WenmoError(f"lark: {found[1]}= is not supported in a rule: leave it out")
    if (found := SPECIAL_TOKEN.search(QUOTED.sub("", text))) is not None:
        raise WenmoError(f"lark: {found[0]}: special tokens are not written: leave it out")
    grammar = _lark(text)
    if error := _error(grammar):
        raise WenmoError(f"lark: {_lark_message(error, converted=converted)}")
    return grammar


def compile_schema(schema: Mapping[str, Any] | bool) -> str:
    """The grammar of all JSON texts that a JSON Schema accepts."""
    if schema is False:
        raise WenmoError("json_schema: false accepts nothing")
    root = {} if schema is True else dict(schema)
    try:
        for pointer, part in _subschemas(root):
            _check_counts(part, pointer)
        error = _error(_json(root))
    except (RecursionError, ValueError):  # the library reads 127 levels
        raise WenmoError("json_schema: nested too deeply") from None
    if error:
        raise WenmoError(f"json_schema: {_locate(root, error)}{_schema_message(error)}")
    return _json(root)


def named_characters(settings: ConstraintSettings) -> str:
    """The characters that a structure names: those of choices, and in a schema those of the values
    of ``enum`` and ``const`` and the names of required properties. Each once.
    """
    named = list(settings.choice)
    if settings.json_schema is not None:
        for _, part in _subschemas(json.loads(settings.json_schema)):
            values = part.get("enum", []) if isinstance(part.get("enum"), list) else []
            values = [*values, *([part["const"]] if "const" in part else [])]
            names = part.get("required", [])
            values += names if isinstance(names, list) else []
            named += [json.dumps(value, ensure_ascii=False) for value in values]
    return "".join(dict.fromkeys("".join(named)))


def with_leading_space(grammar: str, *, optional: bool) -> str:
    """The grammar of the same texts after a space, or after one or none."""
    content = json.loads(grammar)
    [inner] = content["grammars"]
    outer = {"lark_grammar": f'start: " "{"?" * optional} @inner'}
    return json.dumps({"grammars": [outer, {**inner, "name": "inner"}]}, ensure_ascii=False)


def _lark(text: str) -> str:
    from llguidance import LLMatcher

    grammar: str = LLMatcher.grammar_from_lark(text)
    return json.dumps({"grammars": [{"lark_grammar": grammar}]}, ensure_ascii=False)


def _json(schema: Mapping[str, Any]) -> str:
    from llguidance import LLMatcher

    text = json.dumps(schema, ensure_ascii=False)
    grammar: str = LLMatcher.grammar_from_json_schema(text, SEPARATORS, STRICT)
    return grammar


def _gbnf_to_lark(text: str) -> str:
    from llguidance.gbnf_to_lark import any_to_lark

    try:
        converted: str = any_to_lark(text)
    except Exception as error:  # the converter has no specific error
        raise WenmoError(f"lark: {' '.join(str(error).split())}") from None
    return converted


def _quoted(text: str) -> str:
    """A text as a string of Lark's, which is one of JSON's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _error(grammar: str) -> str:
    """What the library finds wrong with a grammar; empty if some text is of it."""
    from llguidance import LLMatcher, LLParserLimits

    limits = LLParserLimits(verbose_errors=False)
    matcher = LLMatcher(_bytes(), grammar, log_level=0, limits=limits)
    if not matcher.is_error():
        matcher.compute_bitmask()
    error = matcher.get_error()
    return f"{NO_TEXT}: change it" if error.startswith("NoExtension") else error


@cache
def _bytes() -> LLTokenizer:
    """A tokenizer whose tokens are END and the bytes."""
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Bytes()))


class _Bytes:
    eos_token_id, bos_token_id, special_token_ids = 0, None, (0,)
    tokens = (b"", *(bytes([byte]) for byte in range(256)))

    def __call__(self, text: bytes | str) -> list[int]:
        return [1 + byte for byte in (text.encode() if isinstance(text, str) else text)]


def _regex_message(error: str) -> str:
    if (found := LOOKAROUND.search(error)) is not None:
        kind = {"WordUnicode": r"the word boundary \b", "Start": "^ within the expression"}
        return f"not supported: {kind.get(found[1], f'look-around ({found[1]})')}"
    lines = error.splitlines()
    message = next((x.removeprefix("error: ") for x in lines if x.startswith("error: ")), lines[0])
    caret = next((x for x in lines if x.strip() and not x.strip("^ ")), "")
    column = caret.index("^") - 3 if caret.startswith("    ") else 0  # four spaces come before it
    return f"column {column}: {message}" if column > 0 else message


def _lark_message(error: str, *, converted: bool) -> str:
    if "regex parse error" in error or LOOKAROUND.search(error):
        place = re.match(r"(?:at )?(\d+)\((\d+)\)", error)
        line = f"line {place[1]}: " if place and not converted else ""
        return f"{line}regex: {_regex_message(error)}"
    [first, *_] = error.splitlines()
    found = re.match(r"(?:at )?(\d+)\((\d+)\): (.*)", first)
    if found is None or converted:
        return found[3] if found else first
    return f"line {found[1]}, column {found[2]}: {found[3].partition(';')[0]}"


def _schema_message(error: str) -> str:
    if error.startswith("Unimplemented keys: "):
        keys = json.loads(error.splitlines()[0].removeprefix("Unimplemented keys: "))
        return f"{', '.join(keys)}: not supported"
    if error.startswith("oneOf constraints"):
        return "oneOf: supported only where no value fits two of its schemas, as by a const or type"
    if "regex parse error" in error or LOOKAROUND.search(error):
        return f"pattern: {_regex_message(error)}"
    first = error.splitlines()[0]
    return first[:1].lower() + first[1:]


def _locate(root: Mapping[str, Any], error: str) -> str:
    """The smallest part of a schema that has an error of the whole, as a JSON pointer."""
    shared = {key: root[key] for key in DEFINITIONS if key in root}
    deadline = time.monotonic() + SEARCH_SECONDS
    for pointer, part in _subschemas(root):
        if not pointer or time.monotonic() > deadline:
            break
        if _error(_json({**part, **shared})) == error:
            return f"#{pointer}: "
    return ""


def _subschemas(schema: Any, pointer: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in a schema with its JSON pointer, inner ones first."""
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        at = f"{pointer}/{key}"
        if key in SUBSCHEMA_MAPS and isinstance(value, dict):
            for name, part in value.items():
                escaped = name.replace("~", "~0").replace("/", "~1")
                yield from _subschemas(part, f"{at}/{escaped}")
        elif key in SUBSCHEMA_LISTS and isinstance(value, list):
            for index, part in enumerate(value):
                yield from _subschemas(part, f"{at}/{index}")
        elif key in SUBSCHEMA:
            yield from _subschemas(value, at)
    yield pointer, schema


def _check_counts(schema: Mapping[str, Any], pointer: str) -> None:
    """Refuse a least number of properties whose names are free: the library lets one repeat, and a
    name that repeats counts once.
    """
    least, required = schema.get("minProperties"), schema.get("required", ())
    named = len(required) if isinstance(required, list) else 0
    if isinstance(least, int) and least > named + 1:
        raise WenmoError(
            f"json_schema: #{pointer}: minProperties: {least} is not supported with {named} "
            "required properties: name all of them but one in required"
        )

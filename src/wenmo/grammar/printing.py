"""A grammar as a file of the native form: what was learnt, to be read and gone on with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from wenmo.grammar.ast import Alternative, Call, Do, Forget, Grammar, Part, Save
from wenmo.grammar.modifiers import Modifier

# What has a meaning in a text, and besides in a tag, an action and so on.
IN_TEXT = "\\#[]"
DELETE = "\x7f"
IN_TAG, IN_VALUE, IN_ACTION, IN_ARGUMENT = f"{IN_TEXT}.@", f"{IN_TEXT},", f"{IN_TEXT}:", "\\,)"


def printed(grammar: Grammar) -> str:
    """The TOML text that `parse_grammar` makes the grammar of again."""
    return "\n".join(_lines(grammar)) + "\n"


def _lines(grammar: Grammar) -> Iterator[str]:
    yield f"start = {_quoted(grammar.start)}"
    yield f"depth = {grammar.depth}"
    if grammar.saved:
        yield "\n[saved]"
        yield from (f"{_quoted(name)} = {_quoted(t)}" for name, t in grammar.saved.items())
    yield "\n[rules]"
    for name, rule in grammar.rules.items():
        yield f"{_quoted(name)} = ["
        yield from (f"  {_entry(alternative)}," for alternative in rule)
        yield "]"


def _entry(alternative: Alternative) -> str:
    fields = [f"text = {_quoted(_text(alternative.parts))}", f"weight = {alternative.weight!r}"]
    if alternative.when:
        conditions = (
            f"{_quoted(name)} = [{', '.join(map(_quoted, texts))}]"
            for name, texts in alternative.when
        )
        fields.append(f"when = {{ {', '.join(conditions)} }}")
    return f"{{ {', '.join(fields)} }}"


def _text(parts: Sequence[Part], special: str = IN_TEXT) -> str:
    return "".join(_part(part, special) for part in parts)


def _part(part: Part, special: str) -> str:
    if isinstance(part, str):
        return _escaped(part, special)
    if isinstance(part, Call):
        before, symbol = _text(part.before), _escaped(part.symbol, IN_TAG)
        return f"#{before}{symbol}{_modifiers(part.modifiers)}#"
    if isinstance(part, Save):
        values = ",".join(_text(value, IN_VALUE) for value in part.values)
        return f"[{part.name}:{values}]"
    if isinstance(part, Do):
        return f"[{_text(part.parts, IN_ACTION)}]"
    return f"[{part.name}:POP]" if isinstance(part, Forget) else ""


def _modifiers(modifiers: Sequence[Modifier]) -> str:
    written = ""
    for modifier in modifiers:
        given = ",".join(_escaped(argument, IN_ARGUMENT) for argument in modifier.arguments)
        written += f".{modifier.name}({given})" if modifier.arguments else f".{modifier.name}"
    return written


def _escaped(text: str, special: str) -> str:
    return "".join("\\" + sign if sign in special else sign for sign in text)


def _quoted(text: str) -> str:
    """As a string of TOML, which takes all that JSON's may hold but for the delete sign."""
    return json.dumps(text, ensure_ascii=False).replace(DELETE, f"\\u{ord(DELETE):04x}")

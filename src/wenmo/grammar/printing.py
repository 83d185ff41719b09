"""Grammars as TOML files, such as those with learned weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from wenmo.grammar.ast import Alternative, Call, Evaluate, Grammar, Node, Pop, Save
from wenmo.grammar.modifiers import Modifier

# Characters to escape in a text, a tag, a saved value, an action and an argument.
IN_TEXT = "\\#[]"
DELETE = "\x7f"
IN_TAG, IN_VALUE, IN_ACTION, IN_ARGUMENT = f"{IN_TEXT}.@", f"{IN_TEXT},", f"{IN_TEXT}:", "\\,)"


def to_toml(grammar: Grammar) -> str:
    """The TOML text from which `parse_grammar` makes this grammar."""
    return "\n".join(_lines(grammar)) + "\n"


def _lines(grammar: Grammar) -> Iterator[str]:
    yield f"start = {_quote(grammar.start)}"
    yield f"depth = {grammar.depth}"
    if grammar.saved:
        yield "\n[saved]"
        yield from (f"{_quote(name)} = {_quote(t)}" for name, t in grammar.saved.items())
    yield "\n[rules]"
    for name, rule in grammar.rules.items():
        yield f"{_quote(name)} = ["
        yield from (f"  {_entry(alternative)}," for alternative in rule)
        yield "]"


def _entry(alternative: Alternative) -> str:
    fields = [f"text = {_quote(_text(alternative.nodes))}", f"weight = {alternative.weight!r}"]
    if alternative.conditions:
        conditions = (
            f"{_quote(name)} = [{', '.join(map(_quote, texts))}]"
            for name, texts in alternative.conditions
        )
        fields.append(f"when = {{ {', '.join(conditions)} }}")
    return f"{{ {', '.join(fields)} }}"


def _text(nodes: Sequence[Node], escaped_chars: str = IN_TEXT) -> str:
    return "".join(_node(node, escaped_chars) for node in nodes)


def _node(node: Node, escaped_chars: str) -> str:
    if isinstance(node, str):
        return _escape(node, escaped_chars)
    if isinstance(node, Call):
        actions, symbol = _text(node.actions), _escape(node.symbol, IN_TAG)
        return f"#{actions}{symbol}{_modifiers(node.modifiers)}#"
    if isinstance(node, Save):
        values = ",".join(_text(value, IN_VALUE) for value in node.values)
        return f"[{node.name}:{values}]"
    if isinstance(node, Evaluate):
        return f"[{_text(node.nodes, IN_ACTION)}]"
    return f"[{node.name}:POP]" if isinstance(node, Pop) else ""


def _modifiers(modifiers: Sequence[Modifier]) -> str:
    text = ""
    for modifier in modifiers:
        args = ",".join(_escape(arg, IN_ARGUMENT) for arg in modifier.args)
        text += f".{modifier.name}({args})" if modifier.args else f".{modifier.name}"
    return text


def _escape(text: str, escaped_chars: str) -> str:
    return "".join("\\" + char if char in escaped_chars else char for char in text)


def _quote(text: str) -> str:
    """A TOML string: a JSON string with the delete character escaped, too."""
    return json.dumps(text, ensure_ascii=False).replace(DELETE, f"\\u{ord(DELETE):04x}")

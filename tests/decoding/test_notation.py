"""Regular expressions, JSON Schemas and grammars: what is refused, and how it is named."""

from __future__ import annotations

import json
import time

import pytest

from wenmo.decoding.constraints.notation import (
    compile_choice,
    compile_lark,
    compile_regex,
    compile_schema,
    compile_structure,
    named_characters,
    structure_of,
)
from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.types import WenmoError

LOOKAROUND = "look-around, including look-ahead and look-behind, is not supported"
REFUSED = [
    (compile_regex, "(?=a)b", f"regex: column 1: {LOOKAROUND}"),
    (compile_regex, "春(", "regex: column 2: unclosed group"),
    (compile_regex, r"a|b\b", r"regex: not supported: the word boundary \b"),
    (compile_regex, "a^b", "regex: not supported: ^ within the expression"),
    (compile_regex, r"(a)\1", "regex: column 4: backreferences are not supported"),
    (compile_lark, "start: a", 'lark: line 1, column 8: unknown name: "a"'),
    (compile_lark, 'foo: "a"', "lark: no start rule found"),
    (compile_lark, "start: A\nA: /(?=a)/", f"lark: line 2: regex: column 1: {LOOKAROUND}"),
    (compile_lark, 'root ::= "a" foo', "lark: Rule 'foo' not found"),
    (
        compile_lark,
        'start: "<a>" /<b>/ <[0]>',
        "lark: <[0]>: special tokens are not written: leave it out",
    ),
    (compile_lark, "start: T\nT: /a/ & /b/", "lark: no text is allowed: change it"),
    (compile_regex, "[a-z&&[^a-z]]", "regex: no text is allowed: change it"),
    (
        compile_lark,
        "start: x\nx[temperature=0.5]: /a+/",
        "lark: temperature= is not supported in a rule: leave it out",
    ),
]


def nested(depth: int) -> dict[str, object]:
    schema: dict[str, object] = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


SCHEMAS = [
    ({"properties": {"a/b": {"not": {}}}}, "#/properties/a~1b: not: not supported"),
    ({"items": {"if": {}, "then": {}}}, "#/items: if, then: not supported"),
    ({"$defs": {"x": {"format": "f"}}, "$ref": "#/$defs/x"}, "#/$defs/x: unknown format: f"),
    ({"items": {"pattern": "^(a", "type": "string"}}, "#/items: pattern: column 2: unclosed group"),
    ({"x-guidance": {"lenient": True}, "not": {}}, "not: not supported"),
    ({"type": "array", "uniqueItems": True}, "uniqueItems: not supported"),
    ({"minimum": 5, "maximum": 3, "type": "integer"}, "unsatisfiable schema: minimum (5) is"),
    ({"enum": []}, "unsatisfiable schema: anyOf is empty"),
    ({"$ref": "#/$defs/x"}, "pointer '/$defs/x' does not exist"),
    ({"type": "foo"}, "invalid type: foo"),
    (False, "false accepts nothing"),
    (nested(200), "nested too deeply"),
    (nested(3000), "nested too deeply"),
    (
        {"items": {"oneOf": [{"minLength": 2, "type": "string"}, {"type": "string"}]}},
        "#/items: oneOf: supported only where no value fits two of its schemas",
    ),
    (
        {"type": "object", "minProperties": 3, "required": ["a"]},
        "#: minProperties: 3 is not supported with 1 required properties",
    ),
]


@pytest.mark.parametrize(("compiler", "text", "message"), REFUSED)
def test_what_is_wrong_is_named_in_one_line(compiler, text, message):
    with pytest.raises(WenmoError) as caught:
        compiler(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(("schema", "message"), SCHEMAS, ids=[m[:30] for _, m in SCHEMAS])
def test_a_schema_part_that_is_not_supported_is_never_left_out(schema, message):
    with pytest.raises(WenmoError) as caught:
        compile_schema(schema)
    assert str(caught.value).startswith(f"json_schema: {message}")
    assert "\n" not in str(caught.value)


def test_a_text_has_one_structure():
    assert structure_of(ConstraintSettings(length="3c")) is None
    assert structure_of(ConstraintSettings(choice=("a",))) == "choice"
    with pytest.raises(WenmoError, match="regex and lark: a text has one structure"):
        structure_of(ConstraintSettings(regex="a", lark="start: x"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"json_schema": "{}", "length": "3c"}, "json_schema and length: say in the json_schema"),
        ({"lark": 'start: "a"', "require": ("a",)}, "lark and require: say in the lark itself"),
        ({"regex": "[ab]{3}", "length": "4c"}, "regex: no text of it has the length and"),
        ({"choice": ("ab", "ba"), "forbid": ("a",)}, "choice: no text of it has the length"),
        ({"regex": "[ab]*", "require": ("c|d",)}, "regex: no text of it has the length"),
    ],
)
def test_contradictions_are_found_without_a_model(settings, message):
    with pytest.raises(WenmoError) as caught:
        compile_structure(ConstraintSettings(**settings))
    assert str(caught.value).startswith(message)


def test_characters_that_are_named():
    schema = {
        "properties": {"名": {"enum": ["春", 3]}, "可": {"type": "string"}},
        "required": ["名"],
        "items": {"const": "夏"},
    }
    assert set(named_characters(ConstraintSettings(json_schema=json.dumps(schema)))) == {
        *'名春夏"3'
    }
    assert named_characters(ConstraintSettings(choice=("好", "坏好"))) == "好坏"


def test_large_schemas_are_compiled_soon():
    """Far below the bound of a tenth of a second on a free processor."""
    nested = {"type": "integer"}
    for _ in range(20):
        nested = {"type": "object", "properties": {"k": nested}, "required": ["k"]}
    started = time.perf_counter()
    compile_schema(nested)
    compile_schema({"type": "string", "minLength": 200, "maxLength": 2000})
    compile_schema({"enum": [f"第{i}" for i in range(5000)]})
    compile_choice([f"第{i}" for i in range(5000)])
    assert time.perf_counter() - started < 5

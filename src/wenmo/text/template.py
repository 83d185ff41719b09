"""Chat templates: a model's conversation format, written in Jinja.

A template comes with a model and is untrusted code. It runs in Jinja's sandbox, which blocks unsafe
attributes, and in a separate process with limits on time and memory that depend on the amount of
text.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from wenmo.types import WenmoError

Messages = Sequence[Mapping[str, str]]
"""A conversation: each message has its ``role`` (system, user or assistant) and ``content``."""

ABSENT = {"tools": None, "documents": None}
"""Template variables that are always None here, as other programs define them."""

MEMORY = 1 << 29  # bytes of the process, Python included
SECONDS = 3
MAX_CHARACTERS = 1 << 20  # of one rendered conversation
# The limits grow with the number of characters.
MEMORY_PER_CHARACTER, CHARACTERS_PER_SECOND, OUTPUT_PER_CHARACTER = 64, 1 << 18, 4


def render(
    template: str,
    conversations: Sequence[Messages],
    special_tokens: Mapping[str, str] | None = None,
    *,
    is_complete: bool = False,
    locations: Sequence[str] = (),
) -> list[str]:
    """Render each conversation with the template, up to the start of the model's turn.

    All conversations are rendered by one process.

    Args:
        template: the model's chat template.
        conversations: the conversations.
        special_tokens: special tokens by variable name, such as ``bos_token``; tokens that the
            model lacks are absent, and undefined in the template.
        is_complete: the last message is the model's turn, which is rendered to its end (default
            False).
        locations: origin of each conversation, for errors.

    Raises:
        WenmoError: the template is broken, refuses a conversation, or exceeds the limits.
    """
    if not conversations:
        return []
    variables = {**ABSENT, "add_generation_prompt": not is_complete, **(special_tokens or {})}
    request = {"template": template, "conversations": conversations, "variables": variables}
    size = sum(map(_characters, conversations))
    try:
        process = subprocess.run(
            [sys.executable, "-P", "-m", "wenmo.text.template", str(size)],
            input=json.dumps(request, default=list),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=2 * _seconds(size) + 10,
            check=False,
        )
        results = [json.loads(line) for line in process.stdout.splitlines() if line.endswith("}")]
    except subprocess.TimeoutExpired:
        results, locations = [], ()
    texts = [str(result["text"]) for result in results if "text" in result]
    if len(texts) == len(conversations):
        return texts
    error = next((result["error"] for result in results if "error" in result), None)
    location = f"{locations[len(texts)]}: " if locations else ""
    if error is None:
        raise WenmoError(
            f"{location}the model's chat template was stopped: it takes too much time or memory"
        )
    raise WenmoError(f"{location}the model's chat template cannot be used: {error}")


def _characters(messages: Messages) -> int:
    return sum(len(message["content"]) for message in messages)


def _seconds(characters: int) -> int:
    return SECONDS + characters // CHARACTERS_PER_SECOND


def _main() -> None:
    """The separate process: reads a request from standard input and prints one line per
    conversation, the last with an error if there is one, all JSON.
    """
    size = int(sys.argv[1])
    with suppress(ImportError):  # absent on Windows, where only the timeout applies
        import resource

        memory, seconds = MEMORY + MEMORY_PER_CHARACTER * size, _seconds(size)
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    try:
        for text in _render_all(**json.loads(sys.stdin.read())):
            print(json.dumps({"text": text}), flush=True)
    except MemoryError:
        print(json.dumps({"error": "it takes too much memory"}))
    except Exception as error:  # untrusted code raises anything
        reason = " ".join(f"{error or type(error).__name__}".split())[:200]
        print(json.dumps({"error": reason}))


def _render_all(
    template: str, conversations: Sequence[Messages], variables: dict[str, Any]
) -> Iterator[str]:
    """The rendered conversations."""
    from jinja2 import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """The tags with which some templates mark the model's turns for training."""

        tags = {"generation"}  # noqa: RUF012 - as in the base class

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation]
    )

    def to_json(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        """JSON without the HTML escapes of Jinja's own filter."""
        form: Any = {"indent": indent, "separators": separators, "sort_keys": sort_keys}
        return json.dumps(value, ensure_ascii=ensure_ascii, **form)

    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now(UTC).strftime(form)
    compiled = environment.from_string(template)
    for messages in conversations:
        max_size = MAX_CHARACTERS + OUTPUT_PER_CHARACTER * _characters(messages)
        text: list[str] = []
        size = 0
        for piece in compiled.generate(messages=messages, **variables):
            text.append(piece)
            size += len(piece)
            if size > max_size:
                raise TemplateError(f"it writes more than {max_size:,} characters")
        yield "".join(text)


if __name__ == "__main__":
    _main()

"""Chat templates: how a model was taught to read a conversation, in the language of Jinja.

A template comes with a model, so that it is another's program. It runs in Jinja's sandbox, where it
can reach no attribute that leads out, and in a process of its own, which may use only so much time
and memory for so much text.
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
"""What a template may ask for and no conversation here has; other programs say None, too."""

MEMORY = 1 << 29  # bytes that the process may use, Python's own among them
SECONDS = 3
MOST_CHARACTERS = 1 << 20  # of what is written for one conversation
# More is granted for each character of the conversations.
MEMORY_PER_CHARACTER, CHARACTERS_PER_SECOND, WRITTEN_PER_CHARACTER = 64, 1 << 18, 4


def render(
    template: str,
    conversations: Sequence[Messages],
    marks: Mapping[str, str] | None = None,
    *,
    answered: bool = False,
    places: Sequence[str] = (),
) -> list[str]:
    """The text that a model reads for each conversation, up to where its own turn begins.

    All are written by one process.

    Args:
        template: the model's own.
        conversations: as many as one likes.
        marks: ``bos_token``, ``eos_token`` and other marks as text; those that the model lacks are
            left out, and undefined in the template.
        answered: the last message is the model's own turn, which is written to its end.
        places: where each conversation comes from, for errors.

    Raises:
        WenmoError: the template is broken, refuses a conversation, or asks for too much.
    """
    if not conversations:
        return []
    variables = {**ABSENT, "add_generation_prompt": not answered, **(marks or {})}
    asked = {"template": template, "conversations": conversations, "variables": variables}
    size = sum(map(_characters, conversations))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "wenmo.text.template", str(size)],
            input=json.dumps(asked, default=list),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=2 * _seconds(size) + 10,
            check=False,
        )
        answers = [json.loads(line) for line in done.stdout.splitlines() if line.endswith("}")]
    except subprocess.TimeoutExpired:
        answers, places = [], ()
    texts = [str(answer["text"]) for answer in answers if "text" in answer]
    if len(texts) == len(conversations):
        return texts
    failed = next((answer["error"] for answer in answers if "error" in answer), None)
    place = f"{places[len(texts)]}: " if places else ""
    if failed is None:
        raise WenmoError(
            f"{place}the model's chat template was stopped: it takes too much time or memory"
        )
    raise WenmoError(f"{place}the model's chat template cannot be used: {failed}")


def _characters(messages: Messages) -> int:
    return sum(len(message["content"]) for message in messages)


def _seconds(characters: int) -> int:
    return SECONDS + characters // CHARACTERS_PER_SECOND


def _main() -> None:
    """The process: a request on standard input, a line for each conversation on standard output,
    the last with an error if there is one, all JSON.
    """
    size = int(sys.argv[1])
    with suppress(ImportError):  # Windows has no such limits; the time is bounded there, too
        import resource

        memory, seconds = MEMORY + MEMORY_PER_CHARACTER * size, _seconds(size)
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    try:
        for text in _written(**json.loads(sys.stdin.read())):
            print(json.dumps({"text": text}), flush=True)
    except MemoryError:
        print(json.dumps({"error": "it takes too much memory"}))
    except Exception as error:  # whatever another's program ends with
        reason = " ".join(f"{error or type(error).__name__}".split())[:200]
        print(json.dumps({"error": reason}))


def _written(
    template: str, conversations: Sequence[Messages], variables: dict[str, Any]
) -> Iterator[str]:
    from jinja2 import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """The tags around what the model writes, by which some templates tell it to trainers."""

        tags = {"generation"}  # noqa: RUF012 - as the class above has it

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
        """Without the escapes that Jinja's own filter makes for HTML."""
        form: Any = {"indent": indent, "separators": separators, "sort_keys": sort_keys}
        return json.dumps(value, ensure_ascii=ensure_ascii, **form)

    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now(UTC).strftime(form)
    compiled = environment.from_string(template)
    for messages in conversations:
        most = MOST_CHARACTERS + WRITTEN_PER_CHARACTER * _characters(messages)
        text: list[str] = []
        size = 0
        for piece in compiled.generate(messages=messages, **variables):
            text.append(piece)
            size += len(piece)
            if size > most:
                raise TemplateError(f"it writes more than {most:,} characters")
        yield "".join(text)


if __name__ == "__main__":
    _main()

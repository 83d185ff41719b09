"""Chat templates: how a model was taught to read a conversation, in the language of Jinja.

A template comes with a model, so that it is another's program. It runs in Jinja's sandbox, where it
can reach no attribute that leads out, and in a process of its own, which may use only so much time
and memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from wenmo.types import WenmoError

MEMORY = 1 << 29  # bytes that the process may use, Python's own among them
SECONDS = 3
MOST_CHARACTERS = 1 << 20


def render(
    template: str, messages: Sequence[Mapping[str, str]], marks: Mapping[str, str] | None = None
) -> str:
    """The text that a model reads for a conversation, up to where its own turn begins.

    Args:
        template: the model's own.
        messages: each with its ``role`` (system, user or assistant) and ``content``.
        marks: ``bos_token`` and ``eos_token`` as text.

    Raises:
        WenmoError: the template is broken, refuses the conversation, or asks for too much.
    """
    asked = {"template": template, "messages": list(messages), "marks": dict(marks or {})}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "wenmo.text.template"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=2 * SECONDS + 10,
            check=False,
        )
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        raise WenmoError(
            "the model's chat template was stopped: it takes too much time or memory"
        ) from None
    if "error" in answer:
        raise WenmoError(f"the model's chat template cannot be used: {answer['error']}")
    return str(answer["text"])


def _main() -> None:
    """The process: a request on standard input, an answer on standard output, both JSON."""
    asked = json.loads(sys.stdin.read())
    with suppress(ImportError):  # Windows has no such limits; the time is bounded there, too
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    try:
        answer = {"text": _written(asked["template"], asked["messages"], asked["marks"])}
    except MemoryError:
        answer = {"error": "it takes too much memory"}
    except Exception as error:  # whatever another's program ends with
        answer = {"error": " ".join(f"{error or type(error).__name__}".split())[:200]}
    print(json.dumps(answer))


def _written(template: str, messages: list[dict[str, str]], marks: dict[str, str]) -> str:
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now(UTC).strftime(form)
    rest: dict[str, Any] = {"add_generation_prompt": True, **marks}
    text: list[str] = []
    size = 0
    for piece in environment.from_string(template).generate(messages=messages, **rest):
        text.append(piece)
        size += len(piece)
        if size > MOST_CHARACTERS:
            raise TemplateError(f"it writes more than {MOST_CHARACTERS:,} characters")
    return "".join(text)


if __name__ == "__main__":
    _main()

"""Chat templates: rendering, limits and sandbox."""

from __future__ import annotations

import pytest

from wenmo.text.template import render
from wenmo.types import WenmoError

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe kind<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TALK = [{"role": "user", "content": "你好"}]


def test_conversation_is_rendered() -> None:
    head = "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\n你好<|im_end|>\n"
    assert render(CHATML, [TALK]) == [f"{head}<|im_start|>assistant\n"]
    replied = [*TALK, {"role": "assistant", "content": "Hello"}]
    both = [f"{head}<|im_start|>assistant\nHello<|im_end|>\n"] * 2
    assert render(CHATML, [replied, replied], is_complete=True) == both
    template = "{{ bos_token }}{% generation %}{{ messages[0].content }}{% endgeneration %}"
    assert render(template, [TALK], {"bos_token": "<s>"}) == ["<s>你好"]
    assert render(template, []) == []


def test_template_has_variables_of_other_programs() -> None:
    asked = (
        "{% if tools is not none %}{{ tools | tojson }}{% endif %}"
        "{% if documents is not none %}{{ documents | tojson }}{% endif %}"
        "{% if bos_token is defined %}{{ bos_token }}{% endif %}{{ messages | tojson }}"
    )
    talk = [{"role": "user", "content": "<你好> & 'so'"}]
    written = '[{"role": "user", "content": "<你好> & \'so\'"}]'
    assert render(asked, [talk]) == [written]
    assert render(asked, [talk], {"bos_token": "<s>"}) == ["<s>" + written]
    spaced = "{{ messages[0] | tojson(indent=2, sort_keys=true) }}"
    assert render(spaced, [TALK]) == ['{\n  "content": "你好",\n  "role": "user"\n}']


def test_limits_grow_with_conversations() -> None:
    content = "长" * 3_000_000  # more than a short one may write
    [written] = render("{{ messages[0].content }}", [[{"role": "user", "content": content}]])
    assert written == content
    with pytest.raises(WenmoError, match="writes more than"):
        render(
            "{% for n in range(6) %}{{ messages[0].content }}{% endfor %}" * 2,
            [[{"role": "user", "content": content}]],
        )


@pytest.mark.parametrize(
    ("template", "match"),
    [
        ("{% if 'bad' in messages[0].content %}{{ raise_exception('no') }}{% endif %}", "used: no"),
        ("{% if 'bad' in messages[0].content %}{{ 'a'.ljust(10 ** 10) }}{% endif %}", "memory"),
    ],
)
def test_error_names_the_conversation(template: str, match: str) -> None:
    talks = [[{"role": "user", "content": content}] for content in ("good", "good", "bad", "good")]
    places = [f"talks.jsonl:{number}" for number in range(1, 5)]
    with pytest.raises(WenmoError, match=f"^talks.jsonl:3: the model's chat template .*{match}"):
        render(template, talks, locations=places)


@pytest.mark.parametrize(
    "harm",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{{ 'a' * 60000 }}{% endfor %}",
        "{{ 'a' * 10 ** 10 }}",
        "{{ ('a' * 60000) * 60000 }}",
        "{{ [0] * 100000000 }}",
        "{{ 10 ** (10 ** 10) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{{ 'a' | center(1000000000) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{{ raise_exception('no system turns') }}",
        "{% set _ = messages.append(1) %}",
        "{{ nothing.there.at_all }}",
        "{% for %}",
        "{{ 1 / 0 }}",
        "{% set a = namespace(t='ab') %}"
        "{% for i in range(60) %}{% set a.t = a.t ~ a.t %}{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
    ],
)
def test_harmful_templates_are_stopped(harm: str) -> None:
    with pytest.raises(WenmoError, match="chat template") as error:
        render(harm, [TALK])
    assert "\n" not in str(error.value)

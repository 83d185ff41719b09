"""Chat templates say what they should, and can do no harm."""

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


def test_a_conversation_is_written_out() -> None:
    assert render(CHATML, [TALK]) == [(
        "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\n你好<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert (
        render("{{ bos_token }}{{ messages[0].content }}", TALK, {"bos_token": "<s>"}) == "<s>你好"
    )


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
def test_harm_is_stopped_in_one_line(harm: str) -> None:
    with pytest.raises(WenmoError, match="chat template") as error:
        render(harm, TALK)
    assert "\n" not in str(error.value)

"""The sample that is shown after an evaluation tells something."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from wenmo.decoding.params import Sampling
from wenmo.pipeline.datasets import MOST_SHOWN, SHOWN, with_shown


@dataclass(frozen=True)
class Written:
    text: str

    @property
    def ids(self) -> list[int]:
        return [ord(character) for character in self.text]


class Scripted:
    """Writes given texts, in order."""

    def __init__(self, *lengths: int) -> None:
        self.lengths = lengths

    def generate(self, prompts: list[str], sampling: Sampling, n: int) -> list[list[Written]]:
        lengths = [self.lengths[number % len(self.lengths)] for number in range(n)]
        return [[Written(f"{chr(97 + i)}" * length) for i, length in enumerate(lengths)]]


@pytest.mark.parametrize(
    ("lengths", "texts", "shown"),
    [
        ((SHOWN, 90), 1, "a" * SHOWN),
        ((1, 30, 90), 1, "b" * 30),  # the first would tell nothing
        ((1, 90), MOST_SHOWN, "b" * 90),
        ((1, 9, 3), 1, "b" * 9),  # no text is longer
    ],
)
def test_a_text_that_tells_something_is_shown(
    lengths: tuple[int, ...], texts: int, shown: str
) -> None:
    writer = Scripted(*lengths)
    found, outputs = with_shown(writer, "", Sampling(max_tokens=160), texts)  # type: ignore[arg-type]
    assert found == shown
    assert [len(output.ids) for output in outputs] == [
        lengths[number % len(lengths)] for number in range(texts)
    ]


def test_a_short_sample_is_shown_where_only_that_is_asked_for() -> None:
    found, _ = with_shown(Scripted(5, 90), "", Sampling(max_tokens=5), 1)  # type: ignore[arg-type]
    assert found == "aaaaa"

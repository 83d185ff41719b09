"""An independent judge of 五绝, 七绝, 五律 and 七律: no code and no table of `wenmo.verse`.

    python benchmarks/chinese_checker.py 七绝 poems.txt     # one poem a line

Readings are those of 广韵 (1008), from the package tshet-uinh; the groups of 平水韵 are unions of
its 206 rhymes, those that examinations let rhyme with each other (同用). The rules are those of
王力, 《诗词格律》, written as tests on tones, not as patterns. A character with two tones has
either, one that 广韵 lacks has any; so does its rhyme.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

MERGED = (
    "东 冬钟 江 支脂之 微 鱼 虞模 齐祭 佳皆 灰咍 真谆臻 文殷 元魂痕 寒桓 删山 先仙 萧宵 肴 豪 "
    "歌戈 麻 阳唐 庚耕清 青 蒸登 尤侯幽 侵 覃谈 盐添严 咸衔凡"
)
LENGTHS = {"五绝": (4, 5), "七绝": (4, 7), "五律": (8, 5), "七律": (8, 7)}
LEVEL, OBLIQUE = "平", "仄"


@cache
def readings() -> dict[str, set[tuple[str, str]]]:
    """Tones and rhymes, (平 or 仄, group), of traditional and simplified characters."""
    from opencc import OpenCC
    from tshet_uinh import 資料

    simplify = OpenCC("t2s").convert
    groups = {rhyme: group[0] for group in MERGED.split() for rhyme in group}
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for place in 資料.iter音韻地位():
        rhyme = simplify(place.韻)
        reading = (LEVEL if place.聲 == "平" else OBLIQUE, groups.get(rhyme, rhyme))
        for entry in 資料.query音韻地位(place):
            for character in (entry.字頭, simplify(entry.字頭)):
                found[character].add(reading)
    return found


def tones(character: str) -> set[str]:
    """The tones of a character; both if 广韵 lacks it."""
    return {tone for tone, _ in readings().get(character, ())} or {LEVEL, OBLIQUE}


def rhymes(character: str) -> set[str] | None:
    """The 平 groups of a character; None if 广韵 lacks it."""
    known = readings().get(character)
    return None if known is None else {group for tone, group in known if tone == LEVEL}


def judge(form: str, lines: Sequence[str]) -> list[str]:
    """The faults of a poem under the best of the four orders of lines; none: it is valid."""
    count, length = LENGTHS[form]
    if [len(line) for line in lines] != [length] * count:
        return ["form"]
    orders = [
        _faults(lines, *start) for start in ((s, r) for s in (LEVEL, OBLIQUE) for r in (0, 1))
    ]
    return min(orders, key=len) + _rhyme_faults(lines)


def _faults(lines: Sequence[str], second: str, first_rhymes: int) -> list[str]:
    """The faults of the tones where the second character of line 1 has a tone (平起, 仄起)."""
    faults = []
    broken = False  # the line before was 大拗
    for number, line in enumerate(lines):
        # 对 within a couplet, 粘 between couplets: the second characters go 1 2 2 1 1 2 2 1.
        own = second if number % 4 in (0, 3) else _other(second)
        level_end = number % 2 == 1 or (number == 0 and first_rhymes == 1)
        kinds = list(_kinds(line, own, level_end))
        if broken and "mends" not in kinds:
            faults.append(f"{number + 1}: 拗")
        if not kinds:
            faults.append(f"{number + 1}")
        broken = bool(kinds) and all(kind == "breaks" for kind in kinds)
    return faults


def _kinds(line: str, second: str, level_end: bool) -> Iterator[str]:
    """How a line is allowed: regular, breaks (大拗), mends (平 at the third of five)."""
    if len(line) == 7:  # two characters of the other tone before; the first of them is free
        if second not in tones(line[1]):
            return
        line, second = line[2:], _other(second)
    have = [tones(character) for character in line]

    def fits(*wanted: str) -> bool:
        return all(tone == "*" or tone in own for tone, own in zip(wanted, have, strict=True))

    free = len(line) == 5
    if not level_end and second == OBLIQUE:  # 仄仄平平仄, 小拗 at the third
        if fits("*", "仄", "*", "平", "仄"):
            yield "regular"
        if fits("*", "仄", "*", "仄", "仄"):
            yield "breaks"
    elif not level_end:  # 平平平仄仄, 特拗 平平仄平仄, 三仄尾
        if fits("*", "平", "平", "仄", "仄") or fits("平", "平", "仄", "平", "仄"):
            yield "regular"
        if free and fits("*", "平", "仄", "仄", "仄"):
            yield "loose"
    elif second == OBLIQUE:  # 仄仄仄平平; 仄仄平平平 would be 三平尾
        if fits("*", "仄", "仄", "平", "平"):
            yield "regular"
    else:  # 平平仄仄平; 仄平仄仄平 would be 孤平, 仄平平仄平 is mended
        if fits("平", "平", "仄", "仄", "平"):
            yield "regular"
        if fits("*", "平", "平", "仄", "平"):
            yield "mends"


def _rhyme_faults(lines: Sequence[str]) -> list[str]:
    ends = [line[-1] for line in lines[1::2]]
    if _must_rhyme(lines[0]):
        ends.append(lines[0][-1])
    if len(set(ends)) < len(ends):
        return ["rhyme repeated"]
    groups = [each for end in ends if (each := rhymes(end)) is not None]
    return [] if not groups or set.intersection(*groups) else ["rhyme"]


def group_of(lines: Sequence[str]) -> str | None:
    """The group that the even lines rhyme with; None if there is none."""
    groups = [rhymes(line[-1]) or set() for line in lines[1::2]]
    return min(set.intersection(*groups), default=None)


def _must_rhyme(line: str) -> bool:
    return tones(line[-1]) == {LEVEL}


def _other(tone: str) -> str:
    return OBLIQUE if tone == LEVEL else LEVEL


def split(text: str) -> list[str]:
    """The lines of a poem, with or without punctuation."""
    return "".join(c if c.isalnum() else " " for c in text).split()


if __name__ == "__main__":
    form, path = sys.argv[1:]
    for poem in Path(path).read_text(encoding="utf-8").strip().split("\n"):
        print(judge(form, split(poem)) or "valid", poem[:30])

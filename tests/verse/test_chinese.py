"""Chinese verse: what the forms accept, and that what is written is what they accept."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from wenmo.types import WenmoError
from wenmo.verse.checking import check_file, split_texts
from wenmo.verse.chinese_automaton import ChineseAutomaton
from wenmo.verse.chinese_check import check_poem
from wenmo.verse.form import Form, form_names, load_form
from wenmo.verse.rhyme_books import CILIN, LEVEL, OBLIQUE, Reading, load_book

REGULATED = ["五绝", "七绝", "五律", "七律"]
CI = ["浣溪沙", "菩萨蛮", "忆江南", "卜算子", "如梦令", "清平乐", "西江月", "鹧鸪天"]
with (Path(__file__).parent / "poems.tsv").open(encoding="utf-8") as file:
    ROWS = list(csv.DictReader(file, delimiter="\t"))
POEMS = {row["title"]: (row["form"], row["text"]) for row in ROWS if row["form"] in REGULATED}
SONGS = {row["form"]: row["text"] for row in ROWS if row["form"] in CI}
VALID = {row["title"] for row in ROWS if row["verdict"] == "valid"}
HAN = frozenset("".join(text for _, text in POEMS.values()) + "".join(SONGS.values()))


def lines_of(text: str) -> list[str]:
    return text.replace("，", "。").split("。")[:-1]


def write(automaton: ChineseAutomaton, seed: int) -> str:
    """A text that is drawn character by character."""
    chance, state, text = random.Random(seed), automaton.draw(seed), ""
    while not automaton.may_end(state):
        least, most = automaton.remaining(state)
        characters = automaton.allowed(state).characters
        assert characters, f"dead end after {text!r}"
        character = chance.choice(sorted(characters))
        state, text = automaton.advance(state, character), text + character
        after = automaton.remaining(state)
        assert least - 1 <= after[0] <= after[1] <= most - 1
    assert automaton.remaining(state)[0] == 0
    return text


@pytest.fixture(scope="module")
def alphabet() -> frozenset[str]:
    """Every fifth character of 平水韵, those of the poems above, and marks."""
    return frozenset(sorted(load_book("pingshui").readings)[::5]) | HAN | {"\n"}


# -- checking --------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", POEMS)
def test_known_poems(title: str) -> None:
    form, text = POEMS[title]
    verdict = load_form(form).check(text)
    assert (verdict.valid, not verdict.reasons) == (title in VALID, title in VALID)
    for layout in (text.replace("，", "").replace("。", ""), "\n".join(lines_of(text))):
        assert load_form(form).check(layout) == verdict


@pytest.mark.parametrize("title", CI)
def test_known_songs(title: str) -> None:
    assert load_form(title).check(SONGS[title]).valid


@pytest.mark.parametrize(
    ("title", "old", "new", "reason"),
    [
        ("登鹳雀楼", "黄河入海流", "大河入海流", "line 2: 孤平"),
        ("登鹳雀楼", "更上一层楼", "更上高层楼", "line 4: 三平尾"),
        ("登鹳雀楼", "楼", "流", "line 4: 流 rhymes with itself in line 2"),
        ("登鹳雀楼", "楼", "天", "line 4: 天 (下平声一先) does not rhyme with 下平声十一尤"),
        ("登鹳雀楼", "白日依山尽", "白日依山", "line 1: 4 characters, not 5"),
        ("登鹳雀楼", "白日依山尽，", "", "3 lines with 15 characters, not 4 lines with 20"),
        ("登鹳雀楼", "白日依山尽", "白日依天涯", "line 1: 涯"),
        ("咸阳城东楼", "山雨欲来风满楼", "山雨欲来雨满楼", "line 4: 孤平"),
        ("咸阳城东楼", "溪云初起日沉阁", "溪云初起日落阁", ""),
        ("送元二使安西", "", "", "line 3: 失粘 with line 2, character 2"),
        ("春晓", "", "", "line 2, character 5: 鸟 is 仄, not 平"),
    ],
)
def test_a_fault_has_its_reason(title: str, old: str, new: str, reason: str) -> None:
    form, text = POEMS[title]
    verdict = load_form(form).check(text.replace(old, new))
    if reason:
        assert any(each.startswith(reason) for each in verdict.reasons), verdict
    else:
        assert verdict.valid


def test_a_broken_line_must_be_mended() -> None:
    """此 is 仄 where 平 belongs (拗); the third character of the next line must be 平 (救)."""
    text = POEMS["登鹳雀楼"][1].replace("白日依山尽", "白日依此尽")
    verdict = load_form("五绝").check(text)
    assert verdict.reasons == ["line 1: 拗, and the next line has no 救"]
    assert load_form("五绝").check(text.replace("黄河入海流", "黄河归海流")).valid


def test_a_first_line_may_borrow_its_rhyme_and_loose_tones_are_warned_of() -> None:
    form, text = POEMS["枫桥夜泊"]
    verdict = load_form(form).check(text.replace("霜满天", "霜满山"))
    assert verdict.valid
    assert verdict.warnings[0].startswith("line 1: 山 rhymes with a neighbouring group")
    loose = load_form("五绝").check(POEMS["相思"][1].replace("愿君多采撷", "愿君独采撷"))
    assert (loose.valid, loose.warnings) == (
        True,
        ["line 3: 中平仄仄仄 is accepted by loose rules"],
    )


def test_an_unknown_character_has_any_tone_and_is_warned_of() -> None:
    verdict = load_form("五绝").check(POEMS["相思"][1].replace("红", "咖"))
    assert (verdict.valid, verdict.warnings) == (
        True,
        ["not in the rhyme book, any tone is accepted: 咖"],
    )


def test_a_repeated_line_is_repeated() -> None:
    verdict = load_form("如梦令").check(SONGS["如梦令"].replace("知否？知否？", "知否？谁否？"))
    assert "line 6: does not repeat line 5" in verdict.reasons


# -- rhyme books -----------------------------------------------------------------------------------


def test_simplified_characters_have_the_readings_of_all_that_they_stand_for() -> None:
    book = load_book("pingshui")
    assert book.groups("后", OBLIQUE) == {"上声二十五有", "去声二十六宥"}  # 后, 後
    assert book.groups("发", OBLIQUE) == {"入声六月"}  # 發, 髮
    assert book.groups("里", OBLIQUE) == {"上声四纸", "去声四寘"}
    assert book.groups("啼", LEVEL) == {"上平声八齐"}
    assert book.tones("白") == {OBLIQUE}  # 入声, whatever it is now
    assert load_book("xinyun").tones("白") == {LEVEL}
    assert {each.tone for each in book.readings["先"]} == {LEVEL, OBLIQUE}
    assert len({each.group for all_ in book.readings.values() for each in all_}) == 106


def test_classes_of_cilin_hold_every_group_and_halve_some() -> None:
    groups = {each.group for all_ in load_book("pingshui").readings.values() for each in all_}
    assert Counter("".join(CILIN).replace(" ", "")).keys() == {group[-1] for group in groups}
    book = load_book("cilin")
    for character, number in {
        "灰": 3,
        "开": 5,
        "门": 6,
        "言": 7,
        "街": 5,
        "佳": 10,
        "月": 18,
    }.items():
        tone = OBLIQUE if character == "月" else LEVEL
        assert f"第{number}部" in book.groups(character, tone), character


@pytest.mark.parametrize(
    ("character", "reading"),
    [
        ("诗", "平支"),
        ("月", "仄皆"),
        ("女", "仄齐"),
        ("中", "平庚"),
        ("儿", "平齐"),
        ("元", "平寒"),
    ],
)
def test_modern_readings(character: str, reading: str) -> None:
    assert Reading(*reading) in load_book("xinyun").readings[character]


# -- writing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*REGULATED, *CI])
def test_what_is_written_is_valid_without_warnings(name: str, alphabet: frozenset[str]) -> None:
    form = load_form(name)
    automaton = form.automaton(alphabet)
    assert isinstance(automaton, ChineseAutomaton)
    texts = [write(automaton, seed) for seed in range(6)]
    verdicts = [form.check(text) for text in texts]
    assert [each.to_dict() for each in verdicts] == [{"valid": True, "reasons": []}] * 6
    assert len(set(texts)) == 6


@pytest.mark.parametrize("title", POEMS)
def test_a_poem_that_is_given_is_accepted_if_valid(title: str, alphabet: frozenset[str]) -> None:
    """Whole, and without its end, in several layouts."""
    name, text = POEMS[title]
    form = load_form(name)
    for layout in (text, text.replace("。", "。\n").strip(), "\n".join(lines_of(text))):
        if title in VALID:
            whole: Any = form.automaton(alphabet | set("，。"), beginning=layout)
            assert whole.may_end(whole.start)
            begun: Any = form.automaton(alphabet | set("，。"), beginning=layout[:-7])
            assert form.check(layout[:-7] + write(begun, 1)).valid
        else:
            with pytest.raises(WenmoError, match=f"{name}: no (tone pattern|rhyme group)"):
                form.automaton(alphabet | set("，。"), beginning=layout)


def test_a_form_may_have_lines_without_tones_and_rhymes(tmp_path: Path) -> None:
    path = tmp_path / "lines.toml"
    path.write_text('language = "zh"\npattern = """\n中中中\n中中中中\n"""\n', "utf-8")
    text = write(load_form(path).automaton(HAN | {"\n"}), 1)
    assert [len(line) for line in text.split("\n")] == [3, 4]
    assert load_form(path).check(text).valid


def test_a_character_is_written_in_its_commonest_reading() -> None:
    book = load_book("pingshui")
    assert book.tones("龙") == {LEVEL, OBLIQUE}  # as 仄 for 宠, in one old book
    assert book.written_tones("龙") == {LEVEL}
    assert book.written_tones("白") == book.tones("白") == {OBLIQUE}


def test_given_characters_are_kept(alphabet: frozenset[str]) -> None:
    form = load_form("五绝")
    fixed = {(line, 0): each for line, each in enumerate("春夏秋冬")} | {(3, -1): "楼"}
    automaton: Any = form.automaton(alphabet | set("夏冬"), fixed=fixed)
    for seed in range(8):
        text = write(automaton, seed)
        lines = [each for each in text.replace("，", "\n").replace("。", "\n").split("\n") if each]
        assert [each[0] for each in lines] == list("春夏秋冬")
        assert lines[3][-1] == "楼"
        assert form.check(text).valid


@pytest.mark.parametrize(
    ("fixed", "characters", "message"),
    [
        ({(1, -1): "人", (3, -1): "东"}, "", "五绝: no rhyme group of pingshui has 2 characters"),
        ({(1, -1): "月"}, "", "五绝: no tone pattern of the form has the given characters 月"),
        ({(4, 0): "月"}, "", "五绝: has 4 lines, not 5"),
        ({(0, 5): "月"}, "", "五绝: line 1 has 5 characters"),
        ({}, "abc", "五绝: the model writes too few Chinese characters of both tones"),
        ({}, "天人月日", "五绝: needs 2 rhymes of one group, and no group of pingshui"),
    ],
)
def test_what_is_impossible_has_its_reason(
    fixed: dict[tuple[int, int], str],
    characters: str,
    message: str,
    alphabet: frozenset[str],
) -> None:
    with pytest.raises(WenmoError) as error:
        load_form("五绝").automaton(frozenset(characters) or alphabet, fixed=fixed)
    assert str(error.value).startswith(message)


def test_draws_follow_frequencies_and_leave_out_poor_groups(alphabet: frozenset[str]) -> None:
    automaton: Any = load_form("七律").automaton(alphabet)
    plans = [automaton.draw(seed).plan for seed in range(500)]
    patterns = Counter(plan.pattern for plan in plans)
    assert patterns.most_common(1)[0][0] == [p.name for p in automaton.patterns].index("ABbAaBbA")
    assert not {group[-1] for plan in plans for _, group in plan.groups} & set("江咸")


# -- couplets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("明月松间照，清泉石上流。", []),
        ("无边落木萧萧下\n不尽长江滚滚来", []),
        ("明月松间照，清泉石上", ["line 2: 4 characters, not 5"]),
        ("明月松间照", ["1 lines, not 2"]),
        (
            "清泉石上流，明月松间照",
            ["line 1, character 5: 流 is not 仄", "line 2, character 5: 照 is not 平"],
        ),
        (
            "明月松间照，清夜石中明",
            [
                "line 2, character 2: 夜 is 仄 as 月 above it",
                "line 2, character 5: 明 is in line 1, too",
            ],
        ),
    ],
)
def test_couplets(text: str, reasons: list[str]) -> None:
    found = load_form("couplet").check(text).reasons
    assert [each for each in reasons if each not in found] == []
    assert bool(found) == bool(reasons)


def test_couplets_are_written_alone_and_as_answers(alphabet: frozenset[str]) -> None:
    form = load_form("对联")
    for seed in range(4):
        text = write(form.automaton(alphabet), seed)  # type: ignore[arg-type]
        assert form.check(text).valid
        first = "春风大雅能容物\n"
        answer: Any = form.automaton(alphabet | set(first), beginning=first)
        assert form.check(first + write(answer, seed)).valid


# -- files -----------------------------------------------------------------------------------------


def test_a_song_of_ones_own_in_ten_lines(tmp_path: Path) -> None:
    path = tmp_path / "捣练子.toml"
    path.write_text(
        'language = "zh"\nrhyme_book = "cilin"\npattern = """\n平仄仄，\n仄平平 A。\n'
        '中仄平平中仄平 A。\n中仄中平平仄仄，\n中平中仄仄平平 A。\n"""\n',
        "utf-8",
    )
    song = "深院静，小庭空。断续寒砧断续风。无奈夜长人不寐，数声和月到帘栊。"
    assert load_form(path).check(song).valid
    assert load_form(path).check(write(load_form(path).automaton(HAN | {"\n"}), 3)).valid


@pytest.mark.parametrize("name", form_names())
def test_every_form_loads(name: str) -> None:
    form: Form = load_form(name)
    assert form.name == name


ONE, OTHER = POEMS["登鹳雀楼"][1], POEMS["相思"][1]


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (f"{ONE}\n{OTHER}\n", [ONE, OTHER]),
        (f"{ONE}\n\n{OTHER}", [ONE, OTHER]),
        ("\n".join(ONE.split("，")), ["\n".join(ONE.split("，"))]),
        (json.dumps({"lines": ["a", "b"]}) + "\n" + json.dumps(OTHER), ["a\nb", OTHER]),
        (json.dumps({"seed": 1, "outputs": [{"text": ONE}, {"text": OTHER}]}), [ONE, OTHER]),
    ],
)
def test_texts_of_a_file(content: str, texts: list[str]) -> None:
    assert list(split_texts(load_form("五绝"), content)) == texts


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "poems.jsonl"
    path.write_text('{"lines": ["白"]}\n{"title": "x"}\n', "utf-8")
    with pytest.raises(WenmoError, match=r"poems.jsonl:2: no poem: give a string or a field"):
        check_file("五绝", path)
    path.write_text("\n", "utf-8")
    with pytest.raises(WenmoError, match=r"poems.jsonl: has no texts"):
        check_file("五绝", path)
    rules = load_form("五绝").rules  # type: ignore[attr-defined]
    assert not check_poem("", rules).valid

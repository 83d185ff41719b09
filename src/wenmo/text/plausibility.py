"""How plausible a text is: the cost in nats of its characters in the writing that fits it best.

Each writing is a rough model of single characters, made from the tables of the standards and from
what is common in a language. The costs only have to tell right decodings of a text from wrong ones.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise

ASCII = 3.0
"""The cost of a letter, digit or mark of ASCII in any writing."""

NUL = 8.0
"""The cost of a NUL, which some programs leave in a text."""

RARE, STRANGE, BROKEN = 11.5, 15.0, 18.0
"""The cost of a letter of another language, of another script, and of what is no character."""

# The common characters of Chinese: modern prose, then verse.
COMMON = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里"
    "用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实"
    "日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政"
    "美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水"
    "名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期"
    "市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路"
    "春花风云雨夜秋江月青红孤独君客归流水深雪烟草木林鸟酒梦愁泪故寒落玉清楼城江松竹柳石琴舟霜露啼宿晚朝暮"
)
VERSE = (
    "吾汝尔乎兮矣哉焉岂亦遂犹忽欲复岁尽余若万千百里古今闻谁几枝叶飞远近寂尘客怀悲欢晓觉眠少多知处"
)
TRADITIONAL = (
    "这這个個们們来來为為国國说說时時会會对對过過发發后後里裡种種学學现現当當没沒动動还還进進样樣开開"
    "从從实實军軍无無与與长長机機关關点點业業将將两兩间間问問并並应應战戰头頭体體见見产產话話给給门門"
    "员員东東声聲义義几幾认認条條系系气氣题題尔爾别別变變总總电電数數报報结結务務场場计計资資许許统統"
    "区區队隊决決马馬书書则則听聽达達强強难難权權万萬设設云雲风風独獨归歸烟煙鸟鳥梦夢泪淚楼樓岂豈犹猶"
    "岁歲尽盡余餘闻聞谁誰叶葉飞飛远遠尘塵怀懷悲悲欢歡晓曉觉覺处處红紅清清么麼里裏着著经經论論解解"
)
CHINESE_MARKS = "，。、；：？！“”‘’（）《》〈〉…—·【】「」『』　～"
HIRAGANA = (
    "のにはをたがでてとしいるなれかっまうこもらりさすよくけあきせどんそつみえわちおめろだ"
    "じげやひふほねばびぎごぐずぞへむゆぬべぼぜづでぶぱぴぷぺぽゃゅょぁぃぅぇぉ"
)
KATAKANA = (
    "ーンスルトリアイラドクシッタレジフロテマカサプコムニメグバキブデオパウャナュネセソチ"
    "ダツビピワハノヒミモエホガギゴズケベボユザヘポペヨゲヌァィェォョ"
)
KOREAN = (
    "이다는을에의가고하지은를로한사기리도어대인자시아해서나들그일게있수정것부보면제장주었으여전스라구상"
    "성원만과등비적국니안미명동관위문진계조경유물공학현할때연생각말년오선회소신실세간용당행치방모개화내중"
)

# Letters of a language beyond ASCII, the most frequent first.
LATIN = {
    "German": "üäößé",
    "French": "éèàêçâùîôûëïœæ’«»",
    "Spanish": "óíáéñúü¿¡",
    "Portuguese": "ãáéçíóêõâúàôü",
    "Italian": "àèéùòì’",
    "Catalan": "àéèíòóçúïü·",
    "Dutch": "ëéïèö",
    "Swedish or Finnish": "äöåé",
    "Danish or Norwegian": "åøæéòô",
    "Icelandic": "áðíéöúóþæý",
    "Irish": "áéíóú",
    "Polish": "łężąóśćńź",
    "Czech": "íáéěýžčšřůúťňóď",
    "Slovak": "áíéčťšžúýľňóďäôĺŕ",
    "Hungarian": "áéöóőíüúű",
    "Romanian": "ăîâşţșț",
    "Croatian or Slovene": "čšžćđ",
    "Turkish": "ışğüöçâîû",
    "Lithuanian": "ėžšįųčūęą",
    "Latvian": "āīšēņļūžčķģ",
    "Estonian": "õäüöšž",
    "Vietnamese": "đâôêàươảếấăươạệộ\u0301\u0300\u0323\u0309\u0303áãèéóòìíúùý",
    "English": "é’",
}
LATIN_SHARE = 0.05
"""The share of such letters in a text."""

WORDS = {
    "German": "der die das und in ein eine einem einen mit auf von ist nicht zu",
    "French": "de la le les un une et en des du sur dans avec est que qui il au",
    "Spanish": "de la el en un una que con los las es por se del al",
    "Portuguese": "de um uma com em que os as do da no na se por",
    "Italian": "di un una il che con in la le per del non si",
    "Catalan": "de la el un una amb els les que en del",
    "Dutch": "de een van het en in op met is niet",
    "Swedish or Finnish": "en och som att det den med ett ja on ei se",
    "Danish or Norwegian": "en og det er at som med et den til",
    "Icelandic": "og er sem var hann en um",
    "Irish": "an na ag ar agus ach",
    "Polish": "na do nie to jest przy gdy za od po jak",
    "Czech": "na se je do ale za po jak to",
    "Slovak": "na sa je do ale za po ako to",
    "Hungarian": "az egy nem is hogy de meg volt",
    "Romanian": "de un cu la pe din care nu este",
    "Croatian or Slovene": "je na se da za in ne od kao",
    "Turkish": "bir ve bu da de ile ne",
    "Lithuanian": "ir yra kad su iki",
    "Latvian": "un ir ar no par kas",
    "Estonian": "ja on ei et see ka",
    "Vietnamese": "cho trong khi anh nh",
    "English": "the of and to in is was for that with",
}
"""Short words of a language that are all ASCII."""

ALPHABETS = {
    "Russian": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё",
    "Ukrainian": "оанивітерслкудмпязьбгчйхжїцшюєщфґ",
    "Belarusian": "анаеіктрсылвмдяпузгоўьбчцжшхёюйэф",
    "Bulgarian": "аиоентсрвлкдпмзгъбячуцжхщйшюфь",
    "Serbian": "аоиенрсјтвукдпмлзгбштчцњжљхћђфџ",
    "Greek": "αοιετσνηυρπκμλςωάίέγδθόήχφύβώξζψϊΐϋΰ",
    "Hebrew": "יוהלאתרבמשנםדכחעפקטגסזצןךףץ",
    "Arabic": "اليمونرتبةعدسفهكقحجشطصخىأإذضزثئغءظآؤ،؛؟",
    "Persian": "اینردهمتبوسکشلزگعخفقجحپصطچذضغثظژئآءكيى،؛؟",
    "Thai": "านรอกเง่มยลว้ดทัตสิะปบคหีแจ์พชุำขใไโ็ผูึถซธศณฟญภษึืษฐฒฝฎฉฮฬฌๆฯ๐๑๒๓๔๕๖๗๘๙",
}
SYMBOLS = "“”‘’„–—…«»°§£€±²³µ×½•·©®™"
"""Marks that any language may hold."""

NO_SPACES = ("Han", "Kana", "Hangul")
SCRIPTS = (
    (0x24F, "Latin"),
    (0x36F, ""),
    (0x3FF, "Greek"),
    (0x52F, "Cyrillic"),
    (0x58F, "Armenian"),
    (0x5FF, "Hebrew"),
    (0x77F, "Arabic"),
    (0xDFF, "other"),
    (0xE7F, "Thai"),
    (0x1DFF, "other"),
    (0x1EFF, "Latin"),
    (0x1FFF, "Greek"),
    (0x303F, ""),
    (0x318F, "Kana"),
    (0xABFF, "Han"),
    (0xD7FF, "Hangul"),
    (0xF8FF, "other"),
    (0xFAFF, "Han"),
    (0x10FFFF, ""),
)
"""The last code point of each range, and its script."""


def cost(text: str) -> float:
    """The cost of the characters of a text in nats, in the writing in which it is lowest."""
    counts = Counter(text)
    ascii_characters = sum(count for c, count in counts.items() if c.isascii())
    others = {c: count for c, count in counts.items() if not c.isascii()}
    odd = sum(counts[c] for c in map(chr, range(1, 32)) if c not in "\t\n\f\r\x1b")
    words = Counter(re.findall(r"[^\W\d_]+", text.lower())) if ascii_characters else Counter()
    least = min(
        _cost(others, writing) - _evidence(words, WORDS.get(name, ""))
        for name, writing in _writings().items()
    )
    seldom = sum(counts[c] for c in "#$%&*+<=>@[\\]^_`{|}~")
    shared = ASCII * (ascii_characters + seldom) + NUL * counts["\0"] + BROKEN * odd
    return shared + least


def neighbour_cost(text: str) -> float:
    """What neighbours cost that hardly stand together in one word; never below 0."""
    total = 0.0
    for before, after in pairwise(text):
        if not (before.isascii() and after.isascii()):
            total += _neighbours(before, after)
    return total


def _cost(counts: Mapping[str, int], writing: Mapping[str, float]) -> float:
    total = sum(count * (writing.get(c) or _otherwise(c)) for c, count in counts.items())
    if "の" in writing and not any("ぁ" <= c <= "ヿ" for c in counts):
        total += 6  # Japanese without kana
    return total


def _evidence(words: Counter[str], common: str) -> float:
    """The nats by which common words of a language make it likelier."""
    return min(12.0, 1.5 * sum(words[word] for word in common.split()))


@cache
def _otherwise(c: str) -> float:
    """The cost of a character outside of the writing."""
    if c in SYMBOLS or c in CHINESE_MARKS:
        return 8.0
    category = unicodedata.category(c)
    if c == "\ufffd" or category in ("Cc", "Cn", "Co", "Cs"):
        return BROKEN
    return RARE if _script(c) == "Latin" and category[0] == "L" else STRANGE


@cache
def _neighbours(before: str, after: str) -> float:
    if unicodedata.category(after).startswith("M"):  # a mark stands on a letter of its script
        fits = _script(after) in ("", _script(before)) and unicodedata.category(before)[0] in "LM"
        return 0.0 if fits else 8.0
    if not before.isalpha():
        return 0.0
    if after.isalpha():
        scripts = {_script(before), _script(after)}
        if len(scripts) == 2 and scripts.isdisjoint(NO_SPACES):
            return 8.0
        if len(scripts) == 2 and scripts != {"Han", "Kana"}:
            return 2.0
        if before in "ךםןףץς":  # letters that only end words
            return 4.0
        return 5.0 if before.islower() and after.isupper() else 0.0
    odd = not after.isascii() and after not in "’”»…—–·" and unicodedata.category(after)[0] in "SN"
    return 4.0 if odd and _script(before) not in NO_SPACES else 0.0


def _script(c: str) -> str:
    return next(script for last, script in SCRIPTS if ord(c) <= last)


# The writings: by character its cost.


@cache
def _writings() -> dict[str, dict[str, float]]:
    han = {
        "Chinese": _simplified(),
        "traditional Chinese": _traditional(),
        "Japanese": _japanese(),
        "Korean": _korean(),
    }
    latin = {name: _latin(letters) for name, letters in LATIN.items()}
    return han | latin | {name: _alphabet(letters) for name, letters in ALPHABETS.items()}


def _spread(*parts: tuple[float, Iterable[str]]) -> dict[str, float]:
    """Costs where each part of characters has a share of the text; the first part counts."""
    costs: dict[str, float] = {}
    for share, characters in parts:
        new = dict.fromkeys(c for c in characters if c not in costs)
        costs |= dict.fromkeys(new, math.log(len(new) / share)) if new else {}
    return costs


def _ranked(characters: str, share: float, ratio: float) -> dict[str, float]:
    """Costs that grow with the rank of a character by the ratio."""
    first = share * (1 - ratio) / (1 - ratio ** len(characters))
    return {c: -math.log(first * ratio**rank) for rank, c in enumerate(characters)}


def _rows(encoding: str, leads: Iterable[int]) -> Iterator[str]:
    """The characters of the rows of a double-byte encoding."""
    for lead in leads:
        for trail in range(0x40, 0xFF):
            yield from bytes((lead, trail)).decode(encoding, "ignore")


def _simplified() -> dict[str, float]:
    """GB 2312 holds its common characters in rows B0 to D7, and others in D8 to F7."""
    return _spread(
        (0.14, CHINESE_MARKS),
        (0.45, COMMON),
        (0.06, VERSE),
        (0.32, _rows("gb2312", range(0xB0, 0xD8))),
        (0.02, _rows("gb2312", range(0xD8, 0xF8))),
        (0.003, _rows("gb2312", (0xA1, 0xA3))),
        (0.001, _rows("gbk", range(0x81, 0xFF))),
    )


def _traditional() -> dict[str, float]:
    """Big5 holds its common characters in rows A4 to C6, and others in C9 to F9."""
    pairs = dict(zip(TRADITIONAL[::2], TRADITIONAL[1::2], strict=True))
    return _spread(
        (0.14, CHINESE_MARKS),
        (0.45, (pairs.get(c, c) for c in COMMON)),
        (0.06, (pairs.get(c, c) for c in VERSE)),
        (0.32, _rows("big5", range(0xA4, 0xC7))),
        (0.02, _rows("big5", range(0xC9, 0xFA))),
        (0.003, _rows("big5", range(0xA1, 0xA4))),
        (0.001, _rows("gbk", range(0x81, 0xFF))),
    )


def _japanese() -> dict[str, float]:
    """JIS X 0208 holds its common characters in rows B0 to CF, and others in D0 to F4."""
    kanji = _spread(
        (0.07, "、。「」・（）！？　"),
        (0.08, COMMON[:200]),
        (0.25, _rows("euc_jp", range(0xB0, 0xD0))),
        (0.01, _rows("euc_jp", range(0xD0, 0xF5))),
        (0.002, _rows("euc_jp", (0xA1, 0xA2, 0xA3))),
        (0.0005, map(chr, range(0xFF61, 0xFFA0))),
    )
    return kanji | _ranked(HIRAGANA, 0.45, 0.95) | _ranked(KATAKANA, 0.12, 0.96)


def _korean() -> dict[str, float]:
    """KS X 1001 holds its syllables in rows B0 to C8, and Chinese characters in CA to FD."""
    return _spread(
        (0.04, "“”‘’·…、。"),
        (0.6, KOREAN),
        (0.3, _rows("euc_kr", range(0xB0, 0xC9))),
        (0.003, _rows("euc_kr", range(0xCA, 0xFE))),
        (0.002, map(chr, range(0xAC00, 0xD7A4))),
        (0.001, _rows("euc_kr", range(0xA1, 0xAD))),
    )


def _latin(letters: str) -> dict[str, float]:
    costs = _ranked(letters, LATIN_SHARE, 0.8)
    return {c.upper(): each + 2.5 for c, each in costs.items() if len(c.upper()) == 1} | costs


def _alphabet(letters: str) -> dict[str, float]:
    costs = _ranked(letters, 0.95, 0.9)
    return {c.upper(): each + 2.5 for c, each in costs.items() if len(c.upper()) == 1} | costs

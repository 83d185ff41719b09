"""The choice between *a* and *an*."""

from __future__ import annotations

import math

import pytest

from wenmo.grammar.articles import MAX_LOOKAHEAD, is_decided, takes_an
from wenmo.grammar.chart import Chart
from wenmo.grammar.reading import parse_grammar
from wenmo.grammar.sampler import Sampler

A = """
utensil, unanimous vote, uterus, U-turn, Ukrainian mill, Ouija board, unicorn, university, unit,
use, user, usual day, uniform, union, unique text, unilateral step, unison, universe,
unidirectional text, unimodal text, Ugandan, ukulele, uranium mine, urine sample, Uruguayan,
utopia, utility, uvula, ubiquitous sign, Ulysses, unary sign, European, eulogy, euro, ewe, one,
one-off, oneself, once-over, onetime friend, Oaxacan, yak, year, Yemeni, youth, house, horse,
hotel, herb, historic day, hourihood, cat, mill, fir, xylophone, Xerox, 1, 10, 100, 110, 1st,
12th, 17, 19, 180 mph, 1,100, 1945 house, 0, UFO, USB stick, URL, UN vote, USA, UK firm, UI,
CEO, TV, BBC, PhD, VIP, YMCA, NASA, NATO base, RAM upgrade, LAN, SIM card, FIFA, SWAT team,
STEM, T-shirt, B-side, Z, DNA, euphemism, "unicorn", (user
""".replace("\n", " ")

AN = """
hour, hourglass, honest man, honour, honorarium, heir, heirloom, hors d'oeuvre, apple, egg, inn,
owl, umbrella, uncle, unable man, unaware cat, uneven text, unending text, unequal pair, unusual
day, unanswered call, unarmed man, unidentified flower, unimportant cat, unimaginable day,
unintended act, uninvited guest, unironed shirt, unissued ticket, unopened box, unofficial act,
upper room, uphill, upon, urban mill, urge, urn, usher, utter fool, utmost, ulcer, ultimate,
umami taste, Uber, udder, ugly cat, onerous task, onion, ounce, outing, owner, Yves, yttrium,
elan, émigré, über-cat, Ångström, 8, 8-bit chip, 11-year-old oak, 18th mill, 80, 800, 8,000, 11,
11th hour, 18, 11,000, 18,500, 11000, 1845 house, 88, X-ray, x-ray, FBI agent, MP, NGO, HTML
page, MRI, LED, SUV, SOS, FAQ, HIV test, XML file, R-rated film, L-plate, S-bend, F, M, HR team,
LCD, NBA game, RPG, SMTP server, FAQs, EU vote, OPEC, AI, IQ, e-mail, A-level, H-bomb, 'apple',
“hour”, UNCLE, UGLY
""".replace("\n", " ")


def words(listed: str) -> list[str]:
    return [word.strip() for word in listed.split(", ")]


@pytest.mark.parametrize("word", words(A))
def test_a(word: str) -> None:
    assert not takes_an(word)


@pytest.mark.parametrize("word", words(AN))
def test_an(word: str) -> None:
    assert takes_an(word)


@pytest.mark.parametrize("text", ["", " apple", "苹果", "苹果apple", "…", '"'])
def test_texts_that_begin_with_no_english_sound(text: str) -> None:
    assert not takes_an(text)


def test_decided_choice_does_not_depend_on_the_rest() -> None:
    endings = ["", "a", "1", ",", " unit", "8", "FBI", "苹", "-"]
    for word in words(A) + words(AN):
        for length in range(len(word) + 1):
            prefix = word[:length]
            if is_decided(prefix) or len(prefix) >= MAX_LOOKAHEAD:
                assert len({takes_an(prefix + ending) for ending in endings}) == 1, prefix


def test_articles_are_scored_as_they_are_sampled() -> None:
    """The article depends on several symbols where a number or a quotation is split among them."""
    grammar = parse_grammar(
        '{"origin": "#w.a# here", "w": ["#d##d#", "#q#apple", "#u# mill"], "d": ["1", "8"],'
        ' "q": ["\\"", ""], "u": ["utensil", "uncle", "8-bit"]}'
    )
    texts = {"an 11", "an 18", "an 81", "an 88", 'an "apple', "an apple"}
    texts |= {"a utensil mill", "an uncle mill", "an 8-bit mill"}
    sampler, chart = Sampler(grammar), Chart.from_grammar(grammar)
    assert {sampler.sample(seed).text for seed in range(200)} == {f"{text} here" for text in texts}
    total = sum(math.exp(chart.logprob(f"{text} here")) for text in texts)
    assert total == pytest.approx(1)

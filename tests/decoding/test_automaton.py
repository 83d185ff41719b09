"""What an automaton allows, token by token, against the list of all texts it accepts."""

from __future__ import annotations

from itertools import product as tuples

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.decoding.constraints.automaton import AutomatonTable, CharacterSet, TokenTrie
from wenmo.decoding.constraints.base import Constraint
from wenmo.decoding.constraints.product import Product
from wenmo.types import END, WenmoError

TEXTS = ("春a\n", "春é", "春眠不觉", "a b", "ab", "", "眠\n春")


class Listed:
    """The automaton of a list of texts; its states are what was written."""

    start = ""

    def __init__(self, texts=TEXTS, *, classes: bool = False) -> None:
        self.texts = texts
        if classes:
            self.classes = lambda state: tuple(map(frozenset, self.allowed(state).characters))

    def allowed(self, state):
        ahead = (text for text in self.texts if text.startswith(state) and text != state)
        return CharacterSet(frozenset(text[len(state)] for text in ahead))

    def advance(self, state, character):
        return state + character

    def may_end(self, state):
        return state in self.texts

    def remaining(self, state):
        lengths = [len(text) - len(state) for text in self.texts if text.startswith(state)]
        return (min(lengths), max(lengths)) if lengths else (1, 0)


class Without:
    """All texts without certain characters, of any length or of a given one."""

    def __init__(self, excluded: str, length: int | None = None) -> None:
        self.excluded, self.start = CharacterSet(frozenset(excluded), negated=True), length

    def allowed(self, state):
        return CharacterSet(frozenset()) if state == 0 else self.excluded

    def advance(self, state, character):
        return state if state is None else state - 1

    def may_end(self, state):
        return not state

    def remaining(self, state):
        return (0, float("inf")) if state is None else (state, state)

    def classes(self, state):
        return ()


def after(constraint: Constraint, *tokens: int) -> set[int]:
    """What is allowed after some tokens; the constraint itself stays where it is."""
    fork = constraint.fork()
    for token in tokens:
        fork.advance(token)
    mask = fork.allowed()
    assert mask is not None
    return set(mask.nonzero().flatten().tolist())


SPELLED = [text.encode() for text in TEXTS]
BYTES = [b"", *(bytes([value]) for value in range(256))]


@st.composite
def cuts(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Tokens that are cut out of the texts anywhere, and how one of these begins."""
    pieces = st.sampled_from([text for text in SPELLED if text]).flatmap(
        lambda text: st.tuples(st.integers(0, len(text)), st.integers(1, 7)).map(
            lambda at: text[at[0] : at[0] + at[1]]
        )
    )
    pieces = st.builds(lambda a, b: a + b, pieces, st.one_of(st.just(b""), pieces))
    more = draw(st.lists(pieces, max_size=30))
    table = list(dict.fromkeys([*BYTES, *more]))
    text = draw(st.sampled_from(SPELLED))
    return table, text[: draw(st.integers(0, len(text)))]


def bytes_of_own_tokens(text: bytes, table: list[bytes], cut: list[int]) -> bool:
    """Whether a text that is cut there has a character in bytes that is a token itself."""
    place = 0
    for character in text.decode():
        spelled = character.encode()
        inside = range(place + 1, place + len(spelled))
        if spelled in table and any(at in inside for at in cut):
            return True
        place += len(spelled)
    return False


@settings(max_examples=40, deadline=None)
@given(cuts(), st.booleans())
def test_allowed_tokens_are_those_with_which_some_text_continues(given_, classes):
    table, begun = given_
    begun = begun.decode("utf-8", "ignore").encode()
    constraint = AutomatonTable(Listed(classes=classes), TokenTrie(table)).start()
    for byte in begun.decode():
        for each in [byte.encode()] if byte.encode() in table else list(byte.encode()):
            constraint.advance(table.index(each if isinstance(each, bytes) else bytes([each])))
    allowed = after(constraint)
    for token, spelled in enumerate(table):
        if token == END:
            assert (token in allowed) == (begun in SPELLED)
        else:
            cut = [len(begun), len(begun + spelled)]
            continues = any(
                text.startswith(begun + spelled) and not bytes_of_own_tokens(text, table, cut)
                for text in SPELLED
            )
            assert (token in allowed) == continues, spelled


def test_a_character_that_has_no_token_is_spelled_in_bytes() -> None:
    spelled = [token for byte in "春".encode() for token in [byte + 1]]
    constraint = AutomatonTable(Without("眠觉"), TokenTrie(BYTES)).start()
    assert spelled[0] in after(constraint)
    assert END not in after(constraint, spelled[0])
    assert after(constraint, *spelled) == after(constraint)
    sleep = [byte + 1 for byte in "眠".encode()]
    assert sleep[2] not in after(constraint, *sleep[:2])
    small = AutomatonTable(Without("眠觉"), TokenTrie(BYTES, "春眠a")).start()
    assert after(small) == {END, ord("a") + 1, spelled[0]}
    assert after(small, spelled[0]) == {spelled[1]}
    assert after(small, *spelled[:2]) == {spelled[2]}


def test_a_character_with_a_token_is_not_spelled_in_bytes() -> None:
    table = [*BYTES, "春".encode()]
    constraint = AutomatonTable(Listed(["春"]), TokenTrie(table)).start()
    assert after(constraint) == {257}
    assert constraint.forced() == 257


def test_an_alphabet_without_bytes_is_what_tokens_spell() -> None:
    trie = TokenTrie([b"", b"a", b"bc", "春".encode(), b"\xe7", b"\x9c", b"\xa0"])
    assert trie.alphabet == {"a", "春"}
    assert TokenTrie(trie.table, "春眠觉").alphabet == {"春", "眠"}
    assert after(AutomatonTable(Without(""), trie).start()) == {0, 1, 3}


def test_a_token_that_spans_a_line_end_is_allowed_only_as_a_whole() -> None:
    table = [*BYTES, b"a\nb", b"a\n", b"\n"]
    lines = AutomatonTable(Listed(["a\nc", "xa\nb"]), TokenTrie(table)).start()
    assert after(lines) == {ord("a") + 1, ord("x") + 1, 258}
    assert after(lines, ord("x") + 1) == {ord("a") + 1, 257, 258}


def test_a_first_space_that_is_not_shown_is_no_part_of_the_text() -> None:
    table = [b"", b" ab", b"ab", b" ", b" b", b"b", b"  ab", b"a"]
    start = AutomatonTable(Listed(["ab", "a b"]), TokenTrie(table, "ab "), strip_space=True).start()
    assert after(start) == {1, 2, 3, 7}
    assert after(start, 3) == {2, 7}
    assert after(start, 7) == {3, 4, 5}
    assert after(start, 1) == {END}
    unstripped = AutomatonTable(Listed(["ab", "a b"]), TokenTrie(table, "ab ")).start()
    assert after(unstripped) == {2, 7}


def test_a_last_space_that_is_not_shown_is_no_part_of_the_text() -> None:
    table = [b"", b"a ", b"b ", b"ab ", b"a", b"b", b" "]
    start = AutomatonTable(
        Listed(["ab", "a b", "a b a"]), TokenTrie(table, "ab "), suffix_space=True
    ).start()
    assert after(start) == {1, 3, 4}
    assert after(start, 3) == {END}
    assert after(start, 1) == {2, 5}
    assert after(start, 1, 2) == {END, 1, 4}
    assert after(start, 1, 5) == {END, 6}


def test_a_token_that_is_not_allowed_is_refused() -> None:
    constraint = AutomatonTable(Listed(["ab"]), TokenTrie(BYTES)).start()
    with pytest.raises(WenmoError, match="does not allow 'b'"):
        constraint.advance(ord("b") + 1)


def test_characters_of_one_set_share_a_mask() -> None:
    table = AutomatonTable(Without("a", 5), TokenTrie([b"", b"a", b"b", b"c"]))
    constraint = table.start()
    first = constraint.allowed()
    constraint.advance(2)
    assert constraint.allowed() is first


ALPHABET = "ab春"


def texts(longest: int) -> list[str]:
    return ["".join(each) for n in range(longest + 1) for each in tuples(ALPHABET, repeat=n)]


listings = st.lists(st.text(ALPHABET, max_size=4), min_size=1, max_size=12)


@settings(max_examples=50, deadline=None)
@given(listings, listings, st.sampled_from(["", "a", "春"]), st.booleans())
def test_a_product_allows_what_leads_to_a_common_text(first, second, excluded, classes):
    automata = [Listed(first, classes=classes), Listed(second), Without(excluded)]
    both = Product(automata, ALPHABET)
    common = [text for text in first if text in second and not set(text) & set(excluded)]
    assert both.is_possible(both.start) == bool(common)
    for text in texts(4) if common else []:
        if not any(each.startswith(text) for each in common):
            continue
        state = both.start
        for character in text:
            assert both.allowed(state).admits(character)
            state = both.advance(state, character)
        ahead = [each[len(text) :] for each in common if each.startswith(text)]
        allowed = both.allowed(state)
        assert {each for each in ALPHABET if allowed.admits(each)} == {
            each[0] for each in ahead if each
        }
        assert both.may_end(state) == (text in common)
        assert both.remaining(state)[0] == min(map(len, ahead))


def test_a_product_of_lengths_that_contradict_each_other_is_empty() -> None:
    for lengths, alphabet, is_possible in [
        ((3, 4), None, False),
        ((3, 3), None, True),
        ((3, 3), "ab", False),
        ((3, 3), "abc", True),
    ]:
        both = Product([Without("a", lengths[0]), Without("b", lengths[1])], alphabet)
        assert both.is_possible(both.start) == is_possible

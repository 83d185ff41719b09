"""Control fields: requested values against those of the training text."""

from __future__ import annotations

import pytest

from wenmo.text.config import TaskConfig
from wenmo.text.control import MAX_VALUES, resolve, tally, without_long_lists
from wenmo.text.formats import Record
from wenmo.types import WenmoError

TASK = TaskConfig(control=("form", "Author"))
VALUES = {"form": {"五言绝句": 3, "七言律诗": 9}, "Author": {"": 20, "Li Bai": 5, "ＤＵ Fu": 2}}


def test_known_value_in_any_case_and_width() -> None:
    asked = {"form": "五言绝句", "Author": "du fu"}
    assert resolve(asked, TASK, VALUES) == ({"form": "五言绝句", "Author": "ＤＵ Fu"}, [])


def test_unknown_value_is_refused_with_the_known_ones() -> None:
    with pytest.raises(WenmoError, match=r"no form=词 .*values: 七言律诗, 五言绝句"):
        resolve({"form": "词"}, TASK, VALUES)
    with pytest.raises(WenmoError, match="did you mean 'Li Bai'"):
        resolve({"Author": "Li Bao"}, TASK, VALUES)


def test_default_is_the_most_common_value() -> None:
    values, notes = resolve({}, TASK, VALUES)
    assert values == {"form": "七言律诗"}  # most texts have no author
    [note] = notes
    assert "form is not given: form=七言律诗" in note
    assert resolve({"form": ""}, TASK, VALUES) == ({"form": ""}, [])


def test_values_are_counted_and_free_text_is_dropped() -> None:
    values: dict[str, dict[str, int]] = {}
    for attributes in ((("form", "a  b"),), (("form", "a b"), ("Author", "x")), ()):
        tally(values, Record("t", None, (), attributes), TASK)
    assert values == {"form": {"a b": 2, "": 1}, "Author": {"": 2, "x": 1}}
    many = {"title": dict.fromkeys(map(str, range(MAX_VALUES + 1)), 1), "form": {"a": 1}}
    assert without_long_lists(many) == {"form": {"a": 1}}
    assert resolve({"title": "new"}, TaskConfig(control=("title",)), without_long_lists(many))[0]

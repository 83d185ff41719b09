"""Settings: accepted values, and error messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wenmo.config import (
    did_you_mean,
    from_dict,
    load_toml,
    match_name,
    override,
    split_table,
    to_dict,
)
from wenmo.models import MODELS, configure, find
from wenmo.types import WenmoError, amount


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    steps: int | None = None
    kind: Literal["slow", "fast"] = "slow"


@dataclass(frozen=True)
class Outer:
    hidden: int = 8
    tied: bool = True
    name: str = "诗"
    prune: tuple[int, ...] = ()
    words: tuple[str, ...] = ()
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise ValueError("hidden must be at least 1")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("hidden=512", Outer(hidden=512)),
        ("hidden=512.0", Outer(hidden=512)),
        (" hidden =512", Outer(hidden=512)),
        ("tied=false", Outer(tied=False)),
        ("name=李白", Outer(name="李白")),
        ("name=a=b", Outer(name="a=b")),
        ("name=", Outer(name="")),
        ("name=7", Outer(name="7")),
        ('name="7"', Outer(name="7")),
        ("prune=[0, 1]", Outer(prune=(0, 1))),
        ("prune=1", Outer(prune=(1,))),
        ('words=["一", "two"]', Outer(words=("一", "two"))),
        ("words=一", Outer(words=("一",))),
        ("inner.rate=1e-3", Outer(inner=Inner(rate=0.001))),
        ("inner.rate=1", Outer(inner=Inner(rate=1.0))),
        ("inner.steps=3", Outer(inner=Inner(steps=3))),
        ("inner.steps=10_000", Outer(inner=Inner(steps=10_000))),
        ("inner.steps=null", Outer()),
        ("name=1_2", Outer(name="1_2")),
        ("inner.kind=fast", Outer(inner=Inner(kind="fast"))),
        ("inner.kind=Fast", Outer(inner=Inner(kind="fast"))),
    ],
)
def test_override(setting: str, expected: Outer) -> None:
    changed = override(Outer(), [setting])
    assert changed == expected
    assert [type(v) for v in to_dict(changed).values()] == [
        type(v) for v in to_dict(expected).values()
    ]


def test_later_settings_win() -> None:
    before = Outer(hidden=3)
    after = override(before, ["inner.rate=1", "hidden=4", "hidden=5", "inner.steps=2"])
    assert after == Outer(hidden=5, inner=Inner(rate=1.0, steps=2))
    assert before == Outer(hidden=3)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("hidden", "setting 'hidden' has no '=': write key=value"),
        ("hiden=3", "unknown setting 'hiden'; did you mean 'hidden'?"),
        ("inner.rat=3", "unknown setting 'inner.rat'; did you mean 'inner.rate'?"),
        ("iner.rate=3", "unknown setting 'iner.rate'"),
        ("hidden.rate=3", "unknown setting 'hidden.rate'"),
        ("hidden=big", "hidden=big: expected a whole number"),
        ("hidden=1.5", "hidden=1.5: expected a whole number"),
        ("hidden=true", "hidden=true: expected a whole number"),
        ("hidden=null", "hidden=null: expected a whole number"),
        ("tied=1", "tied=1: expected true or false"),
        ("tied=yes", "tied=yes: expected true or false"),
        ("name=true", "name=true: expected text"),
        ("prune=[0.5]", "prune=0.5: expected a whole number"),
        ("inner.rate=true", "inner.rate=true: expected a number"),
        ("inner.steps=many", "inner.steps=many: expected a whole number"),
        ("inner.kind=fest", "inner.kind=fest is not one of: slow, fast; did you mean 'fast'?"),
        ("inner=3", "inner=3: expected"),
        ("hidden=0", "hidden must be at least 1"),
    ],
)
def test_invalid_settings(setting: str, message: str) -> None:
    with pytest.raises(WenmoError) as error:
        override(Outer(), [setting])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_prefix_in_messages() -> None:
    for values in ({"hiden": 1}, {"hidden": "x"}, {"inner": {"rate": "x"}}):
        with pytest.raises(WenmoError, match=r"model\."):
            from_dict(Outer, values, prefix="model.")
    with pytest.raises(WenmoError, match=r"^model: hidden must be"):
        from_dict(Outer, {"hidden": 0}, prefix="model.")
    with pytest.raises(WenmoError, match=r"'model\.hiden'; did you mean 'model\.hidden'"):
        override(Outer(), ["hiden=1"], prefix="model.")


def test_dict_round_trip() -> None:
    config = Outer(7, False, "x", (1, 2), ("a",), Inner(0.1, 3, "fast"))
    assert from_dict(Outer, to_dict(config)) == config
    assert from_dict(Outer, {"prune": [1, 2]}) == Outer(prune=(1, 2))
    assert from_dict(Outer, {"inner": Inner(0.1)}) == Outer(inner=Inner(0.1))
    assert from_dict(Outer, {}) == Outer()


@settings(max_examples=60, deadline=None)
@given(
    key=st.sampled_from(["hidden", "tied", "name", "prune", "inner", "inner.kind", "inner.steps"])
    | st.text(max_size=6),
    value=st.text(max_size=8) | st.sampled_from(["{}", "[[]]", "NaN", "1e999", '"\\n"', "fa\nst"]),
)
@example("hidden", "\x85")
def test_any_setting_is_accepted_or_refused_in_one_line(key: str, value: str) -> None:
    message = "one line"
    try:
        override(Outer(), [f"{key}={value}"])
    except WenmoError as error:
        message = str(error)
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("family", MODELS)
def test_round_trip_of_every_family(family: str) -> None:
    configs: list[Any] = [MODELS[family].config, *MODELS[family].sizes.values()]
    for config in configs:
        assert configure(family, to_dict(config)) == config


def test_unknown_models_and_sizes_get_a_suggestion() -> None:
    with pytest.raises(WenmoError, match="unknown model 'lstn'; did you mean 'lstm'"):
        find("lstn")
    with pytest.raises(WenmoError, match="unknown size 'gpt:gpt2-midium'; did you mean"):
        find("gpt:gpt2-midium")
    with pytest.raises(WenmoError, match="sizes of ngram: none"):
        find("ngram:tiny")


def test_case_does_not_matter_in_names() -> None:
    assert find("LSTM") == find("lstm")
    assert find("GPT:Tiny") == find("gpt:tiny")
    with pytest.raises(WenmoError, match="unknown model 'LSTN'; did you mean 'lstm'"):
        find("LSTN")
    assert did_you_mean("HIDDE", ["hidden"]) == "; did you mean 'hidden'?"
    assert match_name("Tiny", ["tiny", "TINY"]) is None  # which of them is meant is not clear


def test_toml_and_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "设置.toml"
    with pytest.raises(WenmoError, match="no such file"):
        load_toml(path)
    path.write_text('name = "诗"\n[inner]\nrate = 1\n', encoding="utf-8")
    assert from_dict(Outer, load_toml(path)) == Outer(inner=Inner(rate=1.0))
    path.write_text("hidden = 1\ntied =\n", encoding="utf-8")
    with pytest.raises(WenmoError, match=r"not valid TOML: .*line 2"):
        load_toml(path)
    path.write_bytes("name = '床前明月光'".encode("gbk"))
    with pytest.raises(WenmoError, match="not valid TOML"):
        load_toml(path)


def test_no_suggestion_if_nothing_is_close() -> None:
    assert did_you_mean("zzz", ["hidden"]) == ""
    assert did_you_mean("hidde", ["hidden"]) == "; did you mean 'hidden'?"


def test_all_settings_are_listed_without_a_suggestion() -> None:
    tables = {"model": ["hidden", "layers"], "train": ["rate"]}
    for setting, message in (
        ("hiden=1", "'hiden'; did you mean 'hidden'? (wenmo models NAME lists them)"),
        ("ratte=1", "'ratte'; did you mean 'rate'?"),
        ("zzzz=1", "'zzzz' (valid: model: hidden, layers; train: rate)"),
    ):
        with pytest.raises(WenmoError) as error:
            split_table(setting, tables)
        assert str(error.value) == f"unknown setting {message}"


@pytest.mark.parametrize(
    ("number", "nouns", "expected"),
    [
        (1, ("step",), "1 step"),
        (0, ("step",), "0 steps"),
        (1234, ("step",), "1,234 steps"),
        (1.0, ("minute",), "1 minute"),
        (0.5, ("minute",), "0.5 minutes"),
        (2, ("batch", "batches"), "2 batches"),
    ],
)
def test_amount(number: float, nouns: tuple[str, ...], expected: str) -> None:
    assert amount(number, *nouns) == expected

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.config import from_dict
from wenmo.decoding.chain_text import expand_chain, format_chain
from wenmo.decoding.params import PROCESSORS, Sampling
from wenmo.options import Option, options_of
from wenmo.types import WenmoError

SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "chain": st.lists(st.sampled_from([*PROCESSORS]), unique=True).map(tuple),
    "logit_bias": st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from([2.5, -math.inf, -1e-7])), max_size=2
    ).map(tuple),
    "stop": st.lists(st.text(min_size=1, max_size=3), max_size=2).map(tuple),
    "dry_sequence_breakers": st.lists(st.text(min_size=1, max_size=3), max_size=2).map(tuple),
    "min_tokens": st.integers(0, 1),
    "max_tokens": st.integers(1, 300),
    "beam_width": st.just(5),
    "beam_groups": st.sampled_from([1, 5]),
}


def values(declared: Option) -> st.SearchStrategy[Any]:
    """Any value of an option."""
    if declared.name in SPECIAL:
        return SPECIAL[declared.name]
    if declared.choices:
        return st.sampled_from(declared.choices)
    if declared.type is bool:
        return st.booleans()
    bounds = declared.range
    least = bounds.minimum if bounds.minimum is not None else (bounds.above or 0)
    most = next((x for x in (bounds.maximum, bounds.below) if x not in (None, math.inf)), 1000)
    if declared.type is float:
        return st.floats(least, most).filter(bounds.__contains__)
    whole = st.integers(math.ceil(least), int(most))
    return whole if declared.type is int else st.none() | whole


def build(given: dict[str, Any]) -> Sampling | None:
    """Settings; None where two of them contradict each other."""
    try:
        return Sampling(**given)
    except ValueError:
        return None


optional = {name: values(each) for name, each in options_of(Sampling).items()}
samplings = st.fixed_dictionaries({}, optional=optional).map(build).filter(lambda each: each)


@settings(max_examples=80, deadline=None)
@given(samplings, samplings)
def test_settings_are_their_text(sampling: Sampling, defaults: Sampling) -> None:
    text = format_chain(sampling, defaults)
    expanded = expand_chain({"chain": text}) if text else {}
    base = {field.name: getattr(defaults, field.name) for field in fields(Sampling)}
    assert from_dict(Sampling, {**base, **expanded} if text else {}) == sampling


def test_the_text_has_the_order_of_application() -> None:
    sampling = Sampling(top_p=0.95, temperature=0.8, seed=3, stop=("a,b", "[", '"'))
    assert format_chain(sampling) == r'temperature=0.8,top_p=0.95,stop=["a,b","[","\""],seed=3'
    expanded = expand_chain({"chain": "top_p=0.95, temperature=0.8", "max_tokens": 9})
    found = from_dict(Sampling, expanded)
    assert found.order == ("top_p", "temperature")
    assert (found.top_p, found.temperature, found.max_tokens) == (0.95, 0.8, 9)
    both = expand_chain({"chain": ["temperature=0.8"], "no_repeat_ngram": 3})
    assert from_dict(Sampling, both).order == ("no_repeat_ngram", "temperature")


def test_the_chain_of_another_run_turns_its_processors_off() -> None:
    expanded = expand_chain({"chain": "temperature=2"})
    assert expanded["top_p"] == 1
    assert expanded["no_repeat_ngram"] == 0
    assert "max_tokens" not in expanded
    assert expand_chain({"top_k": 3}) == {"top_k": 3}
    assert expand_chain({"chain": (), "top_k": 3}) == {"chain": (), "top_k": 3}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"chain": "top_p"}, "chain: 'top_p' has no value: write NAME=VALUE,NAME=VALUE"),
        ({"chain": "top_p=0.9,"}, "chain: '' has no value: write NAME=VALUE,NAME=VALUE"),
        ({"chain": "top_p="}, "chain: 'top_p=' has no value: write NAME=VALUE,NAME=VALUE"),
        ({"chain": "topp=0.9"}, "chain: no setting 'topp'; did you mean 'top_p'?"),
        ({"chain": "top_p=0.9,top_p=0.8"}, "chain: top_p is given twice: leave one out"),
        (
            {"chain": "top_p=0.9", "top_p": 0.9},
            "top_p is given twice, in the chain and beside it: leave one out",
        ),
        (
            {"chain": "top_p=0.9", "xtc_threshold": 0.2},
            "xtc_threshold beside a chain: write it in the chain, at its position",
        ),
    ],
)
def test_what_is_no_chain_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(WenmoError) as refused:
        expand_chain(options)
    assert str(refused.value) == told

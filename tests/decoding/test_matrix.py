"""Every decoder with every family: it writes, or is refused with a reason, as the page says."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from wenmo.models import MODELS

FILE = Path(__file__).resolve().parents[2] / "docs" / "matrix.py"


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    """The module that writes the table."""
    spec = spec_from_file_location("matrix", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["matrix"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(matrix: ModuleType) -> Mapping[str, Mapping[str, str]]:
    """The cells of the page: "" or a reason, by family and decoder."""
    found = matrix.SECTION.search(matrix.PAGE.read_text(encoding="utf-8"))
    assert found is not None
    rows = [line.strip("| ").split(" | ") for line in found[0].splitlines() if "|" in line]
    notes = dict(line.split(". ", 1) for line in found[0].splitlines() if line[:1].isdigit())
    families = [cell.strip("`") for cell in rows[0]]
    return {
        family: {row[0]: notes.get(row[index], "") for row in rows[2:]}
        for index, family in enumerate(families, 1)
    }


@pytest.mark.parametrize("family", MODELS)
def test_every_decoder_works_or_is_refused_with_a_reason(
    family: str, matrix: ModuleType, page: Mapping[str, Mapping[str, str]]
) -> None:
    column = matrix.column(family)
    for reason in column.values():
        assert "\n" not in reason
    assert column == page[family], "run python docs/matrix.py"

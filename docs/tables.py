"""Write the tables of settings and options into the pages, from their declarations.

    python docs/tables.py

A page says where: between ``<!-- setting: train -->`` and ``<!-- end -->`` stands the table of that
settings class, or of those families; ``设置`` in place of ``setting`` writes it in Chinese, and
``option: generate`` the options of a command.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from wenmo.apps.cli.main import app
from wenmo.apps.cli.option_groups import options_with_flags
from wenmo.config import to_dict
from wenmo.decoding.combination.settings import CombinationSettings
from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.decoding.drafts.settings import DraftSettings
from wenmo.decoding.params import Sampling
from wenmo.models import MODELS
from wenmo.options import Range, options_of
from wenmo.runs.config import TABLES

PAGES = sorted([*Path(__file__).parent.glob("*.md"), *Path(__file__).parents[1].glob("*.md")])
SECTION = re.compile(r"<!-- (setting|设置|option): ([\w, ]+) -->\n.*?<!-- end -->", re.DOTALL)
UNSET = {"setting": " (in a run: {})", "设置": "（在运行中：{}）"}
SETTINGS: dict[str, list[str]] = {}  # that an option of training sets
for key, declared in options_with_flags(TABLES).options.items():
    SETTINGS.setdefault(f"--{declared.flag}", []).append(f"`{key}`")
FAMILY = {"setting": "the family", "设置": "该族"}  # what differs from family to family
HEADER = {"setting": ("default", "range", "meaning"), "设置": ("默认值", "范围", "说明")}


def main() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (written := with_tables(text)) != text:
            page.write_text(written, encoding="utf-8")
            print(page.name)


def with_tables(page: str) -> str:
    """The text of a page, its marked sections replaced by the present tables."""
    return SECTION.sub(_section, page)


def _section(found: re.Match[str]) -> str:
    kind, subjects = found[1], found[2].split(", ")
    if kind == "option":
        rows = option_rows(subjects[0])
    else:
        rows = setting_rows(kind, [config_of(subject) for subject in subjects])
    colon = "：" if kind == "设置" else ": "
    first = f"{kind}{colon}{', '.join(f'`{subject}`' for subject in subjects)}"
    header = (first, *HEADER.get(kind, ("meaning",)))
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines).replace("|  |", "| |")
    return f"<!-- {kind}: {found[2]} -->\n{table}\n<!-- end -->"


def config_of(subject: str) -> Any:
    """The settings, with their defaults, of a table of a run, of writing, or of a family."""
    if subject in MODELS:
        return MODELS[subject].config
    return {
        **TABLES,
        "sampling": Sampling,
        "constraints": ConstraintSettings,
        "combination": CombinationSettings,
        "draft": DraftSettings,
    }[subject]()


def setting_rows(kind: str, configs: Sequence[Any]) -> list[list[str]]:
    """Name, default, range and meaning of each setting; of several, the defaults must agree."""
    rows = []
    for name, declared in options_of(type(configs[0])).items():
        defaults = {json.dumps(to_dict(each)[name], ensure_ascii=False) for each in configs}
        default = f"`{defaults.pop()}`" if len(defaults) == 1 else FAMILY[kind]
        chinese = kind == "设置"
        meaning = declared.help_zh if chinese else declared.help
        unset = declared.unset_zh if chinese else declared.unset
        if unset:
            meaning += UNSET[kind].format(unset)
        rows.append([f"`{name}`", default, interval(declared.range), meaning])
    return rows


def interval(bounds: Range) -> str:
    """A range as mathematicians write it: [0, 1)."""
    if bounds == Range():
        return ""
    left = f"({bounds.above}" if bounds.minimum is None else f"[{bounds.minimum}"
    right = f"{bounds.below})" if bounds.maximum is None else f"{bounds.maximum}]"
    return f"{left}, {right}".replace("(None", "(−∞").replace("None)", "∞)").replace("inf)", "∞)")


def option_rows(command: str) -> list[list[str]]:
    """Name and meaning of each option of a command; of training, also the settings that it sets."""
    program: Any = typer.main.get_command(app)
    options = [each for each in program.commands[command].params if each.opts[0].startswith("-")]
    rows = []
    for each in options:
        name, meaning = each.opts[0], each.help.removesuffix(".")
        if each.default not in (None, "", False) and "[default" not in meaning:
            meaning += f" [default: {each.default}]"
        if command in ("train", "inspect") and name in SETTINGS:
            meaning += f"; sets {' and '.join(SETTINGS[name])}"
        rows.append([f"`{name}`", meaning])
    return rows


if __name__ == "__main__":
    main()

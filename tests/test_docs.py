"""The pages tell the truth: their commands run, their code runs, their links and tables hold."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
import shlex
import sys
import tomllib
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import typer

from wenmo.apps.cli import demo
from wenmo.apps.cli.main import app
from wenmo.config import to_dict
from wenmo.decoding.combination.settings import CombinationSettings
from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.decoding.drafts.settings import DraftSettings
from wenmo.decoding.params import Sampling
from wenmo.evaluation.answers import TASK_METRICS
from wenmo.grammar.reading import parse_grammar
from wenmo.grammar.sampler import Sampler
from wenmo.models import MODELS
from wenmo.runs.config import InitConfig, NgramPriorConfig
from wenmo.text.config import ReadConfig, SplitConfig, TaskConfig, TokenizerConfig
from wenmo.train_config import TrainConfig
from wenmo.training.optimizers import DEFAULT_RATE

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]

BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
SOURCE = re.compile(r"^# src/(wenmo/[\w/]+)\.py$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAMED_PATH = re.compile(r"`((?:src|tests|docs|benchmarks|recipes|\.ci)/[\w./-]+)`")
NAMED_FILE = re.compile(r"`([\w.]+)`:\n\n```(json|toml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RULES = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
BY_CI = "wenmo demo"  # and what goes on from its folders: .ci/run runs the demo

TRANSLATED = {ROOT / "README.md": ROOT / "README.zh.md"}
ORIGINALS = [page for page in PAGES if page not in TRANSLATED.values()]

POEM_SCHEMA = {
    "type": "object",
    "properties": {
        "体": {"enum": ["五绝", "七律"]},
        "句": {"type": "string", "pattern": "^[一-鿿]{5}$"},
    },
    "required": ["体", "句"],
    "additionalProperties": False,
}
POEM = "春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。\n"
PROSE = "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.\n"

every_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


# -- what is run -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that the pages speak of."""
    verses = {"author": "孟浩然", "form": "五言绝句"}
    poems = [
        {"title": f"春晓 {i}", **verses, "lines": [*POEM.splitlines(), f"其{i}。"]}
        for i in range(60)
    ]
    pairs = [(f"The dog is lazy, {i} times.", f"狗很懒，{i} 次。") for i in range(60)]
    turns = [("今天有 {} 只狗？", "是的。", "懒吗？", "{} 只都很懒。")] * 60
    talks = [{"turns": [turn.format(i) for turn in talk]} for i, talk in enumerate(turns)]
    contents = {
        "my.txt": (POEM + PROSE) * 60,
        "other.txt": (PROSE + POEM) * 12,
        "prompts.txt": "春眠\nThe quick\n",
        "poems.jsonl": as_lines(json.dumps(poem, ensure_ascii=False) for poem in poems),
        "pairs.tsv": "source\ttarget\n" + as_lines(map("\t".join, pairs)),
        "test.tsv": "source\ttarget\n" + as_lines(map("\t".join, pairs[:4])),
        "en.txt": as_lines(source for source, _ in pairs),
        "zh.txt": as_lines(target for _, target in pairs),
        "poem.schema.json": json.dumps(POEM_SCHEMA),
        "greeting.gbnf": 'root ::= "hi " ("春" | "Bob")\n',
        "outline.md": "# One\n\n# The first day\n\nIt rains.\n",
        "new.txt": "The dog is lazy.\n\nThe dog is lazy, 5 times.\n",
        "couplets.tsv": as_lines(f"{i} 只黄犬卧\t{i} 只白狐奔" for i in range(60)),
        "talks.jsonl": as_lines(json.dumps(talk, ensure_ascii=False) for talk in talks),
        "sightings.txt": as_lines(["我买了一只猫。", "我买了两本书。", "老师买了三只鸡。"] * 20),
        **{name: content for name, _, content in NAMED_FILE.findall(RULES)},
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


def as_lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


@pytest.fixture(autouse=True)
def _small_and_undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No time is spent on measuring precisions; a family that a page adds goes with its test."""
    monkeypatch.setattr("wenmo.training.learners.BFLOAT16_WEIGHTS", 1 << 62)
    with mock.patch.dict(MODELS):
        yield


@pytest.mark.parametrize("page", ORIGINALS, ids=lambda page: page.name)
def test_every_command_and_all_code_runs(
    page: Path, folder: Path, wenmo: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is read like an article: what comes later rests on what came before. What a
    translation says otherwise is run where it stands.
    """
    module = types.ModuleType("page")  # dataclasses look their module up
    monkeypatch.setitem(sys.modules, "page", module)
    translated = list(blocks_of(TRANSLATED[page])) if page in TRANSLATED else []
    for number, (language, content, line) in enumerate(blocks_of(page)):
        both = [content]
        if translated:
            both += [translated[number][1]] if language == "python" else []
            both += [in_other_words(content, translated[number][1])] if language == "sh" else []
        for said in both:
            if language == "sh":
                run_commands(said, folder, wenmo)
            elif language == "python":
                for path in SOURCE.findall(said):  # the block is that file: others may import it
                    monkeypatch.setitem(sys.modules, path.replace("/", "."), module)
                run_code(said, folder, module, place=f"{page.name}:{line}")


def blocks_of(page: Path) -> Iterator[tuple[str, str, int]]:
    """The language of each block of a page, what stands in it, and its first line's number."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        language, content = match.groups()
        yield language, content, text.count("\n", 0, match.start()) + 2


def in_other_words(block: str, translated: str) -> str:
    """The commands of a translated block that are not in the block itself, its remarks aside."""
    known = {line.partition("  #")[0].strip() for line in block.splitlines()}
    lines = (line.partition("  #")[0].strip() for line in translated.splitlines())
    return as_lines(line for line in lines if line not in known)


@pytest.mark.parametrize(("page", "translation"), TRANSLATED.items(), ids=lambda path: path.name)
def test_a_translation_has_the_same_commands(page: Path, translation: Path) -> None:
    """But for the texts that they name, and the grammar."""

    def bare(content: str) -> list[str]:
        lines = (line.partition("  #")[0].rstrip() for line in content.splitlines())
        return [re.sub(r'"[^"]*"|story\.json|market\.toml', '"..."', line) for line in lines]

    ours, theirs = (
        [
            (language, bare(content))
            for language, content, _ in blocks_of(path)
            if language != "text"
        ]
        for path in (page, translation)
    )
    assert [block for block in ours if block[0] in ("sh", "python")] == [
        block for block in theirs if block[0] in ("sh", "python")
    ]


def run_commands(block: str, folder: Path, wenmo: Callable[..., Any]) -> None:
    code = 2 if "# refused\n" in block else 0
    for line in block.replace("\\\n", " ").splitlines():
        if not line.startswith("wenmo ") or line.startswith(BY_CI) or "runs/demo" in line:
            continue
        arguments = shlex.split(shortened(line), comments=True)[1:]
        given = ""
        if "<" in arguments:
            *arguments, _, name = arguments
            given = (folder / name).read_text(encoding="utf-8")
        with naming(line):
            wenmo(*arguments, cwd=folder, given=given, code=code)


def run_code(block: str, folder: Path, module: types.ModuleType, place: str) -> None:
    code = compile(shortened(block), place, "exec", dont_inherit=True)
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        exec(code, module.__dict__)


def shortened(text: str) -> str:
    """Three small steps and one look at them in place of minutes."""
    text = re.sub(r"--minutes [\d.]+", "--steps 3 batch_size=4 eval_count=1", text)
    return re.sub(r"minutes=[\d.]+", "steps=3, batch_size=4, eval_count=1", text)


@contextlib.contextmanager
def naming(line: str) -> Iterator[None]:
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{line}\n{error}") from None


def test_the_reader_of_pages_sees_what_is_there(folder: Path) -> None:
    seen = []
    block = "# refused\nmake test\nwenmo demo\nwenmo train - \\\n  --minutes 2 < my.txt  # why\n"

    def wenmo(*arguments: str, given: str, code: int, **_: Any) -> None:
        seen.append((arguments, given[:2], code))

    run_commands(block, folder, wenmo)
    assert seen == [(("train", "-", "--steps", "3", "batch_size=4", "eval_count=1"), "春眠", 2)]
    shown = 'wenmo.fit("a", steps=3, batch_size=4, eval_count=1)'
    assert shortened('wenmo.fit("a", minutes=2.5)') == shown


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_the_demo_ends_as_the_page_says(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In the same words and columns; the figures and samples are the page's own."""
    texts = [
        content
        for language, content, _ in blocks_of(ROOT / page)
        if language == "text" and "──" in content
    ]
    [shown] = texts
    samples = dict(re.findall(r"── (\w+) writes\n(.*?)\n\n(?=──|Held-out)", shown, re.DOTALL))
    row = re.compile(r"^(\w+) +([\d.]+) +([\d.]+) +([\d.]+) s +(?:([\d,]+) chars/s +)?(\S+)$", re.M)
    runs = [
        SimpleNamespace(
            folder=folder,
            card=SimpleNamespace(
                recipe=SimpleNamespace(family=family),
                results={
                    "sample": samples[family],
                    "heldout": {"bits_per_byte": float(bits), "perplexity": float(perplexity)},
                    "seconds": float(seconds),
                    "characters_per_second": float(speed.replace(",", "")) if speed else None,
                },
            ),
        )
        for family, bits, perplexity, seconds, speed, folder in row.findall(shown)
    ]
    assert len(runs) == 3
    demo.print_results(runs, ".venv/bin/wenmo")  # type: ignore[arg-type]
    assert stripped(capsys.readouterr().out) == stripped(shown)


def stripped(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def test_every_grammar_of_the_page_writes() -> None:
    blocks = [content for kind, content in BLOCK.findall(RULES) if kind in ("json", "toml")]
    assert len(blocks) == 5
    for content in blocks:
        assert Sampler(parse_grammar(content)).sample(0).text


# -- what is named ---------------------------------------------------------------------------------


@every_page
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    broken = [path for path in NAMED_PATH.findall(text) if not (ROOT / path).exists()]
    for link in LINK.findall(text):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken, f"{page.name}: {', '.join(broken)}"


def anchors(page: Path) -> set[str]:
    """The names under which a page's headings can be linked to."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@dataclass
class Table:
    """A table of a page: ``setting: `gpt` | default`` names its kind and what it is about."""

    page: str
    kind: str
    subjects: list[str]
    rows: list[list[str]]


def tables() -> Iterator[Table]:
    for name, page in zip(NAMES, PAGES, strict=True):
        for text in re.findall(r"(?:^\|.*\n)+", page.read_text(encoding="utf-8"), re.MULTILINE):
            header, _, *rows = (
                [cell.strip() for cell in line.strip("|\n").split("|")]
                for line in text.splitlines()
            )
            kind, _, subject = header[0].partition(":")
            yield Table(name, kind, re.findall(r"`(\w+)`", subject) or [subject.strip()], rows)


def setting_names(kind: str) -> dict[str, list[list[str]]]:
    """The rows of every table of a kind, by what it is about."""
    return {s: table.rows for table in tables() if table.kind == kind for s in table.subjects}


CONFIGS: dict[str, Any] = {
    "ngram_prior": NgramPriorConfig(),
    "init": InitConfig(),
    "read": ReadConfig(),
    "split": SplitConfig(),
    "task": TaskConfig(),
    "tokenizer": TokenizerConfig(),
    "train": TrainConfig(),
    "sampling": Sampling(),
    "constraints": ConstraintSettings(),
    "combination": CombinationSettings(),
    "draft": DraftSettings(),
    **{name: family.config for name, family in MODELS.items()},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_tables_of_settings_are_those_of_the_program(name: str) -> None:
    config = CONFIGS[name]
    said = {row[0]: row[1] for row in setting_names("setting")[name]}
    told = {key: json.dumps(value, ensure_ascii=False) for key, value in to_dict(config).items()}
    are = {f"`{key}`": f"`{value}`" for key, value in told.items()}
    if said.get("`cell`") == "the family":
        said["`cell`"] = f'`"{name}"`'
    assert said == are
    assert list(said) == [f"`{field.name}`" for field in dataclasses.fields(config)]


@every_page
def test_tables_are_as_their_declarations(page: Path, docs_tables: Any) -> None:
    """Else: ``python docs/tables.py``."""
    text = page.read_text(encoding="utf-8")
    assert docs_tables.with_tables(text) == text


@pytest.mark.parametrize("kind", ["setting", "设置"])
def test_every_table_of_settings_is_on_a_page(kind: str, docs_tables: Any) -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    marked = [
        found[2].split(", ") for found in docs_tables.SECTION.finditer(pages) if found[1] == kind
    ]
    assert sorted(name for names in marked for name in names) == sorted(CONFIGS)


@pytest.mark.parametrize("name", [name for name, family in MODELS.items() if family.sizes])
def test_tables_of_sizes_are_those_of_the_program(name: str) -> None:
    default = to_dict(MODELS[name].config)
    are = {}
    for size, config in MODELS[name].sizes.items():
        changes = {k: v for k, v in to_dict(config).items() if v != default[k]}
        are[f"`{size}`"] = f"`{' '.join(f'{k}={json.dumps(v)}' for k, v in changes.items())}`"
    assert {row[0]: row[1] for row in setting_names("size")[name]} == are


def test_the_table_of_rates_is_that_of_the_program() -> None:
    said = {
        row[0].strip("`"): float(row[1].strip("`"))
        for row in setting_names("peak rate")["optimizer"]
    }
    assert said == DEFAULT_RATE


def test_the_table_of_metrics_is_that_of_the_program() -> None:
    rows = setting_names("metrics")["task"]
    said = {row[0].strip("`"): tuple(re.findall(r"`(\w+)`", row[1])) for row in rows}
    assert said == TASK_METRICS


PROGRAM: Any = typer.main.get_command(app)
COMMANDS = {
    name: {p.opts[0]: p for p in command.params if p.opts[0].startswith("-")}
    for name, command in PROGRAM.commands.items()
}


@pytest.mark.parametrize(
    "command", ["train", "generate", "chat", "evaluate", "latent", "tradeoff", "inspect"]
)
def test_tables_of_options_are_those_of_the_program(command: str) -> None:
    assert [row[0].strip("`") for row in setting_names("option")[command]] == list(
        COMMANDS[command]
    )


def test_generate_offers_every_setting_of_sampling() -> None:
    """What is not given is left to the run, which has the defaults."""
    defaults = {p.name: p.default for p in COMMANDS["generate"].values()}
    for field in dataclasses.fields(Sampling):
        assert not defaults[field.name], field.name


def test_every_dependency_has_its_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = {tuple(d.split(">=")) for group in (project["dependencies"], *extras) for d in group}
    rows = [table.rows for table in tables() if table.page == "docs/dependencies.md"]
    assert {(row[0], row[1]) for group in rows for row in group} == wanted

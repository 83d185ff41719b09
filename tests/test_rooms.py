"""The house: imports point one way, and what must be quick to start stays quick."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import wenmo
from wenmo.apps.cli.commands import COMMANDS, LazyCommands

ROOT = Path(wenmo.__file__).parent
ROOMS = [  # a room imports from itself and from those before it
    {
        "version",
        "types",
        "format1",
        "config",
        "options",
        "train_config",
        "effects",
        "files",
        "tensors",
        "progress",
        "results",
        "budget",
        "charts",
    },
    {"text"},
    {"grammar"},
    {"verse"},
    {"models"},
    {"decoding"},
    {"training"},
    {"evaluation"},
    {"interchange"},
    {"safety"},
    {"runs"},
    {"longform"},
    {"pipeline"},
    {"api"},
    {"apps", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(ROOMS) for name in names}
FACADE = (  # all that apps may know; what is beside `api` loads without PyTorch
    "wenmo.api",
    "wenmo.apps",
    "wenmo.charts",
    "wenmo.results",
    "wenmo.types",
    "wenmo.config",
    "wenmo.options",
    "wenmo.text.config",
    "wenmo.decoding.params",
    "wenmo.decoding.combination.settings",
    "wenmo.decoding.drafts.settings",
    "wenmo.decoding.constraints.settings",
    "wenmo.evaluation.results",
    "wenmo.longform.outline",
    "wenmo.runs.folders",
    "wenmo.runs.config",
    "wenmo.runs.preflight",
    "wenmo.runs.results",
    "wenmo.text.inspection",
    "wenmo.verse",
)
FILES = sorted(ROOT.rglob("*.py"))
MODULES = [".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in FILES]


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything of ours that a file imports, wherever in it."""
    package = list(path.relative_to(ROOT.parent).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "wenmo")


def room(module: str) -> str:
    """``text`` for ``wenmo.text.readers``; nothing for the package itself."""
    return [*module.split("."), ""][1]


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_no_arrow_runs_back(path: Path) -> None:
    own = room(".".join(path.relative_to(ROOT.parent).with_suffix("").parts))
    if own == "__init__":
        return  # the package's face, above all rooms
    assert own in LEVEL, f"{own} is no room of the house: give it its place in ROOMS"
    wrong, shell = [], own in ("apps", "__main__")
    for line, name in imported(path):
        if shell and name in ("wenmo.__version__", "wenmo.IMPORTED_AT"):
            continue
        allowed = name.startswith(FACADE) if shell else LEVEL.get(room(name), 99) <= LEVEL[own]
        if not allowed:
            wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong, "; ".join(wrong)


def test_modules_import_each_other_in_no_circle() -> None:
    """Not for types alone, either, nor through what a package's ``__init__`` imports."""
    paths = {
        name.removesuffix(".__init__"): path for name, path in zip(MODULES, FILES, strict=True)
    }
    graph = {
        module: {part for _, name in imported(path) for part in (name, name.rpartition(".")[0])}
        for module, path in paths.items()
    }
    TopologicalSorter({m: names & paths.keys() - {m} for m, names in graph.items()}).prepare()


def test_the_reader_of_imports_sees_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path / "wenmo")
    path = tmp_path / "wenmo" / "text" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "import wenmo.models.base as b\n"
        "if TYPE_CHECKING:\n    from wenmo import runs, types\n"
        "def f():\n    from ..decoding import beam\n    import_module('wenmo.apps')\n"
        "    from . import y\n    import numpy\n"
    )
    assert sorted(imported(path)) == [
        (2, "wenmo.models.base"),
        (4, "wenmo.runs"),
        (4, "wenmo.types"),
        (6, "wenmo.decoding.beam"),
        (7, "wenmo.apps"),
        (8, "wenmo.text.y"),
    ]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_can_be_imported(module: str) -> None:
    if module != "wenmo.__main__":  # it runs the program
        import_module(module.removesuffix(".__init__"))


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import wenmo", ["torch", "numpy", "rich", "typer"]),
        ("import wenmo.types, wenmo.config, wenmo.options, wenmo.files", ["torch", "numpy"]),
        ("import wenmo.apps.cli.main", ["torch", "numpy", "rich"]),
        ("show_help()", ["torch", "numpy", "rich", "wenmo.decoding", "wenmo.runs", "filelock"]),
        ("show_help('train')", ["torch", "numpy", "rich"]),
        ("import wenmo.runs.results, wenmo.apps.cli.show", ["torch", "numpy"]),
        ("import wenmo.models, wenmo.models.hybrid_config", ["torch", "numpy"]),
        ("from wenmo.runs.recipe import make_recipe; make_recipe('gpt')", ["torch", "numpy"]),
        ("import wenmo; wenmo.Run", ["wenmo.training", "wenmo.pipeline"]),
    ],
    ids=[
        "package",
        "words",
        "command line",
        "help",
        "help of a command",
        "results",
        "catalogue",
        "recipe",
        "a run",
    ],
)
def test_starting_loads_nothing_heavy(code: str, absent: list[str]) -> None:
    """In a process of its own; the modules that it must not have loaded are looked for."""
    script = f"""
import sys
def show_help(*command):
    from wenmo.apps.cli.main import main
    sys.argv = ["wenmo", *command, "--help"]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
{code}
print("loaded:", [name for name in {absent} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_repeats_their_help(name: str) -> None:
    """It is written twice, so that the list is shown without importing the commands."""
    help_text = LazyCommands()[name].help
    first = help_text.split("\n\n")[0].replace("\n", " ")
    assert first == COMMANDS[name].summary or first.startswith(f"{COMMANDS[name].summary} ")

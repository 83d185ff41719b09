"""What can be checked of families, sizes and settings without loading PyTorch.

The settings of a run are declared in files that do not import PyTorch, but for those of the models:
they stand beside the models, whose import takes seconds. A wrong name must not wait for that, so
the models' settings are read here from the source text. `wenmo.runs.recipe` remains the one place
that makes settings, and checks what is not checked here.
"""

from __future__ import annotations

import ast
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from wenmo.config import coerce, literal, match, nearest, override, table_of, unknown
from wenmo.options import Settings, options_of
from wenmo.runs.config import InitConfig, NgramPriorConfig
from wenmo.text.config import ReadConfig, SplitConfig, TaskConfig, TokenizerConfig
from wenmo.train_config import TrainConfig
from wenmo.types import WenmoError

HERE = Path(__file__).parents[1]
CATALOGUE = HERE / "models" / "__init__.py"
TABLES: dict[str, type[Settings]] = {  # of a run, beside the model's
    "ngram_prior": NgramPriorConfig,
    "init": InitConfig,
    "task": TaskConfig,
    "tokenizer": TokenizerConfig,
    "read": ReadConfig,
    "split": SplitConfig,
    "train": TrainConfig,
}
UNKNOWN: Any = object()
"""A type that is not known here: any value is let through."""


def check_model(name: str) -> str:
    """The family of ``lstm`` or ``gpt:tiny``.

    Raises:
        WenmoError: no such family or size; the nearest is offered.
    """
    named, colon, size = name.partition(":")
    catalogue = _catalogue()
    family = match(named, catalogue)
    if family is None and named in _added():
        return named
    if family is None:
        offer = nearest(named, catalogue)
        raise WenmoError(f"unknown model {named!r}{offer} (valid: {', '.join(catalogue)})")
    sizes = _sizes(catalogue[family])
    if colon and sizes is not None and match(size, sizes) is None:
        valid, offer = ", ".join(sizes) or "none", nearest(size, sizes)
        raise WenmoError(f"unknown size {name!r}{offer} (sizes of {family}: {valid})")
    return family


def check_settings(family: str | None, settings: Sequence[str]) -> None:
    """Check the names and values of settings; those of the model as far as their types go.

    Args:
        family: whose settings ``model.…`` are; ``None``: not known here.
        settings: ``table.key=value`` or ``key=value``.

    Raises:
        WenmoError: no ``=``, an unknown name, or a value that does not fit.
    """
    if family is not None and family in _added():
        family = None
    names = {table: list(options_of(declared)) for table, declared in TABLES.items()}
    if family is not None:
        names = {"model": list(_fields(*_family_config(family))), **names}
    changes: dict[str, list[str]] = {table: [] for table in names}
    for setting in settings:
        key = _key(setting)
        if family is None and (key.startswith("model.") or "." not in key):
            continue  # it may be one of the model's
        name = key.removeprefix("model.")
        if family is not None and not any(name in own for own in names.values()):
            _check_other_families(family, name)
        table, rest = table_of(setting, names)
        changes[table].append(rest)
    if family is not None:
        fields = _fields(*_family_config(family))
        for change in changes.pop("model"):
            _check(fields, change)
    for table, changed in changes.items():
        override(TABLES[table](), changed, where=f"{table}.")


def _check_other_families(family: str, name: str) -> None:
    """Refuse a setting that other families have, and this one does not."""
    owners = [other for other in _catalogue() if name in _fields(*_family_config(other))]
    if owners:
        raise WenmoError(f"{family} has no setting {name!r}: it belongs to {', '.join(owners)}")


def check_reading(settings: Sequence[str]) -> None:
    """Check ``key=value`` settings of how a text is read.

    Raises:
        WenmoError: as `check_settings`.
    """
    override(ReadConfig(), settings, where="read.")


def families() -> list[str]:
    """The names of all families."""
    return list(_catalogue())


def _key(setting: str) -> str:
    key, equals, _ = setting.partition("=")
    if not equals:
        raise WenmoError(f"setting {setting!r} has no '=': write key=value")
    return key.strip()


def _check(fields: Mapping[str, Any], setting: str) -> None:
    """Check one ``key=value`` against the fields of a family."""
    key = _key(setting)
    if key not in fields:
        raise unknown(f"model.{key}", [f"model.{name}" for name in fields])
    if fields[key] is not UNKNOWN:
        coerce(literal(setting.partition("=")[2]), fields[key], f"model.{key}")


# -- reading the source ----------------------------------------------------------------------------


@cache
def _module(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _catalogue() -> dict[str, ast.Call]:
    """The entries of ``MODELS``, as they are written there."""
    value = _assigned(CATALOGUE, "MODELS")
    assert isinstance(value, ast.Dict)
    return {
        str(key.value): entry
        for key, entry in zip(value.keys, value.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(entry, ast.Call)
    }


def _added() -> set[str]:
    """The families that a program has added to the catalogue since it was loaded."""
    loaded = sys.modules.get("wenmo.models")
    return set() if loaded is None else set(loaded.MODELS) - set(_catalogue())


def _assigned(path: Path, name: str) -> ast.expr | None:
    """What a module assigns to a name."""
    for node in _module(path).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id == name:
                return node.value
    return None


def _home(name: str, importer: Path = CATALOGUE) -> Path:
    """The file that another one imports a name from, or that is a module of that name."""
    for node in _module(importer).body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            package = HERE.joinpath(*str(node.module).split(".")[1:])
            module = package / f"{name}.py"
            return module if module.is_file() else package.with_suffix(".py")
    raise KeyError(name)


def _family_config(family: str) -> tuple[Path, str]:
    kind = _catalogue()[family].args[0]
    assert isinstance(kind, ast.Name)
    return _home(kind.id), kind.id


def _sizes(entry: ast.Call) -> list[str] | None:
    """The names of a family's sizes; ``None`` where they are not spelled out."""
    if len(entry.args) < 4:
        return []
    sizes = entry.args[3]
    if not (isinstance(sizes, ast.Attribute) and isinstance(sizes.value, ast.Name)):
        return None
    table = _assigned(_home(sizes.value.id), sizes.attr)
    if not isinstance(table, ast.Dict):
        return None
    names = [str(key.value) for key in table.keys if isinstance(key, ast.Constant)]
    return names if len(names) == len(table.keys) else None


def _class(body: Sequence[ast.stmt], name: str) -> ast.ClassDef | None:
    return next((n for n in body if isinstance(n, ast.ClassDef) and n.name == name), None)


def _fields(path: Path, name: str) -> dict[str, Any]:
    """The fields of a dataclass, or of the ``Config`` in a class, with their types."""
    found = _class(_module(path).body, name)
    assert found is not None, f"{path} has no {name}"
    config = _class(found.body, "Config") or found
    fields: dict[str, Any] = {}
    for base in config.bases:
        if isinstance(base, ast.Name) and base.id != "ABC":  # as TransformerConfig
            fields |= _fields(_home(base.id, path), base.id)
    for node in config.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            fields[node.target.id] = _type(node.annotation, path)
    return fields


def _type(annotation: ast.expr, path: Path) -> Any:
    """A field's type, where it is made of what Python knows and of names given in its file."""
    names = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
    known: dict[str, Any] = {"Literal": typing.Literal}
    plain = {"str": str, "int": int, "float": float, "bool": bool, "tuple": tuple}
    for name in names - {"Literal"}:
        if name in plain:
            known[name] = plain[name]
            continue
        at = next(_defined(name, path), None)
        if at is None:
            return UNKNOWN
        known[name] = _type(*at)
        if known[name] is UNKNOWN:
            return UNKNOWN
    try:
        return eval(ast.unparse(annotation), {"__builtins__": {}}, known)
    except (TypeError, NameError, SyntaxError):
        return UNKNOWN


def _defined(name: str, path: Path) -> Iterator[tuple[ast.expr, Path]]:
    """Where ``Schedule = Literal[...]`` stands: in a file, or in one that it imports it from."""
    value = _assigned(path, name)
    if value is not None:
        yield value, path
    for node in _module(path).body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            source = HERE.joinpath(*str(node.module).split(".")[1:]).with_suffix(".py")
            if source.is_file():
                yield from _defined(name, source)


def tables_of(family: str) -> Mapping[str, Sequence[str]]:
    """The names of all settings of a family's runs, by table."""
    names = {table: list(options_of(declared)) for table, declared in TABLES.items()}
    return {"model": list(_fields(*_family_config(family))), **names}

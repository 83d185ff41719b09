"""Find, list, describe and remove run folders without importing PyTorch.

Only ``wenmo.json``, ``metrics.jsonl`` and ``samples.md`` are read.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wenmo.charts import chart_svg
from wenmo.config import closest_match
from wenmo.files import read_json, write_text
from wenmo.format1 import convert_card
from wenmo.runs.locks import check_unlocked
from wenmo.runs.results import DamagedRun, RunDescription, RunSummary
from wenmo.types import WenmoError
from wenmo.version import __version__

FORMAT = 2  # of the run folder; increased by changes that older versions cannot read
CARD, WEIGHTS, TOKENIZER = "wenmo.json", "model.safetensors", "tokenizer.json"
ADAPTERS = "adapter_model.safetensors"
METRICS, SAMPLES = "metrics.jsonl", "samples.md"
RUNS, TRASH = Path("runs"), ".trash"
TABLES = ("model", "ngram_prior", "init", "task", "tokenizer", "read", "split", "train")


def read_card(folder: Path) -> dict[str, Any]:
    """Read the card of a run folder, converted to the current format.

    Raises:
        WenmoError: not a run folder, damaged, or written by a newer version.
    """
    if folder.exists() and not folder.is_dir():
        raise WenmoError(f"{folder}: a file, not a run folder: train on it first (wenmo train)")
    if not folder.is_dir():
        raise WenmoError(f"{folder}: no such run folder{_suggestion(folder)}")
    if not (folder / CARD).is_file():
        raise WenmoError(f"{folder}: not a run folder (it has no {CARD})")
    content = read_json(folder / CARD)
    if not isinstance(content.get("format"), int):
        raise WenmoError(f"{folder / CARD}: damaged, 'format' is missing")
    if content["format"] > FORMAT:
        raise WenmoError(
            f"{folder}: written by a newer wenmo ({content.get('wenmo')}); "
            f"this is {__version__}: upgrade wenmo to read it"
        )
    missing = [key for key in ("family", "data", "finished", "results") if key not in content]
    if missing:
        raise WenmoError(f"{folder / CARD}: damaged, {missing[0]!r} is missing")
    return convert_card(content) if content["format"] == 1 else content


def find_runs(root: Path) -> list[Path]:
    """All run folders in a folder, itself included, sorted by name, without hidden folders.

    Raises:
        WenmoError: there is no such folder.
    """
    if not root.is_dir():
        raise WenmoError(
            f"{root}: no such folder: train a run first, or give the folder of your runs"
        )
    found = []
    for folder, folders, names in os.walk(root):
        if CARD in names:
            found.append(Path(folder))
            folders.clear()  # do not search inside a run folder
        folders[:] = [name for name in folders if not name.startswith(".")]
    return sorted(found)


def summarize(folder: Path) -> RunSummary | DamagedRun:
    """A row in a list of runs."""
    size = _disk_usage(folder)
    try:
        card = read_card(folder)
        metrics = history(folder)
    except WenmoError as error:
        return DamagedRun(str(folder), size, str(error))
    results = card["results"]
    heldout = results.get("heldout", {})
    evaluations = [
        row["heldout_bits_per_byte"] for row in metrics if "heldout_bits_per_byte" in row
    ]
    seconds = results.get("seconds", metrics[-1].get("seconds") if metrics else None)
    last_sample = samples(folder)[-1:]
    return RunSummary(
        run=str(folder),
        family=card["family"],
        task=card.get("task", {}).get("name", "completion"),
        bits_per_byte=heldout.get("bits_per_byte", min(evaluations, default=None)),
        bound=heldout.get("bound", False),
        minutes=None if seconds is None else seconds / 60,
        bytes=size,
        finished=card["finished"],
        sample=results.get("sample", last_sample[0]["text"] if last_sample else None),
    )


def describe(folder: Path) -> RunDescription:
    """Everything that is worth knowing about one run.

    Raises:
        WenmoError: not a run folder, damaged, or written by a newer version.
    """
    summary = summarize(folder)
    if isinstance(summary, DamagedRun):
        raise WenmoError(summary.problem)
    card = read_card(folder)
    settings, derived = _settings(card)
    results = card["results"]
    known = ("parameters", "steps", "best_step", "heldout", "sampling", "exports")
    return RunDescription(
        **vars(summary),
        **{name: results.get(name) for name in known},
        data={name: card["data"].get(name) for name in ("train", "valid", "held_out")},
        settings=settings,
        derived=derived,
        history=history(folder),
        samples=samples(folder),
        exports_network_only=results.get("exports_network_only", []),
    )


def history(folder: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``: ``step``, ``seconds``, ``loss``, and after an evaluation
    ``heldout_bits_per_byte`` and so on. Incomplete lines are skipped.
    """
    path, rows = folder / METRICS, []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict):
            if "rate" in row:  # as format 1 calls it
                row["learning_rate"] = row.pop("rate")
            rows.append(row)
    return rows


def samples(folder: Path) -> list[dict[str, Any]]:
    """The samples during training, from ``samples.md``: ``step`` and ``text``, in order."""
    path = folder / SAMPLES
    if not path.is_file():
        return []
    sections = re.split(r"^## Step (\d+)\n\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    texts = (
        "\n".join(line.removeprefix("    ") for line in section.rstrip("\n").split("\n"))
        for section in sections[2::2]
    )
    return [
        {"step": int(step), "text": text} for step, text in zip(sections[1::2], texts, strict=True)
    ]


def curve(rows: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """The learning curve: minutes of training and held-out bits per byte of each evaluation."""
    name = "heldout_bits_per_byte"
    return [(row["seconds"] / 60, row[name]) for row in rows if name in row]


def draw_curve(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the learning curve of a history as an SVG file.

    Raises:
        WenmoError: there is no evaluation yet, or the file cannot be written.
    """
    points = curve(rows)
    if not points:
        raise WenmoError("no evaluation to draw yet: train longer")
    drawn = chart_svg({"held out": points}, "minutes of training", "bits per byte")
    write_text(path, drawn)


def remove(folders: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Move run folders into a trash folder beside them, all of them or none.

    Returns:
        The old and the new path of each folder.

    Raises:
        WenmoError: a folder is not a run folder, or is in use.
    """
    for folder in folders:
        if not (folder / CARD).is_file():  # runs with a damaged card can be removed
            read_card(folder)
        if folder.is_symlink():
            raise WenmoError(f"{folder}: a link to a run folder: remove the link itself")
        check_unlocked(folder)
    moved = []
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        target = _unused_path(
            folder.parent / TRASH / f"{folder.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        )
        target.parent.mkdir(exist_ok=True)
        shutil.move(folder, target)
        moved.append((folder, target))
    return moved


def _suggestion(folder: Path) -> str:
    """A suggestion of a run folder with a similar name, in the same folder or in ``runs``."""
    roots = dict.fromkeys((RUNS, folder.parent))
    known = {card.parent.name: card.parent for root in roots for card in root.glob(f"*/{CARD}")}
    close = closest_match(folder.name, known)
    return "" if close is None else f"; did you mean '{known[close]}'?"


def _unused_path(path: Path) -> Path:
    """The path, with a number appended if it exists."""
    numbered = (path.with_name(f"{path.name}-{n}") for n in range(2, 10_000))
    return path if not path.exists() else next(other for other in numbered if not other.exists())


def _settings(card: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings chosen by the user, and the derived ones."""
    requested, given = card.get("requested") or {}, card.get("given", [])
    values = dict(_flatten(card))
    requested_values = dict(_flatten(requested))
    chosen = {name: values[name] for name in given if name in values}
    derived = {
        name: value
        for name, value in values.items()
        if name in requested_values and requested_values[name] != value and name not in chosen
    }
    return chosen, derived


def _flatten(tables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for table in TABLES:
        for name, value in (tables.get(table) or {}).items():
            yield f"{table}.{name}", value


def _disk_usage(folder: Path) -> int:
    """The size of all files in a folder, in bytes."""
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sum(path.lstat().st_size for path in paths if path.exists())

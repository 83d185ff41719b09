"""Run folders as they lie on disk: found, listed, described and removed without PyTorch.

What is said here comes from ``wenmo.json``, ``metrics.jsonl`` and ``samples.md`` alone; no weights
are read.
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

from wenmo.config import closest
from wenmo.figures import chart_svg
from wenmo.files import read_json, write_text
from wenmo.format1 import convert_card
from wenmo.runs.locks import check_unlocked
from wenmo.runs.results import DamagedRun, RunDescription, RunSummary
from wenmo.types import WenmoError
from wenmo.version import __version__

FORMAT = 2  # of the run folder; raised when an older program could no longer read it
CARD, WEIGHTS, TOKENIZER = "wenmo.json", "model.safetensors", "tokenizer.json"
ADAPTERS = "adapter_model.safetensors"
METRICS, SAMPLES = "metrics.jsonl", "samples.md"
RUNS, TRASH = Path("runs"), ".trash"
TABLES = ("model", "ngram_prior", "init", "task", "tokenizer", "read", "split", "train")


def read_card(folder: Path) -> dict[str, Any]:
    """The content of a run folder's card.

    Raises:
        WenmoError: not a run folder, damaged, or written by a newer version.
    """
    if folder.exists() and not folder.is_dir():
        raise WenmoError(f"{folder}: a file, not a run folder: train on it first (wenmo train)")
    if not folder.is_dir():
        raise WenmoError(f"{folder}: no such run folder{_offer(folder)}")
    if not (folder / CARD).is_file():
        raise WenmoError(f"{folder}: not a run folder (it has no {CARD})")
    content = read_json(folder / CARD)
    if not isinstance(content.get("format"), int):
        raise WenmoError(f"{folder / CARD}: damaged, it does not name its format")
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
    """Every run folder at or below a folder, sorted by name; hidden folders are left out.

    Raises:
        WenmoError: there is no such folder.
    """
    if not root.is_dir():
        raise WenmoError(f"{root}: no such folder: train a run first, or name the folder of yours")
    found = []
    for at, folders, names in os.walk(root):
        if CARD in names:
            found.append(Path(at))
            folders.clear()  # what lies in a run folder belongs to the run
        folders[:] = [name for name in folders if not name.startswith(".")]
    return sorted(found)


def summarize(folder: Path) -> RunSummary | DamagedRun:
    """One row of a list of runs."""
    size = _size(folder)
    try:
        card = read_card(folder)
        metrics = history(folder)
    except WenmoError as error:
        return DamagedRun(str(folder), size, str(error))
    results = card["results"]
    heldout = results.get("heldout", {})
    watched = [row["heldout_bits_per_byte"] for row in metrics if "heldout_bits_per_byte" in row]
    seconds = results.get("seconds", metrics[-1].get("seconds") if metrics else None)
    last = samples(folder)[-1:]
    return RunSummary(
        run=str(folder),
        family=card["family"],
        task=card.get("task", {}).get("name", "completion"),
        bits_per_byte=heldout.get("bits_per_byte", min(watched, default=None)),
        bound=heldout.get("bound", False),
        minutes=None if seconds is None else seconds / 60,
        bytes=size,
        finished=card["finished"],
        sample=results.get("sample", last[0]["text"] if last else None),
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
    ``heldout_bits_per_byte`` and so on. A line that a kill cut in half is left out.
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
    """What was written on the way, from ``samples.md``: ``step`` and ``text``, in order."""
    path = folder / SAMPLES
    if not path.is_file():
        return []
    parts = re.split(r"^## Step (\d+)\n\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    texts = (
        "\n".join(line.removeprefix("    ") for line in part.rstrip("\n").split("\n"))
        for part in parts[2::2]
    )
    return [
        {"step": int(step), "text": text} for step, text in zip(parts[1::2], texts, strict=True)
    ]


def curve(rows: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Minutes of training and held-out bits per byte, of every evaluation in a history."""
    name = "heldout_bits_per_byte"
    return [(row["seconds"] / 60, row[name]) for row in rows if name in row]


def draw_curve(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the learning curve of a history into an SVG file.

    Raises:
        WenmoError: nothing was evaluated yet, or the file cannot be written.
    """
    points = curve(rows)
    if not points:
        raise WenmoError("no evaluation to draw yet: train longer")
    drawn = chart_svg({"held out": points}, "minutes of training", "bits per byte")
    write_text(path, drawn)


def remove(folders: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Move run folders into a trash folder beside them, all of them or none.

    Returns:
        Where each was, and where it is now.

    Raises:
        WenmoError: one is no run folder, or is being trained now.
    """
    for folder in folders:
        if not (folder / CARD).is_file():  # a damaged card is no reason to keep a run
            read_card(folder)
        if folder.is_symlink():
            raise WenmoError(f"{folder}: a link to a run folder: remove the link itself")
        check_unlocked(folder)
    moved = []
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        target = _free(folder.parent / TRASH / f"{folder.name}-{time.strftime('%Y%m%d-%H%M%S')}")
        target.parent.mkdir(exist_ok=True)
        shutil.move(folder, target)
        moved.append((folder, target))
    return moved


def _offer(folder: Path) -> str:
    """A run folder with a name like this one's, beside it or in ``runs``."""
    places = dict.fromkeys((RUNS, folder.parent))
    known = {card.parent.name: card.parent for at in places for card in at.glob(f"*/{CARD}")}
    close = closest(folder.name, known)
    return "" if close is None else f"; did you mean '{known[close]}'?"


def _free(path: Path) -> Path:
    """The path, or one with a number behind it where something lies there already."""
    numbered = (path.with_name(f"{path.name}-{n}") for n in range(2, 10_000))
    return path if not path.exists() else next(other for other in numbered if not other.exists())


def _settings(card: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings that the user chose, and those that were derived."""
    asked, given = card.get("asked") or {}, card.get("given", [])
    values = dict(_flat(card))
    before = dict(_flat(asked))
    chosen = {name: values[name] for name in given if name in values}
    derived = {
        name: value
        for name, value in values.items()
        if name in before and before[name] != value and name not in chosen
    }
    return chosen, derived


def _flat(tables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for table in TABLES:
        for name, value in (tables.get(table) or {}).items():
            yield f"{table}.{name}", value


def _size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    paths = (Path(at, name) for at, _, names in os.walk(folder) for name in names)
    return sum(path.lstat().st_size for path in paths if path.exists())

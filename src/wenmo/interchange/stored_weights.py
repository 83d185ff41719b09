"""The weights of another program's folder: under the names of their kind, and all accounted for.

Each weight is used, known to follow from others or from the settings, or refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from wenmo.files import read_json
from wenmo.interchange.layouts import Kind
from wenmo.tensors import load_tensors
from wenmo.types import WenmoError

INDEX = "model.safetensors.index.json"
WRAPPERS = ("module.", "_orig_mod.")  # what distributed training and compilation put before all
LOGITS_BIAS = "final_logits_bias"

# Copies of other weights, each with the name of what it must be equal to.
COPIES = {
    "encoder.embed_tokens.weight": "shared.weight",
    "decoder.embed_tokens.weight": "shared.weight",
    "model.encoder.embed_tokens.weight": "model.shared.weight",
    "model.decoder.embed_tokens.weight": "model.shared.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
    "lm_head.decoder.bias": "lm_head.bias",
}
# What follows from the settings, or has no part in writing.
UNUSED = re.compile(
    r"transformer\.h\.\d+\.attn\.(bias|masked_bias)"  # the causal mask
    r"|(model\.layers\.\d+\.self_attn|model)\.rotary_emb\.inv_freq"
    r"|model\.(encoder|decoder)\.version"
    r"|model\.(encoder|decoder)\.embed_positions\.weight"  # Marian's sines; elsewhere it is used
    r"|decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight"
    r"|(bert|roberta)\.embeddings\.position_ids"
    r"|(bert|roberta)\.embeddings\.token_type_embeddings\.weight"  # is added to the positions
    r"|(bert|roberta)\.pooler\.dense\.(weight|bias)"
    r"|cls\.seq_relationship\.(weight|bias)"  # whether two sentences follow each other
    r"|v_head\..*"  # the value of a text, from reinforcement learning
)


def read_weights(path: Path) -> dict[str, Tensor]:
    """All weights of a folder, in one file or in several.

    Raises:
        WenmoError: there are none, they are damaged, or they are pickled.
    """
    if (path / INDEX).is_file():
        listed = read_json(path / INDEX).get("weight_map")
        if not isinstance(listed, dict):
            raise WenmoError(f"{path / INDEX}: damaged, it has no weight_map")
        files = sorted({str(name) for name in listed.values()})
        if any(Path(name).name != name for name in files):
            raise WenmoError(f"{path / INDEX}: names files outside of its folder")
        parts = [load_tensors(path / name) for name in files]
        return {name: tensor for part in parts for name, tensor in part.items()}
    if (path / "model.safetensors").is_file():
        return load_tensors(path / "model.safetensors")
    pickles = [*path.glob("*.bin"), *path.glob("*.pt"), *path.glob("*.ckpt")]
    if pickles:
        raise WenmoError(
            f"{pickles[0]}: a pickle, which could run anything when it is read: get the model's "
            "model.safetensors, or have its maker convert it"
        )
    raise WenmoError(f"{path}: no model.safetensors")


def with_prefix(tensors: Mapping[str, Tensor], kind: Kind) -> dict[str, Tensor]:
    """The weights under the names that the kind has for a whole model, whether or not they were
    saved without its softmax (``wte.weight``) or in a wrapper (``module.transformer.wte.weight``).

    A bias of the softmax that such a file lacks is zero.
    """
    found = dict(tensors)
    for wrapper in WRAPPERS:
        if found and all(name.startswith(wrapper) for name in found):
            found = {name.removeprefix(wrapper): tensor for name, tensor in found.items()}
    if not kind.prefix or any(name.startswith(kind.prefix) for name in found):
        return found
    outer = {name.split(".")[0] for name in kind.names.values() if not name.startswith(kind.prefix)}
    named = {
        name if name.split(".")[0] in outer else kind.prefix + name: tensor
        for name, tensor in found.items()
    }
    embedding = named.get(kind.names["embedding.weight"])
    if kind.names.get("bias") == LOGITS_BIAS and embedding is not None:
        named.setdefault(LOGITS_BIAS, torch.zeros(1, len(embedding)))
    return named


def check_all_used(
    path: Path, tensors: Mapping[str, Tensor], used: Iterable[str], kind: Kind
) -> None:
    """Make sure that no weight is ignored.

    Args:
        path: the folder.
        tensors: all that it has.
        used: the names of those that the model has.

    Raises:
        WenmoError: one is neither used nor known to be derived.
    """
    names = set(used)
    embedding = kind.names["embedding.weight"]
    copies = {**COPIES, kind.names["head.weight"]: embedding}
    for name, tensor in tensors.items():
        if name in names or UNUSED.fullmatch(name):
            continue
        original = tensors.get(copies.get(name, ""))
        if original is None:
            raise WenmoError(f"{path}: the weight {name!r} is not known in a model of this kind")
        if not torch.equal(tensor, original[: len(tensor)]):  # a masked model's has a row more
            raise WenmoError(f"{path}: the weight {name!r} differs from {copies[name]!r}")

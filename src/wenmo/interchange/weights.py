"""Read the weights of a model folder without silently ignoring one.

Each weight is either used, known to follow from other weights or settings, or refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from wenmo.files import read_json
from wenmo.interchange.layouts import Architecture
from wenmo.tensors import load_tensors
from wenmo.types import WenmoError

INDEX = "model.safetensors.index.json"
# Added by DistributedDataParallel and torch.compile.
WRAPPER_PREFIXES = ("module.", "_orig_mod.")
LOGITS_BIAS = "final_logits_bias"

# Copies of other weights, with the name of the original that they must be equal to.
COPIES = {
    "encoder.embed_tokens.weight": "shared.weight",
    "decoder.embed_tokens.weight": "shared.weight",
    "model.encoder.embed_tokens.weight": "model.shared.weight",
    "model.decoder.embed_tokens.weight": "model.shared.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
    "lm_head.decoder.bias": "lm_head.bias",
}
# Weights that follow from the settings, or that generation does not use.
IGNORED_WEIGHTS = re.compile(
    r"transformer\.h\.\d+\.attn\.(bias|masked_bias)"  # the causal mask
    r"|(model\.layers\.\d+\.self_attn|model)\.rotary_emb\.inv_freq"
    r"|model\.(encoder|decoder)\.version"
    r"|model\.(encoder|decoder)\.embed_positions\.weight"  # sinusoidal in Marian; used in BART
    r"|decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight"
    r"|(bert|roberta)\.embeddings\.position_ids"
    r"|(bert|roberta)\.embeddings\.token_type_embeddings\.weight"  # merged into the positions
    r"|(bert|roberta)\.pooler\.dense\.(weight|bias)"
    r"|cls\.seq_relationship\.(weight|bias)"  # next sentence prediction
    r"|v_head\..*"  # value head of reinforcement learning
)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read all weights of a folder, from one file or several shards.

    Raises:
        WenmoError: the weights are missing, damaged or pickled.
    """
    if (path / INDEX).is_file():
        weight_map = read_json(path / INDEX).get("weight_map")
        if not isinstance(weight_map, dict):
            raise WenmoError(f"{path / INDEX}: damaged, it has no weight_map")
        files = sorted({str(name) for name in weight_map.values()})
        if any(Path(name).name != name for name in files):
            raise WenmoError(f"{path / INDEX}: names files outside of its folder")
        shards = [load_tensors(path / name) for name in files]
        return {name: tensor for shard in shards for name, tensor in shard.items()}
    if (path / "model.safetensors").is_file():
        return load_tensors(path / "model.safetensors")
    pickles = [*path.glob("*.bin"), *path.glob("*.pt"), *path.glob("*.ckpt")]
    if pickles:
        raise WenmoError(
            f"{pickles[0]}: a pickle, which can execute code when it is loaded: use the model's "
            "model.safetensors, or convert the file to safetensors"
        )
    raise WenmoError(f"{path}: no model.safetensors")


def normalize_names(tensors: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """Rename weights to the architecture's full names.

    Weights may have been saved without the output layer (``wte.weight``) or in a wrapper
    (``module.transformer.wte.weight``). A missing ``final_logits_bias`` is set to zero.
    """
    stripped = dict(tensors)
    for wrapper in WRAPPER_PREFIXES:
        if stripped and all(name.startswith(wrapper) for name in stripped):
            stripped = {name.removeprefix(wrapper): tensor for name, tensor in stripped.items()}
    if not architecture.prefix or any(name.startswith(architecture.prefix) for name in stripped):
        return stripped
    unprefixed = {
        name.split(".")[0]
        for name in architecture.weight_names.values()
        if not name.startswith(architecture.prefix)
    }
    prefixed = {
        name if name.split(".")[0] in unprefixed else architecture.prefix + name: tensor
        for name, tensor in stripped.items()
    }
    embedding = prefixed.get(architecture.weight_names["embedding.weight"])
    if architecture.weight_names.get("bias") == LOGITS_BIAS and embedding is not None:
        prefixed.setdefault(LOGITS_BIAS, torch.zeros(1, len(embedding)))
    return prefixed


def check_all_used(
    path: Path, tensors: Mapping[str, Tensor], used: Iterable[str], architecture: Architecture
) -> None:
    """Check that no weight is ignored.

    Args:
        path: the folder, for error messages.
        tensors: all weights of the folder.
        used: names of the weights that the model has.

    Raises:
        WenmoError: a weight is neither used nor known to be redundant.
    """
    names = set(used)
    embedding = architecture.weight_names["embedding.weight"]
    copies = {**COPIES, architecture.weight_names["head.weight"]: embedding}
    for name, tensor in tensors.items():
        if name in names or IGNORED_WEIGHTS.fullmatch(name):
            continue
        original = tensors.get(copies.get(name, ""))
        if original is None:
            raise WenmoError(f"{path}: the weight {name!r} is not known in a model of this kind")
        if not torch.equal(
            tensor, original[: len(tensor)]
        ):  # a masked model's embedding has one more row
            raise WenmoError(f"{path}: the weight {name!r} differs from {copies[name]!r}")

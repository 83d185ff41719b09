"""Export models as ONNX graphs, which onnxruntime and other runtimes run without PyTorch.

A graph is one step of a model: tokens and a state in, logits and the next state out. The same graph
reads a prompt (many tokens, from an empty state) and generates (one token, from the last state).
Batch size, sequence length, cache length and source length are dynamic.

PyTorch traces one call at fixed sizes, so a trace may silently depend on them. The graph is
therefore checked against the model at other sizes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wenmo.files import atomic_folder, write_json
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import (
    FitsCounts,
    HasLatents,
    HasMixture,
    capability,
    has_capability,
)
from wenmo.models.network import Network
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import END, IGNORE, State, Tokens, WenmoError

Axes: TypeAlias = "dict[str, dict[int, str]]"
"""The dynamic axes of named tensors, and the name of each axis."""

OPSET = 18
STEP_FILE, ENCODER_FILE, LATENTS_FILE, INFO_FILE = (
    "model.onnx",
    "encoder.onnx",
    "latents.onnx",
    "model.json",
)
MAX_INLINE_BYTES = (
    2_000_000_000  # bytes; larger weights are external data, as protobuf is limited to 2 GiB
)
MIN_CONTEXT = 8  # tokens that are read while a graph is traced and checked
TOKENS, LATENTS, LOGITS = "tokens", "latents", "logits"
NEXT_PREFIX = "next."  # prefix of the names of output state tensors
ROWS, PAST, SOURCE = "rows", "past", "source"
EXPORT_SIZES = {ROWS: 2, PAST: 3, SOURCE: 5}
CHECK_SIZES = {ROWS: 3, PAST: 0, SOURCE: 7}
SEQUENCE_LENGTHS = {
    3: (4, 1, 2),
    1: (1, 1, 1),
}  # tokens traced: tokens of consecutive checks
TOLERANCE = 1e-3


def write_onnx(path: Path, model: LanguageModel, tokenizer: Tokenizer, *, has_source: bool) -> None:
    """Write a folder atomically: ``model.onnx``, ``encoder.onnx`` (models with an encoder) or
    ``latents.onnx`` (models with latents), the tokenizer, and ``model.json``, which describes how
    to use them (docs/interchange.md).

    The graphs use the ids of ``tokenizer.json``.

    Args:
        has_source: the model was trained on pairs of source and target.

    Raises:
        WenmoError: the model is not supported, or a package is not installed.
    """
    check_onnx(model)
    _require_packages()
    permutation = list(range(model.vocab_size))
    permutation[END], permutation[tokenizer.end] = tokenizer.end, END
    id_map = None if tokenizer.end == END else torch.tensor(permutation, device=model.device)
    with atomic_folder(path) as folder, torch.no_grad():
        module = StepModule(model.eval(), id_map)
        fixed_length = _write_step(module, folder / STEP_FILE)
        if _has_initial_state_graph(model):
            _write_initial_state(InitialStateModule(model, id_map), folder)
        tokenizer.save(folder / "tokenizer.json")
        info = _interface(model, tokenizer, permutation, has_source=has_source)
        write_json(
            folder / INFO_FILE, info | {"tokens_at_once": fixed_length} | module.state_info()
        )


def _require_packages() -> None:
    for name in ("onnx", "onnxruntime"):
        if find_spec(name) is None:
            raise WenmoError(f'ONNX graphs need the package {name}: pip install "wenmo[onnx]"')


def check_onnx(model: LanguageModel) -> None:
    """Check that a model can be exported.

    Raises:
        WenmoError: it cannot; the message says why.
    """
    if has_capability(model, FitsCounts):
        raise WenmoError("ONNX does not support n-gram counts: export n-gram models with --to arpa")
    if has_capability(model, HasMixture):
        raise WenmoError("ONNX does not support n-gram counts: train with --prior none")
    if not isinstance(model, Network):
        raise WenmoError(
            "ONNX export needs a network with a recurrent state or a cache: this model reads the "
            "whole text again for every token"
        )
    if model.context is not None and model.context < MIN_CONTEXT:
        raise WenmoError(f"ONNX export needs a context of at least {MIN_CONTEXT} tokens")
    if not _has_initial_state_graph(model) and any(
        t.any() for t in model.initial_state(1).values()
    ):
        raise WenmoError("ONNX export needs an initial state of zeros: this model has another")


def _has_initial_state_graph(model: LanguageModel) -> bool:
    return model.conditioning == "encoder" or has_capability(model, HasLatents)


def _interface(
    model: LanguageModel, tokenizer: Tokenizer, permutation: Sequence[int], *, has_source: bool
) -> dict[str, Any]:
    """The content of ``model.json``: sizes, and the ids around a text and a source, external."""
    has_encoder, latents = model.conditioning == "encoder", capability(model, HasLatents)
    affixes = {
        "before": tokenizer.prefix,
        "after": model.special_tokens.source_suffix
        if has_encoder
        else model.special_tokens.separator,
    }
    source: dict[str, Any] = {
        name: [permutation[id_] for id_ in ids] for name, ids in affixes.items()
    }
    return {
        "vocab_size": model.vocab_size,
        "context": model.context,
        "end": tokenizer.end,
        "text": {
            "before": [permutation[id_] for id_ in (*model.special_tokens.bos, *tokenizer.prefix)]
        },
        "source": {"file": ENCODER_FILE if has_encoder else STEP_FILE, **source}
        if has_source or has_encoder
        else None,
        "latents": None
        if latents is None
        else {"file": LATENTS_FILE, "count": latents.latent_size},
    }


# -- modules to export -----------------------------------------------------------------------------


class StepModule(nn.Module):
    """A model's ``forward``, with the tensors of the state as separate arguments.

    Args:
        id_map: internal id of each external id; None: they are the same.

    Attributes:
        state: an example state of the sizes ``EXPORT_SIZES``.
        axes: the dynamic axes of its tensors.
        updated: names of the tensors that a step changes; the others are inputs only.
    """

    def __init__(self, model: LanguageModel, id_map: Tensor | None) -> None:
        super().__init__()
        self.model, self.id_map = model, id_map
        self.state = example_state(model, EXPORT_SIZES)
        self.axes = state_axes(model)
        empty = example_state(model, CHECK_SIZES)  # no capacity: nothing is written in place
        _, after = model(
            torch.zeros(CHECK_SIZES[ROWS], 1, dtype=torch.long, device=model.device), empty
        )
        self.updated = [name for name, tensor in empty.items() if after[name] is not tensor]
        self.eval()

    def forward(self, tokens: Tokens, *tensors: Tensor) -> tuple[Tensor, ...]:
        state = dict(zip(self.state, tensors, strict=True))
        with ReplaceUnsupported():
            logits, after = self.model(
                tokens if self.id_map is None else self.id_map[tokens], state
            )
        logits = logits if self.id_map is None else logits[..., self.id_map]
        return logits, *(after[name] for name in self.updated)

    def state_info(self) -> dict[str, Any]:
        """Type and shape of each tensor of the state, and the names of those that are outputs."""
        state = {
            name: {
                "type": str(tensor.dtype).removeprefix("torch."),
                "shape": [
                    self.axes[name].get(axis, size) for axis, size in enumerate(tensor.shape)
                ],
            }
            for name, tensor in self.state.items()
        }
        return {"state": state, "changed": self.updated}


class InitialStateModule(nn.Module):
    """The initial state from a source, int64 (rows, time), or latents, float32 (rows, latents)."""

    def __init__(self, model: LanguageModel, id_map: Tensor | None) -> None:
        super().__init__()
        self.model, self.id_map = model, id_map
        self.latents = capability(model, HasLatents)
        self.name, self.file = (
            (TOKENS, ENCODER_FILE) if self.latents is None else (LATENTS, LATENTS_FILE)
        )
        self.eval()

    def forward(self, value: Tensor) -> tuple[Tensor, ...]:
        with ReplaceUnsupported():
            if self.latents is not None:
                return tuple(self.latents.state_at(value).values())
            if self.id_map is not None:
                value = torch.where(value == IGNORE, value, self.id_map[value.clamp_min(0)])
            return tuple(self.model.initial_state(value.shape[0], source=value).values())

    def example_input(self, sizes: Mapping[str, int]) -> Tensor:
        """An input of the given sizes; a source has a padded row."""
        rows, model = sizes[ROWS], self.model
        if self.latents is not None:
            size = rows * self.latents.latent_size
            return torch.linspace(-1, 1, size, device=model.device).view(rows, -1)
        source = torch.arange(1, 1 + rows * sizes[SOURCE], device=model.device) % model.vocab_size
        source = source.view(rows, -1)
        source[0, 2:] = IGNORE
        return source


class ReplaceUnsupported(TorchFunctionMode):
    """Replaces functions without an ONNX operator by equivalent ones."""

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return REPLACEMENTS.get(function, function)(*args, **(kwargs or {}))


def _rms_norm(x: Tensor, shape: Sequence[int], weight: Tensor, eps: float) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight


def _logaddexp(a: Tensor, b: Tensor) -> Tensor:
    return torch.maximum(a, b) + F.softplus(-(a - b).abs())


REPLACEMENTS = {F.rms_norm: _rms_norm, torch.logaddexp: _logaddexp}


def example_state(model: LanguageModel, sizes: Mapping[str, int]) -> State:
    """The initial state, with a cache capacity of ``past`` tokens."""
    source = None
    if model.conditioning == "encoder":
        source = torch.ones(sizes[ROWS], sizes[SOURCE], dtype=torch.long, device=model.device)
    return model.initial_state(sizes[ROWS], source=source, capacity=sizes[PAST])


def state_axes(model: LanguageModel) -> Axes:
    """The dynamic axes of a state: those that depend on batch, past or source."""
    reference = example_state(model, EXPORT_SIZES)
    axes: Axes = {name: {} for name in reference}
    for size_name in EXPORT_SIZES:
        larger = example_state(model, {**EXPORT_SIZES, size_name: EXPORT_SIZES[size_name] + 1})
        for name, tensor in reference.items():
            pairs = zip(tensor.shape, larger[name].shape, strict=True)
            axes[name] |= {
                axis: size_name
                for axis, (length, other_length) in enumerate(pairs)
                if length != other_length
            }
    return axes


# -- export ----------------------------------------------------------------------------------------


def _write_step(step: StepModule, path: Path) -> int | None:
    """Write the graph of a step.

    The trace of a model that loops over tokens has a fixed sequence length; it is then traced with
    one token.

    Returns:
        The number of tokens that the graph reads at once; None: any.
    """
    for length, check_lengths in SEQUENCE_LENGTHS.items():
        axes: Axes = {TOKENS: {0: ROWS}, LOGITS: {0: ROWS}}
        if length > 1:
            axes = {name: {**dims, 1: "time"} for name, dims in axes.items()}
        for name, dims in step.axes.items():
            axes[name] = dims
            total = f"{PAST} + {axes[TOKENS].get(1, length)}"
            axes[NEXT_PREFIX + name] = {
                axis: total if size_name == PAST else size_name for axis, size_name in dims.items()
            }
        tokens = torch.zeros(EXPORT_SIZES[ROWS], length, dtype=torch.long, device=step.model.device)
        inputs = {TOKENS: tokens, **step.state}
        outputs = [LOGITS, *(NEXT_PREFIX + name for name in step.updated)]
        _export(step, inputs, outputs, axes, path)
        if _matches_model(step, path, check_lengths):
            return None if length > 1 else length
    raise RuntimeError(f"{path.name} does not compute what the model does")


def _write_initial_state(module: InitialStateModule, folder: Path) -> None:
    path, name = folder / module.file, module.name
    input_axes = {0: ROWS} if name == LATENTS else {0: ROWS, 1: SOURCE}
    axes = {name: input_axes} | state_axes(module.model)
    axes = {
        name: {axis: size_name for axis, size_name in dims.items() if size_name != PAST}
        for name, dims in axes.items()
    }
    _export(module, {name: module.example_input(EXPORT_SIZES)}, list(axes)[1:], axes, path)
    check_input = module.example_input(CHECK_SIZES)
    outputs = load_session(path).run(None, {name: _array(check_input)})
    for output, expected in zip(outputs, module(check_input), strict=True):
        if not _is_close(output, expected):
            raise RuntimeError(f"{path.name} does not compute what the model does")


def _export(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    axes: Axes,
    path: Path,
) -> None:
    """Trace a module and write its graph.

    The tracing exporter (``dynamo=False``) is used because the newer one, with symbolic sizes, took
    about twenty times as long.
    """
    import onnx

    with TemporaryDirectory(dir=path.parent) as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about constant sizes: the graph is checked at others
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(Path(scratch) / path.name),
            dynamo=False,
            opset_version=OPSET,
            do_constant_folding=False,  # runtimes do it, and tied weights are stored once
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: dims for name, dims in axes.items() if name in {*inputs, *outputs}},
        )
        model = onnx.load(Path(scratch) / path.name)
    for value, tensor in zip(model.graph.output, module(*inputs.values()), strict=True):
        sizes = value.type.tensor_type.shape.dim
        for axis, (size, length) in enumerate(zip(sizes, tensor.shape, strict=True)):
            if axis not in axes[value.name]:
                size.dim_value = length
    weights = sum(len(weight.raw_data) for weight in model.graph.initializer)
    onnx.save(
        model, path, save_as_external_data=weights > MAX_INLINE_BYTES, location=f"{path.name}.data"
    )
    onnx.checker.check_model(path, full_check=True)


# -- checks ----------------------------------------------------------------------------------------


def load_session(path: Path) -> Any:
    """Load a graph into onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised as exceptions anyway
    return onnxruntime.InferenceSession(path, options)


def _matches_model(step: StepModule, path: Path, lengths: Sequence[int]) -> bool:
    """Whether a graph gives the model's logits at sizes other than those of the trace, over several
    consecutive calls.
    """
    graph = load_session(path)
    state = example_state(step.model, CHECK_SIZES)
    graph_state = {name: _array(tensor) for name, tensor in state.items()}
    for length in lengths:
        tokens = torch.arange(CHECK_SIZES[ROWS] * length, device=step.model.device)
        tokens = (tokens % step.model.vocab_size).view(CHECK_SIZES[ROWS], length)
        expected, *after = step(tokens, *state.values())
        state |= zip(step.updated, after, strict=True)
        try:
            logits, *arrays = graph.run(None, {TOKENS: _array(tokens), **graph_state})
        except Exception:  # onnxruntime raises many types for a wrong shape
            return False
        graph_state |= zip(step.updated, arrays, strict=True)
        if not _is_close(logits, expected):
            return False
    return True


def _is_close(value: Any, expected: Tensor) -> bool:
    reference = _array(expected)
    return value.shape == reference.shape and np.allclose(
        value, reference, rtol=TOLERANCE, atol=TOLERANCE
    )


def _array(tensor: Tensor) -> Any:
    return tensor.cpu().numpy()

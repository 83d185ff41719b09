"""Models written as ONNX graphs, which onnxruntime and its kin run without PyTorch.

A graph is one step of a model: tokens and a state in, logits and the state after them out. It reads
a prompt, many tokens after an empty state, and writes, one token after the state before. Rows,
tokens, what a cache holds and the length of a source are free in it.

The graph is what PyTorch records of one call, at certain sizes. What was true of these alone would
stand in it unnoticed; so it is tried at others, and must say there what the model says.
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
"""The free dimensions of named tensors, and what each is called."""

OPSET = 18
STEP, ENCODER, DRAWN, ABOUT = "model.onnx", "encoder.onnx", "latents.onnx", "model.json"
LARGEST = 2_000_000_000  # bytes of weights in a file, which can hold little more; others lie beside
LEAST_CONTEXT = 8  # tokens that are read while a graph is recorded and tried
TOKENS, LATENTS, LOGITS = "tokens", "latents", "logits"
NEXT = "next."  # stands before the names of a state's tensors where they come out
ROWS, PAST, SOURCE = "rows", "past", "source"
RECORDED = {ROWS: 2, PAST: 3, SOURCE: 5}
TRIED = {ROWS: 3, PAST: 0, SOURCE: 7}
TIMES = {3: (4, 1, 2), 1: (1, 1, 1)}  # the tokens recorded, and those tried one after another
CLOSE = 1e-3


def write_onnx(path: Path, model: LanguageModel, tokenizer: Tokenizer, *, answers: bool) -> None:
    """Write a folder, whole or not at all: ``model.onnx``, with an encoder ``encoder.onnx``, with
    latents ``latents.onnx``, the tokenizer, and ``model.json``, which says how to use them
    (docs/interchange.md).

    The ids of the graphs are those of the ``tokenizer.json`` beside them.

    Args:
        answers: the model was trained to answer to sources.

    Raises:
        WenmoError: the model has no state to go on from, or counts, or a package is not there.
    """
    check_onnx(model)
    _require_packages()
    order = list(range(model.vocab_size))
    order[END], order[tokenizer.end] = tokenizer.end, END
    index = None if tokenizer.end == END else torch.tensor(order, device=model.device)
    with atomic_folder(path) as folder, torch.no_grad():
        step = Step(model.eval(), index)
        time = _write_step(step, folder / STEP)
        if _begins_with_something(model):
            _write_beginning(Beginning(model, index), folder)
        tokenizer.save(folder / "tokenizer.json")
        about = _about(model, tokenizer, order, answers=answers)
        write_json(folder / ABOUT, about | {"tokens_at_once": time} | step.about())


def _require_packages() -> None:
    for name in ("onnx", "onnxruntime"):
        if find_spec(name) is None:
            raise WenmoError(f'ONNX graphs need the package {name}: pip install "wenmo[onnx]"')


def check_onnx(model: LanguageModel) -> None:
    """Check that a graph can hold a model.

    Raises:
        WenmoError: it cannot; the message says why.
    """
    if has_capability(model, FitsCounts):
        raise WenmoError("an ONNX graph holds no counts: write n-gram models with --to arpa")
    if has_capability(model, HasMixture):
        raise WenmoError("an ONNX graph holds no counts: train a network without (--prior none)")
    if not isinstance(model, Network):
        raise WenmoError(
            "this model reads all of a text anew for every token: an ONNX graph holds "
            "a network that goes on from a state"
        )
    if model.context is not None and model.context < LEAST_CONTEXT:
        raise WenmoError(f"ONNX graphs hold networks with a context of at least {LEAST_CONTEXT}")
    if not _begins_with_something(model) and any(t.any() for t in model.initial_state(1).values()):
        raise WenmoError("this model begins with more than zeros: no graph holds that")


def _begins_with_something(model: LanguageModel) -> bool:
    return model.conditioning == "encoder" or has_capability(model, HasLatents)


def _about(
    model: LanguageModel, tokenizer: Tokenizer, order: Sequence[int], *, answers: bool
) -> dict[str, Any]:
    """What stands around a text and a source, and the bounds of both, in the tokenizer's ids."""
    encodes, latents = model.conditioning == "encoder", capability(model, HasLatents)
    marks = {
        "before": tokenizer.prefix,
        "after": model.special_tokens.source_suffix if encodes else model.special_tokens.separator,
    }
    source: dict[str, Any] = {name: [order[id_] for id_ in ids] for name, ids in marks.items()}
    return {
        "vocab_size": model.vocab_size,
        "context": model.context,
        "end": tokenizer.end,
        "text": {"before": [order[id_] for id_ in (*model.special_tokens.bos, *tokenizer.prefix)]},
        "source": {"file": ENCODER if encodes else STEP, **source} if answers or encodes else None,
        "latents": None if latents is None else {"file": DRAWN, "count": latents.latent_size},
    }


# -- what is recorded ------------------------------------------------------------------------------


class Step(nn.Module):
    """A model's ``forward``, with a state's tensors one by one.

    Args:
        order: the model's id of each of the tokenizer's; None: they are the same.

    Attributes:
        state: an example of the state, at the sizes ``RECORDED``.
        axes: of its tensors.
        changed: the names of those that a step changes; the others only need to be there.
    """

    def __init__(self, model: LanguageModel, order: Tensor | None) -> None:
        super().__init__()
        self.model, self.order = model, order
        self.state = example(model, RECORDED)
        self.axes = axes_of(model)
        empty = example(model, TRIED)  # without room, so that nothing is written in place
        _, after = model(torch.zeros(TRIED[ROWS], 1, dtype=torch.long, device=model.device), empty)
        self.changed = [name for name, tensor in empty.items() if after[name] is not tensor]
        self.eval()

    def forward(self, tokens: Tokens, *tensors: Tensor) -> tuple[Tensor, ...]:
        state = dict(zip(self.state, tensors, strict=True))
        with Plain():
            logits, after = self.model(tokens if self.order is None else self.order[tokens], state)
        logits = logits if self.order is None else logits[..., self.order]
        return logits, *(after[name] for name in self.changed)

    def about(self) -> dict[str, Any]:
        """The type and shape of each tensor of the state, and which of them come out."""
        state = {
            name: {
                "type": str(tensor.dtype).removeprefix("torch."),
                "shape": [self.axes[name].get(at, size) for at, size in enumerate(tensor.shape)],
            }
            for name, tensor in self.state.items()
        }
        return {"state": state, "changed": self.changed}


class Beginning(nn.Module):
    """The state in which a text begins that answers to a source, int64 (rows, time), or is written
    from latents, float32 (rows, latents).
    """

    def __init__(self, model: LanguageModel, order: Tensor | None) -> None:
        super().__init__()
        self.model, self.order = model, order
        self.latents = capability(model, HasLatents)
        self.name, self.file = (TOKENS, ENCODER) if self.latents is None else (LATENTS, DRAWN)
        self.eval()

    def forward(self, given: Tensor) -> tuple[Tensor, ...]:
        with Plain():
            if self.latents is not None:
                return tuple(self.latents.state_at(given).values())
            if self.order is not None:
                given = torch.where(given == IGNORE, given, self.order[given.clamp_min(0)])
            return tuple(self.model.initial_state(given.shape[0], source=given).values())

    def example(self, sizes: Mapping[str, int]) -> Tensor:
        """What it may be given."""
        rows, model = sizes[ROWS], self.model
        if self.latents is not None:
            size = rows * self.latents.latent_size
            return torch.linspace(-1, 1, size, device=model.device).view(rows, -1)
        source = torch.arange(1, 1 + rows * sizes[SOURCE], device=model.device) % model.vocab_size
        source = source.view(rows, -1)
        source[0, 2:] = IGNORE
        return source


class Plain(TorchFunctionMode):
    """What the language of graphs has no word for is said in others."""

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return OTHER_WORDS.get(function, function)(*args, **(kwargs or {}))


def _rms_norm(x: Tensor, shape: Sequence[int], weight: Tensor, eps: float) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight


def _logaddexp(one: Tensor, other: Tensor) -> Tensor:
    return torch.maximum(one, other) + F.softplus(-(one - other).abs())


OTHER_WORDS = {F.rms_norm: _rms_norm, torch.logaddexp: _logaddexp}


def example(model: LanguageModel, sizes: Mapping[str, int]) -> State:
    """The state of empty texts, with room in its caches for ``past`` tokens."""
    source = None
    if model.conditioning == "encoder":
        source = torch.ones(sizes[ROWS], sizes[SOURCE], dtype=torch.long, device=model.device)
    return model.initial_state(sizes[ROWS], source=source, capacity=sizes[PAST])


def axes_of(model: LanguageModel) -> Axes:
    """The dimensions of a state's tensors that are not the model's own: those that change with the
    rows, with what is past, or with the source.
    """
    first = example(model, RECORDED)
    axes: Axes = {name: {} for name in first}
    for word in RECORDED:
        other = example(model, {**RECORDED, word: RECORDED[word] + 1})
        for name, tensor in first.items():
            pairs = zip(tensor.shape, other[name].shape, strict=True)
            axes[name] |= {at: word for at, (one, two) in enumerate(pairs) if one != two}
    return axes


# -- writing ---------------------------------------------------------------------------------------


def _write_step(step: Step, path: Path) -> int | None:
    """Write the graph of a step; return how many tokens it reads at once, None if any number.

    A model that goes from token to token is recorded with as many as there were: then with one.
    """
    for time, trials in TIMES.items():
        axes: Axes = {TOKENS: {0: ROWS}, LOGITS: {0: ROWS}}
        if time > 1:
            axes = {name: {**own, 1: "time"} for name, own in axes.items()}
        for name, own in step.axes.items():
            axes[name] = own
            grown = f"{PAST} + {axes[TOKENS].get(1, time)}"
            axes[NEXT + name] = {at: grown if w == PAST else w for at, w in own.items()}
        tokens = torch.zeros(RECORDED[ROWS], time, dtype=torch.long, device=step.model.device)
        inputs = {TOKENS: tokens, **step.state}
        outputs = [LOGITS, *(NEXT + name for name in step.changed)]
        _record(step, inputs, outputs, axes, path)
        if _agree(step, path, trials):
            return None if time > 1 else time
    raise RuntimeError(f"{path.name} does not compute what the model does")


def _write_beginning(beginning: Beginning, folder: Path) -> None:
    path, name = folder / beginning.file, beginning.name
    free = {0: ROWS} if name == LATENTS else {0: ROWS, 1: SOURCE}
    axes = {name: free} | axes_of(beginning.model)
    axes = {name: {at: w for at, w in own.items() if w != PAST} for name, own in axes.items()}
    _record(beginning, {name: beginning.example(RECORDED)}, list(axes)[1:], axes, path)
    tried = beginning.example(TRIED)
    given = session(path).run(None, {name: _array(tried)})
    for one, other in zip(given, beginning(tried), strict=True):
        if not _close(one, other):
            raise RuntimeError(f"{path.name} does not compute what the model does")


def _record(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    axes: Axes,
    path: Path,
) -> None:
    """Write the graph of one call, with the names and shapes that are told here.

    By the exporter that records calls: the one that PyTorch offers in its place reasons about sizes
    as symbols, for which it took about twenty times as long.
    """
    import onnx

    with TemporaryDirectory(dir=path.parent) as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes that stand in the graph: it is tried at others
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(Path(scratch) / path.name),
            dynamo=False,
            opset_version=OPSET,
            do_constant_folding=False,  # runtimes do it, and a tied weight is written but once
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: own for name, own in axes.items() if name in {*inputs, *outputs}},
        )
        model = onnx.load(Path(scratch) / path.name)
    for value, tensor in zip(model.graph.output, module(*inputs.values()), strict=True):
        sizes = value.type.tensor_type.shape.dim
        for at, (size, number) in enumerate(zip(sizes, tensor.shape, strict=True)):
            if at not in axes[value.name]:
                size.dim_value = number
    weights = sum(len(weight.raw_data) for weight in model.graph.initializer)
    onnx.save(model, path, save_as_external_data=weights > LARGEST, location=f"{path.name}.data")
    onnx.checker.check_model(path, full_check=True)


# -- trying ----------------------------------------------------------------------------------------


def session(path: Path) -> Any:
    """A graph, ready to run."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it cannot do is raised, too
    return onnxruntime.InferenceSession(path, options)


def _agree(step: Step, path: Path, times: Sequence[int]) -> bool:
    """Whether a graph says what the model says, at sizes that it was not recorded with, each state
    made by the call before.
    """
    graph = session(path)
    theirs = example(step.model, TRIED)
    ours = {name: _array(tensor) for name, tensor in theirs.items()}
    for time in times:
        tokens = torch.arange(TRIED[ROWS] * time, device=step.model.device)
        tokens = (tokens % step.model.vocab_size).view(TRIED[ROWS], time)
        expected, *after = step(tokens, *theirs.values())
        theirs |= zip(step.changed, after, strict=True)
        try:
            given, *arrays = graph.run(None, {TOKENS: _array(tokens), **ours})
        except Exception:  # whatever comes of a shape that does not fit
            return False
        ours |= zip(step.changed, arrays, strict=True)
        if not _close(given, expected):
            return False
    return True


def _close(given: Any, expected: Tensor) -> bool:
    other = _array(expected)
    return given.shape == other.shape and np.allclose(given, other, rtol=CLOSE, atol=CLOSE)


def _array(tensor: Tensor) -> Any:
    return tensor.cpu().numpy()

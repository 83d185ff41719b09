"""A classifier of beginnings of texts, and FUDGE, which steers a model by it.

Yang & Klein (2021), *FUDGE: Controlled Text Generation With Future Discriminators*: by Bayes' rule

    p(v | x, class) ∝ p(v | x) · P(class | x v),

where P(class | x v) is what a classifier says that was trained on all beginnings of labelled texts
(section 3.1). Here it is logistic regression on the n-grams of tokens that a beginning contains,
hashed into buckets (Weinberger et al. 2009), so that a next token only adds its own n-grams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.decoding.combination.classifier_file import check_header, header
from wenmo.decoding.noise import fold_in
from wenmo.models.base import LanguageModel
from wenmo.models.state import NO_TOKEN, StateField, StateSchema
from wenmo.tensors import load_tensors, save_tensors
from wenmo.text.batches import pad
from wenmo.types import IGNORE, Logits, State, Tokens, WenmoError

ORDER = 3  # tokens of the longest n-gram
BUCKETS = 1 << 18
MIN_TEXTS = 10  # of a class
LONGEST = 256  # tokens of a text that are learnt from
BATCH_SIZE, EPOCHS, RATE, DECAY = 64, 4, 0.03, 1e-6
MAX_FEATURES = 1 << 22  # looked up at once

SCORE = StateField("score", ("rows",), "log-odds of the class of what was read", torch.float32)
LAST = StateField(
    "last", ("rows", "order - 1"), "the last tokens", torch.long, truncation="history"
)


class PrefixClassifier(LanguageModel):
    """Log P(class | x v) of each next token v, by logistic regression on hashed n-grams.

    END begins a text and has no feature: the log-odds of an empty text are the bias.

    Attributes:
        weights: of the buckets, float32 (buckets,).
        bias: the log-odds of the classes, float32 (1,).
    """

    conditioning = "none"

    def __init__(self, vocab_size: int, buckets: int = BUCKETS) -> None:
        super().__init__()
        self.vocab_size, self.context = vocab_size, None
        self.weights = nn.Parameter(torch.zeros(buckets))
        self.bias = nn.Parameter(torch.zeros(1))
        self.state_schema = StateSchema((SCORE, LAST))

    def initial_state(
        self,
        batch_size: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        last = torch.full((batch_size, ORDER - 1), NO_TOKEN, device=self.device)
        return {"score": self.bias.detach().expand(batch_size).clone(), "last": last}

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        state = state or self.initial_state(len(tokens))
        seen = torch.cat([state["last"], tokens], 1)
        scores = state["score"][:, None] + self._features(seen).cumsum(1)
        contexts = seen.unfold(1, ORDER - 1, 1)[:, 1:]  # (rows, time, order - 1)
        found = torch.empty(*tokens.shape, self.vocab_size, device=tokens.device)
        step = max(1, MAX_FEATURES // (len(tokens) * self.vocab_size))
        for at in range(0, tokens.shape[1], step):
            found[:, at : at + step] = self._candidates(contexts[:, at : at + step])
        after = {"score": scores[:, -1], "last": seen[:, -(ORDER - 1) :].clone()}
        return F.logsigmoid(scores[..., None] + found), after

    def prefix_scores(self, tokens: Tokens) -> Tensor:
        """The log-odds of the class after each token of texts, float32 (rows, time)."""
        before = torch.full((len(tokens), ORDER - 1), NO_TOKEN, device=tokens.device)
        return self.bias + self._features(torch.cat([before, tokens], 1)).cumsum(1)

    def _features(self, seen: Tokens) -> Tensor:
        """The summed weights of the n-grams that end in each token after the first ORDER - 1."""
        grams = seen.unfold(1, ORDER, 1)  # (rows, time, order)
        total = torch.zeros(grams.shape[:2], device=seen.device)
        key = torch.zeros_like(grams[..., 0])
        for n in range(1, ORDER + 1):
            key = fold_in(key, grams[..., ORDER - n])
            total = total + self._weight(key, n, grams[..., ORDER - n :])
        return total

    def _candidates(self, contexts: Tokens) -> Tensor:
        """The summed weights of the n-grams that each next token would end, (..., vocabulary)."""
        words = torch.arange(self.vocab_size, device=contexts.device)
        key = fold_in(torch.zeros_like(words), words).expand(*contexts.shape[:-1], -1)
        total = self._weight(key, 1, words[:, None]).expand(*contexts.shape[:-1], -1).clone()
        for n in range(2, ORDER + 1):
            before = contexts[..., ORDER - n :]  # the n - 1 tokens before
            key = fold_in(key, before[..., :1].expand_as(key))
            known = (before > 0).all(-1, keepdim=True)
            total += self._lookup(key, n) * known
        total[..., 0] = 0
        return total

    def _weight(self, key: Tensor, n: int, gram: Tokens) -> Tensor:
        """The weights of n-grams; 0 where they begin before the text, or hold END."""
        return self._lookup(key, n) * (gram > 0).all(-1)

    def _lookup(self, key: Tensor, n: int) -> Tensor:
        return self.weights[fold_in(key, torch.full_like(key, -n)) % len(self.weights)]


@dataclass(frozen=True)
class ClassifierResult:
    """How a classifier does on texts that it was not trained on, a tenth of each class.

    Attributes:
        texts: the number of texts that it was trained on.
        accuracy: the share of whole texts that are classified rightly; classes count alike.
        prefix_accuracy: the same of all beginnings of these texts.
    """

    texts: int
    accuracy: float
    prefix_accuracy: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON output has it."""
        return asdict(self)


@torch.enable_grad()
def fit_classifier(
    vocab_size: int,
    toward: Sequence[Sequence[int]],
    away: Sequence[Sequence[int]],
    *,
    seed: int = 0,
) -> tuple[PrefixClassifier, ClassifierResult]:
    """Train a classifier on all beginnings of texts of two classes, which count alike.

    Args:
        toward, away: the ids of each text of the class and of the other, without END; at least ten
            texts of both.
    """
    labelled = (toward, 1.0), (away, 0.0)
    both = [[(list(ids[:LONGEST]), label) for ids in texts] for texts, label in labelled]
    train = [pair for pairs in both for number, pair in enumerate(pairs) if number % 10]
    held_out = [pair for pairs in both for number, pair in enumerate(pairs) if not number % 10]
    share = sum(label for _, label in train) / len(train)
    torch.manual_seed(seed)
    model = PrefixClassifier(vocab_size)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    for _ in range(EPOCHS):
        order = torch.randperm(len(train)).tolist()
        for at in range(0, len(order), BATCH_SIZE):
            rows = order[at : at + BATCH_SIZE]
            tokens, labels, known = _batch([train[row] for row in rows])
            weight = known / known.sum(1, keepdim=True)
            weight = weight / torch.where(labels > 0, share, 1 - share)[:, None]
            scores = model.prefix_scores(tokens)
            loss = F.binary_cross_entropy_with_logits(
                scores, labels[:, None].expand_as(scores), weight, reduction="sum"
            )
            optimizer.zero_grad()
            total = loss / len(rows) + DECAY * model.weights.square().sum()
            total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return model.eval(), _evaluate(model, held_out, len(train))


@torch.no_grad()
def _evaluate(
    model: PrefixClassifier, held_out: Sequence[tuple[list[int], float]], texts: int
) -> ClassifierResult:
    whole: dict[float, list[float]] = {0.0: [], 1.0: []}
    prefixes: dict[float, list[float]] = {0.0: [], 1.0: []}
    for ids, label in held_out:
        right = (model.prefix_scores(torch.tensor([ids]))[0] > 0) == (label > 0)
        whole[label].append(float(right[-1]))
        prefixes[label] += right.float().tolist()
    accuracy, prefix_accuracy = (
        sum(sum(right) / len(right) for right in each.values()) / 2 for each in (whole, prefixes)
    )
    return ClassifierResult(texts, accuracy, prefix_accuracy)


def _batch(pairs: Sequence[tuple[list[int], float]]) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, labels, and which tokens are no padding."""
    tokens = pad([ids for ids, _ in pairs], IGNORE)
    labels = torch.tensor([label for _, label in pairs])
    return tokens.clamp_min(0), labels, (tokens != IGNORE).float()


def save_classifier(
    path: Path, model: PrefixClassifier, table: Sequence[bytes], result: ClassifierResult
) -> None:
    """Write a classifier as safetensors, with the hash of its vocabulary in the header."""
    described = {name: str(value) for name, value in result.to_dict().items()}
    save_tensors(path, dict(model.state_dict()), {**header(table), **described})


def load_classifier(path: Path, table: Sequence[bytes]) -> PrefixClassifier:
    """Read a classifier.

    Raises:
        WenmoError: no such file, none of a classifier, or one over another vocabulary.
    """
    check_header(path, table)
    tensors = load_tensors(path)
    weights, bias = tensors.get("weights"), tensors.get("bias")
    if weights is None or bias is None or weights.dim() != 1 or bias.shape != (1,):
        raise WenmoError(f"{path}: damaged, not the tensors of a classifier: make it anew")
    model = PrefixClassifier(len(table), len(weights))
    model.load_state_dict(tensors)
    return model.eval()

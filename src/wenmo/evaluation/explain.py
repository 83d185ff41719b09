"""Explain the likelihood of a text: probability, rank and mixture components of each token."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wenmo.evaluation.results import ExplainedToken, MixtureComponent
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import ExplainsTokens, HasLatents, capability
from wenmo.types import END, Batch, WenmoError


@torch.inference_mode()
def explain(
    model: LanguageModel, ids: Sequence[int], spell: Callable[[int], str]
) -> list[ExplainedToken]:
    """The predictions for each token of a text given the tokens before it.

    A model with latents uses the posterior mean for the text.

    Args:
        model: a model without source; it is set to evaluation mode.
        ids: ids of the text from its beginning, without END.
        spell: converts an id to text.

    Raises:
        WenmoError: the text is longer than the model's context.
    """
    if model.context is not None and len(ids) > model.context:
        raise WenmoError(
            f"the text has {len(ids)} tokens, but the model reads {model.context}: "
            "give a shorter one"
        )
    stream = torch.tensor([[END, *ids]], device=model.device)
    model.eval()
    state = None
    if (latents := capability(model, HasLatents)) is not None:
        state = latents.state_at(latents.infer(Batch(stream[:, :-1], stream[:, 1:])).mean)
    logits, _ = model(stream[:, :-1], state)
    probabilities = logits[0].softmax(-1)
    mixture = capability(model, ExplainsTokens)
    predictions = None if mixture is None else mixture.explain_tokens(stream, state)
    rows = []
    for position, token in enumerate(ids):
        probability, likeliest = (
            probabilities[position, token],
            int(probabilities[position].argmax()),
        )
        rows.append(
            ExplainedToken(
                token=spell(token),
                probability=float(probability),
                rank=1 + int((probabilities[position] > probability).sum()),
                likeliest=spell(likeliest),
                likeliest_probability=float(probabilities[position, likeliest]),
                mixture_components=None
                if predictions is None
                else _contributions(predictions, position),
            )
        )
    return rows


def _contributions(
    predictions: tuple[list[str], Tensor, Tensor], position: int
) -> list[MixtureComponent]:
    """What each component of a mixture gives a token.

    Args:
        predictions: what `ExplainsTokens.explain_tokens` gives.
        position: of the token in the text.
    """
    names, weights, component_probs = (
        predictions[0],
        predictions[1][position],
        predictions[2][position],
    )
    contributions = weights * component_probs
    fractions = contributions / contributions.sum()
    rows = zip(names, weights.tolist(), component_probs.tolist(), fractions.tolist(), strict=True)
    return [MixtureComponent(*row) for row in rows]

"""Why a text is likely or not: token by token, what the model expected, and who in it said so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import ExplainsTokens, HasLatents, capability
from wenmo.types import END, Batch, WenmoError


@torch.inference_mode()
def explain(model: LanguageModel, ids: Sequence[int]) -> list[dict[str, Any]]:
    """What a model says of each token of a text, given those before it and, where it has latents,
    those that are likeliest for the text.

    Args:
        model: of any family that needs no source; it is put into evaluation mode.
        ids: of the text, from its beginning, without END.

    Returns:
        For each token ``token``; ``probability``; ``rank``, 1 where nothing was likelier;
        ``likeliest``, the token that was expected, and ``likeliest_probability``. Of a mixture also
        ``voices``: for each ``name`` its ``weight`` there, the ``probability`` that it gives alone,
        and its ``share`` of the token's probability.

    Raises:
        WenmoError: the text is longer than the model can look back.
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
    said = logits[0].softmax(-1)
    mixture = capability(model, ExplainsTokens)
    predictions = None if mixture is None else mixture.explain_tokens(stream, state)
    rows = []
    for place, token in enumerate(ids):
        probability = float(said[place, token])
        likeliest = int(said[place].argmax())
        row: dict[str, Any] = {
            "token": token,
            "probability": probability,
            "rank": 1 + int((said[place] > said[place, token]).sum()),
            "likeliest": likeliest,
            "likeliest_probability": float(said[place, likeliest]),
        }
        if predictions is not None:
            names, weights, alone = predictions
            given = weights[place] * alone[place]
            shares = given / given.sum()
            row["voices"] = [
                {"name": name, "weight": weight, "probability": own, "share": share}
                for name, weight, own, share in zip(
                    names,
                    weights[place].tolist(),
                    alone[place].tolist(),
                    shares.tolist(),
                    strict=True,
                )
            ]
        rows.append(row)
    return rows

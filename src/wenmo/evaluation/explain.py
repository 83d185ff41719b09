"""Why a text is likely or not: token by token, what the model expected, and who in it said so."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wenmo.evaluation.results import ExplainedToken, Voice
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import ExplainsTokens, HasLatents, capability
from wenmo.types import END, Batch, WenmoError


@torch.inference_mode()
def explain(
    model: LanguageModel, ids: Sequence[int], spell: Callable[[int], str]
) -> list[ExplainedToken]:
    """What a model says of each token of a text, given those before it and, where it has latents,
    those that are likeliest for the text.

    Args:
        model: of any family that needs no source; it is put into evaluation mode.
        ids: of the text, from its beginning, without END.
        spell: gives a token as text.

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
        probability, likeliest = said[place, token], int(said[place].argmax())
        rows.append(
            ExplainedToken(
                token=spell(token),
                probability=float(probability),
                rank=1 + int((said[place] > probability).sum()),
                likeliest=spell(likeliest),
                likeliest_probability=float(said[place, likeliest]),
                voices=None if predictions is None else _voices(predictions, place),
            )
        )
    return rows


def _voices(predictions: tuple[list[str], Tensor, Tensor], place: int) -> list[Voice]:
    """What each component of a mixture gives a token.

    Args:
        predictions: what `ExplainsTokens.explain_tokens` gives.
        place: of the token in the text.
    """
    names, weights, alone = predictions[0], predictions[1][place], predictions[2][place]
    given = weights * alone
    shares = given / given.sum()
    rows = zip(names, weights.tolist(), alone.tolist(), shares.tolist(), strict=True)
    return [Voice(*row) for row in rows]

"""Chat templates of model families: written for these tests after the families' published formats.

The structure is theirs, mark by mark; system texts and explanations are shorter and in other words. `Family.answer`
says, by the published format alone, which characters of a text the model writes: from where the generation prompt
ends to the stop.
"""

from typing import Final

from tests.data.templates.families import (
    deepseek,
    gemma,
    glm,
    gpt_oss,
    hugging_face,
    llama,
    mistral,
    nemotron,
    olmo,
    phi,
    qwen,
)
from tests.data.templates.families.family import Family

FAMILIES: Final[dict[str, Family]] = {
    **llama.FAMILIES,
    **qwen.FAMILIES,
    **gemma.FAMILIES,
    **mistral.FAMILIES,
    **phi.FAMILIES,
    **deepseek.FAMILIES,
    **olmo.FAMILIES,
    **gpt_oss.FAMILIES,
    **glm.FAMILIES,
    **nemotron.FAMILIES,
    **hugging_face.FAMILIES,
}

__all__ = ["FAMILIES", "Family"]

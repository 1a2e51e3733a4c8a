"""`loss`: what carries loss, and how token losses are reduced."""

from dataclasses import dataclass
from typing import Final

from im_jax.config.record import BELOW_ONE, NOT_NEGATIVE, Bounds, Decides, When, group, setting

POLICIES: Final = ("it", "im", "it_released", "im_released", "all", "last_turn")
REDUCTIONS: Final = ("token_mean", "example_mean", "nonzero_count", "sum")
WEIGHT: Final = Bounds(0.0, 1e6)


@dataclass
class ClassWeights:
    """Weight per token class, over the policy's own.

    A class sets those that are part of it too, unless they are set themselves.
    """

    header: float | None = setting(None, "Weight of `header` tokens; none: the policy's.", bounds=WEIGHT)
    system: float | None = setting(None, "Weight of `system` tokens; none: the policy's.", bounds=WEIGHT)
    user: float | None = setting(None, "Weight of `user` tokens; none: the policy's.", bounds=WEIGHT)
    assistant: float | None = setting(
        None, "Weight of `assistant` tokens; none: the policy's.", bounds=WEIGHT
    )
    stop: float | None = setting(None, "Weight of `stop` tokens; none: the policy's.", bounds=WEIGHT)
    separator: float | None = setting(
        None, "Weight of `separator` tokens; none: the policy's.", bounds=WEIGHT
    )
    first_header: float | None = setting(
        None, "Weight of `first_header` tokens; none: that of `header`, else the policy's.", bounds=WEIGHT
    )
    last_assistant: float | None = setting(
        None,
        "Weight of `last_assistant` tokens; none: that of `assistant`, else the policy's.",
        bounds=WEIGHT,
    )
    last_stop: float | None = setting(
        None, "Weight of `last_stop` tokens; none: that of `stop`, else the policy's.", bounds=WEIGHT
    )
    stop_separator: float | None = setting(
        None,
        "Weight of `stop_separator` tokens; none: that of `separator`, else the policy's.",
        bounds=WEIGHT,
    )
    tool: float | None = setting(
        None, "Weight of `tool` tokens, what tools answered; none: the policy's.", bounds=WEIGHT
    )
    tool_call: float | None = setting(
        None, "Weight of `tool_call` tokens; none: that of `assistant`, else the policy's.", bounds=WEIGHT
    )
    thought: float | None = setting(
        None, "Weight of `thought` tokens; none: that of `assistant`, else the policy's.", bounds=WEIGHT
    )
    last_tool_call: float | None = setting(
        None,
        "Weight of `last_tool_call` tokens; none: that of `tool_call`, then `assistant`, then the policy's.",
        bounds=WEIGHT,
    )
    last_thought: float | None = setting(
        None,
        "Weight of `last_thought` tokens; none: that of `thought`, then `assistant`, then the policy's.",
        bounds=WEIGHT,
    )


_EXACT: Final = When("loss.kl.estimator", ("exact",))


@dataclass
class KLConfig:
    """Divergence from the model that a run starts from."""

    weight: float = setting(
        0.0,
        "Times the divergence, of tokens with loss; 0: none.",
        bounds=NOT_NEGATIVE,
        see="loss.md#divergence-from-the-base",
    )
    direction: str = setting(
        "reverse",
        "`reverse`: of the model from the base, as in the paper; `forward`: of the base from the model.",
        choices=("reverse", "forward"),
        when=_EXACT,
    )
    estimator: str = setting(
        "exact",
        "`exact`: over the whole vocabulary; `sampled_released`: of the target alone, as the paper's code, "
        "which only scales the cross-entropy's gradient by 1 - `weight`.",
        choices=("exact", "sampled_released"),
        see="loss.md#the-released-estimate",
    )


@dataclass
class LossConfig:
    """What carries loss, and how token losses are reduced."""

    policy: str = setting("it", "Which token classes are trained.", choices=POLICIES, see="loss.md#policies")
    weights: ClassWeights = group(ClassWeights)
    reduction: str = setting(
        "token_mean",
        "How weights are normalised over an optimiser step.",
        choices=REDUCTIONS,
        see="loss.md#reductions",
    )
    z_loss: float = setting(0.0, "Coefficient of log(partition function)^2.", bounds=NOT_NEGATIVE)
    label_smoothing: float = setting(
        0.0, "Share of each target that is spread evenly over the vocabulary.", bounds=BELOW_ONE
    )
    schedule: str = setting(
        "",
        "Weights of classes that change over the run, over all other weights, as `instruction:1..0@50%`.",
        see="loss.md#weights-that-change-over-the-run",
    )
    neftune_alpha: float = setting(
        0.0,
        "Noise on embeddings in training: uniform, to alpha / sqrt(tokens of the example x width); 0: none.",
        bounds=NOT_NEGATIVE,
        see="loss.md#noise-on-the-embeddings",
    )
    kl: KLConfig = group(KLConfig)
    require_trained_stop: bool = setting(
        True,
        "Refuse a policy under which no stop token is trained: the model would never learn to stop.",
        decides=Decides.REFUSAL,
    )

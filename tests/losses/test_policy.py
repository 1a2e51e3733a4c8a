"""Which token classes each policy trains, and what a user's own weights change."""

import numpy as np
import pytest

from im_jax.config import POLICIES, ClassWeights, LossConfig
from im_jax.errors import ConfigError
from im_jax.losses.policy import TRAINED_CLASSES, make_policy, policy_weights
from im_jax.token_classes import MAIN_CLASS_TABLE, NUM_CLASSES, TokenClass

LAST = {"last_assistant", "last_stop", "last_thought", "last_tool_call"}
OUTPUT = LAST | {"assistant", "stop", "thought", "tool_call"}
READ = {"system", "user", "tool"}
TRAINED = {
    "it": OUTPUT,
    "im": OUTPUT | READ,
    "it_released": OUTPUT | {"stop_separator"},
    "im_released": OUTPUT | READ | {"header", "separator", "stop_separator"},
    "all": OUTPUT | READ | {"header", "first_header", "separator", "stop_separator"},
    "last_turn": LAST,
}


@pytest.mark.parametrize("name", POLICIES)
def test_named_policy_trains_its_classes_and_no_other(name: str) -> None:
    weights = policy_weights(name)
    assert {c.label for c in TokenClass if weights[c] == 1} == TRAINED[name]
    assert set(np.unique(weights)) <= {0.0, 1.0}


def test_configuration_offers_every_policy() -> None:
    assert set(POLICIES) == set(TRAINED_CLASSES)


def test_unknown_policy_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'imm' is not one of it, im"):
        policy_weights("imm")


def test_weight_of_a_main_class_holds_for_its_sub_class() -> None:
    policy = make_policy(LossConfig(policy="im", weights=ClassWeights(assistant=0.5, user=0.2)))
    assert policy.weights[TokenClass.ASSISTANT] == policy.weights[TokenClass.LAST_ASSISTANT] == 0.5
    assert policy.weights[TokenClass.USER] == pytest.approx(0.2)
    assert policy.weights[TokenClass.SYSTEM] == 1


def test_weight_of_a_sub_class_wins_over_its_main_class() -> None:
    policy = make_policy(LossConfig(policy="it", weights=ClassWeights(assistant=0.5, last_assistant=2.0)))
    assert policy.weights[TokenClass.ASSISTANT] == 0.5
    assert policy.weights[TokenClass.LAST_ASSISTANT] == 2.0


def test_weights_of_thoughts_and_calls_come_from_the_nearest_coarser_class() -> None:
    weights = ClassWeights(assistant=0.5, last_assistant=3.0, thought=0.25, last_tool_call=2.0)
    policy = make_policy(LossConfig(policy="it", weights=weights))
    assert policy.weights[TokenClass.THOUGHT] == policy.weights[TokenClass.LAST_THOUGHT] == 0.25
    assert policy.weights[TokenClass.TOOL_CALL] == 0.5
    assert policy.weights[TokenClass.LAST_TOOL_CALL] == 2
    assert policy.weights[TokenClass.TOOL] == 0


def test_values_of_classes_are_those_of_stored_data_sets() -> None:
    assert [(c.label, c.main.label) for c in TokenClass] == [
        ("pad", "pad"),
        ("bos", "bos"),
        ("header", "header"),
        ("system", "system"),
        ("user", "user"),
        ("assistant", "assistant"),
        ("stop", "stop"),
        ("separator", "separator"),
        ("first_header", "header"),
        ("last_assistant", "assistant"),
        ("last_stop", "stop"),
        ("stop_separator", "separator"),
        ("tool", "tool"),
        ("tool_call", "assistant"),
        ("thought", "assistant"),
        ("last_tool_call", "assistant"),
        ("last_thought", "assistant"),
    ]
    assert [c.value for c in TokenClass] == list(range(NUM_CLASSES))


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_impossible_weights_are_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=r"loss\.weights\.user="):
        make_policy(LossConfig(weights=ClassWeights(user=value)))


def test_untrained_stop_is_refused_unless_meant() -> None:
    untrained = ClassWeights(stop=0.0)
    with pytest.raises(ConfigError, match="never learn to stop"):
        make_policy(LossConfig(weights=untrained))
    policy = make_policy(LossConfig(weights=untrained, require_trained_stop=False))
    assert not policy.trains_stop


def test_nothing_trained_is_refused() -> None:
    nothing = ClassWeights(assistant=0.0, stop=0.0)
    with pytest.raises(ConfigError, match="nothing is trained"):
        make_policy(LossConfig(policy="it", weights=nothing, require_trained_stop=False))


def test_sub_classes_are_reported_under_their_main_class() -> None:
    assert MAIN_CLASS_TABLE.shape == (NUM_CLASSES,)
    assert TokenClass(MAIN_CLASS_TABLE[TokenClass.STOP_SEPARATOR]) is TokenClass.SEPARATOR
    assert TokenClass.USER.main is TokenClass.USER

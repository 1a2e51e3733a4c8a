"""Schedules as they are written: what they mean, and what is refused."""

import pytest

from im_jax.config import ClassWeights, LossConfig
from im_jax.errors import ConfigError
from im_jax.losses.policy import LossPolicy, make_policy
from im_jax.losses.schedule import read_schedule
from im_jax.token_classes import TokenClass


def policy_of(schedule: str, policy: str = "it", **weights: float) -> LossPolicy:
    return make_policy(LossConfig(policy=policy, schedule=schedule, weights=ClassWeights(**weights)))


@pytest.mark.parametrize(
    ("text", "steps", "expected"),
    [
        ("user:1..0", 100, (0, 100)),
        ("user:1..0@50%", 100, (0, 50)),
        ("user:1..0@12.5%", 80, (0, 10)),
        ("user:1..0@40", 100, (0, 40)),
        ("user:1..0@10%-50%", 100, (10, 50)),
        ("user:1..0@30-50%", 100, (30, 50)),
        ("user:1..0@50%-50%", 100, (50, 50)),
        ("user:0.25..1.5@100%", 7, (0, 7)),
    ],
)
def test_times_are_steps_or_shares_of_the_run(text: str, steps: int, expected: tuple[int, int]) -> None:
    (ramp,) = read_schedule(text).values()
    assert ramp.within(steps) == expected
    assert f"user:{ramp}" == text.partition("@")[0]


def test_groups_stand_for_their_classes_and_a_class_sets_those_that_are_part_of_it() -> None:
    policy = policy_of("instruction:1..0@50%, assistant:0.5..2", thought=0.3)
    changing = {c.label: policy.shown(c) for c in policy.changing()}
    read = dict.fromkeys(("system", "user", "tool"), "1..0")
    assert changing == read | {"assistant": "0.5..2"}
    of_assistant = ("assistant", "last_assistant", "tool_call", "last_tool_call")
    assert {c.label for c in policy.changes} == {*read, *of_assistant}
    assert policy.shown(TokenClass.THOUGHT) == policy.shown(TokenClass.LAST_THOUGHT) == "0.3"
    ends, largest = policy.table(), policy.largest()
    assert (ends[TokenClass.USER], largest[TokenClass.USER]) == (0, 1)
    assert (ends[TokenClass.LAST_ASSISTANT], largest[TokenClass.LAST_ASSISTANT]) == (2, 2)
    assert ends[TokenClass.LAST_STOP] == largest[TokenClass.LAST_STOP] == 1
    assert policy_of("output:0..1, last_stop:2..1").shown(TokenClass.LAST_STOP) == "2..1"


def test_no_schedule_changes_nothing() -> None:
    for text in ("", "  "):
        policy = policy_of(text)
        assert not policy.changes and not policy.changing()
        assert (policy.largest() == policy.table()).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user:1->0@50%", r"'user:1->0@50%' is not CLASS:FROM\.\.TO, with @END or @START-END behind it"),
        ("user:-1..0", "is not CLASS"),
        ("user:1..0@-5", "is not CLASS"),
        ("user:1..0@half", "is not CLASS"),
        ("user:1..0@0.5", "is not CLASS"),
        ("user:1..0,", "'' is not CLASS"),
        ("usr:1..0", r"usr is not one of instruction, output, .*; did you mean user\?"),
        ("bos:1..0", "bos is not one of"),
        ("user:1..2000000", r"2e\+06 must be a number from 0 to 1000000"),
        ("user:1..1", r"user:1\.\.1 changes nothing; set loss\.weights\.user=1 instead"),
        ("user:1..0@0", r"user:1\.\.0@0 ends before the first step"),
        ("user:1..0@0%", "ends before the first step"),
        ("user:1..0@120%", "120% is after the end of the run"),
        ("user:1..0@50-20", "ends before it begins"),
        ("user:1..0@50%-20%", "ends before it begins"),
        ("user:1..0, instruction:1..0", r"user:1\.\.0 and instruction:1\.\.0 both set user; leave one out"),
        ("output:1..0", r"loss\.schedule=output:1\.\.0 ends with nothing trained"),
        ("stop:1..0", "loss.schedule ends with stop at 0, so the model would never learn to stop"),
    ],
)
def test_what_makes_no_sense_is_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        policy_of(text)
    assert "\n" not in str(raised.value)


def test_one_weight_is_set_in_one_place() -> None:
    message = r"loss\.weights\.user=0\.5 and loss\.schedule=instruction:1\.\.0 set one weight; leave one"
    with pytest.raises(ConfigError, match=message):
        policy_of("instruction:1..0", user=0.5)


def test_schedule_that_does_not_fit_in_the_run_is_refused() -> None:
    (ramp,) = read_schedule("user:1..0@500").values()
    with pytest.raises(
        ConfigError, match="ends after 500 steps, but the run has 100; end it by then, or give"
    ):
        ramp.within(100)
    (ramp,) = read_schedule("user:1..0@60-50%").values()
    with pytest.raises(ConfigError, match="begins after 60 steps and ends after 50"):
        ramp.within(100)

"""Delivery policies: what is accepted, what holds, and the pauses between retries."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub_sns.delivery_policies import (
    AWS_MANAGED,
    CUSTOMER_MANAGED,
    Retries,
    effective_subscription_policy,
    make_plan,
    read_subscription_policy,
    read_topic_policy,
)
from hubbub_sns.policy_syntax import PolicyError


def delays(retries: Retries) -> list[float | None]:
    return [retries.delay(retry) for retry in range(1, retries.num_retries + 2)]


@pytest.mark.parametrize(
    ("function", "backoff"),
    [
        ("linear", [10, 15, 20, 25, 30]),
        ("arithmetic", [10, 12, 16, 22, 30]),
        ("geometric", [10, 13.16, 17.32, 22.8, 30]),
        ("exponential", [10, 11.33, 14, 19.33, 30]),
    ],
)
def test_the_four_phases(function: str, backoff: list[float]) -> None:
    retries = Retries(
        min_delay_target=10, max_delay_target=30, num_retries=10, num_no_delay_retries=2,
        num_min_delay_retries=1, num_max_delay_retries=2, backoff_function=function,
    )  # fmt: skip
    found = delays(retries)
    assert found[-1] is None
    assert found[:-1] == pytest.approx([0, 0, 10, *backoff, 30, 30], abs=0.01)


def test_the_policies_of_aws_last_as_long_as_documented() -> None:
    functions = [AWS_MANAGED.delay(retry) or 0 for retry in range(1, 100_016)]
    assert 23 * 86_400 < sum(functions) < 24 * 86_400
    mails = [CUSTOMER_MANAGED.delay(retry) or 0 for retry in range(1, 51)]
    assert 6 * 3600 < sum(mails) < 8 * 3600


@given(
    st.sampled_from(["linear", "arithmetic", "geometric", "exponential"]),
    st.integers(1, 3600), st.integers(1, 3600),
    st.lists(st.integers(0, 25), min_size=4, max_size=4),
)  # fmt: skip
def test_pauses_never_shrink_and_keep_their_bounds(
    function: str, one: int, other: int, phases: list[int]
) -> None:
    retries = Retries(
        min_delay_target=min(one, other), max_delay_target=max(one, other),
        num_retries=sum(phases), num_no_delay_retries=phases[0], num_min_delay_retries=phases[1],
        num_max_delay_retries=phases[2], backoff_function=function,
    )  # fmt: skip
    found = [each for each in delays(retries) if each is not None]
    assert len(found) == sum(phases)
    assert all(each <= later + 1e-6 for each, later in itertools.pairwise(found))
    rest = found[phases[0] :]
    assert all(min(one, other) - 1e-6 <= each <= max(one, other) + 1e-6 for each in rest)


@pytest.mark.parametrize(
    "policy",
    [
        {"healthyRetryPolicy": {"numRetries": 101}},
        {"healthyRetryPolicy": {"numRetries": -1}},
        {"healthyRetryPolicy": {"minDelayTarget": 30}},
        {"healthyRetryPolicy": {"maxDelayTarget": 3601}},
        {"healthyRetryPolicy": {"minDelayTarget": 0}},
        {"healthyRetryPolicy": {"numRetries": 3, "numNoDelayRetries": 4}},
        {"healthyRetryPolicy": {"backoffFunction": "quadratic"}},
        {"healthyRetryPolicy": {"numRetries": "3"}},
        {"healthyRetryPolicy": {"noSuch": 1}},
        {"throttlePolicy": {"maxReceivesPerSecond": 0}},
        {"requestPolicy": {"headerContentType": "image/png"}},
        {"noSuch": {}},
        [],
    ],
)
def test_wrong_policies(policy: object) -> None:
    with pytest.raises(PolicyError, match="DeliveryPolicy: "):
        read_subscription_policy(json.dumps(policy))


def test_a_subscription_s_policy_comes_before_its_topic_s_unless_forbidden() -> None:
    topic = {"http": {"defaultHealthyRetryPolicy": {"numRetries": 1},
                      "defaultThrottlePolicy": {"maxReceivesPerSecond": 5}}}  # fmt: skip
    own = {"healthyRetryPolicy": {"numRetries": 2}}
    plan = make_plan(json.dumps(topic), json.dumps(own))
    assert (plan.retries.num_retries, plan.rate) == (2, 5)
    assert make_plan(json.dumps(topic), "").retries.num_retries == 1
    topic["http"]["disableSubscriptionOverrides"] = True  # type: ignore[assignment]
    assert make_plan(json.dumps(topic), json.dumps(own)).retries.num_retries == 1


def test_policies_are_told_as_aws_does() -> None:
    given = {"http": {"defaultHealthyRetryPolicy": None}}
    assert read_topic_policy(json.dumps(given)) == {"http": {"disableSubscriptionOverrides": False}}
    text = json.dumps({"healthyRetryPolicy": {"numRetries": 0}, "throttlePolicy": None})
    told = read_subscription_policy(text)
    assert list(told) == [
        "healthyRetryPolicy", "sicklyRetryPolicy", "throttlePolicy", "requestPolicy", "guaranteed",
    ]  # fmt: skip
    assert effective_subscription_policy("", text)["requestPolicy"] == {
        "headerContentType": "text/plain; charset=UTF-8"
    }

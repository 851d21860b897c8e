"""Delivery policies: how often, and after what pauses, a delivery is tried again.

"Amazon SNS message delivery retries" of the developer guide: four phases (at once, before back-off,
back-off, after back-off), and the constraints of each field.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from hubbub_sns.policy_syntax import PolicyError, parse_json

NAME = "DeliveryPolicy"
DEFAULT_CONTENT_TYPE = "text/plain; charset=UTF-8"

_FUNCTIONS = ("linear", "arithmetic", "geometric", "exponential")
_CONTENT_TYPES = frozenset(
    {
        "application/atom+xml", "application/json", "application/octet-stream",
        "application/soap+xml", "application/x-www-form-urlencoded", "application/xhtml+xml",
        "application/xml", "text/css", "text/csv", "text/html", "text/plain", "text/xml",
    }
)  # fmt: skip
_MAX_RETRIES = 100
_MAX_DELAY = 3600


class Retries(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """How a delivery is retried; delays are in seconds. The fields are AWS's."""

    min_delay_target: int = 20
    max_delay_target: int = 20
    num_retries: int = 3
    num_max_delay_retries: int = 0
    num_no_delay_retries: int = 0
    num_min_delay_retries: int = 0
    backoff_function: str = "linear"

    def delay(self, retry: int) -> float | None:
        """Return the pause before a retry, counted from 1; None: there is no such retry."""
        if retry > self.num_retries:
            return None
        if retry <= self.num_no_delay_retries:
            return 0.0
        step = retry - self.num_no_delay_retries
        if step <= self.num_min_delay_retries:
            return float(self.min_delay_target)
        step -= self.num_min_delay_retries
        steps = (
            self.num_retries
            - self.num_no_delay_retries
            - self.num_min_delay_retries
            - self.num_max_delay_retries
        )
        if step > steps:
            return float(self.max_delay_target)
        return self._backoff(step - 1, steps - 1)

    def _backoff(self, step: int, last: int) -> float:
        """Rise from the least delay to the greatest, in steps 0 to `last`."""
        least, most = self.min_delay_target, self.max_delay_target
        if last <= 0:
            return float(least)
        match self.backoff_function:
            case "arithmetic":
                part = step * (step + 1) / (last * (last + 1))
            case "geometric":
                return least * float((most / least) ** (step / last))
            case "exponential":
                part = (2.0 ** min(step, 1000) - 1) / (2.0 ** min(last, 1000) - 1)
            case _:
                part = step / last
        return least + (most - least) * part


AWS_MANAGED = Retries(
    num_retries=100_015, num_no_delay_retries=3, num_min_delay_retries=2, min_delay_target=1,
    max_delay_target=20, num_max_delay_retries=100_000, backoff_function="exponential",
)  # fmt: skip
"""For functions: over 23 days."""

CUSTOMER_MANAGED = Retries(
    num_retries=50, num_min_delay_retries=2, min_delay_target=10, max_delay_target=600,
    num_max_delay_retries=38, backoff_function="exponential",
)  # fmt: skip
"""For mail, SMS and devices: over six hours."""


class Plan(msgspec.Struct, frozen=True):
    """What is done for one HTTP subscription. `rate`: at most so many deliveries a second."""

    retries: Retries
    rate: int | None
    content_type: str


def read_topic_policy(text: str) -> dict[str, Any]:
    """Read the delivery policy of a topic: what was set, without what is null.

    Raises:
        PolicyError: it is wrong.
    """
    policy = parse_json(NAME, text)
    if not isinstance(policy, dict) or policy.keys() - {"http"}:
        raise PolicyError(f"{NAME}: Unrecognized delivery policy")
    given = policy.get("http") or {}
    if not isinstance(given, dict):
        raise PolicyError(f"{NAME}: http must be an object")
    known = {
        "defaultHealthyRetryPolicy", "defaultSicklyRetryPolicy", "defaultThrottlePolicy",
        "defaultRequestPolicy", "disableSubscriptionOverrides",
    }  # fmt: skip
    _known(given, known, "http")
    http: dict[str, Any] = {}
    for name in known:
        value = given.get(name)
        if value is None:
            continue
        if name.endswith("RetryPolicy"):
            _retries(value, name)
        elif name == "defaultThrottlePolicy":
            _rate(value, name)
        elif name == "defaultRequestPolicy":
            _content_type(value, name)
        http[name] = value
    http["disableSubscriptionOverrides"] = given.get("disableSubscriptionOverrides") is True
    order = ("defaultHealthyRetryPolicy", "defaultSicklyRetryPolicy",
             "disableSubscriptionOverrides", "defaultThrottlePolicy",
             "defaultRequestPolicy")  # fmt: skip
    return {"http": {name: http[name] for name in order if name in http}}


def read_subscription_policy(text: str) -> dict[str, Any]:
    """Read the delivery policy of a subscription, every field of it filled in.

    Raises:
        PolicyError: it is wrong.
    """
    policy = parse_json(NAME, text)
    if not isinstance(policy, dict):
        raise PolicyError(f"{NAME}: Unrecognized delivery policy")
    known = {
        "healthyRetryPolicy", "sicklyRetryPolicy", "throttlePolicy", "requestPolicy", "guaranteed",
    }  # fmt: skip
    _known(policy, known, "the policy")
    found: dict[str, Any] = {}
    for name in ("healthyRetryPolicy", "sicklyRetryPolicy"):
        value = policy.get(name)
        found[name] = None if value is None else msgspec.to_builtins(_retries(value, name))
    throttle, request = policy.get("throttlePolicy"), policy.get("requestPolicy")
    if throttle is not None:
        _rate(throttle, "throttlePolicy")
    if request is not None:
        _content_type(request, "requestPolicy")
    return found | {"throttlePolicy": throttle, "requestPolicy": request, "guaranteed": False}


def effective_topic_policy(text: str) -> dict[str, Any]:
    """Return the delivery policy that holds for a topic; `text` is the one set, or empty."""
    http = read_topic_policy(text)["http"] if text else {}
    effective = {
        "defaultHealthyRetryPolicy": msgspec.to_builtins(
            _retries(http.get("defaultHealthyRetryPolicy") or {}, "defaultHealthyRetryPolicy")
        ),
        "disableSubscriptionOverrides": http.get("disableSubscriptionOverrides", False),
    }
    if "defaultThrottlePolicy" in http:
        effective["defaultThrottlePolicy"] = http["defaultThrottlePolicy"]
    request = http.get("defaultRequestPolicy") or {"headerContentType": DEFAULT_CONTENT_TYPE}
    return {"http": effective | {"defaultRequestPolicy": request}}


def effective_subscription_policy(topic: str, subscription: str) -> dict[str, Any]:
    """Return the delivery policy that holds for a subscription, of those set for it and its topic.

    A topic may forbid subscriptions a policy of their own.
    """
    http = effective_topic_policy(topic)["http"]
    own: Mapping[str, Any] = {}
    if subscription and not http["disableSubscriptionOverrides"]:
        own = read_subscription_policy(subscription)
    return {
        "healthyRetryPolicy": own.get("healthyRetryPolicy") or http["defaultHealthyRetryPolicy"],
        "sicklyRetryPolicy": own.get("sicklyRetryPolicy"),
        "throttlePolicy": own.get("throttlePolicy") or http.get("defaultThrottlePolicy"),
        "requestPolicy": own.get("requestPolicy") or http["defaultRequestPolicy"],
        "guaranteed": False,
    }


def make_plan(topic: str, subscription: str) -> Plan:
    """Return what is to be done, of the policies set for a topic and a subscription."""
    policy = effective_subscription_policy(topic, subscription)
    throttle, request = policy["throttlePolicy"], policy["requestPolicy"]
    return Plan(
        _retries(policy["healthyRetryPolicy"], "healthyRetryPolicy"),
        None if throttle is None else throttle.get("maxReceivesPerSecond"),
        request.get("headerContentType") or DEFAULT_CONTENT_TYPE,
    )


def _known(given: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(given.keys() - known)
    if unknown:
        raise PolicyError(f"{NAME}: Unrecognized member in {where}: {unknown[0]}")


def _retries(given: Any, name: str) -> Retries:
    if not isinstance(given, dict):
        raise PolicyError(f"{NAME}: {name} must be an object")
    try:
        retries = msgspec.convert(given, Retries)
    except msgspec.ValidationError as error:
        raise PolicyError(f"{NAME}: {name}: {error}") from None
    _known(given, {field.encode_name for field in msgspec.structs.fields(Retries)}, name)
    if not 0 <= retries.num_retries <= _MAX_RETRIES:
        raise PolicyError(f"{NAME}: {name}.numRetries must be between 0 and {_MAX_RETRIES}")
    least, most = retries.min_delay_target, retries.max_delay_target
    if not 1 <= least <= _MAX_DELAY:
        raise PolicyError(f"{NAME}: {name}.minDelayTarget must be between 1 and {_MAX_DELAY}")
    if not least <= most <= _MAX_DELAY:
        raise PolicyError(
            f"{NAME}: {name}.maxDelayTarget must be between minDelayTarget and {_MAX_DELAY}"
        )
    phases = (
        retries.num_no_delay_retries,
        retries.num_min_delay_retries,
        retries.num_max_delay_retries,
    )
    if min(phases) < 0 or sum(phases) > retries.num_retries:
        raise PolicyError(
            f"{NAME}: {name}: the sum of numNoDelayRetries, numMinDelayRetries and "
            "numMaxDelayRetries must be between 0 and numRetries"
        )
    if retries.backoff_function not in _FUNCTIONS:
        raise PolicyError(f"{NAME}: {name}.backoffFunction must be one of {', '.join(_FUNCTIONS)}")
    return retries


def _rate(given: Any, name: str) -> None:
    rate = given.get("maxReceivesPerSecond") if isinstance(given, dict) else None
    if type(rate) is not int or rate < 1:
        raise PolicyError(f"{NAME}: {name}.maxReceivesPerSecond must be 1 or greater")


def _content_type(given: Any, name: str) -> None:
    kind = given.get("headerContentType") if isinstance(given, dict) else None
    if not isinstance(kind, str):
        raise PolicyError(f"{NAME}: {name}.headerContentType must be a string")
    base, _, parameter = kind.partition(";")
    charset = parameter.strip().lower()
    if base.strip() not in _CONTENT_TYPES or charset not in {"", "charset=utf-8"}:
        raise PolicyError(f"{NAME}: {name}.headerContentType: {kind} is not supported")

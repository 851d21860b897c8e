"""What the plugin tells of itself: one endpoint for each service, though they share a listener."""

from typing import Any

from hubbub.config import load_config
from hubbub.testing.hub import serve_in_thread


def test_each_service_has_its_line_in_the_table() -> None:
    settings: dict[str, dict[str, Any]] = {
        "hub": {"durability": "memory"},
        "log": {"level": "error"},
        "admin": {"enabled": False},
        "plugins": {"enable": ["aws", "kinesis", "sns", "sqs"]},
        "aws": {"listener": {"bind": ["127.0.0.1:0"]}},
    }
    with serve_in_thread(load_config(settings=settings)) as served:
        endpoints = served.hub.endpoints
    assert [each.protocol for each in endpoints] == ["Kinesis", "SNS", "SQS"]
    assert len({each.url for each in endpoints}) == 1
    for each in endpoints:
        words = each.client.split()
        assert words[:3] == ["aws", "--endpoint-url", each.url]
        assert each.protocol.lower() in words

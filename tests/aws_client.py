"""A boto3 client of a hub in a process of its own, for every suite that has one."""

from typing import Any

import boto3
from botocore.config import Config

from hubbub.testing import HubProcess

_ENDPOINTS = {"kinesis": "Kinesis", "sns": "SNS", "sqs": "SQS"}


def aws_client(hub: HubProcess, service: str) -> Any:
    """Make a client as an application does; it tries nothing twice."""
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=hub.url(_ENDPOINTS[service]),
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}),
    )

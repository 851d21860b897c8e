"""Services that the tests of the AWS front door share."""

import pytest

from hubbub_aws.models import load_model
from hubbub_aws.services import Service
from hubbub_sqs.query_shapes import error_traits, query_shapes


@pytest.fixture(scope="session")
def sqs() -> Service:
    return Service(
        load_model("sqs"),
        query=query_shapes(),
        errors=error_traits(),
        error_namespace="com.amazonaws.sqs",
        hosts=["queue"],
    )


@pytest.fixture(scope="session")
def sns() -> Service:
    return Service(load_model("sns"))


@pytest.fixture(scope="session")
def kinesis() -> Service:
    return Service(load_model("kinesis"), cbor=True, extended_request_id=True)


@pytest.fixture(scope="session")
def cloudwatch() -> Service:
    return Service(
        load_model("cloudwatch"), error_namespace="com.amazonaws.cloudwatch", hosts=["monitoring"]
    )

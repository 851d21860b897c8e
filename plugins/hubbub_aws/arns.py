"""Amazon Resource Names: ``arn:partition:service:region:account:resource``."""

from typing import NamedTuple


class Arn(NamedTuple):
    """One name, in its six parts. ``str(arn)`` gives the text."""

    partition: str
    service: str
    region: str
    account: str
    resource: str

    def __str__(self) -> str:
        return ":".join(("arn", *self))

    @classmethod
    def parse(cls, text: str) -> "Arn":
        """Read an ARN. Raises `ValueError`, with AWS's own words where the parts are too few."""
        parts = text.split(":", 5)
        if len(parts) < 6:
            raise ValueError(f"An ARN must have at least 6 elements, not {len(parts)}")
        if parts[0] != "arn" or not parts[1] or not parts[2] or not parts[5]:
            raise ValueError(f"Invalid ARN: {text}")
        return cls(*parts[1:])


def partition_of(region: str) -> str:
    """The partition a region lies in, such as ``aws`` or ``aws-cn``."""
    for prefix, partition in (
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ):
        if region.startswith(prefix):
            return partition
    return "aws"


def make_arn(service: str, region: str, account: str, resource: str) -> Arn:
    """The name of a resource, in its region's partition."""
    return Arn(partition_of(region), service, region, account, resource)

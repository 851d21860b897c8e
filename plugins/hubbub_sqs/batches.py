"""What the batch actions have in common: checks of the whole, and answers entry by entry."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hubbub_aws import AwsError, Context
from hubbub_aws.protocols import Params
from hubbub_sqs.errors import missing_parameter

MAX_ENTRIES = 10

_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


def read_entries(params: Params, kind: str) -> Sequence[Mapping[str, Any]]:
    """Return the entries of a batch; `kind` is the name of their shape.

    Raises:
        AwsError: there are none, too many, or their ids are wrong.
    """
    entries: Sequence[Mapping[str, Any]] = params.get("Entries") or ()
    if not entries:
        raise AwsError("EmptyBatchRequest", f"There should be at least one {kind} in the request.")
    if len(entries) > MAX_ENTRIES:
        raise AwsError(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are {MAX_ENTRIES}. You have sent "
            f"{len(entries)}.",
        )
    seen: set[str] = set()
    for entry in entries:
        id_ = entry.get("Id")
        if id_ is None:
            raise missing_parameter(f"{kind}.Id")
        if not _ID.fullmatch(id_):
            raise AwsError(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and "
                "underscores. It can be at most 80 letters long.",
            )
        if id_ in seen:
            raise AwsError("BatchEntryIdsNotDistinct", f"Id {id_} repeated.")
        seen.add(id_)
    return entries


class Outcomes:
    """The answer to a batch: entries that went well and entries that did not."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.successful: list[Params] = []
        self.failed: list[Params] = []

    def fail(self, id_: str, error: AwsError) -> None:
        """Note that an entry failed."""
        assert self._context.call.service is not None
        wire = self._context.call.service.errors.resolve(error)
        self.failed.append(
            {
                "Id": id_,
                "SenderFault": wire.sender,
                "Code": wire.query_code,
                "Message": wire.message,
            }
        )

    def result(self) -> Params:
        """Return the answer; an empty list is left out, as AWS does."""
        result: Params = {}
        if self.successful:
            result["Successful"] = self.successful
        if self.failed:
            result["Failed"] = self.failed
        return result

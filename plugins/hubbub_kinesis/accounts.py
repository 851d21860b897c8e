"""Limits and settings of an account."""

from collections.abc import Callable, Mapping

from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_kinesis.delivering import ChannelState
from hubbub_kinesis.managing import Census
from hubbub_kinesis.readers import ReaderBook
from hubbub_kinesis.settings import KinesisSettings
from hubbub_kinesis.state import DAY, Account, Book

ALL_STREAMS = "$stream/#"
"""What who changes settings of an account has to be allowed to `configure`."""


class Accounts:
    """The actions on the caller's account."""

    def __init__(
        self, now: Callable[[], int], settings: KinesisSettings, book: Book,
        channels: ReaderBook[ChannelState],
    ) -> None:  # fmt: skip
        self._now = now
        self._settings = settings
        self._book = book
        self._channels = channels
        self._census = Census(book)

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "DescribeAccountSettings": self.describe_account_settings,
            "DescribeLimits": self.describe_limits,
            "UpdateAccountSettings": self.update_account_settings,
        }

    async def describe_limits(self, context: Context, params: Params) -> Params:
        """Tell how much there may be, and how much there is."""
        session = context.session()
        return {
            "ShardLimit": self._settings.shard_limit,
            "OpenShardCount": self._census.shards(session),
            "OnDemandStreamCount": self._census.on_demand(session),
            "OnDemandStreamCountLimit": self._settings.on_demand_limit,
            "ChannelCount": len(self._channels.of_account(context.account, context.region)),
            "ChannelCountLimit": self._settings.channel_limit,
        }

    async def describe_account_settings(self, context: Context, params: Params) -> Params:
        """Tell whether the account has committed itself to a throughput."""
        return self._describe(self._book.account(context.session().realm))

    async def update_account_settings(self, context: Context, params: Params) -> Params:
        """Commit to a throughput, or end that; a commitment lasts a day at least."""
        session = context.session()
        if not session.allowed("configure", ALL_STREAMS):
            raise AwsError(
                "AccessDeniedException",
                f"User: {session.principal.name} is not authorized to perform: "
                "kinesis:UpdateAccountSettings",
            )
        account = self._book.account(session.realm)
        now = self._now()
        if params["MinimumThroughputBillingCommitment"]["Status"] == "ENABLED":
            if not account.is_committed(now):
                account.committed = now
            account.ended = None
        elif account.is_committed(now) and account.ended is None:
            assert account.committed is not None
            account.ended = max(now, account.committed + DAY)
        await self._book.keep_account(session, account).wait()
        return self._describe(account)

    def _describe(self, account: Account) -> Params:
        if account.committed is None:
            return {"MinimumThroughputBillingCommitment": {"Status": "DISABLED"}}
        result: Params = {"StartedAt": account.committed / 1000}
        if not account.is_committed(self._now()):
            assert account.ended is not None
            result |= {"Status": "DISABLED", "EndedAt": account.ended / 1000}
        else:
            earliest = account.committed + DAY
            ending = account.ended is not None
            result["Status"] = "ENABLED_UNTIL_EARLIEST_ALLOWED_END" if ending else "ENABLED"
            result["EarliestAllowedEndAt"] = earliest / 1000
        return {"MinimumThroughputBillingCommitment": result}

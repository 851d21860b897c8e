"""The section `[sns]` of hubbub.toml."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from hubbub import Duration, Section, Size


def _template(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ValueError('write it as "http://HOST:PORT/2015-03-31/functions/{name}/invocations"')
    return text


class SmtpSettings(Section):
    """The mail server for subscriptions of the protocols email and email-json."""

    host: str | None = Field(
        default=None, description="Its host. Without one, mails go to the outbox."
    )
    port: int = Field(default=25, ge=1, le=65_535, description="Its port.")
    starttls: bool = Field(default=False, description="Whether to go on encrypted, by STARTTLS.")
    username: str | None = Field(default=None, description="User to log in as.")
    password: SecretStr | None = Field(default=None, description="The user's password.")
    sender: str = Field(
        default="no-reply@sns.hubbub.local", description="The address mails come from."
    )


class SnsSettings(Section):
    """SNS."""

    smtp: SmtpSettings = Field(default_factory=SmtpSettings, description="How mails are sent.")
    lambda_url: Annotated[str, AfterValidator(_template)] | None = Field(
        default=None,
        description="Where functions are invoked, `{name}` being the function's name, such as "
        '"http://127.0.0.1:9000/2015-03-31/functions/{name}/invocations". Without it, what is '
        "for functions goes to the outbox.",
    )
    outbox: Path | None = Field(
        default=None,
        description="File that gets, as lines of JSON, what has no local receiver: SMS, push "
        "notifications, and mails without a mail server. Default: sns-outbox.jsonl in the data "
        "folder.",
    )
    outbox_max_bytes: Size = Field(
        default=10_000_000,
        ge=10_000,
        description="A larger outbox is renamed (.1 added, the former one replaced) and begun "
        "anew.",
    )
    reports: Path | None = Field(
        default=None,
        description="File that gets, as lines of JSON, what AWS would write into CloudWatch Logs: "
        "delivery status and findings of audits. Default: sns-reports.jsonl in the data folder.",
    )
    reports_max_bytes: Size = Field(
        default=10_000_000, ge=10_000, description="The same for the file of reports."
    )
    sign_for_queues: bool = Field(
        default=True,
        description="Whether envelopes to queues are signed, as in AWS. A signature costs about "
        "half a millisecond of CPU per message; without it the three fields are left out.",
    )
    key_size: int = Field(
        default=2048, ge=1024, le=4096, description="Bits of a new key for signatures."
    )
    delivery_timeout: Duration = Field(
        default=15.0, gt=0, description="How long an HTTP endpoint or a function has to answer."
    )
    concurrency: int = Field(
        default=10, ge=1, le=1000, description="Deliveries under way at once, per subscription."
    )
    max_waiting: int = Field(
        default=100_000,
        ge=1,
        description="Messages that wait for one HTTP, mail or other endpoint; beyond, the oldest "
        "is dropped and counted.",
    )
    sms_sandbox: bool = Field(
        default=False,
        description="Whether accounts are in the SMS sandbox: then only verified numbers get SMS.",
    )

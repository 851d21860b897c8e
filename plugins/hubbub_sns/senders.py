"""Senders: one delivery to an endpoint that is no queue or stream of ours."""

import email.message
import smtplib
from email.headerregistry import Address
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import trio

from hubbub import Message
from hubbub_aws.arns import Arn
from hubbub_sns.delivery_policies import DEFAULT_CONTENT_TYPE, make_plan
from hubbub_sns.envelopes import SUBSCRIBE, Envelopes, confirm_url, unsubscribe_url
from hubbub_sns.messages import content_of, message_uuid, properties_of
from hubbub_sns.mobile import Mobile
from hubbub_sns.outbox import Outbox
from hubbub_sns.records import Subscription, Topic
from hubbub_sns.settings import SmtpSettings, SnsSettings

if TYPE_CHECKING:
    import httpx

USER_AGENT = "Amazon Simple Notification Service Agent"
MAX_ANSWER = 65_536
"""Bytes of an endpoint's answer that are read."""


class Verdict(Enum):
    """What an endpoint said to a delivery."""

    TAKEN = "taken"
    AGAIN = "again"
    """It can't take it now."""
    NEVER = "never"
    """It will not take it: no retry helps."""


class Outcome(NamedTuple):
    """What became of a delivery, and why."""

    verdict: Verdict
    reason: str = ""
    status: int = 200
    """The endpoint's HTTP status; where there is none, what says the same."""


_TAKEN = Outcome(Verdict.TAKEN)


class Senders:
    """Delivers to the endpoints of all protocols but `sqs` and `firehose`."""

    def __init__(
        self, settings: SnsSettings, envelopes: Envelopes, mobile: Mobile, outbox: Outbox
    ) -> None:
        self._settings = settings
        self._envelopes = envelopes
        self._mobile = mobile
        self._outbox = outbox
        self._opened: httpx.AsyncClient | None = None

    @property
    def _client(self) -> "httpx.AsyncClient":
        """The HTTP client, made when the first delivery needs it: httpx takes 0.1 s to import."""
        if self._opened is None:
            import httpx  # noqa: PLC0415

            self._opened = httpx.AsyncClient(
                timeout=self._settings.delivery_timeout, follow_redirects=False, trust_env=False
            )
        return self._opened

    async def close(self) -> None:
        """Close all connections."""
        if self._opened is not None:
            await self._opened.aclose()

    async def send(self, topic: Topic, subscription: Subscription, message: Message) -> Outcome:
        """Deliver a message once. What an endpoint does wrong is in the outcome, not raised."""
        control = properties_of(message).control
        try:
            match subscription.protocol:
                case "http" | "https":
                    return await self._http(topic, subscription, message, control)
                case "lambda":
                    return await self._function(topic, subscription, message)
                case "email" | "email-json":
                    return await self._mail(topic, subscription, message, control)
                case "sms":
                    await self._mobile.send_sms(
                        subscription.account,
                        topic.region,
                        subscription.realm,
                        subscription.endpoint,
                        message,
                    )
                case "application":
                    return await self._device(subscription, message)
                case _:
                    return Outcome(Verdict.NEVER, f"no sender for {subscription.protocol}")
        except (OSError, smtplib.SMTPException) as error:
            return Outcome(Verdict.AGAIN, f"{type(error).__name__}: {error}")
        return _TAKEN

    # HTTP

    async def _http(
        self, topic: Topic, subscription: Subscription, message: Message, control: str
    ) -> Outcome:
        headers = {
            "x-amz-sns-message-type": control or "Notification",
            "x-amz-sns-message-id": message_uuid(message.identity),
            "x-amz-sns-topic-arn": topic.arn,
        }
        content_type = DEFAULT_CONTENT_TYPE
        if control != SUBSCRIBE:
            headers["x-amz-sns-subscription-arn"] = subscription.arn
        if control:
            body = self._envelopes.confirmation(control, message, topic, subscription)
        else:
            plan = make_plan(
                topic.attributes.get("DeliveryPolicy", ""),
                subscription.attributes.get("DeliveryPolicy", ""),
            )
            content_type = plan.content_type
            if subscription.raw:
                headers["x-amz-sns-rawdelivery"] = "true"
                body = _raw(message, subscription.protocol)
            else:
                body = self._envelopes.notification(message, topic, subscription)
        headers["Content-Type"] = content_type
        return await self._post(subscription.endpoint, headers, body)

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> Outcome:
        import httpx  # noqa: PLC0415 - as for the client

        headers |= {"User-Agent": USER_AGENT, "Accept-Encoding": "gzip,deflate"}
        client = self._client
        try:
            with trio.move_on_after(self._settings.delivery_timeout) as scope:
                async with client.stream("POST", url, headers=headers, content=body) as answer:
                    size = 0
                    async for part in answer.aiter_raw():
                        size += len(part)
                        if size > MAX_ANSWER:
                            break
                    return judge(answer.status_code)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Outcome(Verdict.AGAIN, f"{type(error).__name__}: {error}")
        assert scope.cancelled_caught
        return Outcome(Verdict.AGAIN, "the endpoint did not answer in time")

    async def _function(
        self, topic: Topic, subscription: Subscription, message: Message
    ) -> Outcome:
        event = self._envelopes.lambda_event(message, topic, subscription)
        name = Arn.parse(subscription.endpoint).resource.removeprefix("function:")
        template = self._settings.lambda_url
        if template is None:
            await self._outbox.add("lambda", subscription.endpoint, event.decode())
            return _TAKEN
        headers = {"Content-Type": "application/json", "X-Amz-Invocation-Type": "Event"}
        return await self._post(template.replace("{name}", name), headers, event)

    # mail

    async def _mail(
        self, topic: Topic, subscription: Subscription, message: Message, control: str
    ) -> Outcome:
        mail = email.message.EmailMessage()
        title = topic.attributes.get("DisplayName") or "AWS Notifications"
        settings = self._settings.smtp
        mail["From"] = Address(" ".join(title.split()), addr_spec=settings.sender)
        mail["To"] = subscription.endpoint
        domain = settings.sender.partition("@")[2]
        mail["Message-ID"] = f"<{message_uuid(message.identity)}@{domain}>"
        if subscription.protocol == "email-json":
            body = (
                self._envelopes.confirmation(control, message, topic, subscription)
                if control
                else self._envelopes.notification(message, topic, subscription)
            )
            mail["Subject"] = content_of(message, "email-json").subject or _subject(control)
            mail.set_content(body.decode())
        elif control:
            mail["Subject"] = _subject(control)
            mail.set_content(
                f"You have chosen to subscribe to the topic:\n{topic.arn}\n\nTo confirm this "
                "subscription, visit the link below (if this was in error no action is "
                f"necessary):\n{confirm_url(subscription)}\n"
            )
        else:
            content = content_of(message, "email")
            mail["Subject"] = content.subject or _subject("")
            mail.set_content(
                f"{content.text}\n\n--\nIf you wish to stop receiving notifications from this "
                f"topic, please visit the link below to unsubscribe:\n"
                f"{unsubscribe_url(subscription)}\n"
            )
        if settings.host is None:
            await self._outbox.add(
                subscription.protocol, subscription.endpoint, mail.get_content(),
                subject=str(mail["Subject"]), message_id=message_uuid(message.identity),
            )  # fmt: skip
            return _TAKEN
        return await trio.to_thread.run_sync(
            partial(_send_mail, settings, mail, self._settings.delivery_timeout)
        )

    # devices

    async def _device(self, subscription: Subscription, message: Message) -> Outcome:
        if not self._mobile.accepts(subscription.endpoint):
            reason = "Endpoint is disabled"
            self._mobile.refused(subscription.endpoint, message, reason)
            return Outcome(Verdict.NEVER, reason)
        await self._mobile.push(subscription.endpoint, message)
        return _TAKEN


def judge(status: int) -> Outcome:
    """Tell what an HTTP status means: only what may pass by itself is tried again."""
    if 200 <= status < 300:
        return Outcome(Verdict.TAKEN, status=status)
    reason = f"the endpoint answered {status}"
    if status >= 500 or status == 429:
        return Outcome(Verdict.AGAIN, reason, status)
    return Outcome(Verdict.NEVER, reason, status)


def _raw(message: Message, protocol: str) -> bytes:
    text = properties_of(message).structure.get(protocol)
    return message.body if text is None else text.encode()


def _subject(control: str) -> str:
    return "AWS Notification - Subscription Confirmation" if control else "AWS Notification Message"


def _send_mail(settings: SmtpSettings, mail: email.message.EmailMessage, timeout: float) -> Outcome:
    assert settings.host is not None
    try:
        with smtplib.SMTP(settings.host, settings.port, timeout=timeout) as server:
            if settings.starttls:
                server.starttls()
            if settings.username is not None and settings.password is not None:
                server.login(settings.username, settings.password.get_secret_value())
            server.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        [(code, text)] = error.recipients.values()
        verdict = Verdict.NEVER if code >= 500 else Verdict.AGAIN
        return Outcome(verdict, f"{code} {text.decode(errors='replace')}")
    except smtplib.SMTPResponseException as error:
        verdict = Verdict.NEVER if error.smtp_code >= 500 else Verdict.AGAIN
        return Outcome(verdict, str(error))
    return _TAKEN

"""Platform applications and their endpoints, and everything about SMS.

Apple, Google and the phone companies are not here: what is for them goes to the outbox.
"""

import re
import secrets
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hubbub import Message
from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.arns import Arn, make_arn
from hubbub_aws.protocols import Params
from hubbub_sns.access import demand
from hubbub_sns.application_events import (
    CREATED,
    DELETED,
    EVENT_ATTRIBUTES,
    UPDATED,
    ApplicationEvents,
    check_event_topic,
)
from hubbub_sns.errors import invalid_parameter, not_found, not_null
from hubbub_sns.feedback import Feedback
from hubbub_sns.messages import content_of, message_uuid, read_message
from hubbub_sns.names import parse_arn
from hubbub_sns.outbox import Outbox
from hubbub_sns.pages import paginate
from hubbub_sns.records import Application, Endpoint, Phones, SandboxNumber
from hubbub_sns.sampling import is_percentage
from hubbub_sns.settings import SnsSettings
from hubbub_sns.store import Store

if TYPE_CHECKING:
    from hubbub import Hub

PLATFORMS = frozenset(
    {
        "ADM", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "BAIDU", "FCM", "GCM",
        "MACOS", "MACOS_SANDBOX", "MPNS", "WNS",
    }
)  # fmt: skip
MAX_SMS = 1600
MAX_SANDBOX_NUMBERS = 10

MAX_APPLICATION_NAME = 256

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_PHONE = re.compile(r"\+?[1-9][0-9]{1,14}")
"""ITU-T E.164, for which AWS does without the plus sign."""
_PUNCTUATED = re.compile(r"\+?[0-9]+(?:[./-][0-9]+)*")
_SANDBOX_PHONE = re.compile(r"\+[0-9]{8,}|[0-9]{0,9}")
_PASSWORD = re.compile(r"[0-9]{5,8}")
_SENDER = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9]{1,11}")
_APPLICATION_ATTRIBUTES = frozenset(
    {
        "AppleCertificateExpiryDate", "ApplePlatformBundleID", "ApplePlatformTeamID", "Enabled",
        "FailureFeedbackRoleArn", "PlatformCredential", "PlatformPrincipal",
        "SuccessFeedbackRoleArn", "SuccessFeedbackSampleRate", *EVENT_ATTRIBUTES,
    }
)  # fmt: skip
_CREDENTIAL, _PRINCIPAL = "PlatformCredential", "PlatformPrincipal"
_SECRET_ATTRIBUTES = frozenset({_CREDENTIAL, _PRINCIPAL})
_WITHOUT_PRINCIPAL = frozenset({"FCM", "GCM"})
"""Platforms that know an application by its credential alone."""
_ENDPOINT_ATTRIBUTES = frozenset({"CustomUserData", "Enabled", "Token"})
_SAMPLING = "DeliveryStatusSuccessSamplingRate"
_SMS_ATTRIBUTES = frozenset(
    {
        "DefaultSMSType", "DefaultSenderID", "DeliveryStatusIAMRole", _SAMPLING,
        "MonthlySpendLimit", "UsageReportS3Bucket",
    }
)  # fmt: skip
_SPEND_LIMIT = "1"
"""US dollars a month that AWS lets a new account spend."""
_LANGUAGES = frozenset(
    {
        "de-DE", "en-GB", "en-US", "es-419", "es-ES", "fr-CA", "fr-FR", "it-IT", "ja-JP", "kr-KR",
        "pt-BR", "zh-CN", "zh-TW",
    }
)  # fmt: skip


def is_phone(text: str) -> bool:
    """Tell whether a text is a phone number that SMS may be published to."""
    return _PHONE.fullmatch(text) is not None


def is_sms_endpoint(text: str) -> bool:
    """Tell whether a phone number may be subscribed: it may be written with . / or - in it."""
    return _PUNCTUATED.fullmatch(text) is not None and is_phone(re.sub("[./-]", "", text))


class Mobile:
    """The actions on applications, devices and phone numbers."""

    def __init__(
        self, hub: "Hub", settings: SnsSettings, store: Store, outbox: Outbox, feedback: Feedback,
        events: ApplicationEvents,
    ) -> None:  # fmt: skip
        self._hub = hub
        self._settings = settings
        self._store = store
        self._outbox = outbox
        self._feedback = feedback
        self._events = events

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "CheckIfPhoneNumberIsOptedOut": self.check_if_opted_out,
            "CreatePlatformApplication": self.create_application,
            "CreatePlatformEndpoint": self.create_endpoint,
            "CreateSMSSandboxPhoneNumber": self.create_sandbox_number,
            "DeleteEndpoint": self.delete_endpoint,
            "DeletePlatformApplication": self.delete_application,
            "DeleteSMSSandboxPhoneNumber": self.delete_sandbox_number,
            "GetEndpointAttributes": self.get_endpoint_attributes,
            "GetPlatformApplicationAttributes": self.get_application_attributes,
            "GetSMSAttributes": self.get_sms_attributes,
            "GetSMSSandboxAccountStatus": self.get_sandbox_status,
            "ListEndpointsByPlatformApplication": self.list_endpoints,
            "ListOriginationNumbers": self.list_origination_numbers,
            "ListPhoneNumbersOptedOut": self.list_opted_out,
            "ListPlatformApplications": self.list_applications,
            "ListSMSSandboxPhoneNumbers": self.list_sandbox_numbers,
            "OptInPhoneNumber": self.opt_in,
            "SetEndpointAttributes": self.set_endpoint_attributes,
            "SetPlatformApplicationAttributes": self.set_application_attributes,
            "SetSMSAttributes": self.set_sms_attributes,
            "VerifySMSSandboxPhoneNumber": self.verify_sandbox_number,
        }

    # platform applications

    def _application(self, context: Context, params: Params) -> Application:
        arn = str(parse_arn(params.get("PlatformApplicationArn"), "PlatformApplicationArn"))
        application = self._store.applications.get(arn)
        if application is None or application.region != context.region:
            raise not_found("PlatformApplication")
        self._check(context, arn)
        return application

    def _check(self, context: Context, arn: str) -> None:
        demand(context, context.session(), "configure", f"$sns/{arn.rpartition(':')[2]}", arn)

    async def create_application(self, context: Context, params: Params) -> Params:
        """Create a platform application; one that is there already must be the same."""
        name, platform = params.get("Name"), params.get("Platform")
        attributes = params.get("Attributes")
        missing = [
            label
            for label, value in (
                ("name", name), ("platform", platform), ("attributes", attributes)
            )
            if value is None
        ]  # fmt: skip
        if missing:
            raise not_null(*missing)
        if platform not in PLATFORMS:
            raise invalid_parameter(f"Platform Reason: {platform} is not supported")
        _check_application_name(str(name))
        arn = str(make_arn("sns", context.region, context.account, f"app/{platform}/{name}"))
        self._check(context, arn)
        given = _read_attributes(attributes, _APPLICATION_ATTRIBUTES)
        if platform not in _WITHOUT_PRINCIPAL:
            _check_credentials(given)
        present = self._store.applications.get(arn)
        if present is not None:
            if any(present.attributes.get(key) != value for key, value in given.items()):
                raise invalid_parameter(
                    "Attributes Reason: An application with the same name but different "
                    "properties already exists"
                )
            return {"PlatformApplicationArn": arn}
        application = Application(
            arn=arn, realm=context.session().realm, account=context.account,
            region=context.region, attributes=given,
        )  # fmt: skip
        await self._store.save_application(application).wait()
        return {"PlatformApplicationArn": arn}

    async def delete_application(self, context: Context, params: Params) -> Params:
        """Delete a platform application; no error where there is none."""
        arn = str(parse_arn(params.get("PlatformApplicationArn"), "PlatformApplicationArn"))
        application = self._store.applications.get(arn)
        if application is not None:
            self._check(context, arn)
            await self._store.drop_application(application).wait()
        return {}

    async def get_application_attributes(self, context: Context, params: Params) -> Params:
        """Return the attributes of a platform application, its secrets left out."""
        application = self._application(context, params)
        shown = {
            name: value
            for name, value in application.attributes.items()
            if name not in _SECRET_ATTRIBUTES
        }
        return {"Attributes": {"Enabled": "true", "SuccessFeedbackSampleRate": "100"} | shown}

    async def set_application_attributes(self, context: Context, params: Params) -> Params:
        """Change attributes of a platform application."""
        application = self._application(context, params)
        attributes = params.get("Attributes")
        if attributes is None:
            raise not_null("attributes")
        application.attributes |= _read_attributes(attributes, _APPLICATION_ATTRIBUTES)
        await self._store.save_application(application).wait()
        return {}

    async def list_applications(self, context: Context, params: Params) -> Params:
        """Return the platform applications of the caller, in its region."""
        mine = {
            arn: application
            for arn, application in self._store.applications.items()
            if (application.account, application.region) == (context.account, context.region)
        }
        page, token = paginate(list(mine), params.get("NextToken"))
        entries = [
            {"PlatformApplicationArn": arn, "Attributes": _shown(mine[arn].attributes)}
            for arn in page
        ]
        return _page("PlatformApplications", entries, token)

    # endpoints

    def _endpoint(self, context: Context, params: Params) -> Endpoint:
        arn = str(parse_arn(params.get("EndpointArn"), "EndpointArn"))
        endpoint = self._store.devices.get(arn)
        if endpoint is None or Arn.parse(arn).region != context.region:
            raise not_found("Endpoint")
        self._check(context, arn)
        return endpoint

    async def create_endpoint(self, context: Context, params: Params) -> Params:
        """Create the endpoint of a device; one of the same token must be the same."""
        application = self._application(context, params)
        token = params.get("Token")
        if token is None:
            raise not_null("token")
        wanted = dict(params.get("Attributes") or {}) | {"Token": token}
        if params.get("CustomUserData") is not None:
            wanted.setdefault("CustomUserData", params["CustomUserData"])
        given = _read_attributes(wanted, _ENDPOINT_ATTRIBUTES)
        attributes = {"Enabled": "true"} | given
        present = self._store.devices.with_token(application.arn, token)
        if present is not None:
            if present.attributes != attributes:
                raise invalid_parameter(
                    f"Token Reason: Endpoint {present.arn} already exists with the same Token, "
                    "but different attributes."
                )
            return {"EndpointArn": present.arn}
        arn = application.arn.replace(":app/", ":endpoint/", 1) + f"/{uuid.uuid4()}"
        endpoint = Endpoint(
            arn=arn, realm=application.realm, application=application.arn, attributes=attributes
        )
        saved = self._store.save_endpoint(endpoint)
        self._events.changed(application, endpoint, CREATED)
        await saved.wait()
        return {"EndpointArn": arn}

    async def delete_endpoint(self, context: Context, params: Params) -> Params:
        """Delete the endpoint of a device; no error where there is none."""
        arn = str(parse_arn(params.get("EndpointArn"), "EndpointArn"))
        endpoint = self._store.devices.get(arn)
        if endpoint is not None:
            self._check(context, arn)
            dropped = self._store.drop_endpoint(endpoint)
            self._changed(endpoint, DELETED)
            await dropped.wait()
        return {}

    def _changed(self, endpoint: Endpoint, event: str) -> None:
        application = self._store.applications.get(endpoint.application)
        if application is not None:
            self._events.changed(application, endpoint, event)

    async def get_endpoint_attributes(self, context: Context, params: Params) -> Params:
        """Return the attributes of a device's endpoint."""
        return {"Attributes": self._endpoint(context, params).attributes}

    async def set_endpoint_attributes(self, context: Context, params: Params) -> Params:
        """Change attributes of a device's endpoint."""
        endpoint = self._endpoint(context, params)
        attributes = params.get("Attributes")
        if attributes is None:
            raise not_null("attributes")
        endpoint.attributes |= _read_attributes(attributes, _ENDPOINT_ATTRIBUTES)
        saved = self._store.save_endpoint(endpoint)
        self._changed(endpoint, UPDATED)
        await saved.wait()
        return {}

    async def list_endpoints(self, context: Context, params: Params) -> Params:
        """Return the endpoints of a platform application."""
        application = self._application(context, params)
        mine = {each.arn: each for each in self._store.devices.of(application.arn)}
        page, token = paginate(list(mine), params.get("NextToken"))
        entries = [{"EndpointArn": arn, "Attributes": mine[arn].attributes} for arn in page]
        return _page("Endpoints", entries, token)

    # publishing

    async def publish_to_endpoint(self, context: Context, arn: str, params: Params) -> Params:
        """Publish to one device: it goes to the outbox."""
        endpoint = self._store.devices.get(arn)
        if endpoint is None or Arn.parse(arn).region != context.region:
            raise invalid_parameter(
                "TargetArn Reason: No endpoint found for the target arn specified"
            )
        demand(context, context.session(), "publish", f"$sns/{arn.rpartition(':')[2]}", arn)
        if not endpoint.enabled:
            raise AwsError("EndpointDisabledException", "Endpoint is disabled")
        application = self._store.applications.get(endpoint.application)
        if application is None or application.attributes.get("Enabled", "true") != "true":
            raise AwsError(
                "PlatformApplicationDisabledException", "Platform application is disabled"
            )
        outgoing = read_message(params, "$sns/endpoint", platform=_platform_of(arn))
        return await self._directly(context, outgoing.message, "application", arn)

    async def publish_to_phone(self, context: Context, phone: str, params: Params) -> Params:
        """Publish to one phone: it goes to the outbox."""
        if not is_phone(phone):
            raise invalid_parameter(f"PhoneNumber Reason: {phone} is not valid to publish to")
        demand(context, context.session(), "publish", "$sns/sms", "*")
        outgoing = read_message(params, "$sns/sms")
        return await self._directly(context, outgoing.message, "sms", phone, context.account)

    async def _directly(
        self, context: Context, message: Message, protocol: str, to: str, account: str = ""
    ) -> Params:
        session = self._store.session(context.session().realm)
        message.id, message.published = session.new_id(), self._hub.clock.now()
        if protocol == "sms":
            await self.send_sms(account, context.region, session.realm, to, message)
        else:
            await self.push(to, message)
        return {"MessageId": message_uuid(message.id)}

    async def send_sms(
        self, account: str, region: str, realm: str, phone: str, message: Message
    ) -> None:
        """Put an SMS into the outbox, unless its number wants none. Raises `OSError`."""
        phones = self._store.phones_of(account, realm)
        content = content_of(message, "sms")
        status = "sent"
        if phone in phones.opted_out:
            status = "not sent: the number has opted out"
        elif self._settings.sms_sandbox:
            number = phones.sandbox.get(phone)
            if number is None or not number.verified:
                status = "not sent: the number is not verified in the SMS sandbox"
        if status != "sent":
            self._store.session(realm).lost(status, 1, f"sms:{phone}")
        await self._outbox.add(
            "sms", phone, content.text[:MAX_SMS], status=status,
            message_id=message_uuid(message.identity),
            attributes=_texts(content.attributes),
        )  # fmt: skip
        problem = "" if status == "sent" else status
        self._feedback.texted(region, account, phones.attributes, phone, message, problem)

    def accepts(self, arn: str) -> bool:
        """Tell whether a device takes push notifications."""
        endpoint = self._store.devices.get(arn)
        return endpoint is not None and endpoint.enabled

    def refused(self, arn: str, message: Message, reason: str) -> None:
        """Tell the application of a device that it did not get a message, if it still exists."""
        endpoint = self._store.devices.get(arn)
        if endpoint is not None:
            self._events.failed(endpoint, message, "EndpointDisabled", reason)

    async def push(self, arn: str, message: Message) -> None:
        """Put a push notification into the outbox. Raises `OSError`."""
        platform = _platform_of(arn)
        structured = content_of(message, platform)
        endpoint = self._store.devices.get(arn)
        await self._outbox.add(
            "application", arn, structured.text, platform=platform,
            token=None if endpoint is None else endpoint.attributes.get("Token"),
            subject=structured.subject, message_id=message_uuid(message.identity),
            attributes=_texts(structured.attributes),
        )  # fmt: skip
        application = None
        if endpoint is not None:
            application = self._store.applications.get(endpoint.application)
        if application is not None:
            self._feedback.pushed(application.arn, application.attributes, arn, message)

    # SMS

    def _phones(self, context: Context) -> Phones:
        session = context.session()
        demand(context, session, "configure", "$sns/sms", "*")
        return self._store.phones_of(context.account, session.realm)

    async def get_sms_attributes(self, context: Context, params: Params) -> Params:
        """Return what was set for SMS, all or some of it."""
        wanted: Sequence[str] | None = params.get("attributes")
        attributes = {"MonthlySpendLimit": _SPEND_LIMIT} | self._phones(context).attributes
        if wanted:
            for name in wanted:
                _check_sms_attribute(name)
            attributes = {name: attributes[name] for name in wanted if name in attributes}
        return {"attributes": attributes}

    async def set_sms_attributes(self, context: Context, params: Params) -> Params:
        """Change what holds for SMS."""
        given: Mapping[str, str] | None = params.get("attributes")
        if given is None:
            raise not_null("attributes")
        for name, value in given.items():
            _check_sms_attribute(name)
            if name == "DefaultSMSType" and value not in {"Promotional", "Transactional"}:
                raise AwsError("InvalidParameterException", "DefaultSMSType is invalid")
            if name == _SAMPLING and value and not is_percentage(value):
                raise AwsError("InvalidParameterException", f"{_SAMPLING} is invalid")
            if name == "MonthlySpendLimit" and not value.isdecimal():
                raise invalid_parameter("MonthlySpendLimit Reason: must be a number")
            if name == "DefaultSenderID" and value and not _SENDER.fullmatch(value):
                raise invalid_parameter(
                    "DefaultSenderID Reason: must be 1 to 11 letters and digits, with a letter"
                )
        phones = self._phones(context)
        phones.attributes = phones.attributes | dict(given)
        await self._store.save_phones(phones).wait()
        return {}

    async def check_if_opted_out(self, context: Context, params: Params) -> Params:
        """Tell whether a number wants no SMS."""
        phone = _phone(params)
        return {"isOptedOut": phone in self._phones(context).opted_out}

    async def list_opted_out(self, context: Context, params: Params) -> Params:
        """Return the numbers that want no SMS."""
        numbers = list(self._phones(context).opted_out)
        page, token = paginate(numbers, params.get("nextToken"))
        result: Params = {"phoneNumbers": page}
        if token is not None:
            result["nextToken"] = token
        return result

    async def opt_in(self, context: Context, params: Params) -> Params:
        """Let a number have SMS again."""
        phone = _phone(params)
        phones = self._phones(context)
        phones.opted_out = {each: at for each, at in phones.opted_out.items() if each != phone}
        await self._store.save_phones(phones).wait()
        return {}

    async def opt_out(self, account: str, realm: str, phone: str) -> None:
        """Note that somebody answered STOP. Only the admin page can do it."""
        phones = self._store.phones_of(account, realm)
        phones.opted_out = phones.opted_out | {phone: self._hub.clock.now()}
        await self._store.save_phones(phones).wait()

    async def list_origination_numbers(self, context: Context, params: Params) -> Params:
        """Return the numbers that SMS come from: there are none here."""
        limit = params.get("MaxResults")
        if limit is not None and not 1 <= limit <= 30:
            raise AwsError(
                "ValidationException",
                f"1 validation error detected: Value '{limit}' at 'maxResults' failed to satisfy "
                "constraint: Member must have value between 1 and 30",
            )
        paginate([], params.get("NextToken"))
        return {"PhoneNumbers": []}

    # SMS sandbox

    async def get_sandbox_status(self, context: Context, params: Params) -> Params:
        """Tell whether the account is in the SMS sandbox."""
        return {"IsInSandbox": self._settings.sms_sandbox}

    async def create_sandbox_number(self, context: Context, params: Params) -> Params:
        """Add a number to the sandbox; the password that verifies it goes to the outbox."""
        phone = _sandbox_phone(params)
        language = params.get("LanguageCode")
        if language is not None and language not in _LANGUAGES:
            raise invalid_parameter(f"LanguageCode Reason: {language} is not supported")
        phones = self._phones(context)
        if phone in phones.opted_out:
            raise AwsError("OptedOutException", f"The phone number {phone} is opted out")
        if phone not in phones.sandbox and len(phones.sandbox) >= MAX_SANDBOX_NUMBERS:
            raise AwsError(
                "UserErrorException",
                f"At most {MAX_SANDBOX_NUMBERS} destination phone numbers are allowed",
            )
        password = f"{secrets.randbelow(1_000_000):06}"
        phones.sandbox = phones.sandbox | {phone: SandboxNumber(password)}
        await self._store.save_phones(phones).wait()
        await self._outbox.add(
            "sms", phone, f"Your verification code is {password}.", status="sent",
            language=language or "en-US",
        )  # fmt: skip
        return {}

    async def verify_sandbox_number(self, context: Context, params: Params) -> Params:
        """Verify a number by the password that was sent to it."""
        phone = _sandbox_phone(params)
        password = params.get("OneTimePassword")
        if password is None:
            raise not_null("oneTimePassword")
        phones = self._phones(context)
        number = phones.sandbox.get(phone)
        if number is None:
            raise _no_number()
        matches = secrets.compare_digest(number.password.encode(), password.encode())
        if not _PASSWORD.fullmatch(password) or not matches:
            raise AwsError("VerificationException", "The verification code is wrong")
        number.verified = True
        await self._store.save_phones(phones).wait()
        return {}

    async def delete_sandbox_number(self, context: Context, params: Params) -> Params:
        """Remove a number from the sandbox."""
        phone = _sandbox_phone(params)
        phones = self._phones(context)
        if phone not in phones.sandbox:
            raise _no_number()
        phones.sandbox = {each: n for each, n in phones.sandbox.items() if each != phone}
        await self._store.save_phones(phones).wait()
        return {}

    async def list_sandbox_numbers(self, context: Context, params: Params) -> Params:
        """Return the numbers of the sandbox."""
        limit = params.get("MaxResults")
        if limit is not None and not 1 <= limit <= 100:
            raise invalid_parameter("MaxResults")
        sandbox = self._phones(context).sandbox
        page, token = paginate(list(sandbox), params.get("NextToken"), limit or 100)
        entries = [
            {
                "PhoneNumber": phone,
                "Status": "Verified" if sandbox[phone].verified else "Pending",
            }
            for phone in page
        ]
        return _page("PhoneNumbers", entries, token)


def _platform_of(arn: str) -> str:
    """Return the platform of the device with this ARN: ``…:endpoint/GCM/app/id``."""
    return arn.split("/")[1] if "/" in arn else ""


def _page(name: str, entries: list[Params], token: str | None) -> Params:
    result: Params = {name: entries}
    if token is not None:
        result["NextToken"] = token
    return result


def _shown(attributes: Mapping[str, str]) -> dict[str, str]:
    shown = {name: value for name, value in attributes.items() if name not in _SECRET_ATTRIBUTES}
    return {"Enabled": "true"} | shown


def _texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: each.value if isinstance(each.value, str) else each.value.hex()
        for name, each in attributes.items()
    }


def _read_attributes(given: Any, allowed: frozenset[str]) -> dict[str, str]:
    attributes: dict[str, str] = dict(given)
    for name, value in attributes.items():
        if name not in allowed:
            raise invalid_parameter(f"Attributes Reason: Invalid attribute name: {name}")
        if name == "Enabled" and value.lower() not in {"true", "false"}:
            raise invalid_parameter(
                f"Attributes Reason: Invalid value for attribute: Enabled: {value}"
            )
        if name == "SuccessFeedbackSampleRate" and value and not is_percentage(value):
            raise invalid_parameter(
                f"Attributes Reason: Invalid value for attribute: {name}: must be between 0 and 100"
            )
        if name in EVENT_ATTRIBUTES:
            check_event_topic(name, value)
        if name == "Token" and not value:
            raise invalid_parameter("Token")
        if name == "CustomUserData" and len(value.encode()) > 2048:
            raise invalid_parameter(
                "Attributes Reason: Invalid value for attribute: CustomUserData: must be at most "
                "2048 bytes long in UTF-8 encoding"
            )
    if "Enabled" in attributes:
        attributes["Enabled"] = attributes["Enabled"].lower()
    return attributes


def _check_credentials(attributes: Mapping[str, str]) -> None:
    """Check that a credential does not come without its principal, nor the other way round."""
    for given, missing in ((_CREDENTIAL, _PRINCIPAL), (_PRINCIPAL, _CREDENTIAL)):
        if given in attributes and missing not in attributes:
            raise invalid_parameter(
                f"Attributes Reason: {given} attribute provided without {missing}"
            )


def _check_application_name(name: str) -> None:
    if not name:
        raise invalid_parameter(f"{name} Reason: cannot be empty")
    if len(name) > MAX_APPLICATION_NAME:
        raise invalid_parameter(
            f"{name} Reason: must be at most {MAX_APPLICATION_NAME} characters long"
        )
    if not _NAME.fullmatch(name):
        raise invalid_parameter(
            f"{name} Reason: must contain only characters 'a'-'z', 'A'-'Z', '0'-'9', '_', '-', and "
            "'.'"
        )


def _phone(params: Params) -> str:
    phone = params.get("phoneNumber")
    if phone is None:
        raise not_null("phoneNumber")
    if not is_phone(phone):
        raise invalid_parameter("PhoneNumber Reason: input incorrectly formatted")
    return str(phone)


def _sandbox_phone(params: Params) -> str:
    phone = params.get("PhoneNumber")
    if phone is None:
        raise not_null("phoneNumber")
    if not _SANDBOX_PHONE.fullmatch(phone) or not 1 <= len(phone) <= 20:
        raise invalid_parameter("PhoneNumber Reason: input incorrectly formatted")
    return str(phone)


def _check_sms_attribute(name: str) -> None:
    if name not in _SMS_ATTRIBUTES:
        raise AwsError("InvalidParameterException", f"{name} is not a valid attribute")


def _no_number() -> AwsError:
    return AwsError(
        "ResourceNotFoundException", "The phone number is not in the SMS sandbox of this account"
    )

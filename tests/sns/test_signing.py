"""The key that notifications are signed with: made when it is needed, once, and kept."""

import hashlib
import json
import urllib.parse
import urllib.request
from pathlib import Path

import trio
from cryptography import x509

from hubbub import Hub, Session
from hubbub.config import HubSettings
from hubbub.testing import HubProcess
from hubbub_sns.signing import Signer
from tests.aws_client import aws_client
from tests.core.hubs import make_hub, session_of

from .test_kill import CONFIG
from .test_sqs import verify

FIELDS = {"Type": "Notification", "Message": "hello"}


def hub_at(folder: Path) -> Hub:
    return make_hub(hub=HubSettings(data=folder, stop_deadline=2))


async def kept(session: Session) -> dict[str, bytes]:
    return {each.key: each.value async for each in session.documents("sns.key")}


async def test_there_is_no_key_before_it_is_needed(tmp_path: Path) -> None:
    hub = hub_at(tmp_path)
    async with hub.running():
        with session_of(hub) as session:
            signer = await Signer.load(session, 1024)
            assert await kept(session) == {"path": signer.path.encode()}
            await signer.prepare()
            assert (await kept(session)).keys() == {"path", "signing"}
            signature = signer.sign(FIELDS, "1")
            again = await Signer.load(session, 1024)
            assert again.path == signer.path
            assert await again.certificate() == await signer.certificate()
            assert again.sign(FIELDS, "1") == signature


async def test_all_who_need_it_at_once_have_one_key(tmp_path: Path) -> None:
    hub = hub_at(tmp_path)
    async with hub.running():
        with session_of(hub) as session:
            signer = await Signer.load(session, 1024)
            found: list[bytes] = []

            async def ask() -> None:
                found.append(await signer.certificate())

            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(ask)
            assert len(found) == 3
            assert len(set(found)) == 1
            certificate = x509.load_pem_x509_certificate(found[0])
            assert certificate.subject.rfc4514_string() == "CN=sns.amazonaws.com"


async def test_a_certificate_stays_where_a_former_version_served_it(tmp_path: Path) -> None:
    hub = hub_at(tmp_path)
    async with hub.running():
        with session_of(hub) as session:
            signer = await Signer.load(session, 1024)
            certificate = await signer.certificate()
            session.drop_document("sns.key", "path")
            former = await Signer.load(session, 1024)
            digest = hashlib.sha256(certificate).hexdigest()[:32]
            assert former.path == f"/SimpleNotificationService-{digest}.pem"
            assert await former.certificate() == certificate
            assert former.sign(FIELDS, "2")


def test_key_and_certificate_outlive_the_process(tmp_path: Path) -> None:
    paths, certificates = set(), set()
    with HubProcess(tmp_path, CONFIG) as hub:
        sns, sqs = aws_client(hub, "sns"), aws_client(hub, "sqs")
        topic = sns.create_topic(Name="alerts")["TopicArn"]
        arn = "arn:aws:sqs:us-east-1:000000000000:inbox"
        sqs.create_queue(QueueName="inbox")
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        for _ in range(2):
            sns, sqs = aws_client(hub, "sns"), aws_client(hub, "sqs")
            sns.publish(TopicArn=topic, Message="hello")
            url = sqs.get_queue_url(QueueName="inbox")["QueueUrl"]
            [message] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"]
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            envelope = json.loads(message["Body"])
            path = urllib.parse.urlsplit(envelope["SigningCertURL"]).path
            envelope["SigningCertURL"] = hub.url("SNS").rstrip("/") + path
            verify(envelope)
            with urllib.request.urlopen(envelope["SigningCertURL"]) as answer:
                certificates.add(answer.read())
            paths.add(path)
            hub.kill()
            hub.start()
    assert len(paths) == len(certificates) == 1

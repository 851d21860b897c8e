"""Who gets in, by which way, and what they may do."""

from __future__ import annotations

import base64
import os
import ssl
import struct
from pathlib import Path

import pytest
import trustme

from hubbub import Credentials, Password, Principal, hookimpl
from hubbub.testing.hub import ServedHub
from hubbub_mqtt import packets as p
from hubbub_mqtt.encode import encode
from hubbub_mqtt.packets import Version

from .conftest import Connect, Serve
from .raw import Raw, bodies

V311, V5 = Version.V311, Version.V5

USERS = """
[auth]
anonymous = "never"

[[users]]
name = "sensor"
password = "secret"
permissions = [
    { action = ["publish", "subscribe"], resource = "sensors/#" },
    { action = "consume", resource = "$queue/mine" },
]

[[users]]
name = "admin"
password = "root"
tokens = ["a token"]
"""


@pytest.fixture
def guarded(serve: Serve) -> ServedHub:
    return serve(file=USERS)


def test_user_names_and_passwords(guarded: ServedHub) -> None:
    for version, wrong, nobody in ((V311, 4, 5), (V5, 0x86, 0x87)):
        for user, password, reason in (
            ("sensor", b"secret", 0),
            ("sensor", b"guess", wrong),
            ("sensor", None, wrong),
            ("unknown", b"secret", wrong),
            (None, None, nobody),
        ):
            with Raw(guarded.address("MQTT"), version) as raw:
                assert raw.connect("c", user=user, password=password).reason == reason
                if reason:
                    assert raw.closed() == []
    with Raw(guarded.address("MQTT")) as raw:
        assert raw.connect("t", password=b"a token").reason == 0
    with Raw(guarded.address("MQTT")) as raw:
        assert raw.connect("t", password=b"a guess").reason == 0x86


def test_what_is_not_allowed(guarded: ServedHub) -> None:
    address = guarded.address("MQTT")
    with Raw(address) as new, Raw(address, V311) as old, Raw(address) as admin:
        for raw, name in ((new, "new"), (old, "old")):
            assert raw.connect(name, user="sensor", password=b"secret").reason == 0
        admin.connect("admin", user="admin", password=b"root")
        admin.subscribe("#", qos=1)
        assert new.subscribe("sensors/+", "#", "other", "$queue/mine", "$queue/x", qos=1) == [
            1, 0x87, 0x87, 0x87, 0x87,
        ]  # fmt: skip
        assert old.subscribe("sensors/+", "#", qos=1) == [1, 0x80]
        assert new.publish("other", b"", 1) == 0x87
        assert new.publish("other", b"", 2) == 0x87
        assert old.publish("other", b"", 1) == 0
        assert old.publish("other", b"", 2) == 0
        new.publish("other", b"", 0)
        new.quiet()
        assert guarded.call(lambda: guarded.hub.meters.dropped) == {"not authorised": 3}
        admin.quiet()
        new.send(p.Publish("sensors/1", b"fine", 1, packet_id=1))
        for raw in (new, old, admin):
            if raw is new:
                assert {type(raw.read()), type(raw.read())} == {p.Publish, p.Puback}
            else:
                assert raw.receive().payload == b"fine"


def test_a_will_that_is_not_allowed_refuses_the_connection(guarded: ServedHub) -> None:
    for topic, reason in (
        ("sensors/gone", 0), ("other", 0x87), ("$SYS/broker/version", 0x87), ("$share/a/b", 0x87),
    ):  # fmt: skip
        with Raw(guarded.address("MQTT")) as raw:
            answer = raw.connect("w", user="sensor", password=b"secret", will=p.Will(topic))
            assert answer.reason == reason


def test_nobody_publishes_to_what_nobody_could_subscribe_to(client: Connect) -> None:
    subscriber, publisher = client(), client()
    subscriber.connect("dollar-s")
    subscriber.subscribe("$aws/#", "$share/group/to")
    publisher.connect("dollar-p")
    assert publisher.publish("$share/group/to", b"no", retain=True) == 0x87
    publisher.publish("$share/group/to", b"no", 0)
    assert publisher.publish("$SYS/broker/connection/me", b"no") == 0x87
    assert publisher.publish("$SYS/broker/connection/me/state", b"1") == 0x10
    assert publisher.publish("$aws/things/lamp/shadow/update", b"{}") == 0
    assert subscriber.receive().payload == b"{}"
    subscriber.quiet()


def test_without_users_any_name_is_as_good_as_none(client: Connect, serve: Serve) -> None:
    for user, password in (("", None), ("somebody", b"guess"), (None, b"token")):
        raw: Raw = client()
        assert raw.connect(user=user, password=password).reason == 0
    closed = serve(file='[auth]\nanonymous = "never"')
    with Raw(closed.address("MQTT")) as raw:
        assert raw.connect(user="somebody", password=b"guess").reason == 0x86


def test_plugins_that_know_users_are_asked(serve: Serve) -> None:
    class Plugin:
        @hookimpl
        async def hubbub_authenticate(self, credentials: Credentials) -> Principal | None:
            known = isinstance(credentials, Password) and credentials.password == b"sesame"
            return Principal("ali") if known else None

    hub = serve(plugins={"knows": Plugin()})
    for password, reason in ((b"sesame", 0), (b"guess", 0x86)):
        with Raw(hub.address("MQTT")) as raw:
            assert raw.connect(user="ali", password=password).reason == reason


def test_a_session_belongs_to_its_user(guarded: ServedHub) -> None:
    address = guarded.address("MQTT")
    with Raw(address) as one:
        one.connect("mine", user="sensor", password=b"secret", session_expiry_interval=100)
        one.subscribe("sensors/#", qos=1)
        one.disconnect()
    for clean in (False, True):
        with Raw(address) as thief:
            answer = thief.connect("mine", clean=clean, user="admin", password=b"root")
            assert answer.reason == 0x87
    with Raw(address) as again:
        answer = again.connect("mine", clean=False, user="sensor", password=b"secret")
        assert answer.session_present
        with Raw(address) as thief:
            assert thief.connect("mine", user="admin", password=b"root").reason == 0x87
        again.quiet()  # nor is it cut off


# transports


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return authority


def secured(raw: Raw, authority: trustme.CA, client: trustme.LeafCert | None = None) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if client is not None:
        client.configure_cert(context)
    raw.sock = context.wrap_socket(raw.sock, server_hostname="localhost")


def test_tls_and_client_certificates(serve: Serve, authority: trustme.CA, tmp_path: Path) -> None:
    tls = {
        "certificate": str(tmp_path / "server.pem"),
        "key": str(tmp_path / "server.pem"),
        "client_ca": str(tmp_path / "ca.pem"),
        "client_certificate": "optional",
    }
    file = """
    [auth]
    anonymous = "never"
    [[users]]
    name = "device"
    certificates = ["device.example.org"]
    """
    hub = serve(file=file, mqtt={"tls": {"bind": ["127.0.0.1:0"], "tls": tls}})
    assert hub.endpoint("MQTT over TLS").url.startswith("mqtts://")
    with Raw(hub.address("MQTT over TLS")) as raw:
        secured(raw, authority, authority.issue_cert("device.example.org"))
        assert raw.connect("device").reason == 0
        raw.subscribe("t", qos=1)
        raw.send(p.Publish("t", b"x" * 300_000, 0))
        assert len(raw.receive().payload) == 300_000
        raw.disconnect()
    with Raw(hub.address("MQTT over TLS")) as raw:
        secured(raw, authority)
        assert raw.connect("device").reason == 0x87


class WebSocketRaw(Raw):
    """MQTT inside WebSocket frames, framed by hand."""

    def __init__(self, address: tuple[str, int], subprotocol: str = "mqtt", path: str = "/mqtt"):
        super().__init__(address)
        self.plain = self.sock
        key = base64.b64encode(os.urandom(16)).decode()
        self.plain.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n".encode()
        )
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            self.head += self.plain.recv(1)

    def send(self, *packets: p.Packet | bytes) -> None:
        data = b"".join(
            each if isinstance(each, bytes) else encode(each, self.version) for each in packets
        )
        for start in range(0, len(data), 7):  # packets need not fit frames [MQTT-6.0.0-2]
            self.frame(0x82, data[start : start + 7])

    def frame(self, first: int, data: bytes) -> None:
        self.plain.sendall(bytes((first, 0x80 | len(data))) + b"\0\0\0\0" + data)

    def read_frame(self) -> tuple[int, bytes]:
        first, length = self.exactly(2)
        if length == 126:
            (length,) = struct.unpack("!H", self.exactly(2))
        return first, self.exactly(length)

    def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.plain.recv(size - len(data))
            assert more
            data += more
        return data

    def read(self) -> p.Packet | None:
        while not self._received:
            first, data = self.read_frame()
            if first == 0x88:
                return None
            assert first == 0x82
            self._received = self._decoder.decode(data)
        return self._received.pop(0)


def test_websocket(serve: Serve) -> None:
    hub = serve(mqtt={"websocket": {"listener": {"bind": ["127.0.0.1:0"]}}})
    address = hub.address("MQTT over WebSocket")
    assert hub.endpoint("MQTT over WebSocket").url.endswith("/mqtt")
    with WebSocketRaw(address) as raw, Raw(hub.address("MQTT")) as plain:
        assert b"101" in raw.head
        assert b"sec-websocket-protocol: mqtt\r\n" in raw.head.lower()
        assert raw.connect("w").reason == 0
        plain.connect("p")
        raw.subscribe("ws", qos=2)
        for qos in (0, 1, 2):
            plain.publish("ws", b"%d" % qos, qos)
            assert raw.receive().payload == b"%d" % qos
        raw.publish("elsewhere", b"", 1)
        raw.frame(0x81, b"text")  # [MQTT-6.0.0-1]
        while True:
            first, data = raw.read_frame()
            if first == 0x88:
                break
        assert struct.unpack("!H", data[:2]) == (1003,)
    with WebSocketRaw(address, subprotocol="stomp") as raw:
        assert b" 400 " in raw.head
    with WebSocketRaw(address, path="/other") as raw:
        assert b" 404 " in raw.head


def test_stopping_over_websocket(serve: Serve) -> None:
    hub = serve(mqtt={"websocket": {"listener": {"bind": ["127.0.0.1:0"]}}})
    with WebSocketRaw(hub.address("MQTT over WebSocket")) as raw:
        raw.connect("w")
        hub.stop()
        answer = raw.read()
        assert isinstance(answer, p.Disconnect)
        assert answer.reason == 0x8B
        assert raw.read() is None


# what the broker tells of itself


def test_sys_topics(serve: Serve) -> None:
    hub = serve(mqtt={"sys_interval": 0.05})
    with Raw(hub.address("MQTT")) as raw:
        raw.connect("s")
        raw.subscribe("$SYS/broker/version", "$SYS/broker/clients/+")
        first = [raw.receive() for _ in range(5)]
        assert {each.topic.removeprefix("$SYS/broker/") for each in first} == {
            "version", "clients/connected", "clients/disconnected", "clients/total",
            "clients/maximum",
        }  # fmt: skip
        assert all(each.retain for each in first)
        with Raw(hub.address("MQTT")) as other:
            other.connect("o")
            found: dict[str, bytes] = {}
            while found.get("$SYS/broker/clients/connected") != b"2":
                message = raw.receive()
                found[message.topic] = message.payload
    with Raw(hub.address("MQTT")) as all_, Raw(hub.address("MQTT")) as ticker:
        all_.connect("all")
        all_.subscribe("#")
        ticker.connect("ticker")
        ticker.subscribe("$SYS/broker/bytes/sent")
        for _ in range(3):  # each of these is counted in the next one
            ticker.receive()
        all_.quiet()


def test_each_packet_of_a_batch_is_counted(serve: Serve) -> None:
    hub = serve(mqtt={"sys_interval": 0.05})
    with Raw(hub.address("MQTT")) as raw, Raw(hub.address("MQTT")) as observer:
        raw.connect("batch")
        raw.send(*(p.Publish("none", b"", 2, packet_id=n) for n in range(1, 7)))
        assert [raw.expect(p.Pubrec).packet_id for _ in range(6)] == [1, 2, 3, 4, 5, 6]
        raw.send(*(p.Pubrel(n) for n in range(1, 7)))
        assert [raw.expect(p.Pubcomp).packet_id for _ in range(6)] == [1, 2, 3, 4, 5, 6]
        observer.connect("observer")
        observer.subscribe("$SYS/broker/messages/+", "$SYS/broker/publish/messages/sent")
        counts = {"messages/received": 0, "messages/sent": 0, "publish/messages/sent": 0}
        # Thirteen of each by one client, two by the other, beside what comes from `$SYS` itself.
        for _ in range(50):
            message = observer.receive()
            counts[message.topic.removeprefix("$SYS/broker/")] = int(message.payload)
            others = counts["messages/sent"] - counts["publish/messages/sent"]
            if (counts["messages/received"], others) == (15, 15):
                break
        else:
            pytest.fail(str(counts))


def test_metrics(serve: Serve) -> None:
    hub = serve()
    with Raw(hub.address("MQTT")) as raw, Raw(hub.address("MQTT"), V311) as old:
        raw.connect("m")
        old.connect("o")
        old.subscribe("a", qos=1)
        raw.subscribe("a")
        raw.send(*(p.Publish("a", b"", qos, packet_id=qos) for qos in (0, 1)))
        assert bodies([old.receive(), old.receive()]) == [b"", b""]
        meters = hub.hub.meters
        new, early = meters.protocol("mqtt-5"), meters.protocol("mqtt-3.1.1")
        assert (new.clients, early.clients) == (1, 1)
        assert (new.published, new.delivered, early.delivered) == (2, 2, 2)
        page = hub.call(meters.page).body.decode()
        assert "hubbub_mqtt_sessions 2.0" in page
        assert 'hubbub_clients{protocol="mqtt-5"} 1.0' in page


def test_connections_are_cut_at_the_deadline(serve: Serve) -> None:
    hub = serve(hub={"stop_deadline": 0.2})
    with Raw(hub.address("MQTT")) as stuck:
        stuck.connect("stuck")
        stuck.subscribe("a")
        stuck.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):  # what it does not read keeps it from being read
            stuck.send(*[p.Publish("a", b"x" * 100_000)] * 1000)
        hub.stop()  # the fixture waits for the end, with a deadline of its own

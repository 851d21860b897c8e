"""The servers that are measured: hubbub and its peers, and how each is set up."""

import importlib.metadata
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .processes import BenchmarkError, Launch, free_port

SYSTEM_FOLDERS = (Path("/usr/lib/rabbitmq/bin"), Path("/usr/sbin"))
"""Where packages put servers beside $PATH; RabbitMQ's in /usr/sbin is for the user rabbitmq."""


_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Server:
    """A server to measure. `launch` writes its configuration into a folder."""

    name: str
    protocols: frozenset[str]
    version: str
    launch: Callable[[Path], Launch]


@dataclass(frozen=True)
class Peer:
    """A server of somebody else, which may be installed."""

    name: str
    protocols: frozenset[str]
    command: str
    install: str
    version: Callable[[str], str]
    launch: Callable[[str, Path], Launch]

    def find(self, folders: Sequence[Path]) -> Server | None:
        """Return it as a server, or None if its command is in none of the folders."""
        path = os.pathsep.join(str(folder) for folder in folders)
        found = shutil.which(self.command, path=path)
        if found is None:
            return None
        return Server(
            self.name,
            self.protocols,
            self.version(found),
            lambda folder: self.launch(found, folder),
        )


def hubbub() -> Server:
    """Return hubbub as this Python has it: all its plugins, durable as by default."""
    version = importlib.metadata.version("hubbub")
    sections = _listening_sections()
    return Server(
        "hubbub",
        frozenset(
            {"sqs", "sns", "kinesis", "mqtt", "amqp", "stomp", "http", "gateway", "websocket"}
        ),
        version,
        lambda folder: _launch_hubbub(sections, folder),
    )


def _listening_sections() -> list[str]:
    """Return the sections of the configuration that have a listener."""
    command = [sys.executable, "-m", "hubbub", "schema"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    if shown.returncode:
        raise BenchmarkError(f"`hubbub schema` failed: {shown.stderr.strip()}")
    sections = json.loads(shown.stdout)["properties"]
    return [
        name for name, section in sections.items() if "listener" in section.get("properties", ())
    ]


def _launch_hubbub(sections: Sequence[str], folder: Path) -> Launch:
    """Give the listeners that are measured a port we know, and all others whatever is free."""
    binds = {name: free_port() for name in ("aws", "mqtt", "amqp", "stomp", "admin", "gateway")}
    ports = binds | _aws_ports(binds["aws"])
    ports |= {"http": binds["admin"], "websocket": binds["gateway"]}
    lines = ["[hub]", 'durability = "full"']
    for name in sections:
        lines += [f"[{name}.listener]", f'bind = ["127.0.0.1:{binds.get(name, 0)}"]']
    config = folder / "hubbub.toml"
    config.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "hubbub", "serve"]
    # pip compiles what it installs; a checkout is compiled at its first start, unless forbidden.
    environment = {"PYTHONDONTWRITEBYTECODE": ""}
    return Launch(
        [*command, "--config", str(config), "--data", str(folder / "data")], ports, environment
    )


def _launch_mosquitto(command: str, folder: Path) -> Launch:
    """Set it up as Debian's package does, which writes its store at exit and every 30 minutes.

    The limits are raised, and Nagle's algorithm is off, in its favour.
    """
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(
        f"""\
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {folder}/
max_inflight_messages 100
max_queued_messages 10000
set_tcp_nodelay true
log_type error
"""
    )
    return Launch([command, "-c", str(config)], {"mqtt": port})


def _launch_rabbitmq(command: str, folder: Path) -> Launch:
    """Set it up as Debian's package does, with its STOMP plugin, and a node name of its own.

    It is told that systemd runs it, so that the Erlang machine takes the place of its shell script
    and ends at SIGTERM. epmd, which else stays behind as a daemon, is its child.
    """
    ports = {"amqp": free_port(), "stomp": free_port()}
    distribution, epmd = free_port(), free_port()
    config = folder / "rabbitmq.conf"
    config.write_text(
        f"""\
listeners.tcp.default = 127.0.0.1:{ports["amqp"]}
stomp.listeners.tcp.1 = 127.0.0.1:{ports["stomp"]}
log.console.level = error
log.file.level = error
"""
    )
    plugins = folder / "enabled_plugins"
    plugins.write_text("[rabbitmq_stomp].\n")
    empty = folder / "environment.conf"
    empty.write_text("")
    environment = {
        "HOME": str(folder),
        "RUNNING_UNDER_SYSTEMD": "true",
        "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"bench{epmd}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_CONFIG_FILE": str(config),
        "RABBITMQ_CONF_ENV_FILE": str(empty),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }
    script = f"epmd -port {epmd} -address 127.0.0.1 & exec {shlex.quote(command)}"
    return Launch(["sh", "-c", script], ports, environment)


def _rabbitmq_version(command: str) -> str:
    """Ask the package manager: the server itself needs seconds to say it."""
    del command
    query = ["dpkg-query", "--show", "--showformat", "${Version}", "rabbitmq-server"]
    try:
        shown = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:  # not a Debian
        shown = ""
    return shown.partition("-")[0] or "of unknown version"


def _aws_ports(port: int) -> dict[str, int]:
    """Return the ports of a server that has all AWS services at one."""
    return {"sqs": port, "sns": port, "kinesis": port}


def _launch_moto(command: str, folder: Path) -> Launch:
    del folder  # it keeps everything in memory
    port = free_port()
    return Launch([command, "-H", "127.0.0.1", "-p", str(port)], _aws_ports(port))


def _launch_ministack(command: str, folder: Path) -> Launch:
    port = free_port()
    environment = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "sqs,sns,kinesis",
        "LOG_LEVEL": "ERROR",
        "HOME": str(folder),
    }
    return Launch([command], _aws_ports(port), environment)


def _launch_fauxqs(command: str, folder: Path) -> Launch:
    """Run it as a library, since its command logs each request."""
    port = free_port()
    program = folder / "fauxqs.mjs"
    program.write_text(
        f"""\
import {{ buildApp }} from {json.dumps(str(_package(command) / "dist" / "app.js"))};
const app = buildApp({{ logger: false, host: "127.0.0.1" }});
await app.listen({{ port: {port}, host: "127.0.0.1" }});
"""
    )
    return Launch(["node", str(program)], {"sqs": port, "sns": port})


def _launch_kinesalite(command: str, folder: Path) -> Launch:
    """Run it as a library, since its command listens on all addresses."""
    port = free_port()
    program = folder / "kinesalite.cjs"
    program.write_text(
        f"""\
const kinesalite = require({json.dumps(str(_package(command)))});
kinesalite({{ createStreamMs: 50, deleteStreamMs: 50 }}).listen({port}, "127.0.0.1");
"""
    )
    return Launch(["node", str(program)], {"kinesis": port})


def _launch_uvicorn(command: str, folder: Path) -> Launch:
    del folder  # it keeps nothing
    port = free_port()
    options = [
        "--http",
        "h11",
        "--loop",
        "asyncio",
        "--lifespan",
        "off",
        "--no-access-log",
        "--log-level",
        "error",
    ]
    where = ["--host", "127.0.0.1", "--port", str(port), "--app-dir", str(_HERE)]
    return Launch(
        [command, *options, *where, "application:app"],
        {"http": port, "gateway": port, "websocket": port},
    )


def _launch_hypercorn(command: str, folder: Path) -> Launch:
    del folder  # it keeps nothing
    port = free_port()
    options = ["--worker-class", "trio", "--bind", f"127.0.0.1:{port}", "--log-level", "error"]
    return Launch(
        [command, *options, "application:app"],
        {"http": port, "gateway": port, "websocket": port},
        {"PYTHONPATH": str(_HERE)},
    )


def _package(command: str) -> Path:
    """Return the folder of the npm package that a command is of."""
    for folder in Path(command).resolve().parents:
        if (folder / "package.json").is_file():
            return folder
    raise BenchmarkError(f"{command} is in no npm package")


def _npm_version(command: str) -> str:
    return str(json.loads((_package(command) / "package.json").read_text())["version"])


def _mosquitto_version(command: str) -> str:
    shown = subprocess.run([command, "-h"], capture_output=True, text=True, check=False).stdout
    return shown.split("\n", 1)[0].removeprefix("mosquitto version ").strip()


def _python_version(distribution: str) -> Callable[[str], str]:
    """Return a function that asks the Python beside a command for a distribution's version."""

    def version(command: str) -> str:
        code = f"import importlib.metadata as m; print(m.version({distribution!r}))"
        python = Path(command).parent / "python"
        shown = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
        return shown.stdout.strip() or "of unknown version"

    return version


PEERS = (
    Peer(
        "mosquitto",
        frozenset({"mqtt"}),
        "mosquitto",
        "apt-get install mosquitto",
        _mosquitto_version,
        _launch_mosquitto,
    ),
    Peer(
        "rabbitmq",
        frozenset({"amqp", "stomp"}),
        "rabbitmq-server",
        "apt-get install rabbitmq-server",
        _rabbitmq_version,
        _launch_rabbitmq,
    ),
    Peer(
        "moto",
        frozenset({"sqs", "sns", "kinesis"}),
        "moto_server",
        "pip install 'moto[server]'",
        _python_version("moto"),
        _launch_moto,
    ),
    Peer(
        "ministack",
        frozenset({"sqs", "sns", "kinesis"}),
        "ministack",
        "pip install ministack",
        _python_version("ministack"),
        _launch_ministack,
    ),
    Peer(
        "fauxqs",
        frozenset({"sqs", "sns"}),
        "fauxqs",
        "npm install fauxqs",
        _npm_version,
        _launch_fauxqs,
    ),
    Peer(
        "kinesalite",
        frozenset({"kinesis"}),
        "kinesalite",
        "npm install kinesalite",
        _npm_version,
        _launch_kinesalite,
    ),
    Peer(
        "uvicorn",
        frozenset({"http", "gateway", "websocket"}),
        "uvicorn",
        "pip install uvicorn websockets",
        _python_version("uvicorn"),
        _launch_uvicorn,
    ),
    Peer(
        "hypercorn",
        frozenset({"http", "gateway", "websocket"}),
        "hypercorn",
        "pip install 'hypercorn[trio]'",
        _python_version("hypercorn"),
        _launch_hypercorn,
    ),
)

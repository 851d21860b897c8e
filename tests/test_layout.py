"""The boundaries of docs/architecture.md, held against the imports."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import hubbub
import hubbub.testing

ROOT = Path(__file__).parents[1]
PLUGINS = sorted(path for path in (ROOT / "plugins").iterdir() if path.name.startswith("hubbub_"))
BUILT_ON_AWS = {"hubbub_sqs", "hubbub_sns", "hubbub_kinesis"}
SANS_IO = {
    "hubbub_amqp": {"channel", "decode", "encode", "errors", "events", "methods", "properties",
                    "protocol", "wire"},
    "hubbub_mqtt": {"aliases", "decode", "encode", "events", "inflight", "packets", "properties",
                    "protocol", "reasons", "topics", "wire"},
    "hubbub_aws": {"arns", "errors", "eventstream", "messages", "models", "routing", "services",
                   "shapes", "sigv4", "timestamps", "validation"},
    "hubbub_gateway": {"codec", "durations", "frames", "protocol", "router"},
    "hubbub_kinesis": {"scaling", "sequences", "throttling"},
    "hubbub_stomp": {"decode", "encode", "errors", "events", "frames", "protocol", "selectors"},
}  # fmt: skip


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """Yield (module, name) for every absolute import of a file; name None for the module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.module or "", alias.name) for alias in node.names)


def files(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_uses_public_names_alone(plugin: Path) -> None:
    public = {"hubbub": set(hubbub.__all__), "hubbub.testing": set(hubbub.testing.__all__)}
    allowed = {plugin.name, "hubbub_aws"} if plugin.name in BUILT_ON_AWS else {plugin.name}
    wrong = []
    for path in files(plugin):
        for module, name in imports(path):
            top = module.partition(".")[0]
            if top == "hubbub":
                if module not in public or (name is not None and name not in public[module]):
                    wrong.append(f"{path.name}: {module}.{name}")
            elif top.startswith("hubbub_") and top not in allowed:
                wrong.append(f"{path.name}: {module}")
    assert not wrong


def test_the_core_knows_no_plugin() -> None:
    wrong = [
        f"{path.name}: {module}"
        for path in files(ROOT / "core")
        for module, _ in imports(path)
        if module.startswith("hubbub_")
    ]
    assert not wrong


@pytest.mark.parametrize("plugin", SANS_IO)
def test_codecs_and_state_machines_know_no_socket(plugin: str) -> None:
    wrong = [
        f"{path.name}: {module}"
        for path in files(ROOT / "plugins" / plugin)
        if path.stem in SANS_IO[plugin] or path.parent.name == "protocols"
        for module, _ in imports(path)
        if module.partition(".")[0] in {"trio", "socket", "ssl", "hubbub"}
    ]
    assert not wrong


def test_all_plugins_are_built_and_found() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {f"plugins/{path.name}" for path in PLUGINS} <= set(packages)
    modules = {
        target.partition(":")[0] for target in project["project"]["entry-points"]["hubbub"].values()
    }
    assert modules == {path.name for path in PLUGINS}


@pytest.mark.parametrize(
    "package", [ROOT / "core" / "hubbub", *PLUGINS], ids=lambda path: path.name
)
def test_types_are_for_type_checkers_of_others_too(package: Path) -> None:
    assert (package / "py.typed").is_file()


def test_public_names_exist_once_and_in_order() -> None:
    for module in (hubbub, hubbub.testing):
        assert list(module.__all__) == sorted(
            set(module.__all__), key=lambda name: (not name.isupper(), not name[0].isupper(), name)
        )
        for name in module.__all__:
            assert getattr(module, name) is not None

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from hubbub.app import Hub
from hubbub.config import (
    Config,
    ConfigError,
    Duration,
    HubSettings,
    PluginSettings,
    Positions,
    Problem,
    QueueSection,
    Section,
    Size,
    Template,
    Unit,
    json_schema,
    load_config,
    parse_duration,
    parse_size,
)
from hubbub.engine.contract import QueueSettings
from hubbub.hookspecs import ConfigSection, FilterFactory, Send, SendFactory, Transform, hookimpl
from hubbub.message import Message
from hubbub.plugins import PluginManager, State
from hubbub.session import Session


class Inner(Section):
    depth: int = 0


class ExampleSettings(Section):
    port: int = Field(default=1, ge=0)
    label: str = "none"
    names: list[str] = Field(default=[])
    inner: Inner = Inner()
    inners: dict[str, Inner] = Field(default={})
    wait: Duration = 1.0
    size: Annotated[Size, Unit("bytes")] = 0
    either: int | list[int] = 0


class ExamplePlugin:
    @hookimpl
    def hubbub_config(self) -> ConfigSection:
        return ConfigSection("example", ExampleSettings)

    @hookimpl
    def hubbub_filters(self) -> dict[str, FilterFactory]:
        def factory(spec: Any) -> Any:
            if not isinstance(spec, int):
                raise ValueError("should be a number")  # noqa: TRY004 - as the hook says
            return lambda message: len(message.body) > spec

        return {"larger": factory}

    @hookimpl
    def hubbub_transforms(self) -> dict[str, Transform]:
        return {"upper": lambda message, options: message}

    @hookimpl
    def hubbub_endpoints(self) -> dict[str, SendFactory]:
        def factory(hub: Hub, url: str, session: Session) -> Send:
            raise ValueError(url)

        return {"example": factory}


class Third:
    @hookimpl
    def hubbub_transforms(self) -> dict[str, Transform]:
        return {}


class FailingPlugin:
    @hookimpl
    def hubbub_config(self) -> ConfigSection:
        raise OSError("no section today")


def make_manager(settings: PluginSettings) -> PluginManager:
    plugins = {"example": ExamplePlugin(), "failing": FailingPlugin(), "other": ExamplePlugin()}
    known = [name for name in settings.disable if name in plugins]
    return PluginManager(plugins=plugins, installed=(), disable=["other", *known])


def load(
    text: str,
    tmp_path: Path,
    environment: dict[str, str] | None = None,
    settings: dict[str, dict[str, Any]] | None = None,
) -> Config:
    path = tmp_path / "hubbub.toml"
    path.write_text(text, "utf-8", newline="")
    return load_config(path, environment=environment, settings=settings, manager=make_manager)


def problems(
    text: str, tmp_path: Path, environment: dict[str, str] | None = None
) -> list[tuple[int | None, int | None, str, str]]:
    with pytest.raises(ConfigError) as caught:
        load(text, tmp_path, environment)
    return [(each.line, each.column, each.key, each.text) for each in caught.value.problems]


class TestLoading:
    def test_nothing_at_all_is_a_configuration(self, tmp_path: Path) -> None:
        assert load("", tmp_path) == Config(plugin_sections=(ExampleSettings(),))
        assert load_config(manager=make_manager).hub == HubSettings()

    def test_the_core_and_plugins_find_their_settings(self, tmp_path: Path) -> None:
        config = load(
            """
            [hub]
            data = "/var/lib/hubbub"
            memory_limit = "64MiB"
            [example]
            port = 7
            wait = "5m"
            inner.depth = 3
            [[queue]]
            name = "orders"
            lease = "2m"
            max_bytes = "1GB"
            """,
            tmp_path,
        )
        assert config.hub.data == Path("/var/lib/hubbub")
        assert config.hub.memory_limit == 64 * 2**20
        section = config.section(ExampleSettings)
        assert (section.port, section.wait, section.inner.depth) == (7, 300.0, 3)
        (queue,) = config.queues
        assert queue.settings() == QueueSettings(lease=120_000, max_bytes=10**9)

    def test_a_section_that_was_not_read_has_its_defaults(self) -> None:
        assert Config().section(ExampleSettings) == ExampleSettings()

    def test_every_setting_of_a_queue_is_offered_with_its_default(self) -> None:
        settings = set(QueueSettings.__struct_fields__) - {"owner", "auto_delete"}
        assert settings | {"name", "realm"} == set(QueueSection.model_fields)
        assert QueueSection(name="x").settings() == QueueSettings()

    def test_the_example_configuration_is_fine(self) -> None:
        path = Path(__file__).parents[2] / "examples" / "hubbub.toml"
        config = load_config(path, manager=make_manager)
        assert [route.name for route in config.routes] == ["telemetry", "alarms"]
        assert config.warnings == ()

    def test_schema(self) -> None:
        schema = json_schema(make_manager(PluginSettings()))
        assert schema["properties"]["example"]["properties"]["port"]["minimum"] == 0
        assert schema["properties"]["route"]["items"]["required"] == ["name", "from", "to"]
        references = set(re.findall(r"#/\$defs/(\w+)", str(schema)))
        assert references == set(schema["$defs"])


class TestValues:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("500ms", 0.5), ("10s", 10), ("1.5h", 5400), ("7d", 604_800), ("2 m", 120), (3, 3)],
    )
    def test_durations(self, text: object, seconds: float) -> None:
        assert parse_duration(text) == seconds

    @pytest.mark.parametrize(
        ("text", "size"),
        [("1B", 1), ("64KiB", 65_536), ("512MB", 512_000_000), ("1.5GiB", 3 * 2**29), (7, 7)],
    )
    def test_sizes(self, text: object, size: int) -> None:
        assert parse_size(text) == size

    @pytest.mark.parametrize("text", ["", "10", "-1s", "1 year", "s", "1e3s", "١s"])
    def test_what_is_no_duration(self, text: str, tmp_path: Path) -> None:
        assert problems(f"example.wait = '{text}'", tmp_path)[0][3].startswith("should be seconds")

    @pytest.mark.parametrize("text", ["", "10", "-1B", "5 MiBi", "512mb"])
    def test_what_is_no_size(self, text: str, tmp_path: Path) -> None:
        assert problems(f"example.size = '{text}'", tmp_path)[0][3].startswith("should be bytes")

    def test_negative_and_infinite_numbers(self, tmp_path: Path) -> None:
        assert len(problems("example.wait = -1\nexample.size = -1", tmp_path)) == 2
        assert len(problems("example.wait = inf", tmp_path)) == 1


class TestProblems:
    @pytest.mark.parametrize(
        ("text", "line", "column", "key", "says"),
        [
            ("[hub]\n  dta = 1", 2, 3, "hub.dta", "unknown key; did you mean 'data'?"),
            ("[hbu]\nx = 1", 1, 2, "hbu", "unknown section; did you mean 'hub'?"),
            ("hub = 5", 1, 1, "hub", "should be a table; write [hub]"),
            ("[route]\nname = 'x'", 1, 2, "route", "write [[route]]"),
            ("[[hub]]", 1, 3, "hub", "write [hub]"),
            ("[[queue]]\n[[queue]]\nname='b'", 1, 3, "queue[0]", "missing key 'name'"),
            ("[hub]\ndurability = 'ful'", 2, 14, "hub.durability", "did you mean 'full'?"),
            ("[example]\ninner.dept = 1", 2, 7, "example.inner.dept", "did you mean 'depth'?"),
            ("[example.inner]\ndept = 1", 2, 1, "example.inner.dept", "did you mean 'depth'?"),
            (
                "[example]\ninners = { a = { dept = 1 } }",
                2,
                18,
                "example.inners.a.dept",
                "did you mean 'depth'?",
            ),
            ("example.names = ['a',\n\n 5]", 3, 2, "example.names[1]", "valid string"),
            ("example.either = 'x'", 1, 18, "example.either", " or "),
            ("[example]\nport = -1", 2, 8, "example.port", "greater than or equal to 0"),
            ("[failing]\nx = 1", 1, 2, "failing", "its plugin failed: no section today"),
            ("plugins.disable = ['exmple']", 1, 20, "plugins.disable[0]", "'example'"),
            ("admin.listener.bind = ['localhost']", 1, 23, "admin.listener.bind", "no port"),
        ],
    )
    def test_say_where_and_what(
        self, text: str, line: int, column: int, key: str, says: str, tmp_path: Path
    ) -> None:
        (problem,) = problems(text, tmp_path)
        assert problem[:3] == (line, column, key)
        assert says in problem[3]

    def test_all_are_found_at_once_in_order_of_line(self, tmp_path: Path) -> None:
        text = """
            [example]
            port = "many"
            lable = "x"
            [[route]]
            name = "r"
            from = "a/#b"
            to = ["ok", "a/+"]
            filter = { policy = { level = [{ prefx = "h" }] } }
            transform = [{ use = "uper" }]
            map = { key = "{topc}" }
            [nowhere]
            [[queue]]
            name = ""
            lease = "soon"
        """
        found = problems(text, tmp_path)
        assert [key for _, _, key, _ in found] == [
            "example.port",
            "example.lable",
            "route[0].from",
            "route[0].to[1]",
            "route[0].filter.policy.level[0]",
            "route[0].transform[0].use",
            "route[0].map.key",
            "nowhere",
            "queue[0].name",
            "queue[0].lease",
        ]
        assert [line for line, _, _, _ in found] == [3, 4, 7, 8, 9, 10, 11, 12, 14, 15]

    def test_as_text(self) -> None:
        problem = Problem("hubbub.toml", "hub.dta", "unknown key", 3, 5)
        assert str(problem) == "hubbub.toml:3:5: hub.dta: unknown key"
        assert str(Problem("hubbub.toml", "", "no such file")) == "hubbub.toml: no such file"

    def test_syntax(self, tmp_path: Path) -> None:
        ((line, column, _, _),) = problems("[hub]\ndata = = 5", tmp_path)
        assert (line, column) == (2, 8)
        ((line, column, _, text),) = problems("[hub]\ndata = '''abc", tmp_path)
        assert (line, column) == (2, 14)
        assert "Expected" in text

    def test_files_that_can_not_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="No such file"):
            load_config(tmp_path / "missing.toml", manager=make_manager)
        bad = tmp_path / "bad.toml"
        bad.write_bytes(b"[hub]\nx = '\xff'")
        with pytest.raises(ConfigError, match=r"bad\.toml:2:6: not UTF-8"):
            load_config(bad, manager=make_manager)
        bad.write_bytes(b"#" * (4 * 1024 * 1024 + 1))
        with pytest.raises(ConfigError, match="larger than"):
            load_config(bad, manager=make_manager)

    @pytest.mark.parametrize("name", ["example", "named-otherwise"])
    @pytest.mark.parametrize("choice", ["disable = ['NAME']", "enable = ['third']"])
    def test_the_section_of_a_plugin_that_is_not_used_is_ignored_with_a_warning(
        self, name: str, choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        entries = [
            importlib.metadata.EntryPoint(each, f"{__name__}_plugins:{plugin}", "hubbub")
            for each, plugin in ((name, "ExamplePlugin"), ("third", "Third"))
        ]
        module = ModuleType(f"{__name__}_plugins")
        module.ExamplePlugin, module.Third = ExamplePlugin, Third  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        path = tmp_path / "hubbub.toml"
        path.write_text(f"plugins.{choice.replace('NAME', name)}\n[example]\nwhatever = 1")
        config = load_config(
            path,
            environment={"HUBBUB_EXAMPLE__PORT": "x"},
            manager=lambda settings: PluginManager(
                installed=entries, enable=settings.enable, disable=settings.disable
            ),
        )
        assert config.plugin_sections == ()
        (warning,) = config.warnings
        assert (warning.line, warning.column, warning.key) == (2, 2, "example")
        assert warning.text == f"ignored: the plugin {name!r} is not used"

    def test_the_core_has_plugins_that_can_be_turned_off_but_need_not_be_enabled(self) -> None:
        config = load_config(settings={"plugins": {"enable": [], "disable": ["admin"]}})
        assert config.plugins.disable == ["admin"]
        assert Hub(config).manager["admin"].state is State.DISABLED
        config = load_config(settings={"plugins": {"enable": []}})
        assert Hub(config).manager["admin"].state is State.LOADED


class TestConsistency:
    def test_names_are_unique(self, tmp_path: Path) -> None:
        found = problems(
            "[[queue]]\nname='a'\n[[queue]]\nname='a'\nrealm='other'\n[[queue]]\nname='a'", tmp_path
        )
        assert found == [(7, 6, "queue[2].name", "this name is in queue[0] already")]

    @pytest.mark.parametrize(
        ("user", "key", "says"),
        [
            ("roles = ['admn']", "users[0].roles[0]", "did you mean 'admin'"),
            ("tokens = ['a', 'a']", "users[0].tokens[1]", "users[0] already"),
            ("password_hash = 'sesame'", "users[0].password_hash", "not an argon2 hash"),
            ("permissions = [{ action = 'pub' }]", "users[0].permissions[0].action[0]", "publish"),
            ("permissions = [{ resource = 'a#' }]", "users[0].permissions[0].resource[0]", "whole"),
        ],
    )
    def test_users(self, user: str, key: str, says: str, tmp_path: Path) -> None:
        text = f"[[role]]\nname = 'admin'\n[[users]]\nname = 'x'\n{user}"
        ((line, _, where, what),) = problems(text, tmp_path)
        assert line == 5
        assert key.startswith(where)
        assert says in what

    def test_warnings_about_users(self, tmp_path: Path) -> None:
        config = load("[[users]]\nname='a'\npassword='x'\n[[users]]\nname='b'", tmp_path)
        first, second = config.warnings
        assert (first.line, second.line) == (3, 5)
        assert "plain text" in first.text
        assert "log in" in second.text
        assert "'x'" not in repr(config)

    @pytest.mark.parametrize(
        ("route", "key", "says"),
        [
            ("from='$queue/a'\nto='b'", "from", "begins at topics"),
            ("from='a'\nto='b'\nfilter={ lager = 1 }", "filter.lager", "did you mean 'larger'"),
            ("from='a'\nto='b'\nfilter={ larger = 'x' }", "filter.larger", "should be a number"),
            ("from='a'\nto='b'\nfilter={}", "filter", "at least 1"),
            ("from='a'\nto=[]", "to", "at least 1"),
            ("from='a/#'\nto=['b', 'a/c']", "to[1]", "round for ever"),
            ("from='a'\nto='a+b'", "to", "wildcards"),
            ("from='a'\nto=['b', 'exmple://x']", "to[1]", "did you mean 'example'"),
        ],
    )
    def test_routes(self, route: str, key: str, says: str, tmp_path: Path) -> None:
        ((_, _, where, what),) = problems(f"[[route]]\nname='r'\n{route}", tmp_path)
        assert where == f"route[0].{key}"
        assert says in what

    def test_a_url_ends_no_loop(self, tmp_path: Path) -> None:
        text = "[[route]]\nname='r'\nfrom='#'\nto=['example://a?b=c+d', 'example:e']"
        assert len(load(text, tmp_path).routes[0].to) == 2

    def test_a_filter_may_end_a_loop(self, tmp_path: Path) -> None:
        load("[[route]]\nname='r'\nfrom='a/#'\nto='a/b'\nfilter={ larger = 5 }", tmp_path)

    def test_a_loop_over_several_routes(self, tmp_path: Path) -> None:
        one = "[[route]]\nname='1'\nfrom='a/+'\nto='b/x'\n"
        two = "[[route]]\nname='2'\nfrom='b/#'\n"
        found = problems(f"{one}{two}to=['c', 'a/y']", tmp_path)
        assert [key for _, _, key, _ in found] == ["route[0].to[0]", "route[1].to[1]"]
        load(f"{one}{two}to=['c', 'a/y/z']", tmp_path)
        load(f"{one}{two}realm='other'\nto=['c', 'a/y']", tmp_path)

    def test_queues(self, tmp_path: Path) -> None:
        found = problems("[[queue]]\nname='a'\ndead_letter='$queue/a'", tmp_path)
        assert found[0][2] == "queue[0].dead_letter"
        found = problems('[[queue]]\nname="a\\u0000"\ndead_letter="b"', tmp_path)
        assert found[0][2] == "queue[0].name"


class TestEnvironment:
    def test_it_wins_over_the_file_and_options_over_it(self, tmp_path: Path) -> None:
        text = "[hub]\ndurability = 'os'\nstop_deadline = 1\ndata = 'file'"
        environment = {
            "HUBBUB_HUB__DURABILITY": "memory",
            "HUBBUB_HUB__DATA": "environment",
            "HUBBUB_CONFIG": "not an override",
            "HUBBUBX__Y": "not ours",
        }
        config = load(text, tmp_path, environment, {"hub": {"data": Path("option")}})
        assert config.hub.durability == "memory"
        assert config.hub.stop_deadline == 1
        assert config.hub.data == Path("option")

    @pytest.mark.parametrize(
        ("name", "text", "read", "value"),
        [
            ("PORT", "8080", lambda s: s.port, 8080),
            ("LABEL", "8080", lambda s: s.label, "8080"),
            ("LABEL", "[x]", lambda s: s.label, "[x]"),
            ("LABEL", "['x']", lambda s: s.label, "['x']"),
            ("NAMES", "['a', 'b']", lambda s: s.names, ["a", "b"]),
            ("INNER__DEPTH", "4", lambda s: s.inner.depth, 4),
            ("INNER", "{ depth = 5 }", lambda s: s.inner.depth, 5),
            ("INNERS__A__DEPTH", "6", lambda s: s.inners["a"].depth, 6),
            ("WAIT", "5m", lambda s: s.wait, 300),
            ("WAIT", "2.5", lambda s: s.wait, 2.5),
            ("SIZE", "1000", lambda s: s.size, 1000),
            ("EITHER", "[1, 2]", lambda s: s.either, [1, 2]),
        ],
    )
    def test_values(self, name: str, text: str, read: Any, value: object, tmp_path: Path) -> None:
        config = load("", tmp_path, {f"HUBBUB_EXAMPLE__{name}": text})
        assert read(config.section(ExampleSettings)) == value

    @pytest.mark.parametrize(
        ("name", "text", "says"),
        [
            ("EXAMPLE__PROT", "1", "unknown key; did you mean 'port'?"),
            ("EXAMPLE__INNER__DEPT", "1", "unknown key; did you mean 'depth'?"),
            ("EXAMPEL__PORT", "1", "unknown section 'exampel'; did you mean 'example'?"),
            ("EXAMPLE__PORT", "many", "should be a valid integer"),
            ("ROUTE__NAME", "x", "can't be set from the environment"),
            ("HUB__DURABILITY", "ful", "did you mean 'full'?"),
        ],
    )
    def test_problems_name_the_variable(
        self, name: str, text: str, says: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            load("[hub]\ndurability = 'os'", tmp_path, {f"HUBBUB_{name}": text})
        (problem,) = caught.value.problems
        assert problem.source == f"environment variable HUBBUB_{name}"
        assert problem.line is None
        assert says in problem.text

    def test_plugins_are_chosen_by_it_too(self, tmp_path: Path) -> None:
        environment = {"HUBBUB_PLUGINS__DISABLE": "['example']", "HUBBUB_EXAMPLE__ANY": "1"}
        assert load("", tmp_path, environment).plugin_sections == ()


class TestTemplates:
    MESSAGE = Message(
        address="devices/7/temp",
        body=b"",
        headers={"unit": "°C", "n": 5, "ok": True, "raw": b"a\xff", "none": None},
        content_type="text/plain",
        correlation_id=b"abc",
        protocol="mqtt-5",
    )

    @pytest.mark.parametrize(
        ("text", "result"),
        [
            ("", ""),
            ("plain", "plain"),
            ("{topic}", "devices/7/temp"),
            ("{topic[0]}-{topic[-1]}", "devices-temp"),
            ("{topic[3]}", None),
            ("{topic[-4]}", None),
            ("{topic[3]|none}", "none"),
            ("{header.unit}{header.n}{header.ok}", "°C5true"),
            ("{header.raw}", "a\ufffd"),
            ("{header.none}", None),
            ("{header.missing|}", ""),
            ("{content_type} by {protocol} {correlation_id}", "text/plain by mqtt-5 abc"),
            ("{group}", None),
            ("{{{topic[1]}}}", "{7}"),
            ("{type|a|b}", "a|b"),
        ],
    )
    def test_rendering(self, text: str, result: str | None) -> None:
        assert Template(text).render(self.MESSAGE) == result

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("{topic", "single '{'"),
            ("a}", "single '}'"),
            ("{}", "no field"),
            ("{header.}", "no field"),
            ("{topic[x]}", "no field"),
            ("{grup}", "did you mean 'group'"),
            ("x" * 5000, "at most"),
        ],
    )
    def test_what_is_no_template(self, text: str, says: str) -> None:
        with pytest.raises(ValueError, match=re.escape(says)):
            Template(text)


DOCUMENT = '''\
# a [comment] = "with things"
title = "top"
"quoted key".'dotted # key' = 1

[a.b]   # [not.a.table]
x = """
[not.a.table]
y = 5 \\""" still """""
z = \'\'\'
it's '' fine\'\'\'\'\'
[ a . "c.d" ]
"é\\u0041" = { p = [1, 2, { q = "]}" }], r.s = 'x' }
list = [ # comment ]
  "a,]", 'b',
  1979-05-27 07:32:00Z,
]
[[items]]
name = 1
  [[items.sub]]
  deep = true
  [[items.sub]]
  [items.sub.more]
  most = +inf
[[items]]
  [[items.sub]]
  deep = 0xff
'''


def paths_of(value: object, prefix: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    found = {prefix} if prefix else set()
    if isinstance(value, dict):
        for key, each in value.items():
            found |= paths_of(each, (*prefix, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            found |= paths_of(each, (*prefix, index))
    return found


class TestPositions:
    @pytest.mark.parametrize(
        ("path", "key", "value"),
        [
            (("title",), (2, 1), (2, 9)),
            (("quoted key",), (3, 1), (3, 1)),
            (("quoted key", "dotted # key"), (3, 14), (3, 31)),
            (("a",), (5, 2), (5, 2)),
            (("a", "b"), (5, 4), (5, 4)),
            (("a", "b", "x"), (6, 1), (6, 5)),
            (("a", "b", "z"), (9, 1), (9, 5)),
            (("a", "c.d"), (11, 7), (11, 7)),
            (("a", "c.d", "éA"), (12, 1), (12, 13)),
            (("a", "c.d", "éA", "p", 1), (12, 23), (12, 23)),
            (("a", "c.d", "éA", "p", 2, "q"), (12, 28), (12, 32)),
            (("a", "c.d", "éA", "r", "s"), (12, 43), (12, 47)),
            (("a", "c.d", "list", 1), (14, 10), (14, 10)),
            (("a", "c.d", "list", 2), (15, 3), (15, 3)),
            (("items",), (17, 3), (17, 3)),
            (("items", 0, "name"), (18, 1), (18, 8)),
            (("items", 0, "sub", 0, "deep"), (20, 3), (20, 10)),
            (("items", 0, "sub", 1), (21, 11), (21, 11)),
            (("items", 0, "sub", 1, "more", "most"), (23, 3), (23, 10)),
            (("items", 1), (24, 3), (24, 3)),
            (("items", 1, "sub", 0, "deep"), (26, 3), (26, 10)),
            (("items", 1, "missing"), (24, 3), (24, 3)),
        ],
    )
    def test_of_keys_and_values(
        self, path: tuple[str | int, ...], key: tuple[int, int], value: tuple[int, int]
    ) -> None:
        positions = Positions(DOCUMENT)
        assert positions.find(path, at_key=True) == key
        assert positions.find(path) == value

    def test_every_place_is_known(self) -> None:
        assert Positions(DOCUMENT).paths() == paths_of(tomllib.loads(DOCUMENT))

    def test_an_unknown_place(self) -> None:
        assert Positions(DOCUMENT).find(("nowhere", 1)) is None

    @given(st.data())
    def test_every_place_of_any_document(self, data: st.DataObject) -> None:
        text = data.draw(documents())
        assert Positions(text).paths() == paths_of(tomllib.loads(text))


blanks = st.sampled_from(["", " ", "\t "])
line_ends = st.sampled_from(["\n", " # = [x] '\"\n", "\n\n  "])
contents = st.text("ab.#=[]{}, \né\\\"'", max_size=6)


@st.composite
def strings(draw: st.DrawFn, *, key: bool = False) -> str:
    text = draw(contents)
    style = draw(st.sampled_from(["basic", "literal"] + ([] if key else ["long", "long literal"])))
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    if style == "literal":
        return "'" + text.replace("'", "").replace("\n", "") + "'"
    if style == "long literal":
        return "'''" + re.sub("'{3,}", "", text) + "'''" if not text.endswith("'") else "''''''"
    if style == "long":
        return '"""' + escaped + '"""'
    return '"' + escaped.replace("\n", "\\n") + '"'


@st.composite
def values(draw: st.DrawFn, depth: int = 2) -> str:
    kinds = ["string", "scalar"] + (["array", "table"] if depth else [])
    kind = draw(st.sampled_from(kinds))
    if kind == "string":
        return draw(strings())
    if kind == "scalar":
        scalars = ["1", "-1.5e3", "true", "nan", "07:32:00", "2020-01-01 00:00:00"]
        return draw(st.sampled_from(scalars))
    space = draw(blanks)
    items = draw(st.lists(values(depth - 1), max_size=3))
    if kind == "array":
        gap = draw(line_ends)
        return f"[{gap}" + f"{gap},{space}".join(items) + f"{gap}]"
    return "{" + ", ".join(f"k{n}{space}={space}{item}" for n, item in enumerate(items)) + "}"


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Draw a document whose keys are all different, in as many spellings as TOML has."""
    lines = []
    counter = 0

    def pairs() -> None:
        nonlocal counter
        for value in draw(st.lists(values(), max_size=2)):
            counter += 1
            dotted = draw(st.sampled_from(["", f".'x{counter}'", f' . "y.{counter}"']))
            gap = draw(blanks)
            lines.append(f"{gap}k{counter}{dotted}{gap}={gap}{value}{draw(line_ends)}")

    pairs()
    started = False
    for header in draw(st.lists(st.sampled_from(["table", "array", "sub", "inner"]), max_size=4)):
        counter += 1
        gap = draw(blanks)
        name = {
            "table": f"[{gap}t{counter}{gap}.{gap}u{gap}]",
            "array": f"[[{gap}list{gap}]]",
            "sub": "[[list.sub]]",
            "inner": f"[list.'in.{counter}']",
        }[header]
        if header in {"sub", "inner"} and not started:
            continue  # there is no array of tables yet
        started = started or header == "array"
        lines.append(name + draw(line_ends))
        pairs()
    return "".join(lines)

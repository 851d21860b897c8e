"""Reads a configuration: the file, what overrides it, and every check there is."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from hubbub.builtin import builtin_plugins
from hubbub.plugins import PluginManager, State, installed_plugins, suggest

from .checks import check_plugged, check_plugin_names, check_queues, check_routes, check_users
from .document import Document, variables
from .model import Config
from .positions import Place
from .problems import ConfigError, Problem, explain
from .schema import TABLES, SectionSpec, core_sections, sections
from .sections import PluginSettings


def load_config(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    manager: Callable[[PluginSettings], PluginManager] | None = None,
) -> Config:
    """Read the configuration.

    Args:
        path: the file; None for none.
        environment: variables; those that start with HUBBUB_ and contain "__" override the file.
        settings: what overrides both, by section and key (options of the command line, tests).
        manager: makes the plugin manager that knows the plugins' sections.

    Raises:
        ConfigError: anything is wrong; it names every problem, not only the first.
    """
    document = Document(path)
    # A file that can't be parsed says nothing about what else may be wrong.
    if document.problems:
        raise ConfigError(document.problems)
    config = _Reader(document, environment or {}, settings or {}, manager or _installed).read()
    if document.problems:
        raise ConfigError(document.problems)
    return config


def _installed(settings: PluginSettings) -> PluginManager:
    """Make a manager of what is installed; names that are not are told by `check_plugin_names`."""
    builtin = builtin_plugins()
    known = {entry.name for entry in installed_plugins()} | builtin.keys()
    enable = settings.enable
    return PluginManager(
        enable=None if enable is None else [name for name in enable if name in known],
        disable=[name for name in settings.disable if name in known],
        plugins=builtin,
    )


class _Reader:
    """Makes a `Config` of a document, which collects the problems."""

    def __init__(
        self,
        document: Document,
        environment: Mapping[str, str],
        settings: Mapping[str, Mapping[str, Any]],
        make_manager: Callable[[PluginSettings], PluginManager],
    ) -> None:
        self._document = document
        self._environment = environment
        self._settings = settings
        self._make_manager = make_manager

    def read(self) -> Config:
        document = self._document
        core = {spec.name: spec for spec in core_sections()}
        document.override_from(self._environment, core)
        document.override(self._settings)
        chosen = self._chosen_plugins()
        manager = self._make_manager(chosen)
        specs = {spec.name: spec for spec in sections(manager)}
        plugged = {name: spec for name, spec in specs.items() if spec.plugin}
        document.override_from(self._environment, plugged)
        document.override(self._settings)  # once more, since they win
        self._check_sections_exist(specs, manager)
        found = {name: self._check_section(spec) for name, spec in specs.items()}
        check_plugin_names(document, chosen, manager)
        check_users(document, found["users"], found["role"])
        check_routes(document, found["route"], manager)
        check_plugged(document, manager)
        check_queues(document, found["queue"], found["stream"])
        for problems in (document.problems, document.warnings):
            problems.sort(key=lambda each: (each.line is None, each.line or 0, each.column or 0))
        tables: dict[str, Any] = {
            name: found[name].get((name,)) or model() for name, model in TABLES.items()
        }
        return Config(
            **tables,
            users=tuple(found["users"].values()),
            roles=tuple(found["role"].values()),
            routes=tuple(found["route"].values()),
            queues=tuple(found["queue"].values()),
            streams=tuple(found["stream"].values()),
            plugin_sections=tuple(section for name in plugged for section in found[name].values()),
            warnings=tuple(document.warnings),
        )

    def _chosen_plugins(self) -> PluginSettings:
        """Return the choice of plugins; what is wrong with it is reported later, with the rest."""
        try:
            return PluginSettings.model_validate(self._document.tables.get("plugins", {}))
        except ValidationError:
            return PluginSettings()

    @cached_property
    def _all_sections(self) -> dict[str, str]:
        """The sections of all plugins, those not chosen too, with their plugins' names.

        Loads every plugin: for a section that would be unknown otherwise.
        """
        return {spec.name: spec.plugin for spec in sections(self._make_manager(PluginSettings()))}

    def _check_sections_exist(
        self, specs: Mapping[str, SectionSpec], manager: PluginManager
    ) -> None:
        document = self._document
        states = {plugin.name: plugin for plugin in manager}
        for name in document.tables:
            if name in specs:
                continue
            plugin = states.get(name) or states.get(self._all_sections.get(name, ""))
            if plugin is None:
                document.problem((name,), f"unknown section{suggest(name, specs)}", at_key=True)
            elif plugin.state is State.FAILED:
                document.problem((name,), f"its plugin failed: {plugin.error}", at_key=True)
            elif plugin.state is State.DISABLED:
                document.warn(
                    (name,), f"ignored: the plugin {plugin.name!r} is not used", at_key=True
                )
            else:
                document.problem((name,), "its plugin has no such section", at_key=True)
        for variable, section, _ in variables(self._environment):
            if section not in specs and section not in states and section not in self._all_sections:
                text = f"unknown section {section!r}{suggest(section, specs)}"
                document.problems.append(Problem(f"environment variable {variable}", "", text))

    def _check_section(self, spec: SectionSpec) -> dict[Place, Any]:
        """Return the valid tables of a section, by their places."""
        name = spec.name
        if not spec.many:
            value = self._document.tables.get(name, {})
            if isinstance(value, dict):
                return self._check_table(spec.model, (name,), value)
            self._document.problem((name,), f"should be a table; write [{name}]", at_key=True)
            return {}
        items = self._document.tables.get(name, [])
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            text = f"should be an array of tables; write [[{name}]]"
            self._document.problem((name,), text, at_key=True)
            return {}
        found: dict[Place, Any] = {}
        for index, item in enumerate(items):
            found |= self._check_table(spec.model, (name, index), item)
        return found

    def _check_table(
        self, model: type[BaseModel], place: Place, value: dict[str, Any]
    ) -> dict[Place, Any]:
        try:
            return {place: model.model_validate(value)}
        except ValidationError as error:
            texts: dict[tuple[Place, bool], list[str]] = {}
            for each in error.errors(include_url=False, include_context=True):
                inner, text, at_key = explain(model, value, each)
                texts.setdefault((place + inner, at_key), []).append(text)
            for (at, at_key), alternatives in texts.items():
                text = " or ".join(dict.fromkeys(alternatives))
                self._document.problem(at, text, at_key=at_key)
            return {}

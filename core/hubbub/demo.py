"""`hubbub demo`: real clients drive a hub on free ports, and what went where is told."""

import dataclasses
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import structlog
import trio

from .app import Hub
from .config import Config
from .hookspecs import Hooks, Scene
from .ports import on_free_ports

_SCENE_DEADLINE = 30.0
"""Seconds a scene may take; real ones take a fraction of one."""


async def demo(config: Config, say: Callable[[str], None] = print) -> bool:
    """Play the scenes of all plugins; tell whether everything arrived.

    The data is kept in a folder of its own, which goes afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="hubbub-demo-") as folder:
        settings = config.hub.model_copy(update={"data": Path(folder) / "data"})
        config = on_free_ports(dataclasses.replace(config, hub=settings))
        quiet = structlog.wrap_logger(
            structlog.ReturnLogger(),
            processors=[_only_failures],
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        )
        hub = Hub(config, log=quiet)
        async with hub.running():
            say("One process, and everybody who talks to it:\n")
            for endpoint in hub.endpoints:
                say(f"  {endpoint.protocol:<8} {endpoint.url}")
            scenes = [scene for _, scene in hub.manager.gather(Hooks.hubbub_demo, hub)]
            outcomes = [await _play(scene, say) for scene in scenes]
    failed = outcomes.count(False)
    if not outcomes:
        say("\nNo plugin has a scene to play: pip install 'hubbub[demo]' brings the clients.")
    elif failed:
        say(f"\n{failed} of {len(outcomes)} scenes failed.")
    else:
        say(f"\nAll {len(outcomes)} scenes played, and every message arrived.")
    return bool(outcomes) and not failed


async def _play(scene: Scene, say: Callable[[str], None]) -> bool:
    say(f"\n{scene.name}")
    started = time.perf_counter()
    try:
        with trio.fail_after(_SCENE_DEADLINE):
            await scene.run(lambda line: say(f"  {line}"))
    except Exception as error:
        say(f"  ✗ failed: {type(error).__name__}: {error}")
        return False
    say(f"  ✓ {(time.perf_counter() - started) * 1000:.0f} ms")
    return True


def _only_failures(
    logger: object, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Print what goes wrong behind the scenes; the rest is the scenes' to tell."""
    print(f"  ! {event.pop('event')} {event}")
    return event

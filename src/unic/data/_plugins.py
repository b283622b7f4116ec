"""Formats that Pillow reads with a plugin only: where one is installed it is used, else its files can be counted."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import NamedTuple


class _Plugin(NamedTuple):
    """`package`: what pip installs. `opener`: a function of its module that registers it; empty: importing does."""

    package: str
    module: str
    opener: str
    format: str
    suffixes: tuple[str, ...]


_PLUGINS = (
    _Plugin("pillow-heif", "pillow_heif", "register_heif_opener", "HEIF", (".heic", ".heif", ".hif")),
    _Plugin("pillow-jxl-plugin", "pillow_jxl", "", "JXL", (".jxl",)),
)
PACKAGES = {suffix: plugin.package for plugin in _PLUGINS for suffix in plugin.suffixes}
"""The package that each of these suffixes needs, installed or not."""


@functools.cache
def suffixes() -> frozenset[str]:
    """Suffixes that the plugins installed here can read."""
    return frozenset(suffix for plugin in _PLUGINS if _is_installed(plugin) for suffix in plugin.suffixes)


@functools.cache
def register() -> tuple[str, ...]:
    """Makes Pillow know the plugins installed here, once in a process, and returns their formats."""
    found = []
    for plugin in filter(_is_installed, _PLUGINS):
        try:
            module = importlib.import_module(plugin.module)
            if plugin.opener:
                getattr(module, plugin.opener)()
        except Exception:  # a library that it needs is not there: as if it were not installed
            continue
        found.append(plugin.format)
    return tuple(found)


def _is_installed(plugin: _Plugin) -> bool:
    return importlib.util.find_spec(plugin.module) is not None

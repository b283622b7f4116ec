"""Image formats that Pillow reads only with a plugin: an installed plugin is used, a missing one can be named."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import NamedTuple


class _Plugin(NamedTuple):
    """A plugin of Pillow.

    Attributes:
        package: its name for pip.
        module: its name for `import`.
        opener: function of the module that registers the plugin; empty: importing the module registers it.
        format: Pillow's name of the format.
        suffixes: suffixes of the files, with a dot.
    """

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
"""The package that each suffix needs, installed or not."""


@functools.cache
def suffixes() -> frozenset[str]:
    """Suffixes that the installed plugins can read."""
    return frozenset(suffix for plugin in _PLUGINS if _is_installed(plugin) for suffix in plugin.suffixes)


@functools.cache
def register() -> tuple[str, ...]:
    """Registers the installed plugins with Pillow, once in a process, and returns the names of their formats."""
    formats = []
    for plugin in filter(_is_installed, _PLUGINS):
        try:
            module = importlib.import_module(plugin.module)
            if plugin.opener:
                getattr(module, plugin.opener)()
        except Exception:  # the plugin lacks a library: it counts as not installed
            continue
        formats.append(plugin.format)
    return tuple(formats)


def _is_installed(plugin: _Plugin) -> bool:
    return importlib.util.find_spec(plugin.module) is not None

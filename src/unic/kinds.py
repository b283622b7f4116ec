"""The two kinds of tokens, CLS and patches, by their names in code and files. Importing this needs no torch."""

from __future__ import annotations

from typing import Literal

Kind = Literal["cls", "patch"]
KINDS: tuple[Kind, ...] = ("cls", "patch")

Widths = tuple[int, int]
"""Widths of CLS and of patches; 0 for tokens that are left out."""

"""Commands that refuse a repeated option: of two values, one would be dropped silently."""

from __future__ import annotations

from collections import Counter
from typing import Any

from typer.core import TyperCommand, TyperOption

from unic.errors import InputError


class Once(TyperCommand):
    """A command that refuses a repeated option unless the option takes several values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses as the parent class does. Raises `InputError` for a repeated option that takes one value."""
        *_, order = self.make_parser(ctx).parse_args(args=list(args))
        for option, count in Counter(order).items():
            takes_one = isinstance(option, TyperOption) and not (option.multiple or option.is_flag)
            if count > 1 and takes_one:
                raise InputError(f"{option.opts[0]}: given {count} times, but it takes one value; keep one of them")
        return super().parse_args(ctx, args)

"""A command that refuses an option which is given twice and takes one value: of two values one would be lost."""

from __future__ import annotations

from collections import Counter
from typing import Any

from typer.core import TyperCommand, TyperOption

from unic.errors import InputError


class Once(TyperCommand):
    """A command whose options are repeated only where they take several values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the parent's; raises `InputError` for an option that is given twice."""
        *_, order = self.make_parser(ctx).parse_args(args=list(args))
        for option, count in Counter(order).items():
            takes_one = isinstance(option, TyperOption) and not (option.multiple or option.is_flag)
            if count > 1 and takes_one:
                raise InputError(f"{option.opts[0]}: is given {count} times and takes one value; leave one of them")
        return super().parse_args(ctx, args)

"""What stays the same through all stages of a run: recipe, folder, processes, terminal, signals."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from accelerate import Accelerator
from rich.console import Console

from unic.recipe.schema import Recipe
from unic.runs.folder import RunFolder
from unic.signals import StopSignals
from unic.terminal import describe, tell
from unic.training.damaged import DamagedImages
from unic.training.saver import Saver
from unic.training.watch import Agreement

log = logging.getLogger("unic")


class Run:
    """A run in its folder.

    Args:
        recipe: with all stages.
        folder: the run folder.
        accelerator: accelerator of this process.
        console: where progress is shown.
        stops: the signals that this process has received.

    Attributes:
        agreement: lets the processes decide together, for example whether to stop.
        saver: saves the checkpoints.
        damaged: images that could not be read.
    """

    def __init__(
        self, recipe: Recipe, folder: Path, accelerator: Accelerator, console: Console, stops: StopSignals
    ) -> None:
        self.recipe, self.folder, self.accelerator = recipe, folder, accelerator
        self.console, self.stops = console, stops
        self.agreement = Agreement(accelerator, recipe.train.timeout)
        self.saver = Saver(folder, recipe.checkpoint, self.show)
        self.damaged = DamagedImages()

    @property
    def is_main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    @property
    def num_stages(self) -> int:
        return max(1, len(self.recipe.stages))

    def show(self, line: str) -> None:
        """Shows a line on the terminal."""
        tell(self.console, self.recipe.shared(line))

    def announce(self, line: str) -> None:
        """Shows a line on the terminal and logs it."""
        log.info(line)
        self.show(line)

    def describe(self, lines: list[str]) -> None:
        """Logs what was built; the first process shows it."""
        for line in lines:
            log.info(line)
        if self.is_main:
            with suppress(OSError):  # a closed terminal must not end the run
                describe(self.console, self.recipe.shared(lines))

    def at_once(self, when: str) -> AbstractContextManager[None]:
        """A block that a signal ends at once. With several processes it does not: all of them stop after a step.

        Args:
            when: last words of the line about the signal.
        """
        return self.stops.at_once(when) if self.accelerator.num_processes == 1 else nullcontext()

    def list_damaged(self) -> None:
        """Logs the images that were skipped, and shows some of them."""
        for line, is_shown in self.damaged.lines(RunFolder(self.folder).damaged):
            log.warning(line)
            if is_shown:
                self.show(line)

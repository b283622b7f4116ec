"""The images that a run could not read: found by one process, shared with all, listed in RUN/damaged.json."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from unic.data.batch import Batch
from unic.files import write_text
from unic.ranks import has_ranks

_SHOWN = 5  # images that the terminal names at the end


class DamagedImages:
    """Names of damaged images, each with the reason why it could not be read."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._num_shared = 0

    def __len__(self) -> int:
        return len(self._reasons)

    def note(self, batch: Batch) -> None:
        """Adds the damaged images of a batch."""
        self._reasons.update({image.name: image.reason for image in batch.damaged})

    @property
    def has_news(self) -> bool:
        """Whether this process has found images that the others do not know of."""
        return len(self._reasons) > self._num_shared

    def share(self, device: torch.device) -> None:
        """Merges the lists of all processes. Every process must call it."""
        if has_ranks():
            for text in _gather(json.dumps(self._reasons), device):
                self._reasons.update(json.loads(text))
            self._reasons = dict(sorted(self._reasons.items()))
        self._num_shared = len(self._reasons)

    def too_many(self, limit: float, num_images: int) -> str | None:
        """An error line if more than the share `limit` of all images is damaged, else None."""
        if len(self._reasons) <= math.ceil(limit * num_images):
            return None
        name, reason = next(iter(self._reasons.items()))
        return (
            f"{len(self._reasons)} of {num_images} images are damaged, more than data.max_damaged = {limit:.2%} "
            f"(the first: {name}: {reason})"
        )

    def write(self, path: Path) -> None:
        """Writes the list; removes the file if the list is empty."""
        with suppress(OSError):  # the saver reports a full disk; the checkpoint holds the list, too
            if self._reasons:
                write_text(path, json.dumps(list(self._reasons.items())), alone=True, synced=True)
            else:
                path.unlink(missing_ok=True)

    def lines(self, path: Path) -> Iterator[tuple[str, bool]]:
        """Lines for the end of a run, each with whether the terminal shows it; the log gets all of them."""
        for index, (name, reason) in enumerate(self._reasons.items()):
            yield f"damaged image, skipped: {name}: {reason}", index < _SHOWN
        if len(self._reasons) > _SHOWN:
            yield f"{len(self._reasons)} damaged images in all, listed in {path}", True

    def state_dict(self) -> dict[str, str]:
        return dict(self._reasons)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._reasons, self._num_shared = dict(state), len(state)


def _gather(text: str, device: torch.device) -> list[str]:
    """Gathers a text from every process, as bytes: torch's own gathering of objects would pickle it."""
    data = torch.tensor(list(text.encode()), dtype=torch.uint8, device=device)
    world = dist.get_world_size()
    lengths = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(world)]
    dist.all_gather(lengths, torch.tensor([len(data)], device=device))
    longest = max(int(length) for length in lengths)
    padded = torch.zeros(longest, dtype=torch.uint8, device=device)
    padded[: len(data)] = data
    texts = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(texts, padded)
    return [bytes(part[: int(n)].tolist()).decode() for part, n in zip(texts, lengths, strict=True)]

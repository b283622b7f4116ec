"""A batch travels as one uint8 tensor: as memory that a worker hands over, pinned for a GPU."""

import os
import pickle
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest
import torch

from unic.data import _transfer
from unic.data.batch import Batch
from unic.data.image_list import ImageList
from unic.data.loader import training_batches
from unic.data.sources import open_source


def first_batch(folder: Path, **options) -> Batch:
    images = ImageList([open_source(str(folder))])
    found = training_batches(
        images, size=16, augment="unic", seed=0, batch_size=8, first_step=1, num_steps=2, **options
    )
    first, _ = found  # to the end, so that the workers go home
    return first


def test_a_worker_hands_over_memory_not_copies(image_folder: Path) -> None:
    batch = first_batch(image_folder, workers=1)
    assert batch.images.dtype == torch.uint8
    assert batch.images.shape == (8, 3, 16, 16)
    assert batch.images.is_contiguous()
    if hasattr(os, "memfd_create"):
        assert "memfd:unic-pixels" in Path("/proc/self/maps").read_text()  # as long as the batch lives
    here = first_batch(image_folder, workers=0)
    assert torch.equal(batch.images, here.images)
    del batch
    if hasattr(os, "memfd_create"):
        assert "memfd:unic-pixels" not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize("shares_memory", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 40, 50), (0, 3, 4, 4)])
def test_pixels_arrive_as_they_were_sent(monkeypatch: pytest.MonkeyPatch, shares_memory: bool, shape: tuple) -> None:
    if shares_memory and not hasattr(os, "memfd_create"):
        pytest.skip("needs Linux")
    monkeypatch.setattr(_transfer, "_SHARES_MEMORY", shares_memory)
    pixels = np.arange(np.prod(shape), dtype=np.uint64).astype(np.uint8).reshape(shape)
    here, there = Pipe()
    _transfer.send(pixels, there)
    there.send("next")
    found = _transfer.receive(here)
    assert found.shape == shape
    assert (found.numpy() == pixels).all()
    assert here.recv() == "next"


def test_a_worker_is_sent_names_not_images(image_folder: Path) -> None:
    assert len(pickle.dumps(ImageList([open_source(str(image_folder))]))) < 5000


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_are_pinned(image_folder: Path) -> None:
    batch = first_batch(image_folder, workers=1, pin_memory=True)
    assert batch.images.is_pinned()
    assert not batch.index.is_pinned()  # read on the CPU

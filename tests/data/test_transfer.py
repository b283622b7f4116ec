"""A batch travels as one uint8 tensor: through shared memory from a worker, pinned for a GPU."""

import pickle
from pathlib import Path

import pytest
import torch

from unic.data.loader import Batch, ImageList, training_batches
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
    assert batch.images.is_shared()
    here = first_batch(image_folder, workers=0)
    assert not here.images.is_shared()
    assert torch.equal(batch.images, here.images)


def test_a_worker_is_sent_names_not_images(image_folder: Path) -> None:
    assert len(pickle.dumps(ImageList([open_source(str(image_folder))]))) < 5000


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_are_pinned(image_folder: Path) -> None:
    batch = first_batch(image_folder, workers=1, pin_memory=True)
    assert batch.images.is_pinned()
    assert not batch.index.is_pinned()  # read on the CPU

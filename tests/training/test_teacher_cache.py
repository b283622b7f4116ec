"""Cached targets are the live ones, whatever the order, the source, the view and the shards; damage is repaired."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

from unic import _scratch
from unic.data.augment import preset
from unic.data.batch import Batch
from unic.data.loader import training_batches, view_batches
from unic.data.sources import DamagedImageError
from unic.errors import FullDiskError, InputError
from unic.features import store as _feature_store
from unic.recipe.schema import load_recipe
from unic.training import cache_plan
from unic.training.build import build
from unic.training.cache_build import _in_turn
from unic.training.job import Job
from unic.training.teacher_cache import CachedTeachers, open_cache
from unic.training.teachers import LiveTeachers

CPU = torch.device("cpu")


def job_of(recipe: dict[str, Any], cache: dict[str, Any], augment: str = "unic") -> Job:
    recipe["teachers"]["cache"] = cache
    recipe["data"]["augment"] = augment
    return build(load_recipe(recipe), CPU)


def opened(job: Job, rank: int = 0, world_size: int = 1, lines: list[str] | None = None) -> CachedTeachers:
    return open_cache(job, rank, world_size, [].append if lines is None else lines.append, lambda line: None)


def batches(job: Job, num_steps: int = 10) -> Iterator[Batch]:
    """Ten steps of eight images are two epochs: both views of every image."""
    cache, data = job.recipe.teachers.cache, job.recipe.data
    assert cache is not None
    return training_batches(
        job.images, size=data.size, augment=data.augment, seed=job.recipe.seed, batch_size=8, first_step=1,
        num_steps=num_steps, num_views=cache.views,
    )  # fmt: skip


def compare(job: Job, cached: CachedTeachers, *, atol: float = 1e-5) -> None:
    live = LiveTeachers(job.encoders, job.grid)
    for batch in cached.ahead(batches(job)):
        views = preset(job.recipe.data.augment)(batch.images, job.recipe.seed, batch.view, batch.index)
        targets, expected = cached(views, batch.index, batch.view), live(views, batch.index, batch.view)
        assert list(targets) == list(expected)
        for name, tokens in targets.items():
            torch.testing.assert_close(tokens.cls, expected[name].cls, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(tokens.patches, expected[name].patches, atol=atol, rtol=1e-3)
            assert tokens.grid == job.grid


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty images in three shards: 16, 16 and 8."""
    monkeypatch.setattr(cache_plan, "_BATCH", 8)
    monkeypatch.setattr(cache_plan, "_SHARD_IMAGES", 16)


@pytest.mark.parametrize("augment", ["none", "unic"])
@pytest.mark.parametrize("shards", ["one", "three"])
def test_cached_equal_live(recipe, image_folder, tmp_path, request, augment: str, shards: str) -> None:
    if shards == "three":
        request.getfixturevalue("small_shards")
    else:
        recipe["data"]["train"] = [str(image_folder / kind) for kind in ("warm", "cold")]
    job = job_of(recipe, {"views": 2, "dtype": "fp32", "dir": str(tmp_path)}, augment)
    compare(job, opened(job))


@pytest.mark.parametrize(("dtype", "atol"), [("fp16", 2e-3), ("int8", 2e-2)])
def test_smaller_types_are_close(recipe, tmp_path, dtype: str, atol: float) -> None:
    job = job_of(recipe, {"views": 2, "dtype": dtype, "dir": str(tmp_path)})
    compare(job, opened(job), atol=atol)


def test_out_of_order_and_without_looking_ahead(recipe, tmp_path, small_shards) -> None:
    job = job_of(recipe, {"views": 2, "dir": str(tmp_path)})
    cached = opened(job)
    index, view = torch.tensor([39, 0, 17, 16, 15, 0]), torch.tensor([0, 1, 1, 0, 1, 0])
    together = cached(torch.empty(0), index, view)["vit"]
    for place in range(len(index)):
        one = cached(torch.empty(0), index[place : place + 1], view[place : place + 1])["vit"]
        assert torch.equal(one.cls[0], together.cls[place])
        assert torch.equal(one.patches[0], together.patches[place])
    assert not torch.equal(together.cls[1], together.cls[5])


def count_forwards(job: Job, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Images that teachers saw from now on."""
    seen: list[int] = []
    for encoder in job.encoders.values():
        encode = encoder.encode
        monkeypatch.setattr(encoder, "encode", lambda x, encode=encode: seen.append(len(x)) or encode(x))
    return seen


def test_finished_shards_are_not_made_again(recipe, tmp_path, small_shards, monkeypatch) -> None:
    monkeypatch.setattr(cache_plan, "_TIMED", 1)
    job = job_of(recipe, {"views": 2, "dir": str(tmp_path)})
    seen, lines = count_forwards(job, monkeypatch), []  # from the start: an `encode` of its own makes another encoder

    class KilledError(Exception):
        pass

    def kill(line: str) -> None:
        if "shard 4 of 12" in line:
            raise KilledError

    with pytest.raises(KilledError):
        open_cache(job, 0, 1, [].append, kill)
    seen.clear()
    opened(job, lines=lines)
    assert "12 shards, 3 of them" in lines[0]
    assert sum(seen) == 2 * 2 * 40 - (16 + 16 + 8) + 2 * 2  # what was missing, and what was timed
    seen.clear()
    opened(job)
    assert not seen


def test_size_and_time_are_announced_and_the_size_is_right(recipe, tmp_path, monkeypatch) -> None:
    for options in ({"tokens": "all"}, {"tokens": "pooled:1x2"}, {"tokens": "cls"}, {"dtype": "int8"}):
        folder, lines = tmp_path / repr(options), []
        job = job_of(recipe, {"views": 2, "dir": str(folder), **options})
        opened(job, lines=lines)
        assert f"{job.cache_bytes() / 1e9:.2f} GB" in lines[0]
        assert any(line.startswith("teacher cache: ") and "to build, about" in line for line in lines)
        stored = sum(file.stat().st_size - 128 for file in folder.glob("*/*.npy"))  # 128: the header
        assert stored == job.cache_bytes()


def test_the_time_to_build_is_that_of_every_view_of_every_image(recipe, tmp_path) -> None:
    """Two views of 40 images, each of which takes one teacher a quarter of a second and the other one two."""
    job = job_of(recipe, {"views": 2, "dir": str(tmp_path)})
    plan = cache_plan.CachePlan(job.recipe, job.encoders, job.grids, job.images)
    assert plan.seconds(plan.shards(), {"vit": 0.25, "cnn": 2.0}) == 2 * 40 * 2.25


def test_a_full_disk_is_refused_before_anything_is_computed(recipe, tmp_path, monkeypatch) -> None:
    job = job_of(recipe, {"dir": str(tmp_path / "new" / "cache")})
    usage = cache_plan.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(cache_plan.shutil, "disk_usage", lambda _: usage._replace(free=job.cache_bytes() - 1))
    with pytest.raises(FullDiskError, match="GB more"):
        opened(job)
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(cache_plan.shutil, "disk_usage", lambda _: usage._replace(free=job.cache_bytes()))
    opened(job)


def test_budget(recipe) -> None:
    with pytest.raises(InputError, match="budget.*1kB"):
        job_of(recipe, {"budget": "1kB"})
    job_of(recipe, {"budget": "1 GB"})


@pytest.mark.parametrize("when", ["before", "while it is read"])
@pytest.mark.parametrize("damage", ["flip", "replace"])
def test_a_damaged_shard_is_built_again_alone(
    recipe, tmp_path, small_shards, monkeypatch, caplog, damage: str, when: str
) -> None:
    job = job_of(recipe, {"views": 1, "dtype": "fp32", "dir": str(tmp_path)})
    cached = opened(job)
    files = sorted(tmp_path.glob("*/patches.npy"), key=lambda file: file.stat().st_size)[-2:]  # of 16 images
    assert files[0].stat().st_size == files[1].stat().st_size
    rows, other = (np.load(file, mmap_mode="r+") for file in files)
    if damage == "flip":
        rows[5].view(np.uint8).reshape(-1)[-1] ^= 1
    else:
        rows[:] = other
    rows.flush()
    if when == "before":
        cached = opened(job)
    seen = count_forwards(job, monkeypatch)
    list(map(cached._read, *zip(*((batch.index, batch.view) for batch in batches(job, 5)), strict=True)))
    assert sum(seen) == 16
    assert "built again" in caplog.text
    compare(job, cached)
    compare(job, opened(job))


def without_3(job: Job) -> set[int]:
    """The fourth image cannot be read until the set that is returned is emptied."""
    read, broken = job.images.sources[0].read, {3}

    def sometimes(index: int) -> Any:
        if index in broken:
            raise DamagedImageError("a disk that was away")
        return read(index)

    job.images.sources[0].read = sometimes
    return broken


@pytest.mark.parametrize("damaged", [False, True])
def test_a_folder_that_cannot_be_written_is_read(recipe, tmp_path, small_shards, monkeypatch, damaged: bool) -> None:
    """What is missing there, or damaged, is made for this process. Root may write anywhere: the system is not asked."""
    job = job_of(recipe, {"views": 1, "dtype": "fp32", "dir": str(tmp_path), "processes": 2})
    opened(job)
    entry = sorted(tmp_path.glob("*-*"))[0]
    if damaged:
        rows = np.load(entry / "patches.npy", mmap_mode="r+")
        rows[:] = 0
        rows.flush()
    else:
        shutil.rmtree(entry)

    def refuse(path: str) -> FileLock:
        if path.startswith(str(tmp_path)):
            raise PermissionError(errno.EACCES, "no")
        return FileLock(path)

    monkeypatch.setattr(_feature_store, "FileLock", refuse)
    monkeypatch.setattr(_scratch.os, "access", lambda *_: False)
    before = sorted(tmp_path.glob("*-*"))
    compare(job, opened(job))
    assert sorted(tmp_path.glob("*-*")) == before


def test_of_a_teacher_with_unknown_code_nothing_is_kept(recipe, tmp_path) -> None:
    job = job_of(recipe, {"views": 1, "dtype": "fp32", "dir": str(tmp_path), "processes": 2})
    job.encoders["vit"].unknown = "code in no file"
    compare(job, opened(job))
    assert len(list(tmp_path.glob("*-*"))) == 1  # the other teacher's


def test_an_image_that_could_not_be_read_is_added_when_it_can(recipe, tmp_path, caplog) -> None:
    job = job_of(recipe, {"views": 1, "dtype": "fp32", "dir": str(tmp_path)}, augment="none")
    broken = without_3(job)
    cached = opened(job)
    broken.clear()
    compare(job, cached)
    assert "missing images" in caplog.text
    job = job_of(recipe, {"views": 1, "dir": str(tmp_path / "other")}, augment="none")
    without_3(job)
    cached = opened(job)
    with pytest.raises(InputError, match="missing images.* vit"):
        cached(torch.zeros(1, 3, 32, 32), torch.tensor([3]), torch.tensor([0]))


def test_pooled_vectors_are_not_taken_from_an_entry_that_lacks_the_image(recipe, tmp_path) -> None:
    """With patches there, which answer for CLS, too, when nothing is missing."""
    job = job_of(recipe, {"views": 1, "dtype": "fp32", "dir": str(tmp_path)}, augment="none")
    without_3(job)
    opened(job)
    again = job_of(recipe, {"views": 1, "tokens": "cls", "dir": str(tmp_path)}, augment="none")
    cached = opened(again)
    assert not list(tmp_path.glob("*-pooled"))
    index = torch.tensor([2, 3])
    images = next(view_batches(again.images, size=again.recipe.data.size, first=2, last=4)).images / 255
    live = LiveTeachers(again.encoders, again.grid)(images, index, torch.zeros(2))
    for name, tokens in cached(images, index, torch.zeros(2, dtype=torch.int64)).items():
        torch.testing.assert_close(tokens.cls, live[name].cls, atol=1e-4, rtol=1e-4)
    assert len(list(tmp_path.glob("*-pooled"))) == 2


def test_the_entry_that_lacks_the_image_is_built_anew_although_another_has_it(recipe, tmp_path, caplog) -> None:
    job = job_of(recipe, {"views": 1, "tokens": "cls", "dir": str(tmp_path)}, augment="none")
    broken = without_3(job)
    cached = opened(job)
    broken.clear()
    opened(job_of(recipe, {"views": 1, "tokens": "all", "dir": str(tmp_path)}, augment="none"))
    cached(torch.zeros(1, 3, 32, 32), torch.tensor([3]), torch.tensor([0]))
    assert caplog.text.count("missing images") == 2  # of each teacher
    assert not list(tmp_path.glob(".unfinished/old-*"))


def test_a_truncated_shard_is_found_when_it_is_opened(recipe, tmp_path, small_shards, monkeypatch) -> None:
    job = job_of(recipe, {"views": 1, "dtype": "fp32", "dir": str(tmp_path)})
    opened(job)
    file = max(tmp_path.glob("*/patches.npy"), key=lambda file: file.stat().st_size)
    file.write_bytes(file.read_bytes()[:-1])
    lines: list[str] = []
    compare(job, opened(job, lines=lines))
    assert "6 shards, 5 of them" in lines[0]


def test_other_weights_or_views_are_another_cache(recipe, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(cache_plan, "_TIMED", 1)
    timed = 2 * 2  # images

    def images_seen(job: Job) -> int:
        seen = count_forwards(job, monkeypatch)
        opened(job)
        return sum(seen)

    cache = {"views": 1, "dir": str(tmp_path)}
    assert images_seen(job_of(recipe, cache)) == 2 * 40 + timed
    assert images_seen(job_of(recipe, cache)) == 0
    job = job_of(recipe, cache)
    next(job.encoders["vit"].parameters()).data.view(-1)[0] += 1e-3
    assert images_seen(job) == 40 + timed
    assert images_seen(job_of(recipe, {**cache, "views": 2})) == 2 * 40 + timed
    recipe["data"]["size"] *= 2
    assert images_seen(job_of(recipe, cache)) == 2 * 40 + timed


def test_ranks_share_the_work_and_take_what_is_left(recipe, tmp_path, small_shards) -> None:
    job = job_of(recipe, {"views": 2, "dir": str(tmp_path)})
    shards = cache_plan.CachePlan(job.recipe, job.encoders, job.grids, job.images).shards()
    turns = [_in_turn(shards, rank, 5) for rank in range(5)]
    assert all(sorted(turn) == sorted(shards) for turn in turns)
    begun = [turn[: len(shards[rank::5])] for rank, turn in enumerate(turns)]
    assert sorted(shard for turn in begun for shard in turn) == sorted(shards)  # none twice


def test_further_processes_build_the_same(recipe, tmp_path, caplog, monkeypatch, trust) -> None:
    (tmp_path / "cache_lab.py").write_text(
        "from unic.encoders.schemes.pixels import Pixels\n\n\ndef own(): return Pixels(8)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    trust("cache_lab")  # which the others must learn
    recipe["teachers"]["models"]["own"] = "py:cache_lab:own"
    job = job_of(recipe, {"views": 2, "dtype": "fp32", "dir": str(tmp_path), "processes": 2})
    compare(job, opened(job))
    assert "ended with" not in caplog.text


def test_cls_alone_trains_without_patches(recipe, tmp_path) -> None:
    job = job_of(recipe, {"tokens": "cls", "dir": str(tmp_path)})
    names = [name for name, _ in job.distiller.projectors.named_parameters()]
    assert names
    assert not [name for name in names if "patch" in name]
    cached = opened(job)
    batch = next(batches(job))
    images = job.augmentation(batch.images, job.recipe.seed, batch.view, batch.index)
    targets = job.standardizer(cached(images, batch.index, batch.view))
    from_live = job.standardizer.eval()(LiveTeachers(job.encoders, job.grid)(images, batch.index, batch.view))
    losses = job.distiller.eval()(images, targets, 1, batch.index).losses
    torch.testing.assert_close(losses, job.distiller(images, from_live, 1, batch.index).losses)
    assert losses.isfinite().all()

"""EMA standardisation at its first batch, over micro-batches and ranks, and moments against the pooled data."""

from typing import Any

import pytest
import torch
import torch.distributed as dist

from unic.errors import InputError
from unic.standardizers import build_standardizer
from unic.standardizers._moments import Moments
from unic.standardizers.ema import Standardizer as EmaStandardizer
from unic.tokens import Tokens


def tokens(seed: int, batch: int = 4) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    cls = torch.randn(batch, 3, generator=generator) * 2 + 1
    return Tokens(cls, torch.randn(batch, 6, 2, generator=generator) * 5 - 3, (2, 3))


def test_first_batch_passes_and_then_replaces_everything() -> None:
    standardizer = EmaStandardizer({"t": (3, 2)})
    first = tokens(0)
    torch.testing.assert_close(standardizer({"t": first})["t"].cls, first.cls / (1 + 1e-6))
    standardizer.update(0.0)
    again = standardizer.eval()({"t": first})["t"].cls
    torch.testing.assert_close(again.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(again.std(0), torch.ones(3), atol=1e-4, rtol=0)


def test_micro_batches_are_one_window() -> None:
    whole, parts = EmaStandardizer({"t": (3, 2)}), EmaStandardizer({"t": (3, 2)})
    batch = tokens(1, batch=8)
    whole({"t": batch})
    for i in (slice(0, 3), slice(3, 8)):
        parts({"t": Tokens(batch.cls[i], batch.patches[i], batch.grid)})
    whole.update(0.3)
    parts.update(0.3)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value)


def test_moments_merge_is_exact_far_from_zero() -> None:
    data = torch.randn(100, 4, dtype=torch.float64) + 1e4
    merged = Moments.of(data[:10].float())
    for part in data[10:].float().split(7):
        merged = merged.merge(Moments.of(part))
    torch.testing.assert_close(merged.mean.double(), data.mean(0), rtol=1e-6, atol=0)
    torch.testing.assert_close(merged.std().double(), data.float().double().std(0), rtol=1e-2, atol=0)


def test_ranks_exchange_at_most_64_kb_a_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts what collectives are given; the widest teacher in use is DINOv2-G (1536), whatever the batch."""
    given = []

    def gather(parts: list[torch.Tensor], own: torch.Tensor) -> None:
        given.append(own.numel() * own.element_size())
        for part in parts:
            part.copy_(own)

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_gather", gather)
    monkeypatch.setattr(dist, "all_reduce", lambda tensor, *_: given.append(tensor.numel() * tensor.element_size()))
    dims = dict.fromkeys(("a", "b", "c"), (1536, 1536))
    standardizer = EmaStandardizer(dims)
    standardizer({name: Tokens(torch.randn(4, 1536), torch.randn(4, 36, 1536), (6, 6)) for name in dims})
    standardizer.update(0.0)
    assert 0 < sum(given) <= len(dims) * 64_000
    assert sum(given) == len(dims) * 2 * 4 * (1 + 2 * 1536)


def test_non_finite_channel_keeps_its_statistics() -> None:
    standardizer = EmaStandardizer({"t": (3, 2)})
    batch = tokens(0)
    batch.cls[0, 1] = float("inf")
    standardizer({"t": batch})
    standardizer.update(0.0)
    state = standardizer.state_dict()
    assert state["teachers.t.cls.mean"][1] == 0
    assert state["teachers.t.cls.std"][1] == 1
    assert state["teachers.t.cls.mean"][0] != 0


def test_a_floor_holds_up_channels_without_a_spread() -> None:
    """σ of CLS is (2, 0, 4) after the first batch, its mean 2: a floor of 0.25 divides the second channel by 0.5."""
    cls = torch.tensor([[2**0.5, 7.0, 8**0.5], [-(2**0.5), 7.0, -(8**0.5)]])
    batch = Tokens(cls, torch.randn(2, 6, 2), (2, 3))
    later = Tokens(torch.tensor([[2.0, 8.0, 4.0]]), torch.randn(1, 6, 2), (2, 3))
    found = {}
    for floor in (0.0, 0.25):
        standardizer = EmaStandardizer({"t": (3, 2)}, floor=floor)
        standardizer({"t": batch})
        standardizer.update(0.0)
        found[floor] = standardizer.eval()({"t": later})["t"].cls[0].tolist()
        assert standardizer.values() == ({"floored/t": 1.0} if floor else {})
    assert found[0.25] == pytest.approx([1.0, 2.0, 1.0], rel=1e-5)
    assert found[0.0] == pytest.approx([1.0, 1e6, 1.0], rel=1e-5)


def test_none_passes_targets_through() -> None:
    batch = tokens(0)
    assert torch.equal(build_standardizer("none", {"t": (3, 2)}, {})({"t": batch})["t"].cls, batch.cls)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ({"type": "emma"}, "'emma'.*'ema'"),
        ({"type": "ema", "momentun": [1, 0]}, "'momentun'.*'momentum'"),
        ({"type": "ema", "momentum": [2, 0]}, "momentum.*two numbers"),
        ({"type": "ema", "floor": 2}, r"'standardize.floor'.*\[0, 1\].* 2"),
        ({"type": "ema", "floor": "auto"}, "'floor': .*number.*'auto'"),
    ],
)
def test_wrong_settings(setting: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line):
        build_standardizer(setting.pop("type"), {"t": (3, 2)}, setting)

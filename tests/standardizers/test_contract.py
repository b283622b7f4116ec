"""The contract that each file in the folder of standardisers keeps."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from wrong_values import wrong_values

from unic import lookup
from unic.errors import InputError
from unic.standardizers import KINDS, Standardizer, base, build_standardizer
from unic.tokens import Tokens

NAMES = [name for name in lookup.names("unic.standardizers") if name != "base"]
WRONG = [
    (name, *wrong) for name in NAMES for wrong in wrong_values(lookup.entry("unic.standardizers", name, "Standardizer"))
]
DIMS = {"a": (4, 6), "b": (5, 0)}  # b has CLS alone


def some_tokens(seed: int, batch: int = 8) -> dict[str, Tokens]:
    """Vectors far from 0 whose channels are correlated; live teachers give patches even where none are wanted."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(9, 9, generator=torch.Generator().manual_seed(0))

    def vectors(*shape: int) -> torch.Tensor:
        return (torch.randn(*shape[:-1], 9, generator=generator) * 3 + 1) @ mix[:, : shape[-1]]

    return {
        name: Tokens(vectors(batch, cls), vectors(batch, 6, patch or 3), (2, 3)) for name, (cls, patch) in DIMS.items()
    }


def trained(standardizer: Standardizer) -> Standardizer:
    for step in range(standardizer.first_steps + 2):
        standardizer(some_tokens(step))
        standardizer.update(step / 10)
    return standardizer


@pytest.mark.parametrize("name", NAMES)
def test_targets_of_a_batch(name: str) -> None:
    standardizer = trained(build_standardizer(name, DIMS, {})).eval()
    before = {key: value.clone() for key, value in standardizer.state_dict().items()}
    targets = standardizer(some_tokens(99))
    assert targets["a"].cls.shape == (8, 4)
    assert targets["a"].patches.shape == (8, 6, 6)
    assert targets["a"].grid == (2, 3)
    assert targets["b"].cls.shape == (8, 5)
    assert targets["b"].patches.shape[1] == 0
    assert all(tokens.cls.dtype == torch.float32 for tokens in targets.values())
    assert all(torch.isfinite(tokens.cls).all() for tokens in targets.values())
    alone = standardizer({"a": some_tokens(99)["a"]})
    assert torch.equal(alone["a"].cls, targets["a"].cls)
    assert all(torch.equal(value, before[key]) for key, value in standardizer.state_dict().items())
    assert isinstance(standardizer.values(), dict)


@pytest.mark.parametrize("name", NAMES)
def test_state_is_saved(name: str) -> None:
    standardizer, again = trained(build_standardizer(name, DIMS, {})), build_standardizer(name, DIMS, {})
    again.load_state_dict(standardizer.state_dict())
    for one in (standardizer, again):  # the next step too
        one(some_tokens(50))
        one.update(0.5)
    tokens = some_tokens(99)
    assert torch.equal(standardizer(tokens)["a"].patches, again(tokens)["a"].patches)


@pytest.mark.parametrize("name", NAMES)
def test_micro_batches_are_one_step(name: str) -> None:
    whole, parts = (build_standardizer(name, {"a": DIMS["a"]}, {}) for _ in range(2))
    for step in range(whole.first_steps + 1):
        tokens = some_tokens(step)["a"]
        whole({"a": tokens})
        for images in (slice(0, 3), slice(3, 8)):
            parts({"a": Tokens(tokens.cls[images], tokens.patches[images], tokens.grid)})
        whole.update(0.1)
        parts.update(0.1)
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[key], value)


@pytest.mark.parametrize("name", NAMES)
def test_inverse(name: str) -> None:
    standardizer = trained(build_standardizer(name, DIMS, {})).eval()
    if not standardizer.is_invertible:
        pytest.skip("it has none, and says so")
    tokens, targets = some_tokens(99)["a"], standardizer(some_tokens(99))["a"]
    for kind, token, target in zip(KINDS, (tokens.cls, tokens.patches), (targets.cls, targets.patches), strict=True):
        matrix, shift, scale = standardizer.inverse("a", kind)
        back = target @ matrix.T if matrix.ndim == 2 else target * matrix
        torch.testing.assert_close(back + shift, token, rtol=1e-4, atol=1e-3)
        assert shift.shape == scale.shape == token.shape[-1:]


@pytest.mark.parametrize("name", NAMES)
def test_a_state_tells_the_widths(name: str) -> None:
    standardizer = build_standardizer(name, DIMS, {})
    state = standardizer.state_dict()
    assert standardizer.widths_in(state, "a") == (DIMS["a"] if state else None)
    assert standardizer.widths_in(state, "no such teacher") is None


@pytest.mark.parametrize("name", NAMES)
def test_first_line_is_for_the_list(name: str) -> None:
    assert lookup.first_line(lookup.module("unic.standardizers", name)).endswith(".")


@pytest.mark.parametrize(("name", "option", "value"), WRONG)
def test_a_value_of_a_wrong_type_is_one_line(name: str, option: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^recipe: standardizer '{name}': option '{option}': .*got ") as caught:
        build_standardizer(name, DIMS, {option: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("ema", {"momentum": [1.0]}), ("ema", {"momentum": [1.0, math.nan]}), ("ema", {"floor": -0.1}),
        ("ema", {"floor": math.nan}), ("phi_s", {"steps": 0}),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_named(name: str, option: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"^recipe: 'standardize.{next(iter(option))}' must be "):
        build_standardizer(name, DIMS, option)


def test_dotted_path_names_foreign_code(
    trust: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust("unic.standardizers.ema")
    assert isinstance(build_standardizer("unic.standardizers.ema", DIMS, {"floor": 0.1}), base.Standardizer)
    trust("unic.errors")
    with pytest.raises(InputError, match="no 'Standardizer'"):
        build_standardizer("unic.errors", DIMS, {})
    (tmp_path / "standardizer_lab").mkdir()
    (tmp_path / "standardizer_lab/scaled.py").write_text(
        "from unic.standardizers import base\n\n\n"
        "class Standardizer(base.Standardizer):\n"
        "    def __init__(self, dims, *, k: int = 1):\n"
        "        super().__init__(dims)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    trust("standardizer_lab.scaled")
    build_standardizer("standardizer_lab.scaled", DIMS, {"k": 2})
    with pytest.raises(InputError, match="standardizer 'standardizer_lab.scaled': option 'k': .*integer"):
        build_standardizer("standardizer_lab.scaled", DIMS, {"k": [1]})

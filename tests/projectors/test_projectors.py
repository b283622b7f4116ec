"""The contract of every projector, the ladder's parameters and the choice of blocks."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from wrong_values import wrong_values

from unic import lookup
from unic.errors import InputError
from unic.projectors import build_projector, choose_blocks, project
from unic.projectors.ladder import Projector
from unic.tokens import Tokens, without_patches


def rungs(dims: list[tuple[int, int]], grid: tuple[int, int] = (2, 3)) -> list[Tokens]:
    return [
        Tokens(torch.randn(2, cls, dtype=torch.float64), torch.randn(2, 6, patch, dtype=torch.float64), grid)
        for cls, patch in dims
    ]


NAMES = lookup.names("unic.projectors")
WRONG = [(name, *wrong) for name in NAMES for wrong in wrong_values(lookup.entry("unic.projectors", name, "Projector"))]
STUDENT, EQUAL = [(8, 8), (16, 12)], [(8, 8), (8, 8)]  # widths of CLS and patches at two blocks


@pytest.mark.parametrize(
    ("name", "dims", "outputs", "options"),
    [
        *((name, STUDENT, (5, 7), {}) for name in NAMES if name != "identity"),
        *((name, EQUAL, (8, 8), {}) for name in NAMES),
        *((name, EQUAL, (8, 0), {}) for name in NAMES),  # tokens: cls
        *((name, EQUAL, (0, 8), {}) for name in NAMES),  # tokens: patches
        ("ladder", STUDENT, (5, 7), {"norm": "pre"}),
        ("ladder", EQUAL, (5, 5), {"shared": True}),
        ("ladder", EQUAL, (5, 0), {"shared": True}),
        ("ladder", EQUAL, (0, 5), {"shared": True}),
        ("mlp", EQUAL, (0, 5), {"shared": True}),
        ("mlp", STUDENT, (5, 7), {"depth": 3, "hidden_dim": 6}),
        ("mlp", EQUAL, (5, 5), {"shared": True}),
        ("transformer", EQUAL, (5, 7), {"layer_scale": None}),
    ],
)
def test_contract(name: str, dims: list[tuple[int, int]], outputs: tuple[int, int], options: dict[str, Any]) -> None:
    projector = build_projector(name, dims, outputs, 16, options).double()
    tokens = rungs(dims)
    out = projector(tokens)
    assert out.cls.shape == (2, outputs[0])
    assert out.cls.dtype == torch.float32
    assert out.patches.shape == ((2, 6, outputs[1]) if outputs[1] else (2, 0, 0))
    assert out.grid == ((2, 3) if outputs[1] else (0, 0))
    for found in project([projector, projector], tokens):
        torch.testing.assert_close((found.cls, found.patches), (out.cls, out.patches))
    assert projector(tokens[-1:]).cls.shape == out.cls.shape  # the last block alone (student.widths)
    layers = getattr(projector, "output_layers", dict)()
    widths = {kind: {layer.out_features for layer in found} for kind, found in layers.items()}
    asked = {kind: {width} for kind, width in zip(("cls", "patch"), outputs, strict=True) if width}
    assert widths in ({}, asked)
    if parameters := list(projector.parameters()):
        (out.cls.square().sum() + out.patches.square().sum()).backward()
        assert all(p.grad is not None for p in parameters)


def test_teachers_of_one_ladder_may_be_matched_by_different_tokens() -> None:
    projectors = [build_projector("ladder", EQUAL, outputs, 8, {}) for outputs in ((5, 7), (5, 0), (0, 7), (3, 4))]
    tokens = [Tokens(rung.cls.float(), rung.patches.float(), rung.grid) for rung in rungs(EQUAL)]
    for projector, found in zip(projectors, project(projectors, tokens), strict=True):
        torch.testing.assert_close((found.cls, found.patches), (projector(tokens).cls, projector(tokens).patches))


@pytest.mark.parametrize("name", ["ladder", "linear", "mlp", "transformer"])
def test_any_grid_and_no_patches_at_all(name: str) -> None:
    projector = build_projector(name, EQUAL, (5, 7), 8, {})
    for grid in ((1, 1), (3, 4)):
        tokens = [Tokens(torch.randn(2, 8), torch.randn(2, grid[0] * grid[1], 8), grid) for _ in EQUAL]
        assert projector(tokens).grid == grid
    lone = [without_patches(torch.randn(2, 8))] * 2
    assert build_projector(name, EQUAL, (5, 0), 8, {})(lone).cls.shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("identity", {}, "'identity'.*CLS: 16 channels of the student, 5 of a teacher"),
        ("ladder", {"shared": True}, "'projector.shared'.*student.*CLS of 16 and patches of 12"),
        ("mlp", {"shared": True}, "'projector.shared'.*student.*CLS of 16 and patches of 12"),
        ("mlp", {"depth": 1}, "'projector.depth'.*2 or more.*1.*'linear'"),
        ("ladder", {"norm": "post"}, "'ladder': option 'norm'.*'none' or 'pre'.*'post'"),
        ("ladder", {"hidden_dim": 0}, "'projector.hidden_dim' must be at least 1 .*0"),
        ("ladder", {"hidden_dim": -5}, "'projector.hidden_dim' must be at least 1 .*-5"),
        ("ladder", {"last_hidden_dim": 0}, "'projector.last_hidden_dim' must be at least 1 .*0"),
        ("mlp", {"hidden_dim": -1}, "'projector.hidden_dim' must be at least 1 .*-1"),
        ("transformer", {"layer_scale": math.nan}, "'projector.layer_scale' must be finite and above 0 .*nan"),
        ("transformer", {"layer_scale": math.inf}, "'projector.layer_scale' must be finite and above 0 .*inf"),
        ("transformer", {"layer_scale": -1}, "'projector.layer_scale' must be finite and above 0 .*-1"),
        ("transformer", {"layer_scale": 0.0}, "'projector.layer_scale' must be finite and above 0 .*0"),
    ],
)
def test_what_it_cannot_do_is_one_line(name: str, options: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line):
        build_projector(name, STUDENT, (5, 7), 16, options)


@pytest.mark.parametrize(("name", "option", "value"), WRONG)
def test_a_value_of_a_wrong_type_is_one_line(name: str, option: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^recipe: projector '{name}': option '{option}': .*got ") as caught:
        build_projector(name, EQUAL, (8, 8), 8, {option: value})
    assert "\n" not in str(caught.value)


def test_shared_needs_a_teacher_of_one_width() -> None:
    with pytest.raises(InputError, match="teacher has CLS of 5 and patches of 7"):
        build_projector("mlp", EQUAL, (5, 7), 8, {"shared": True})


def test_shared_weights_are_one_module_and_serve_both() -> None:
    for name in ("ladder", "mlp"):
        projector = build_projector(name, EQUAL, (5, 5), 8, {"shared": True})
        assert all(key.startswith("cls.") for key in projector.state_dict())
        cls = torch.randn(2, 8)
        tokens = [Tokens(cls, cls[:, None].expand(2, 6, 8), (2, 3))] * 2
        out = projector(tokens)
        torch.testing.assert_close(out.patches, out.cls[:, None].expand(2, 6, 5))


@pytest.mark.parametrize("options", [{}, {"shared": True}, {"norm": "pre"}])
def test_gradients_add_up_over_micro_batches(options: dict[str, Any]) -> None:
    """Gradients are accumulated in place, so no two parameters may share the memory of one."""
    dims = [(8, 8), (8, 8), (8, 8)]
    projectors, tokens = [Projector(dims, (5, 5), 8, **options) for _ in range(2)], rungs(dims)
    tokens = [Tokens(t.cls.float(), t.patches.float(), t.grid) for t in tokens]
    parameters = [parameter for projector in projectors for parameter in projector.parameters()]

    def loss() -> torch.Tensor:
        return sum(t.cls.square().sum() + t.patches.square().sum() for t in Projector.together(projectors, tokens))

    once = torch.autograd.grad(loss(), parameters)
    for _ in range(2):
        loss().backward()
    for parameter, gradient in zip(parameters, once, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * gradient)


def test_names_and_shapes_of_a_checkpoint_from_before_the_fused_form() -> None:
    shapes = {}
    for number, hidden in enumerate((6, 10)):
        shapes |= {f"rungs.{number}.fc1.weight": (hidden, 8), f"rungs.{number}.fc1.bias": (hidden,)}
        shapes |= {f"rungs.{number}.fc2.weight": (5, hidden), f"rungs.{number}.fc2.bias": (5,)}
    saved = {f"{kind}.{name}": torch.randn(shape) for kind in ("cls", "patch") for name, shape in shapes.items()}
    projector = Projector([(8, 8), (8, 8)], (5, 5), 8, hidden_dim=6, last_hidden_dim=10)
    projector.load_state_dict(saved)
    assert list(projector.state_dict()) == list(saved)  # the order too: the optimiser's state is kept by number


def test_default_widths_are_the_paper_s_at_vit_b() -> None:
    ladder = Projector([(768, 768)] * 12, (768, 768), 768)
    assert [rung.fc1.out_features for rung in ladder.cls.rungs] == [768] * 11 + [3072]
    # Four teachers, CLS and patches: the 141.7 M parameters that METHOD §9.6 counts.
    assert round(4 * sum(p.numel() for p in ladder.parameters()) / 1e6, 1) == 141.7
    assert ladder.cls.rungs[0].fc1.weight.std().item() == pytest.approx(0.02, rel=0.03)
    assert not ladder.cls.rungs[0].fc1.bias.any()


@pytest.mark.parametrize(
    ("setting", "expected"), [("all", [0, 1, 2, 3]), ("last", [3]), ([-1], [3]), ([3, 0, 1], [0, 1, 3])]
)
def test_choice_of_blocks(setting: str | list[int], expected: list[int]) -> None:
    assert choose_blocks(setting, 4) == expected


@pytest.mark.parametrize(
    ("setting", "line"),
    [("most", "all, last or a list"), ([4], "blocks 0 to 3"), ([0, 1], "last block")],
)
def test_wrong_blocks(setting: str | list[int], line: str) -> None:
    with pytest.raises(InputError, match=line):
        choose_blocks(setting, 4)


def test_unknown_option_gets_the_nearest() -> None:
    with pytest.raises(InputError, match="'hiden_dim'.*'hidden_dim'"):
        build_projector("ladder", [(8, 8)], (5, 7), 8, {"hiden_dim": 3})


def test_a_class_that_is_no_module_is_one_line(
    trust: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "projector_lab").mkdir()
    (tmp_path / "projector_lab/other.py").write_text("class Projector: pass")
    monkeypatch.syspath_prepend(tmp_path)
    trust("projector_lab.other")
    with pytest.raises(InputError, match=r"^projector 'projector_lab.other': .* subclass of torch.nn.*Module$"):
        build_projector("projector_lab.other", EQUAL, (5, 7), 8, {})

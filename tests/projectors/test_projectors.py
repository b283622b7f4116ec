"""The contract of every projector, the ladder's parameters and the choice of blocks."""

import pytest
import torch

from unic import lookup
from unic.errors import InputError
from unic.projectors import build_projector, choose_blocks
from unic.projectors.ladder import Projector
from unic.tokens import Tokens


def rungs(dims: list[tuple[int, int]], grid: tuple[int, int] = (2, 3)) -> list[Tokens]:
    return [
        Tokens(torch.randn(2, cls, dtype=torch.float64), torch.randn(2, 6, patch, dtype=torch.float64), grid)
        for cls, patch in dims
    ]


@pytest.mark.parametrize("name", lookup.names("unic.projectors"))
def test_contract(name: str) -> None:
    dims = [(8, 8), (16, 12)]
    projector = build_projector(name, dims, (5, 7), 16, {}).double()
    out = projector(rungs(dims))
    assert out.cls.shape == (2, 5)
    assert out.patches.shape == (2, 6, 7)
    assert out.grid == (2, 3)
    widths = {kind: [layer.out_features for layer in layers] for kind, layers in projector.output_layers().items()}
    assert {kind: set(found) for kind, found in widths.items()} == {"cls": {5}, "patch": {7}}
    (out.cls.sum() + out.patches.sum()).backward()
    assert all(p.grad is not None for p in projector.parameters())


def test_gradients_add_up_over_micro_batches() -> None:
    """Gradients are accumulated in place, so no two parameters may share the memory of one."""
    dims = [(8, 8), (8, 8), (8, 8)]
    projectors, tokens = [Projector(dims, (5, 7), 8) for _ in range(2)], rungs(dims)
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

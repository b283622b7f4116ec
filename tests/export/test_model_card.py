import pytest
from omegaconf import OmegaConf

from unic.export.model_card import model_card, strictest
from unic.export.timm import usage

TEACHERS = {
    "a": {"uri": "timm:x", "licence": "apache-2.0", "revision": None},
    "b": {"uri": "hf:y/z@v1", "licence": "CC-BY-NC-4.0", "revision": "v1"},
}
RECIPE = {"data": {"train": [{"path": "images/"}], "size": 96}, "seed": 0}
RESULTS = {
    "models": {"student": {"role": "student"}, "a": {"role": "teacher"}},
    "tasks": {"clipart/knn": {"student": {"score": 46.8}, "a": {"score": 44.8}}},
    "best_teacher": {"clipart/knn": "a"},
    "gain_over_best_teacher": {"clipart/knn": 4.5},
    "difference_ci": {"clipart/knn": [0.5, 3.0]},
    "mean_gain": 4.5,
}


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        ({"a": "MIT", "b": "apache-2.0"}, ("apache-2.0", "b")),
        ({"a": "cc-by-nc-4.0", "b": "apache-2.0"}, ("cc-by-nc-4.0", "a")),
        ({"a": "cc-by-nc-4.0", "b": None}, ("unknown", "b")),
        ({"a": "mit", "b": "dinov3-license"}, ("dinov3-license", "b")),
    ],
)
def test_the_strictest_licence_binds(licences, expected):
    assert strictest(licences) == expected


def test_a_card_has_a_head_that_the_hub_reads_and_everything_below():
    card = model_card("mine", TEACHERS, RECIPE, RESULTS, {"model.onnx": "a graph"}, usage("x", "me/mine"))
    _, head, body = card.split("---\n", 2)
    assert OmegaConf.create(head).license == "cc-by-nc-4.0"
    assert OmegaConf.create(head).library_name == "timm"
    assert "| b | `hf:y/z@v1` | v1 | CC-BY-NC-4.0 |" in body
    assert "the strictest here is CC-BY-NC-4.0 (b)" in body
    assert "| clipart/knn | **46.8** | *44.8* | +4.5 |" in body
    assert 'timm.create_model("hf-hub:me/mine", pretrained=True)' in body
    assert "- `model.onnx`: a graph" in body
    assert "path: images/" in body


def test_an_unknown_licence_is_not_made_up():
    card = model_card("mine", {"a": {"uri": "onnx:a.onnx", "licence": None}}, RECIPE, None, {}, "")
    head = OmegaConf.create(card.split("---\n")[1])
    assert (head.license, head.license_name) == ("other", "as-teacher-a")
    assert "## Results" not in card

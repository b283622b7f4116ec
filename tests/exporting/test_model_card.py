import re
from typing import Any

from omegaconf import OmegaConf

from unic._usage import usage
from unic.eval.results.schema import Results
from unic.exporting.model_card import model_card
from unic.exporting.provenance import Provenance

A = {"uri": "timm:x", "licence": "apache-2.0", "revision": None}
B = {"uri": "hf:y/z@v1", "licence": "CC-BY-NC-4.0", "revision": "v1"}
UNKNOWN = {"uri": "onnx:a.onnx", "licence": None, "revision": None}
NOBODYS = {"uri": "pixels:8", "licence": "", "revision": None}
RECIPE = {
    "data": {"train": [{"path": "images/"}], "size": 96},
    "projector": {"type": "mlp"},
    "standardize": {"type": "none"},
    "weighting": {"type": "my_lab.w"},
    "seed": 0,
}
WRITTEN = {
    "models": {"student": {"role": "student"}, "a": {"role": "teacher"}},
    "tasks": {"clipart/knn": {"student": {"score": 46.8}, "a": {"score": 44.8}}},
    "best_teacher": {"clipart/knn": "a"},
    "gain_over_best_teacher": {"clipart/knn": 4.5},
    "difference_ci": {"clipart/knn": [0.5, 3.0]},
    "mean_gain": 4.5,
}
RESULTS = Results.load(WRITTEN)


def test_a_card_has_a_head_that_the_hub_reads_and_everything_below():
    card = model_card(
        "mine", Provenance(None, {"a": A, "b": B}), RECIPE, RESULTS, {"model.onnx": "a graph"}, usage("x", "me/mine")
    )
    _, head, body = card.split("---\n", 2)
    assert OmegaConf.create(head).license == "cc-by-nc-4.0"
    assert OmegaConf.create(head).library_name == "timm"
    assert "| b | `hf:y/z@v1` | v1 | CC-BY-NC-4.0 |" in body
    assert "strictest here is CC-BY-NC-4.0 (b)" in body
    assert "| clipart/knn | **46.8** | *44.8* | +4.5 |" in body
    assert 'timm.create_model("hf-hub:me/mine", pretrained=True)' in body
    assert "- `model.onnx`: a graph" in body
    assert "path: images/" in body
    assert "without labels: projector `mlp`, standardiser `none`, weighting `my_lab.w`." in body


def head_and_body(made_of: Provenance) -> tuple[Any, str]:
    _, head, body = model_card("mine", made_of, RECIPE, None, {}, "").split("---\n", 2)
    return OmegaConf.create(head), body


def test_the_starts_licence_binds_too():
    head, body = head_and_body(Provenance(B, {"a": A}))
    assert head.license == "cc-by-nc-4.0"
    assert "| the start | `hf:y/z@v1` | v1 | CC-BY-NC-4.0 |" in body
    assert "strictest here is CC-BY-NC-4.0 (the start)" in body


def test_an_unknown_licence_is_not_made_up():
    head, body = head_and_body(Provenance(None, {"a": UNKNOWN}))
    assert (head.license, head.license_name) == ("other", "unknown")
    assert "| a | `onnx:a.onnx` | – | unknown |" in body
    assert re.search("licence of a .*not known", body)
    assert "## Results" not in body


def test_what_is_known_stands_beside_what_is_not():
    head, body = head_and_body(Provenance(UNKNOWN, {"a": A, "b": B, "c": UNKNOWN}))
    assert (head.license, head.license_name) == ("other", "cc-by-nc-4.0-and-unknown")
    assert re.search(r"strictest known .*CC-BY-NC-4\.0 \(b\).*licence of the start, c .*not known", body)


def test_without_weights_of_others_there_is_no_licence_to_state():
    head, body = head_and_body(Provenance(None, {"p": NOBODYS}))
    assert "license" not in head
    assert "| p | `pixels:8` | – | – |" in body
    assert "no weights of others" in body


def test_limits_say_what_unseen_sets_have_shown():
    made_of = Provenance(None, {"a": A})
    assert re.search("No .*unseen", model_card("m", made_of, RECIPE, RESULTS, {}, ""))
    cells = {"student": {"score": 30.0}, "a": {"score": 40.0}}
    tasks = {**WRITTEN["tasks"], "faces/knn": cells}
    unseen = {"unseen": ["faces/knn"], "mean_gain_unseen": -25.0, "mean_gain_unseen_ci": [-40.0, -9.5]}
    card = model_card("m", made_of, RECIPE, Results.load({**WRITTEN, "tasks": tasks, **unseen}), {}, "")
    assert re.search(r"unseen .*\(faces\).*-25\.0 % \[-40\.0, -9\.5\]", card, re.DOTALL)
    assert "| mean gain (unseen) |" in card
    assert "| mean gain (seen) |" in card


def test_a_card_says_what_its_weights_are_a_mixture_of():
    made_of = Provenance(None, {"a": A})
    card = model_card("m", made_of, RECIPE, None, {}, "", 0.25)
    assert re.search(r"Weights: 0\.75 .*start.* 0\.25 .*trained", card)
    assert "Weights: 0." not in model_card("m", made_of, RECIPE, None, {}, "")

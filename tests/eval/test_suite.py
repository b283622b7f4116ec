from fnmatch import fnmatchcase

import pytest

from unic.errors import InputError
from unic.eval.plan import make_plan
from unic.eval.suite import SUITES, Entry, load_suite


def test_suites_from_names_and_files(tmp_path):
    assert load_suite() is load_suite("quick") is SUITES["quick"]
    assert SUITES["quick"].tasks["logistic"].options == {"C": 0.01}
    assert SUITES["samples"].seeds == [0, 1, 2]
    path = tmp_path / "mine.yaml"
    path.write_text("data: [a=b]\ntasks: {near: {task: knn, k: 3, tokens: patch_mean}}\n")
    assert load_suite(path).tasks == {"near": Entry(task="knn", k=3, tokens="patch_mean")}
    assert load_suite(path).tasks["near"].options == {"k": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: [a=b]\nsede: [1]\n", "'sede': .*'seeds'"),
        ("data: [a=b]\ntasks: {knn: {tokens: clss}}\n", "'tasks.knn.tokens': Input should be"),
        ("data: []\n", "'data': .*at least 1"),
        ("data: [a\n", "not valid YAML"),
        ("data: [a=b]\nunseen: [a=b]\n", "'unseen': .*'a=b'.*'data'"),
        ("data: [a=b]\nunsen: [c=d]\n", "'unsen': .*'unseen'"),
        ("data: [a=b]\nunseen_tasks: {knn: {k: 5}}\n", "'unseen_tasks': .*'unseen'"),
        ("data: [a=b]\nunseen: [c=d]\nunseen_tasks: {}\n", "'unseen_tasks': .*at least 1"),
    ],
)
def test_a_wrong_file_is_one_line(text, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        load_suite(path)
    assert "\n" not in str(error.value)


def test_a_wrong_name_gets_the_nearest():
    with pytest.raises(InputError, match="'quik'.*'quick'"):
        load_suite("quik")


@pytest.mark.parametrize("name", SUITES)
def test_every_axis_of_a_shipped_suite_names_a_task(name):
    suite = SUITES[name]
    for patterns in suite.axes.values():
        for pattern in patterns:
            assert pattern.partition("/")[2] in {"*", *suite.tasks}


def test_unic_l_measures_what_its_published_table_has():
    suite = SUITES["unic-l"]
    assert {name: (entry.data, entry.options) for name, entry in suite.tasks.items()} == {
        "knn": (["imagenet"], {"k": 20}),
        "zero_shot": (["imagenet"], {"templates": "openai", "names": "openai"}),
        "segmentation": (None, {"protocol": "dinov2"}),
    }
    assert suite.data == ["imagenet", "ade20k"]


@pytest.mark.parametrize("name", ["quick", "samples", "samples-all"])
def test_the_sample_suites_measure_stamps_as_the_published_figure_has_it(name):
    suite = SUITES[name]
    assert suite.unseen == ["stamps"]
    assert {name: entry.options for name, entry in suite.unseen_tasks.items()} == {
        "knn": {"k": 5},
        "logistic": {"C": 0.01},
    }
    assert suite.size == 128
    assert "unseen stamps: knn k=5; logistic C=0.01; seeds 0" in suite.describe()


def test_the_suite_of_the_paper_has_its_probes_axes_and_fifteen_transfer_sets():
    suite = SUITES["unic"]
    for name in ("linear", "logistic"):
        assert suite.tasks[name].options["protocol"] == "unic"
    for name in ("robustness", "longtail"):
        assert suite.tasks[name].options["probe_options"] == {"protocol": "unic"}
    names = {spec: spec.replace("?level=", "-L") for spec in suite.data}
    rows = [f"{names[spec]}/{name}" for name, entry in suite.tasks.items() for spec in entry.data or ()]
    counted = {
        axis: [row for row in rows if any(fnmatchcase(row, pattern) for pattern in patterns)]
        for axis, patterns in suite.axes.items()
    }
    assert {axis: len(found) for axis, found in counted.items()} == {
        "ImageNet-1K": 1, "ImageNet-v2": 1, "domain shift": 2, "concepts": 5, "long tail": 2, "fine-grained": 8,
        "segmentation": 0, "depth": 0, "transfer": 15,
    }  # fmt: skip
    assert sorted(counted["transfer"]) == sorted(counted["concepts"] + counted["long tail"] + counted["fine-grained"])


@pytest.mark.parametrize(
    ("task", "line"),
    [
        ("linear: {protocol: unik}", "task 'linear': option 'protocol': .*'unic'.*'unik'"),
        ("knn: {view: squashed}", "'tasks.knn.view': .*'centre_crop_256'"),
    ],
)
def test_a_wrong_protocol_or_view_is_one_line(task, line, coloured, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"data: [mine={coloured}]\ntasks: {{{task}}}\n")
    with pytest.raises(InputError, match=line) as error:
        make_plan(load_suite(path))
    assert "\n" not in str(error.value)


def test_a_list_of_tasks_takes_their_defaults() -> None:
    short = load_suite({"data": ["a=b"], "tasks": ["knn", "logistic"], "unseen": ["c=d"], "unseen_tasks": ["knn"]})
    assert short.tasks == {"knn": Entry(), "logistic": Entry()}
    assert short.unseen_tasks == {"knn": Entry()}

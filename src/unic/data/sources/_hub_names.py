"""Names of data sets on the Hugging Face hub, told from paths: asking the hub for a set that it lacks takes long."""

from __future__ import annotations

import re

from unic.data.sample_images import is_sample

_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")


def is_hub_name(path: str) -> bool:
    """Whether a path is spelled `ORG/NAME` or `ORG/NAME:CONFIG`, and neither like a file nor like `samples/…`."""
    from unic.data.sources import label_list  # with pyarrow, which folders of images do without

    is_file = path.lower().endswith((".parquet", ".tar", *label_list.SUFFIXES))
    return bool(_NAME.fullmatch(path)) and not is_file and not is_sample(path)

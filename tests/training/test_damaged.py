"""What the processes of a run tell each other: the list of damaged images."""

from __future__ import annotations

import json
import os
from pathlib import Path

from launcher import Launcher

PROGRAM = """
import json, sys
import torch
import torch.distributed as dist
from unic.data.batch import Batch, DamagedImage
from unic.training.damaged import DamagedImages

rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=3)
own = [{"b.png": "zero bytes"}, {}, {"ü/\U0001d11e.png": "torn", "a.png": "line\\nbreak", "b.png": "zero bytes"}][rank]
blank, keys = torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)
damaged = DamagedImages()
damaged.note(Batch(blank, keys, keys, [DamagedImage(0, *pair) for pair in own.items()]))
assert damaged.has_news == bool(own)
damaged.share(torch.device("cpu"))
assert not damaged.has_news
print(json.dumps(list(damaged.state_dict().items())))
dist.destroy_process_group()
"""


def test_damaged_images_of_all_are_one_sorted_list_on_each(launch: Launcher, tmp_path: Path) -> None:
    """One process has none, one has other alphabets; the same image on two of them counts once."""
    store = str(tmp_path / "store")
    processes = [launch("-c", PROGRAM, str(rank), store, env=os.environ) for rank in range(3)]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    expected = [["a.png", "line\nbreak"], ["b.png", "zero bytes"], ["ü/𝄞.png", "torn"]]
    assert [json.loads(text) for text in said] == [expected] * 3

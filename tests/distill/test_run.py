"""What the processes of a run tell each other: the list of damaged images."""

from __future__ import annotations

import json
import os
from pathlib import Path

from launcher import Launcher

PROGRAM = """
import json, sys
from types import SimpleNamespace
import torch
import torch.distributed as dist
from unic.distill.run import Run

rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=3)
own = [{"b.png": "zero bytes"}, {}, {"ü/\U0001d11e.png": "torn", "a.png": "line\\nbreak", "b.png": "zero bytes"}][rank]
accelerator, job = SimpleNamespace(num_processes=3), SimpleNamespace(device=torch.device("cpu"))
run = SimpleNamespace(damaged=own, accelerator=accelerator, job=job, _shared=0)
assert Run.has_news.fget(run) == bool(own)
Run.share_damaged(run)
assert not Run.has_news.fget(run)
print(json.dumps(list(run.damaged.items())))
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

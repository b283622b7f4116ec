"""Freed memory stays with a process that runs encoders on a CPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("resource")

# Page faults of ten blocks of 80 MB in turn, after ten in which the heap finds its size (seen: four or five).
PROGRAM = """
import resource, torch
from unic.encoders import load_encoder
load_encoder("pixels:8")
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for block in range(20):
    if block == 10:
        before = faults()
    torch.ones(20_000_000)
print(faults() - before)
"""


def page_faults(**environment: str) -> int:
    plain = {key: value for key, value in os.environ.items() if "MALLOC" not in key and key != "GLIBC_TUNABLES"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=plain | environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux" or not os.confstr("CS_GNU_LIBC_VERSION"), reason="of glibc")
def test_freed_memory_is_used_again_unless_told_otherwise() -> None:
    kept = page_faults()
    assert kept < 80_000_000 // os.sysconf("SC_PAGE_SIZE") // 10  # a tenth of one block; seen: none
    # Huge pages would be few, so the bound is low.
    for settings in ({"UNIC_MALLOC": "system"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=8"}):
        assert page_faults(**settings) > 10 * kept + 100

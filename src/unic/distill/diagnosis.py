"""Earlier name of `unic.training.diagnosis`, which the logs of earlier runs mention."""

import warnings

from unic.training.diagnosis import diagnose, explain, main, replay, write_case

__all__ = ["diagnose", "explain", "main", "replay", "write_case"]

warnings.warn(
    "unic.distill.diagnosis is called unic.training.diagnosis now; the earlier name goes with the next release",
    DeprecationWarning,
    stacklevel=2,
)

if __name__ == "__main__":
    main()

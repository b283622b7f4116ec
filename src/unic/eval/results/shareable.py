"""Results that may be shared: values of environment variables are replaced by the names of the variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from unic.eval.results.schema import Cell, Results


def shareable(results: Results, share: Callable[[Any], Any]) -> Results:
    """Replaces private values in the addresses of models and images and in the lines of failures.

    Args:
        results: results of an evaluation.
        share: function that replaces private values, see `WithReferences.shared`.
    """

    def of_cells(tasks: Mapping[str, Mapping[str, Cell]]) -> dict[str, dict[str, Cell]]:
        return {
            task: {
                name: cell if cell.error is None else cell.model_copy(update={"error": share(cell.error)})
                for name, cell in row.items()
            }
            for task, row in tasks.items()
        }

    protocol = results.protocol
    places = {
        "data": share(protocol.data),
        "tasks": share(protocol.tasks),
        "unseen": share(protocol.unseen),
        **({"unseen_tasks": share(protocol.unseen_tasks)} if protocol.unseen_tasks is not None else {}),
        "missing": {share(spec): share(why) for spec, why in protocol.missing.items()},
    }
    shown = {
        "models": {name: model.model_copy(update={"uri": share(model.uri)}) for name, model in results.models.items()},
        "tasks": of_cells(results.tasks),
        "descriptions": of_cells(results.descriptions),
        "protocol": protocol.model_copy(update=places),
    }
    return results.model_copy(update=shown)

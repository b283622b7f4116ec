"""What a streamed set consists of, before any of it is fetched: its pieces, how many images each holds, its classes.

Counts come from `manifest.json` (`unic shard`) or `sizes.json` (a WebDataset custom) beside the shards, or from the
footers of Parquet files. Without them every shard is fetched and counted once, and the counts are kept.
"""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from unic.data.shards.index import MANIFEST, read_manifest
from unic.data.sources import _label_values, _splits
from unic.data.sources._columns import Columns, choose, features_of, is_text
from unic.data.sources._parquet_files import first_values
from unic.data.sources._path_options import UNNAMED, ColumnNames
from unic.data.sources.webdataset import WebDataset
from unic.data.streaming.pieces import Piece, Shelf
from unic.data.streaming.remote import check_url, open_seekable, open_url
from unic.errors import InputError, nearest, reason_of
from unic.files import write_text

log = logging.getLogger("unic")

Found = tuple[list[Piece], Columns]
_MAX_DOCUMENT = 64 << 20  # bytes of a manifest: of 100,000 shards it has 15 MB
_AT_ONCE = 16  # footers


def catalogue(path: str, urls: list[str], split: str, shelf: Shelf, named: ColumnNames = UNNAMED) -> Found:
    """Pieces, and names of classes with, of Parquet, the columns. `named`: those that the user has named.

    Raises:
        InputError: a scheme that is not fetched, nothing there, neither shards nor Parquet.
    """
    if path.startswith("stream:"):
        urls = _on_the_hub(path, split)
    for url in urls:
        check_url(path, url)
    if all(url.endswith(".parquet") for url in urls):
        return _row_groups(path, urls, named)
    named.refuse(path)
    if len(urls) == 1 and not urls[0].endswith(".tar"):
        return _listed(path, urls[0].rstrip("/"))
    if all(url.endswith(".tar") for url in urls):
        return _shards(path, urls, shelf)
    raise InputError(f"data '{path}': expected .tar shards, .parquet files, or a folder with a {MANIFEST}")


def _listed(path: str, folder: str) -> Found:
    try:
        manifest = read_manifest(_document(f"{folder}/{MANIFEST}"))
    except (OSError, ValueError) as error:
        reason = reason_of(error)
        raise InputError(f"data '{path}': no {MANIFEST} of unic shard in it ({reason}); or name its shards") from None
    pieces = [Piece(f"{folder}/{one['file']}", one["samples"], -1, one["sha256"]) for one in manifest["shards"]]
    return pieces, Columns("", classes=manifest["classes"])


def _shards(path: str, urls: list[str], shelf: Shelf) -> Found:
    folder = urls[0].rpartition("/")[0]
    try:
        pieces, found = _listed(path, folder)
        known = {piece.url: piece for piece in pieces}
        return [known[url] for url in urls], found
    except (InputError, KeyError):
        counts = _sizes(folder)
    if not all(url in counts for url in urls):
        counts = _counted(path, urls, shelf)
    return [Piece(url, counts[url]) for url in urls if counts[url]], Columns("")


def _sizes(folder: str) -> dict[str, int]:
    try:
        found = json.loads(_document(f"{folder}/sizes.json"))
        return {f"{folder}/{name}": count for name, count in found.items() if isinstance(count, int) and count >= 0}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _counted(path: str, urls: list[str], shelf: Shelf) -> dict[str, int]:
    """Fetches each shard that was not counted before; what is known is kept after every shard."""
    file = shelf.folder / "counts.json"
    try:
        counts = {url: int(count) for url, count in json.loads(file.read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        counts = {}
    missing = [url for url in urls if url not in counts]
    if missing:
        log.warning("data '%s': no counts beside its shards, so %d are fetched and counted once", path, len(missing))
    for url in missing:
        counts[url] = len(WebDataset(path, [shelf.get(Piece(url, 0))]))
        write_text(file, json.dumps(counts))
    return counts


def _row_groups(path: str, urls: list[str], named: ColumnNames) -> Found:
    import pyarrow.parquet as pq

    def footer(url: str) -> tuple[Any, list[int]]:
        with open_seekable(url) as stream:
            file = pq.ParquetFile(stream)
            return file.schema_arrow, [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]

    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            footers = list(pool.map(footer, urls))
    except InputError:
        raise
    except Exception as error:  # networks, stores and formats fail in every way
        raise InputError(f"data '{path}': cannot be read ({reason_of(error, 200)})") from None
    schema = footers[0][0]
    found = choose(path, schema, features_of(schema), named, lambda names: _first_values(path, urls[0], names))
    if is_text(schema.field(found.image).type):
        raise InputError(
            f"data '{path}': its column '{found.image}' holds paths; a streamed set must hold the images themselves"
        )
    if found.label is not None and found.classes is None:
        found = _with_values(path, urls, found, is_wanted=named.label is not None)
    pieces = [
        Piece(url, count, group)
        for url, (_, counts) in zip(urls, footers, strict=True)
        for group, count in enumerate(counts)
        if count
    ]
    if not pieces:
        raise InputError(f"data '{path}': it has no rows")
    return pieces, found


def _first_values(path: str, url: str, names: list[str]) -> dict[str, list[Any]]:
    import pyarrow.parquet as pq

    try:
        with open_seekable(url) as stream:
            return first_values(pq.ParquetFile(stream), names)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"data '{path}': cannot be read ({reason_of(error, 200)})") from None


def _with_values(path: str, urls: list[str], found: Columns, *, is_wanted: bool) -> Columns:
    """Classes that are the values of a column, which are all read for it: only where the user has named the column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not is_wanted:
        reason = (
            f"its labels are fetched only if you name their column; write ?label={found.label} at the end of the path"
        )
        return found._replace(label=None, why_unlabelled=reason)

    def texts(url: str) -> _label_values.Values:
        known: dict[str, None] = {}
        with open_seekable(url) as stream:
            for batch in pq.ParquetFile(stream).iter_batches(columns=[found.label], use_threads=False):
                known |= dict.fromkeys(_label_values.of_arrow(pa.chunked_array([batch.column(0)])).texts)
        return _label_values.of_texts(list(known))

    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return found._replace(classes=_label_values.class_list(pool.map(texts, urls)), are_values=True)
    except InputError:
        raise
    except Exception as error:
        reason = reason_of(error, 200)
        raise InputError(f"data '{path}': its column '{found.label}' cannot be read ({reason})") from None


def _on_the_hub(path: str, split: str) -> list[str]:
    from datasets import load_dataset_builder

    repository, _, config = path.removeprefix("stream:").partition(":")
    try:
        files = load_dataset_builder(repository, config or None).config.data_files or {}
    except Exception as error:  # network, authorisation, missing config: all the user's to see, in one line
        reason = reason_of(error, 200)
        raise InputError(f"data '{path}': not from the Hugging Face hub ({reason})") from None
    name = _splits.spelt(path, split, map(str, files))
    if name is None:
        raise InputError(f"data '{path}': no split '{split}'{nearest(split, map(str, files))}")
    return [url if "://" in url else f"file://{url}" for url in map(str, files[name])]


def _document(url: str) -> bytes:
    with open_url(url) as stream:
        data = stream.read(_MAX_DOCUMENT + 1)
    if len(data) > _MAX_DOCUMENT:
        raise ValueError("it is too large")
    return data

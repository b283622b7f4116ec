"""The pieces of a streamed set, their numbers of images and its classes, before any image is fetched.

Numbers of images come from `manifest.json` (`unic shard`) or `sizes.json` (a WebDataset custom) beside the shards, or
from the footers of Parquet files. Without them every shard is fetched and counted once, and the counts are kept.
"""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from unic.data.shards.index import MANIFEST, read_manifest
from unic.data.sources import _label_values, _splits
from unic.data.sources._columns import TableColumns, choose, features_of, is_text
from unic.data.sources._parquet_files import first_values
from unic.data.sources._path_options import UNNAMED, ColumnNames
from unic.data.sources.webdataset import WebDataset
from unic.data.streaming.pieces import Piece, Shelf
from unic.data.streaming.remote import check_url, open_seekable, open_url
from unic.errors import InputError, nearest, reason_of
from unic.files import write_text

log = logging.getLogger("unic")

Catalogue = tuple[list[Piece], TableColumns]
"""Pieces of a set; and its classes with, for Parquet, its columns."""

_MAX_DOCUMENT = 64 << 20  # bytes of a manifest; one of 100,000 shards has 15 MB
_AT_ONCE = 16  # footers that are read at a time


def catalogue(path: str, urls: list[str], split: str, shelf: Shelf, named: ColumnNames = UNNAMED) -> Catalogue:
    """The pieces and columns of a streamed set.

    Args:
        path: as the user wrote it.
        urls: the URLs that it stands for; not used for a set of the hub.
        split: split of a set of the hub.
        shelf: to which shards are fetched for counting, if need be.
        named: columns that the user has named.

    Raises:
        InputError: a scheme that is not supported, a URL that cannot be read, or neither shards nor Parquet files.
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


def _listed(path: str, folder: str) -> Catalogue:
    """A folder of shards with a manifest."""
    try:
        manifest = read_manifest(_document(f"{folder}/{MANIFEST}"))
    except (OSError, ValueError) as error:
        reason = reason_of(error)
        raise InputError(
            f"data '{path}': no {MANIFEST} of unic shard ({reason}); write one, or name the shards themselves"
        ) from None
    pieces = [Piece(f"{folder}/{shard['file']}", shard["samples"], -1, shard["sha256"]) for shard in manifest["shards"]]
    return pieces, TableColumns("", classes=manifest["classes"])


def _shards(path: str, urls: list[str], shelf: Shelf) -> Catalogue:
    """Shards by their URLs, with the counts of a manifest if there is one."""
    folder = urls[0].rpartition("/")[0]
    try:
        pieces, columns = _listed(path, folder)
        listed = {piece.url: piece for piece in pieces}
        return [listed[url] for url in urls], columns
    except (InputError, KeyError):
        counts = _sizes(folder)
    if not all(url in counts for url in urls):
        counts = _counted(path, urls, shelf)
    return [Piece(url, counts[url]) for url in urls if counts[url]], TableColumns("")


def _sizes(folder: str) -> dict[str, int]:
    """Number of images of each shard, from `sizes.json`; empty without it."""
    try:
        sizes = json.loads(_document(f"{folder}/sizes.json"))
        return {f"{folder}/{name}": count for name, count in sizes.items() if isinstance(count, int) and count >= 0}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _counted(path: str, urls: list[str], shelf: Shelf) -> dict[str, int]:
    """Number of images of each shard: fetches those that were not counted before, and saves the counts after each."""
    file = shelf.folder / "counts.json"
    try:
        counts = {url: int(count) for url, count in json.loads(file.read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        counts = {}
    missing = [url for url in urls if url not in counts]
    if missing:
        log.warning(
            "data '%s': no manifest.json or sizes.json beside its shards; fetching %d shards to count their images",
            path, len(missing),
        )  # fmt: skip
    for url in missing:
        counts[url] = len(WebDataset(path, [shelf.get(Piece(url, 0))]))
        write_text(file, json.dumps(counts))
    return counts


def _row_groups(path: str, urls: list[str], named: ColumnNames) -> Catalogue:
    import pyarrow.parquet as pq

    def footer(url: str) -> tuple[Any, list[int]]:
        with open_seekable(url) as stream:
            file = pq.ParquetFile(stream)
            counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            return file.schema_arrow, counts

    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            footers = list(pool.map(footer, urls))
    except InputError:
        raise
    except Exception as error:  # networks, stores and formats raise every kind
        raise InputError(f"data '{path}': cannot be read ({reason_of(error, 200)})") from None
    schema = footers[0][0]
    columns = choose(path, schema, features_of(schema), named, lambda names: _first_values(path, urls[0], names))
    if is_text(schema.field(columns.image).type):
        raise InputError(
            f"data '{path}': its column '{columns.image}' holds paths; a streamed set must hold the images themselves"
        )
    if columns.label is not None and columns.classes is None:
        columns = _with_values(path, urls, columns, is_wanted=named.label is not None)
    pieces = [
        Piece(url, count, group)
        for url, (_, counts) in zip(urls, footers, strict=True)
        for group, count in enumerate(counts)
        if count
    ]
    if not pieces:
        raise InputError(f"data '{path}': the set has no rows")
    return pieces, columns


def _first_values(path: str, url: str, names: list[str]) -> dict[str, list[Any]]:
    import pyarrow.parquet as pq

    try:
        with open_seekable(url) as stream:
            return first_values(pq.ParquetFile(stream), names)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"data '{path}': cannot be read ({reason_of(error, 200)})") from None


def _with_values(path: str, urls: list[str], columns: TableColumns, *, is_wanted: bool) -> TableColumns:
    """Adds the classes, which are the values of the label column. Reads the whole column, so only if `is_wanted`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not is_wanted:
        reason = (
            f"its labels are fetched only if you name their column; write ?label={columns.label} at the end of the path"
        )
        return columns._replace(label=None, why_unlabelled=reason)

    def values(url: str) -> _label_values.Values:
        texts: dict[str, None] = {}
        with open_seekable(url) as stream:
            for batch in pq.ParquetFile(stream).iter_batches(columns=[columns.label], use_threads=False):
                texts |= dict.fromkeys(_label_values.of_arrow(pa.chunked_array([batch.column(0)])).texts)
        return _label_values.of_texts(list(texts))

    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return columns._replace(classes=_label_values.class_list(pool.map(values, urls)), are_values=True)
    except InputError:
        raise
    except Exception as error:
        reason = reason_of(error, 200)
        raise InputError(f"data '{path}': its column '{columns.label}' cannot be read ({reason})") from None


def _on_the_hub(path: str, split: str) -> list[str]:
    """URLs of the files of a split of a set on the Hugging Face hub."""
    from datasets import load_dataset_builder

    repository, _, config = path.removeprefix("stream:").partition(":")
    try:
        files = load_dataset_builder(repository, config or None).config.data_files or {}
    except Exception as error:  # network, authorisation, missing config: the user sees each in one line
        reason = reason_of(error, 200)
        raise InputError(f"data '{path}': cannot be opened on the Hugging Face hub ({reason})") from None
    name = _splits.spelt(path, split, map(str, files))
    if name is None:
        raise InputError(f"data '{path}': no split '{split}'{nearest(split, map(str, files))}")
    return [url if "://" in url else f"file://{url}" for url in map(str, files[name])]


def _document(url: str) -> bytes:
    """The content of a small file."""
    with open_url(url) as stream:
        data = stream.read(_MAX_DOCUMENT + 1)
    if len(data) > _MAX_DOCUMENT:
        raise ValueError(f"more than {_MAX_DOCUMENT} bytes")
    return data

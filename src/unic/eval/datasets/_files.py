"""Parts that sets of files share: their publisher, downloads, and lists of images by file, text file or folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unic.arguments import argument
from unic.data.decode import SUFFIXES
from unic.data.sources.listed import Listed
from unic.errors import InputError, reason_of

_ENDINGS = tuple(SUFFIXES)


@dataclass(frozen=True)
class Origin:
    """The publisher of a set and its folder, for the error line if the set is missing.

    Attributes:
        name: name of the set, and of its folder below the data root.
        expected: files or folders that must be in that folder.
        url: address of the set.
        size: size of the download; None if unic cannot download the set.
        archives: names of archives that are unpacked if they are in the folder.
    """

    name: str
    expected: str
    url: str
    size: str | None = None
    archives: str = ""

    def folder(self, root: Path) -> Path:
        return root / self.name

    def error(self, root: Path, problem: str | None = None, *, download: bool = False) -> InputError:
        problem = problem or f"not in {self.folder(root)}"
        option = argument("download", True)
        fetch = f"{option} fetches it ({self.size}), or " if self.size and not download else ""
        get = f"{fetch}put it there from {self.url}"
        get += f"; {option} unpacks {self.archives} that lie there" if self.archives else ""
        return InputError(f"data '{self.name}': {problem} (expected {self.expected}); {get}")

    @contextmanager
    def reading(self, root: Path, download: bool = False) -> Iterator[None]:
        """Turns any error while files are fetched or read into an `InputError`."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # parsers, archives and the network raise many kinds
            raise self.error(root, self._problem(root, error, download), download=download) from None

    def fetch(self, root: Path, archives: Iterable[tuple[str, str]]) -> None:
        """Downloads archives and unpacks them into the folder of the set.

        Args:
            root: folder of the sets.
            archives: URL and MD5 of each archive.

        Raises:
            InputError: the download or the unpacking fails.
        """
        from torchvision.datasets.utils import download_and_extract_archive

        with self.reading(root, download=True):
            for url, md5 in archives:
                download_and_extract_archive(url, str(self.folder(root)), md5=md5)

    def _problem(self, root: Path, error: Exception, download: bool) -> str | None:
        reason = reason_of(error)
        if download:
            return f"cannot be fetched into {self.folder(root)}: {reason}"
        if not self.folder(root).exists() or reason.startswith("Dataset not found"):  # torchvision's words
            return None
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return f"no {error.filename}"
        return f"{self.folder(root)} cannot be read: {type(error).__name__} {reason}"


def listed(folder: Path, files: Iterable[str | Path], labels: Sequence[int], classes: Sequence[str]) -> Listed:
    """Labelled images from their files.

    Args:
        folder: folder that contains all files.
        files: paths, absolute or from the working folder.
        labels: class index of each file.
        classes: names of the classes.
    """
    prefix = os.path.join(os.path.normpath(folder), "")
    names = [os.path.normpath(file).removeprefix(prefix).replace(os.sep, "/") for file in files]
    return Listed(str(folder), folder, names, labels, classes)


def from_list(file: Path, folder: Path, class_of: Callable[[str], str]) -> Listed:
    """Labelled images from a text file with the path of an image on each line.

    Args:
        file: the text file.
        folder: folder to which the paths are relative.
        class_of: function from the path of an image to its class.
    """
    lines = file.read_text(encoding="utf-8").splitlines()
    names = [line.strip().removeprefix("/") for line in lines if line.strip()]
    kinds = [class_of(name) for name in names]
    classes = sorted(set(kinds))
    index_of = {kind: index for index, kind in enumerate(classes)}
    return Listed(str(file), folder, names, [index_of[kind] for kind in kinds], classes)


def class_folders(folder: Path) -> Listed:
    """Labelled images from a folder that has a folder of images for each class, sorted by name.

    Raises:
        OSError: the folder is missing.
    """
    names: list[str] = []
    counts = []
    with os.scandir(folder) as entries:
        classes = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    for label in classes:
        inside = sorted(os.listdir(folder / label))
        files = [name for name in inside if not name.startswith(".") and name.lower().endswith(_ENDINGS)]
        names += [f"{label}/{name}" for name in files]
        counts.append(len(files))
    return Listed(str(folder), folder, names, np.repeat(np.arange(len(classes)), counts), classes)

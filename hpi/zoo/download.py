"""Getting a model's files from each kind of source."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path

from hpi.backends.artifacts import content_hash
from hpi.errors import ModelError
from hpi.io.archives import unpack
from hpi.io.fetch import fetch, shown, url_path
from hpi.zoo.configs import Bundled, HuggingFace, Url

MAX_DOWNLOAD_BYTES = 2 << 30
MAX_DOWNLOAD_S = 3600

_REPOSITORY_FILES = ["inference.json", "inference.pdiparams", "inference.yml", "inference.onnx"]


def download(source: Bundled | HuggingFace | Url, target: Path) -> None:
    """Put the files of a source into a folder.

    Args:
        source: where they come from.
        target: an existing empty folder; its content is undefined after an error.

    Raises:
        ModelError: the source cannot be reached, or its content is damaged, too large or not the expected one.
        OSError: the folder cannot be written.

    Example:
        >>> from hpi.zoo.configs import packaged_configs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     download(packaged_configs()["PicoDet-S_person_416"].sources[0], Path(folder))
        ...     sorted(file.name for file in Path(folder).iterdir())
        ['inference.json', 'inference.onnx', 'inference.pdiparams', 'inference.yml']
    """
    match source:
        case Bundled():
            _unpack_bundled(source, target)
        case HuggingFace(file=None):
            _download_repository(source, target)
        case HuggingFace(file=str(name)):
            _download_files(source, name, target)
        case Url():
            _download_url(source, target)


def _unpack_bundled(source: Bundled, target: Path) -> None:
    with as_file(files("hpi.configs") / "bundled" / source.bundled) as archive:
        if not archive.is_file():
            raise ModelError(f"{source.bundled}: missing from this installation; reinstall the package")
        _check_hash(archive, source.sha256, source.bundled)
        unpack(archive, target)


def _download_url(source: Url, target: Path) -> None:
    # The file lies beside the folder that its content goes into, on the same disk.
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".download.", delete=False) as stream:
        file = Path(stream.name)
        try:
            url = shown(source.url)
            with _progress_bar(url) as advance:
                announced = fetch(
                    source.url,
                    stream,
                    limit=MAX_DOWNLOAD_BYTES,
                    seconds=MAX_DOWNLOAD_S,
                    error=ModelError,
                    on_progress=advance,
                )
            stream.close()
            if announced is None and source.sha256 is None:
                raise ModelError(
                    f"{url}: the server does not say how large the file is, so a truncated download would go "
                    "unnoticed; give its sha256 in the model's YAML"
                )
            graph = "model.onnx" if url_path(source.url).endswith(".onnx") else None
            _put(file, graph, source.sha256, target, url)
        finally:
            stream.close()
            file.unlink(missing_ok=True)


def _download_repository(source: HuggingFace, target: Path) -> None:
    from huggingface_hub import snapshot_download

    with _errors_of_hub(source):
        # It shows its own progress bars and checks size and hash of each file.
        snapshot_download(
            source.hugging_face, revision=source.revision, local_dir=target, allow_patterns=_REPOSITORY_FILES
        )
    shutil.rmtree(target / ".cache", ignore_errors=True)


def _download_files(source: HuggingFace, name: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download.") as folder:
        file = _fetch_of_hub(source, name, folder)
        _put(file, file.name if name.endswith(".onnx") else None, source.sha256, target, str(source))
        for other in source.beside:
            file = _fetch_of_hub(source, other, folder)
            file.replace(target / file.name)


def _fetch_of_hub(source: HuggingFace, name: str, folder: str) -> Path:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    with _errors_of_hub(source):
        size = get_hf_file_metadata(hf_hub_url(source.hugging_face, name, revision=source.revision)).size
        if size is None or size > MAX_DOWNLOAD_BYTES:
            raise ModelError(f"{name} has {size} bytes; at most {MAX_DOWNLOAD_BYTES} are fetched")
        return Path(hf_hub_download(source.hugging_face, name, revision=source.revision, local_dir=folder))


@contextmanager
def _errors_of_hub(source: HuggingFace) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        summary = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ModelError(f"{source}: cannot be fetched: {summary}") from error


def _put(file: Path, graph: str | None, sha256: str | None, target: Path, label: str) -> None:
    """Put a downloaded file into a model's folder: as the graph of that name, or the content of an archive."""
    if sha256:
        _check_hash(file, sha256, label)
    if graph:
        file.replace(target / graph)
        return
    try:
        unpack(file, target)
    except ModelError as error:
        raise ModelError(f"{label}: {str(error).removeprefix(f'{file.name}: ')}") from error


def _check_hash(archive: Path, sha256: str, label: str) -> None:
    found = content_hash([archive])
    if found != sha256:
        raise ModelError(f"{label}: damaged or replaced: its SHA-256 is {found}, expected {sha256}")


@contextmanager
def _progress_bar(label: str) -> Iterator[Callable[[int, int | None], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label.rsplit("/", 1)[-1])
        yield lambda done, total: progress.update(task, completed=done, total=total)

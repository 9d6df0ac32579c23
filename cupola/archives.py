"""Archives unpacked safely, whoever packed them: wheels and other zips, tars, and Debian packages, by the standard library alone.

What is unpacked loses the one folder that source archives ("names-0.3.0/") and npm packages ("package/") put everything in.
"""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import importlib
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from cupola.errors import SourceError

FILES = (".whl", ".tar.gz", ".tgz", ".zip", ".deb")
MOST_UNPACKED = 8 * 2**30  # bytes: beyond this an archive is a bomb or a mistake
MOST_MEMBERS = 200_000
MOST_AT_ONCE = 16 * 2**20  # bytes: tarfile takes a long name or a header into memory whole, however long it says it is


class Member(NamedTuple):
    """One file of an archive, under the name that we give it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)
_UNTRUSTED = "do not trust this archive"


def unpack(archive: Path, folder: Path, admits: Callable[[str], bool], where: str, include: str = "") -> None:
    """The files that `admits` names, one by one under our own names.

    One name that points outside refuses the whole archive, and so does a device. Links are neither made nor followed: Debian packages and
    source archives have some, which are left out; in a wheel or from npm, where there are none, one refuses it.
    Raises SourceError where nothing is admitted, for what unpacks to over 8 GiB or 200,000 files, and for damage.
    """
    folders: set[str] = set()
    name, chosen, total = "", 0, 0
    try:
        with _members(archive, where) as members:
            for number, (name, size, opened) in enumerate(members):
                folders.add(name.rpartition("/")[0])
                total += size if admits(name) else 0
                if total > MOST_UNPACKED or number >= MOST_MEMBERS:
                    raise _too_much(where)
                if not admits(name):
                    continue
                target = folder.joinpath(*PurePosixPath(name).parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened() as packed, target.open("xb") as file:  # x: no member writes over another
                    shutil.copyfileobj(packed, file, 1 << 20)
                chosen += 1
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise SourceError(f"two members are {name}", where, _UNTRUSTED) from None
    except OSError as e:
        if e.errno != errno.ENAMETOOLONG:
            raise
        raise SourceError(f"the archive's member {name[:80]!r}... has too long a name", where, "leave it out: exclude") from None
    except _DAMAGE as e:
        raise SourceError(f"{archive.name} is damaged: {e}", where, f"delete {archive.parent} and try again") from None
    if not chosen:
        inside = ", ".join(sorted(folders)[:12]) + (" ..." if len(folders) > 12 else "")
        raise SourceError(f"include admits no file: {include}", where, f"its folders are: {inside}")


def _too_much(where: str) -> SourceError:
    what = f"unpacks to more than {MOST_UNPACKED:,} bytes or {MOST_MEMBERS:,} files"
    return SourceError(what, where, "if it is no bomb: unpack what you need yourself, and name the folder")


@contextlib.contextmanager
def _members(archive: Path, where: str) -> Iterator[Iterator[Member]]:
    """The files in an archive, one after the other; each must be read before the next is asked for."""
    with contextlib.ExitStack() as held:
        if archive.suffix in (".whl", ".zip"):
            yield _of_zip(held.enter_context(zipfile.ZipFile(archive)), archive.suffix == ".zip", where)
            return
        file: Any = held.enter_context(archive.open("rb"))
        if archive.suffix == ".deb":
            file = _data_of_deb(file)
        stream = _Stream(held.enter_context(_decompressed(file, where)), where)
        # The encoding is said, since a system's own would make other names of the same bytes.
        tar = held.enter_context(tarfile.open(fileobj=stream, mode="r:", encoding="utf-8"))  # pyrefly: ignore
        yield _of_tar(tar, archive.suffix, where)
        while stream.read(1 << 20):  # the checksum is at the end
            pass


def _of_zip(archive: zipfile.ZipFile, strip: bool, where: str) -> Iterator[Member]:
    for info in archive.infolist():
        if stat.S_ISLNK(info.external_attr >> 16):
            raise SourceError(f"the archive's member {info.filename!r} is a link", where, _UNTRUSTED)
        name = _safe(info.filename, strip, where)
        if not info.is_dir():
            yield Member(name, info.file_size, lambda info=info: archive.open(info))


def _of_tar(archive: tarfile.TarFile, suffix: str, where: str) -> Iterator[Member]:
    for info in archive:
        name = _safe(info.name, suffix != ".deb", where)
        if info.size < 0:
            raise tarfile.ReadError(f"{name} has a size of {info.size}")
        if info.isfile():
            yield Member(name, info.size, lambda info=info: archive.extractfile(info))  # pyrefly: ignore
        elif (info.issym() or info.islnk()) and suffix == ".tgz":
            raise SourceError(f"the archive's member {info.name!r} is a link", where, _UNTRUSTED)
        elif not (info.isdir() or info.issym() or info.islnk()):
            raise SourceError(f"the archive's member {info.name!r} is a device", where, _UNTRUSTED)


def _safe(told: str, strip: bool, where: str) -> str:
    """The name we give to a member: as it is told, less "./" and, with `strip`, the first folder. Raises SourceError if it leads out.

    A name that is not UTF-8 is read as Latin-1, which older archives have.
    """
    try:
        told.encode()
    except UnicodeEncodeError:
        told = told.encode("utf-8", "surrogateescape").decode("latin-1")
    name = re.sub(r"^(?:\./+)+", "", told)
    name = name.partition("/")[2] or name if strip else name
    if name.startswith("/") or told.startswith("/") or "\\" in name or "\0" in name or ".." in told.split("/"):
        raise SourceError(f"the archive's member {told!r} points outside of it", where, _UNTRUSTED)
    # "C:" begins a path on Windows, in any folder; elsewhere Debian packages have pages called "A::B.3pm".
    begins = {*name.split("/"), told.partition("/")[0]} if os.name == "nt" else {name.partition("/")[0], told.partition("/")[0]}
    if any(":" in part for part in begins):
        raise SourceError(f"the archive's member {told!r} points outside of it", where, _UNTRUSTED)
    return str(PurePosixPath(name))


class _Stream:
    """A decompressed tar that is read forward only, and neither without end nor too much at once."""

    def __init__(self, file: IO[bytes], where: str):
        self.file, self.where, self.position = file, where, 0

    def tell(self) -> int:
        return self.position

    def seek(self, position: int) -> None:
        if position < self.position:
            raise tarfile.ReadError(f"a member begins inside of the one before it, at byte {position:,}")
        while self.position < position and self.read(min(position - self.position, 1 << 20)):
            pass

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MOST_AT_ONCE:
            raise tarfile.ReadError(f"a header of {size:,} bytes, at byte {self.position:,}")
        try:
            data = self.file.read(size)
        except OSError as e:
            if e.errno is not None:
                raise
            raise tarfile.ReadError(str(e)) from None  # gzip and bz2 say so that their data is wrong
        self.position += len(data)
        if self.position > MOST_UNPACKED:
            raise _too_much(self.where)
        return data


def _decompressed(file: Any, where: str) -> IO[bytes]:
    """A file of a packed tar, unpacked while it is read; what it is packed with stands in its first bytes."""
    start = file.tell()
    head = file.read(6)
    file.seek(start)
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)  # pyrefly: ignore
    if head.startswith(b"BZh"):
        return bz2.BZ2File(file)  # pyrefly: ignore
    if head.startswith((b"\xfd7zXZ", b"\x5d\0\0")):
        return lzma.LZMAFile(file)  # pyrefly: ignore
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        try:
            return importlib.import_module("compression.zstd").ZstdFile(file)
        except ImportError:
            fix = "use Python 3.14 or newer, or name another source as its fallback"
            raise SourceError("packed with zstd, which this Python cannot read", where, fix) from None
    return file


class _Part:
    """`size` bytes of a file from where it stands, as a file."""

    def __init__(self, file: IO[bytes], size: int):
        self.file, self.start, self.end = file, file.tell(), file.tell() + size

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *_: object) -> None:
        """The file is whoever's that opened it."""

    def tell(self) -> int:
        return self.file.tell() - self.start

    def seek(self, position: int, whence: int = 0) -> int:
        return self.file.seek(self.start + position) - self.start

    def read(self, size: int = -1) -> bytes:
        left = max(0, self.end - self.file.tell())
        return self.file.read(left if size < 0 else min(size, left))


def _data_of_deb(file: IO[bytes]) -> _Part:
    """The data.tar of a Debian package: "!<arch>" and then, before each part, 60 bytes with its name and size."""
    if file.read(8) != b"!<arch>\n":
        raise ValueError("it is no Debian package")
    while len(head := file.read(60)) == 60:
        name, size = head[:16].decode("latin-1").strip().rstrip("/"), int(head[48:58])
        if size < 0:
            raise ValueError(f"{name} has a size of {size}")
        if name.startswith("data.tar"):
            return _Part(file, size)
        file.seek(size + size % 2, 1)
    raise ValueError("there is no data in it")

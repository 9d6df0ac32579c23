"""Packages as plain files: fetched from the indexes of Python, npm and Debian, and unpacked without running a line of them.

A Python wheel comes through pip, a source archive straight from the index that pip is set to (pip would run its build), an npm package
through npm or the registry, a Debian package through apt-get. All are read by the standard library: zip, tar, and Debian's ar.
What is unpacked loses the one folder that source archives ("names-0.3.0/") and npm packages ("package/") put everything in.
"""

from __future__ import annotations

import base64
import bz2
import contextlib
import errno
import gzip
import hashlib
import html.parser
import http.client
import importlib
import json
import lzma
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from cupola.errors import MachineError, SourceError

Run = Callable[..., subprocess.CompletedProcess[str]]
Get = Callable[[str, str], IO[bytes]]

MOST_UNPACKED = 8 * 2**30  # bytes: beyond this an archive is a bomb or a mistake
MOST_MEMBERS = 200_000
MOST_AT_ONCE = 16 * 2**20  # bytes: tarfile takes a long name or a header into memory whole, however long it says it is
MOST_FETCHED = 2 * 2**30
MOST_PAGE = 64 * 2**20  # the longest page of the Python index has about 30 MB
PYPI, NPM = "https://pypi.org/simple", "https://registry.npmjs.org"
FILES = (".whl", ".tar.gz", ".tgz", ".zip", ".deb")
_NETWORK = "check the name, the version and the network"


# --- addresses ----------------------------------------------------------------------------------------------------------------------------


def get(url: str, accept: str = "*/*") -> IO[bytes]:
    """What lies at an address (http, https or file), to be read in blocks and closed. Raises SourceError when it does not come.

    A name and password in the address go to that host alone, not along with a redirect.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        user, _, host = parts.netloc.rpartition("@")
        if parts.scheme not in ("http", "https", "file"):
            raise ValueError(f"an address of the kind {parts.scheme!r}")
        headers = {"Accept": accept, "User-Agent": "cupola"}
        request = urllib.request.Request(urllib.parse.urlunsplit(parts._replace(netloc=host)), headers=headers)
        if user:
            login = urllib.parse.unquote(user if ":" in user else f"{user}:").encode()
            request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
        return urllib.request.urlopen(request, timeout=60)
    except (OSError, ValueError, http.client.HTTPException) as e:
        if isinstance(e, urllib.error.HTTPError):
            e.close()
        raise SourceError(f"cannot be fetched: {getattr(e, 'reason', None) or e}", _shown(url), _NETWORK) from None


def _shown(url: str) -> str:
    """An address without the password that some indexes want in it."""
    return re.sub(r"//[^/@\s]*@", "//", url)


def _blocks(fetch: Get, url: str, accept: str, most: int) -> Iterator[bytes]:
    """What lies at an address, a mebibyte at a time. Raises SourceError for more than `most` bytes, or fewer than were announced."""
    came = 0
    with fetch(url, accept) as answer:
        told = str((getattr(answer, "headers", None) or {}).get("Content-Length", ""))
        while True:
            try:
                block = answer.read(1 << 20)
            except (OSError, http.client.HTTPException) as e:
                raise SourceError(f"broke off after {came:,} bytes: {e}", _shown(url), "try again") from None
            if not block:
                break
            came += len(block)
            if came > most:
                raise SourceError(f"more than {most:,} bytes", _shown(url), "that is more than cupola fetches")
            yield block
    if told.isdecimal() and int(told) != came:  # read(n) says nothing of a connection that was cut
        raise SourceError(f"broke off after {came:,} of {int(told):,} bytes", _shown(url), "try again")


def _saved(fetch: Get, url: str, path: Path, hashes: dict[str, str], where: str) -> Path:
    """A file at `path`, if its hashes ({"sha256": hexadecimal}) are those that the index gives; none, if it gives none."""
    known = {kind: hashlib.new(kind, usedforsecurity=False) for kind in hashes if kind in ("md5", "sha1", "sha256", "sha384", "sha512")}
    with path.open("wb") as file:
        for block in _blocks(fetch, url, "*/*", MOST_FETCHED):
            file.write(block)
            for digest in known.values():
                digest.update(block)
    for kind, digest in known.items():
        if digest.hexdigest() != hashes[kind].lower():
            what = f"what came has {kind} {digest.hexdigest()}, and the index says {hashes[kind]}"
            raise SourceError(what, where, "do not trust what came; try again")
    return path


# --- Python -------------------------------------------------------------------------------------------------------------------------------


def from_pip(name: str, version: str, wheel: str | None, folder: Path, run: Run, fetch: Get, where: str) -> Path:
    """One wheel of a package in `folder`; its source archive where it has no wheel.

    wheel: the tags of the wheel that is meant, "cp311-cp311-manylinux_2_28_x86_64", for packages that have one for each system.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-input"]
    command += ["--disable-pip-version-check", "--retries=2", "--timeout=15", "--dest", str(folder)]
    if wheel:
        python, abi, platform = wheel.split("-")
        command += ["--implementation", "cp", "--python-version", python.removeprefix("cp"), "--abi", abi, "--platform", platform]
    try:
        done = run(
            [*command, f"{name}=={version}"], capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False
        )
    except OSError as e:
        raise MachineError(f"pip did not start: {e.strerror or e}", sys.executable, "python -m ensurepip brings pip") from None
    said = _last_line(done.stderr or "") or _last_line(done.stdout or "")
    if done.returncode == 0:
        wheels = sorted(folder.glob("*.whl"))
        if len(wheels) != 1:
            raise SourceError(f"pip left {len(wheels)} wheels: {said}", where, "give one package with a version")
        return wheels[0]
    if "No module named pip" in said:
        raise MachineError("this Python has no pip", sys.executable, "python -m ensurepip brings it")
    if "No space left" in said:
        raise MachineError(f"pip found no space: {said}", str(folder.parent), "free some space and run it again")
    if "No matching distribution" in said and not wheel and (found := _from_index(name, version, folder, run, fetch, where)):
        return found
    raise SourceError(f"pip could not download it: {_shown(said) or f'exit {done.returncode}'}", where, _NETWORK)


def _last_line(text: str) -> str:
    """The last thing a tool said, its last error rather than a warning behind it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or [""])[-1].removeprefix("ERROR:").strip()


def _from_index(name: str, version: str, folder: Path, run: Run, fetch: Get, where: str) -> Path | None:
    """The source archive of a package, by the simple pages (PEP 503, 691) of the indexes that pip is set to; None where none has it."""
    spelt = "[-_.]+".join(re.escape(part) for part in re.split(r"[-_.]+", name))
    for index in indexes(run):
        page = f"{index.rstrip('/')}/{re.sub(r'[-_.]+', '-', name).lower()}/" + ("index.html" if index.startswith("file:") else "")
        try:
            text = b"".join(_blocks(fetch, page, "application/vnd.pypi.simple.v1+json, text/html;q=0.5", MOST_PAGE)).decode(
                "utf-8", "replace"
            )
        except SourceError:
            continue  # another index may have it
        links = list(_links(text, page))
        for suffix in (".tar.gz", ".zip"):
            wanted = re.compile(f"{spelt}-{re.escape(version + suffix)}", re.I)
            for url, file, hashes in links:
                if wanted.fullmatch(file):
                    return _saved(fetch, url, folder / file, hashes, where)
    return None


def indexes(run: Run) -> list[str]:
    """The package indexes that pip is set to by its files and the environment, the main one first."""
    told = _pip_settings(run)
    main = [] if told.get("no-index", "").lower() in ("1", "true", "yes", "on") else [told.get("index-url") or PYPI]
    return list(dict.fromkeys([*main, *(told.get("extra-index-url", "").split() if main else ())]))


def _pip_settings(run: Run) -> dict[str, str]:
    """What `pip config list` says of `pip download`: the environment before the section for downloads before the one for everything."""
    try:
        done = run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, errors="replace", check=False)
    except OSError:
        return {}
    told = {}
    for section in ("global.", "download.", ":env:."):
        for line in (done.stdout or "").splitlines():
            key, _, value = line.partition("=")
            if key.startswith(section):
                told[key.removeprefix(section)] = value.strip("'\"").replace("\\n", " ")
    return told


class _Anchors(html.parser.HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for key, value in attrs if tag == "a" and key == "href" and value]


def _links(text: str, page: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(address, file, hashes) of every file on a simple page, JSON or HTML; nothing for a page that is neither."""
    if text.lstrip().startswith("{"):
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            for file in json.loads(text)["files"]:
                hashes = {str(kind): str(digest) for kind, digest in (file.get("hashes") or {}).items()}
                if address := _address(page, str(file["url"])):
                    yield address, str(file["filename"]), hashes
        return
    for link in _Anchors(text).found:
        address, _, fragment = _address(page, link).partition("#")
        kind, _, digest = fragment.partition("=")
        if address:
            yield address, urllib.parse.unquote(address.rpartition("/")[2]), {kind: digest} if digest else {}


def _address(page: str, link: str) -> str:
    """Where a link on a page leads, with the page's own name and password if it stays on that host; "" if it is none to follow."""
    try:
        here, there = urllib.parse.urlsplit(page), urllib.parse.urlsplit(urllib.parse.urljoin(page, link))
    except ValueError:
        return ""
    if there.scheme not in (("http", "https", "file") if here.scheme == "file" else ("http", "https")):
        return ""  # a page from elsewhere has no say over files of this machine
    if (there.scheme, there.netloc) == (here.scheme, here.netloc.rpartition("@")[2]):
        there = there._replace(netloc=here.netloc)
    return there.geturl()


# --- npm and Debian -----------------------------------------------------------------------------------------------------------------------


def from_npm(name: str, version: str, folder: Path, run: Run, fetch: Get, where: str) -> Path:
    """A package's .tgz in `folder`, by npm (and the registry that it is set to) where it is installed, else from the public registry."""
    if (npm := shutil.which("npm")) and (found := _by_npm(npm, f"{name}@{version}", folder, run, where)):
        return found
    page = f"{NPM}/{urllib.parse.quote(name, safe='@')}/{urllib.parse.quote(version)}"
    try:
        facts = json.loads(b"".join(_blocks(fetch, page, "application/json", MOST_PAGE)))["dist"]
        hashes = {"sha1": str(facts["shasum"])} if facts.get("shasum") else {}
        for part in str(facts.get("integrity") or "").split():  # "sha512-BASE64", as pages give it
            kind, _, digest = part.partition("-")
            hashes[kind] = base64.b64decode(digest).hex()
        address = _address(page, str(facts["tarball"]))
    except SourceError as e:
        raise SourceError(f"the registry: {e.what}", where, e.fix) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SourceError("the registry knows no such package and version", where, "check the name and the version") from None
    return _saved(fetch, address, folder / f"{name.rpartition('/')[2]}-{version}.tgz", hashes, where)


def _by_npm(npm: str, wanted: str, folder: Path, run: Run, where: str) -> Path | None:
    """What npm downloads; None where npm itself does not work here. Raises SourceError for what the registry said through it."""
    command = [npm, "pack", wanted, "--pack-destination", os.path.abspath(folder), "--ignore-scripts", "--json", "--fetch-retries=1"]
    try:
        with tempfile.TemporaryDirectory() as empty:  # in a folder with a package.json npm would heed its settings
            done = run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False, cwd=empty)
    except OSError:
        return None
    if done.returncode == 0:
        return next(iter(sorted(folder.glob("*.tgz"))), None)
    try:
        error = json.loads(done.stdout)["error"]
        code, said = str(error["code"]), str(error["summary"]).strip()
    except (ValueError, KeyError, TypeError):
        return None
    if code in ("EACCES", "EPERM", "EROFS", "ENOSPC"):  # its cache, or its own folder
        return None
    raise SourceError(f"npm could not download it: {_shown(said)}", where, _NETWORK)


def from_apt(name: str, version: str, folder: Path, run: Run, where: str) -> Path:
    """A Debian package in `folder`, by apt-get. Raises SourceError where there is none."""
    apt = shutil.which("apt-get")
    if apt is None:
        raise SourceError("Debian packages need apt-get, which this system has not", where, "name another source as its fallback")
    command = [apt, "download", "-q", f"{name}={version}" if version else name]
    try:
        done = run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False, cwd=folder)
    except OSError as e:
        raise SourceError(f"apt-get did not start: {e.strerror or e}", where, "name another source as its fallback") from None
    if found := sorted(folder.glob(f"{name}_*.deb")):  # apt-get takes a name that it does not know for a pattern
        return found[0]
    said = _last_line(re.sub(r"^E: ", "ERROR: ", done.stderr or "", flags=re.M)) or f"exit {done.returncode}"
    raise SourceError(f"apt-get could not download it: {said}", where, "apt-get update, or name another source as its fallback")


# --- unpacking ----------------------------------------------------------------------------------------------------------------------------


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
    parts = name.split("/")
    colons = parts if os.name == "nt" else parts[:1]  # "C:" begins a path on Windows; inside Debian packages there are "A::B.3pm"
    if name.startswith("/") or told.startswith("/") or "\\" in name or "\0" in name or ".." in told.split("/"):
        raise SourceError(f"the archive's member {told!r} points outside of it", where, _UNTRUSTED)
    if any(":" in part for part in colons):
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

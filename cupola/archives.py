"""Packages as plain files: fetched from the indexes of Python, npm and Debian, and unpacked without running a line of them.

A Python wheel comes through pip, a source archive straight from the index that pip is set to (pip would run its build), an npm package
through npm or the registry, a Debian package through apt-get. All are read by the standard library: zip, tar, and Debian's ar.
"""

from __future__ import annotations

import contextlib
import hashlib
import html.parser
import json
import lzma
import os
import re
import shutil
import stat
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
from typing import IO, NamedTuple

from cupola.errors import MachineError, SourceError

Run = Callable[..., subprocess.CompletedProcess[str]]
Get = Callable[[str, str], bytes]

MOST_UNPACKED = 8 * 2**30  # bytes: beyond this an archive is a bomb or a mistake
MOST_FETCHED = 2 * 2**30
PYPI, NPM = "https://pypi.org/simple", "https://registry.npmjs.org"
FILES = (".whl", ".tar.gz", ".tgz", ".zip", ".deb")


def get(url: str, accept: str = "*/*") -> bytes:
    """What lies at an address, file:// ones too. Raises SourceError when it does not come."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=60) as answer:
            data = answer.read(MOST_FETCHED + 1)
    except (OSError, ValueError) as e:
        raise SourceError(
            f"cannot be fetched: {getattr(e, 'reason', None) or e}", _shown(url), "check the name, the version and the network"
        ) from None
    if len(data) > MOST_FETCHED:
        raise SourceError(f"more than {MOST_FETCHED:,} bytes", _shown(url), "that is more than cupola fetches")
    return data


def _shown(url: str) -> str:
    """An address without the password that some indexes want in it."""
    return re.sub(r"//[^/@]*@", "//", url)


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
    if "No matching distribution" in said and (found := _from_index(name, version, folder, run, fetch, where)):
        return found
    fix = "check the name, the version and the network"
    raise SourceError(f"pip could not download it: {said or f'exit {done.returncode}'}", where, fix)


def _last_line(text: str) -> str:
    """The last thing pip said, its last error rather than a warning behind it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or [""])[-1].removeprefix("ERROR:").strip()


def _from_index(name: str, version: str, folder: Path, run: Run, fetch: Get, where: str) -> Path | None:
    """The source archive of a package, by the simple pages (PEP 503, 691) of the indexes that pip is set to; None where none has it."""
    wanted = re.compile(rf"{re.sub(r'[-_.]+', '[-_.]+', re.escape(name).replace(chr(92), ''))}-{re.escape(version)}\.(tar\.gz|zip)", re.I)
    for index in indexes(run):
        page = f"{index.rstrip('/')}/{re.sub(r'[-_.]+', '-', name).lower()}/"
        try:
            data = fetch(page, "application/vnd.pypi.simple.v1+json, text/html;q=0.5")
        except SourceError:
            continue  # another index may have it
        for url, file, digest in _links(data, page):
            if wanted.fullmatch(file):
                return _kept(fetch(url, "*/*"), folder / file, digest, where)
    return None


def indexes(run: Run) -> list[str]:
    """The package indexes that pip is set to, the main one first."""
    told = dict(_pip_settings(run))
    main = os.environ.get("PIP_INDEX_URL") or told.get("index-url") or PYPI
    more = os.environ.get("PIP_EXTRA_INDEX_URL") or told.get("extra-index-url") or ""
    return list(dict.fromkeys([main, *more.split()]))


def _pip_settings(run: Run) -> Iterator[tuple[str, str]]:
    try:
        done = run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, errors="replace", check=False)
    except OSError:
        return
    for line in (done.stdout or "").splitlines():
        key, _, value = line.partition("=")
        if key.startswith(("global.", "site.", "user.")):
            yield key.partition(".")[2], value.strip("'\"").replace("\\n", " ")


class _Anchors(html.parser.HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for key, value in attrs if tag == "a" and key == "href" and value]


def _links(data: bytes, page: str) -> Iterator[tuple[str, str, str]]:
    """(address, file, sha256 or "") of every file on a simple page, JSON or HTML."""
    text = data.decode("utf-8", "replace")
    if text.lstrip().startswith("{"):
        try:
            for file in json.loads(text)["files"]:
                yield urllib.parse.urljoin(page, file["url"]), file["filename"], file.get("hashes", {}).get("sha256", "")
        except (ValueError, KeyError, TypeError):
            return
        return
    for link in _Anchors(text).found:
        address, _, fragment = urllib.parse.urljoin(page, link).partition("#")
        digest = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""
        yield address, urllib.parse.unquote(address.rpartition("/")[2]), digest


def _kept(data: bytes, path: Path, digest: str, where: str) -> Path:
    if digest and (came := hashlib.sha256(data).hexdigest()) != digest:
        raise SourceError(f"what came has sha256 {came}, and the index says {digest}", where, "do not trust what came; try again")
    path.write_bytes(data)
    return path


# --- npm and Debian -----------------------------------------------------------------------------------------------------------------------


def from_npm(name: str, version: str, folder: Path, run: Run, fetch: Get, where: str) -> Path:
    """A package's .tgz in `folder`, by npm where it is installed, else from the registry."""
    npm = shutil.which("npm")
    if npm:
        with tempfile.TemporaryDirectory() as empty:
            command = [npm, "pack", f"{name}@{version}", "--pack-destination", str(folder), "--ignore-scripts", "--silent"]
            with contextlib.suppress(OSError):  # the registry is the second way
                run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False, cwd=empty)
        if found := sorted(folder.glob("*.tgz")):
            return found[0]
    quoted = urllib.parse.quote(name, safe="@")
    try:
        facts = json.loads(fetch(f"{NPM}/{quoted}/{version}", "application/json"))
        address = str(facts["dist"]["tarball"])
    except (ValueError, KeyError, TypeError):
        raise SourceError("the registry knows no such package and version", where, "check the name and the version") from None
    return _kept(fetch(address, "*/*"), folder / f"{name.rpartition('/')[2]}-{version}.tgz", "", where)


def from_apt(name: str, version: str, folder: Path, run: Run, where: str) -> Path:
    """A Debian package in `folder`, by apt-get. Raises SourceError where there is none."""
    apt = shutil.which("apt-get")
    if apt is None:
        raise SourceError("Debian packages need apt-get, which this system has not", where, "name another source as its fallback")
    wanted = f"{name}={version}" if version else name
    done = run(
        [apt, "download", "-q", wanted], capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False, cwd=folder
    )
    if found := sorted(folder.glob("*.deb")):
        return found[0]
    said = _last_line((done.stderr or "").replace("E: ", "ERROR: ")) or f"exit {done.returncode}"
    raise SourceError(f"apt-get could not download it: {said}", where, "apt-get update, or name another source as its fallback")


# --- unpacking ----------------------------------------------------------------------------------------------------------------------------


class Member(NamedTuple):
    """One file of an archive, under the name that we give it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, folder: Path, admits: Callable[[str], bool], where: str, include: str = "") -> None:
    """The files that `admits` names, one by one under our own names.

    One name that points outside refuses the whole archive; links are not followed and not made; a link in a wheel refuses it, since a
    wheel has none. Raises SourceError where nothing is admitted, for what unpacks to over 8 GiB, and for damage.
    """
    try:
        with _opened(archive, where) as members:
            chosen, folders, total = 0, set(), 0
            for member in members:
                _check_name(member.name, where)
                folders.add(member.name.rpartition("/")[0])
                if not admits(member.name):
                    continue
                chosen, total = chosen + 1, total + member.size
                if total > MOST_UNPACKED:
                    raise SourceError(f"unpacks to more than {MOST_UNPACKED:,} bytes", where, "narrow it with include")
                target = folder.joinpath(*PurePosixPath(member.name).parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with member.open() as packed, target.open("xb") as file:  # x: no member writes over another
                    shutil.copyfileobj(packed, file, 1 << 20)
    except FileExistsError as e:
        raise SourceError(f"two members are {Path(e.filename).relative_to(folder)}", where, "do not trust this archive") from None
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError, ValueError, zlib.error, lzma.LZMAError) as e:
        raise SourceError(f"{archive.name} is damaged: {e}", where, f"delete {archive.parent} and try again") from None
    if not chosen:
        inside = ", ".join(sorted(folders)[:12]) + (" ..." if len(folders) > 12 else "")
        raise SourceError(f"include admits no file: {include}", where, f"its folders are: {inside}")


class _opened:
    """The members of an archive, as a context manager."""

    def __init__(self, archive: Path, where: str):
        self.archive, self.where = archive, where

    def __enter__(self) -> Iterator[Member]:
        self.holds: list[IO[bytes] | zipfile.ZipFile | tarfile.TarFile] = []
        name = self.archive.name
        if name.endswith((".whl", ".zip")):
            opened = zipfile.ZipFile(self.archive)
            self.holds.append(opened)
            return self._of_zip(opened, strip=name.endswith(".zip"))
        if name.endswith(".deb"):
            data = _data_of_deb(self.archive, self.where)
            self.holds.append(data)
            tar = tarfile.open(fileobj=data, mode="r:*")
        else:
            tar = tarfile.open(self.archive, "r:*")
        self.holds.append(tar)
        return self._of_tar(tar, strip=not name.endswith(".deb"))

    def __exit__(self, *_: object) -> None:
        for held in reversed(self.holds):
            held.close()

    def _of_zip(self, archive: zipfile.ZipFile, strip: bool) -> Iterator[Member]:
        for info in archive.infolist():
            if stat.S_ISLNK(info.external_attr >> 16):
                raise SourceError(f"the archive's member {info.filename!r} is a link", self.where, "do not trust this archive")
            if info.is_dir():
                _check_name(info.filename.rstrip("/"), self.where)
                continue
            yield Member(_stripped(info.filename, strip), info.file_size, lambda info=info: archive.open(info))

    def _of_tar(self, archive: tarfile.TarFile, strip: bool) -> Iterator[Member]:
        for info in archive:
            _check_name(info.name.removeprefix("./").rstrip("/") or ".", self.where)
            if info.isfile():
                name = _stripped(info.name.removeprefix("./"), strip)
                yield Member(name, info.size, lambda info=info: archive.extractfile(info))  # pyrefly: ignore
            elif not (info.isdir() or info.issym() or info.islnk()):
                raise SourceError(f"the archive's member {info.name!r} is a device", self.where, "do not trust this archive")


def _stripped(name: str, strip: bool) -> str:
    """Without the one folder that source archives and npm packages put everything in."""
    return name.partition("/")[2] or name if strip else name


def _check_name(name: str, where: str) -> None:
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or "\0" in name or ":" in parts[0] or ".." in parts:
        raise SourceError(f"the archive's member {name!r} points outside of it", where, "do not trust this archive")


def _data_of_deb(path: Path, where: str) -> IO[bytes]:
    """The data.tar of a Debian package, as a file: ar headers of 60 bytes, one before each part."""
    with path.open("rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise SourceError(f"{path.name} is no Debian package", where, "it is damaged: try again")
        while len(head := file.read(60)) == 60:
            name, size = head[:16].decode("latin-1").strip().rstrip("/"), int(head[48:58])
            if name.startswith("data.tar"):
                if name.endswith(".zst") and sys.version_info < (3, 14):
                    raise SourceError("packed with zstd, which this Python cannot read", where, "use Python 3.14, or name a fallback")
                out = tempfile.TemporaryFile()  # noqa: SIM115
                while size > 0 and (block := file.read(min(size, 1 << 20))):
                    out.write(block)
                    size -= len(block)
                out.seek(0)
                return out
            file.seek(size + size % 2, 1)
    raise SourceError(f"{path.name} has no data in it", where, "it is damaged: try again")

"""Packages as plain files, fetched from the indexes of Python, npm and Debian without running a line of them.

A Python wheel comes through pip, a source archive straight from the index that pip is set to (pip would run its build), an npm package
through npm or the registry, a Debian package through apt-get. What comes is one file, unpacked by archives.py.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html.parser
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from cupola.errors import MachineError, SourceError

Run = Callable[..., subprocess.CompletedProcess[str]]
Get = Callable[[str, str], IO[bytes]]

MOST_FETCHED = 2 * 2**30
MOST_PAGE = 64 * 2**20  # the longest page of the Python index has about 30 MB
PYPI, NPM = "https://pypi.org/simple", "https://registry.npmjs.org"
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

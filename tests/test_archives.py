"""What an archive may not do, whoever packed it."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile

import pytest

from cupola import archives
from cupola.errors import SourceError


def tar(*members, packed=gzip.compress, **kwargs) -> bytes:
    """A packed tar: (name, bytes) pairs, and TarInfo objects as they are."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **kwargs) as archive:
        for member in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member[0])
            data = b"" if info is member else member[1]
            info.size = info.size or len(data)
            archive.addfile(info, io.BytesIO(data) if data else None)
    return packed(out.getvalue())


def special(name: str, kind: bytes = tarfile.REGTYPE, to: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, to, size
    return info


def deb(data: bytes, name: str = "data.tar.gz", size: str = "") -> bytes:
    parts = [("debian-binary", b"2.0\n"), ("control.tar.gz", b"odd"), (name, data)]
    head = lambda name, size: f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{size:<10}`\n".encode()  # noqa: E731
    return b"!<arch>\n" + b"".join(head(n, size or len(d)) + d + b"\n" * (len(d) % 2) for n, d in parts) + head("_gpg", 3) + b"sig\n"


def unpacked(folder, name: str, data: bytes, admits=lambda path: True) -> dict[str, bytes]:
    (folder / name).write_bytes(data)
    archives.unpack(folder / name, folder / "into", admits, "here")
    return {
        path.relative_to(folder / "into").as_posix(): path.read_bytes() for path in sorted((folder / "into").rglob("*")) if path.is_file()
    }


def refusal(folder, name: str, data: bytes) -> str:
    with pytest.raises(SourceError) as caught:
        unpacked(folder, name, data)
    assert [path.name for path in folder.iterdir()] in ([name], [name, "into"], ["into", name])  # nothing landed beside it
    return str(caught.value)


GOOD = ("p-1/a.txt", b"a")


@pytest.mark.parametrize("packed", [gzip.compress, bz2.compress, lzma.compress, bytes], ids=["gz", "bz2", "xz", "plain"])
def test_a_debian_package_is_read_however_it_is_packed_and_keeps_its_folders(tmp_path, packed):
    data = tar(("./usr/share/a b 🎈/c.des", b"MAP" * 999), ("./usr/share/B::C.3pm", b"x"), packed=packed)
    got = unpacked(tmp_path, "m_1%3a2_all.deb", deb(data))
    assert got == {"usr/share/B::C.3pm": b"x", "usr/share/a b 🎈/c.des": b"MAP" * 999}


def test_source_archives_and_npm_packages_lose_their_one_folder(tmp_path):
    for number, name in enumerate(("p-1.tar.gz", "p-1.tgz")):
        (tmp_path / str(number)).mkdir()
        got = unpacked(tmp_path / str(number), name, tar(("p-1/a b/🎈 ü.txt", b"x"), ("./p-1/c.txt", b""), special("p-1", tarfile.DIRTYPE)))
        assert got == {"a b/🎈 ü.txt": b"x", "c.txt": b""}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("p-1/a.txt", "a")
    assert unpacked(tmp_path, "p-1.zip", out.getvalue()) == {"a.txt": b"a"}


@pytest.mark.parametrize("name", ["/etc/x", "../x", "p-1/../../x", "p-1//etc/x", "p-1/C:/x", "C:/x", "p-1/..\\x", "p-1/.."])
@pytest.mark.parametrize("file", ["p-1.tar.gz", "p-1.tgz", "p.deb"])
def test_a_name_that_leads_out_refuses_the_whole_archive(tmp_path, file, name):
    data = tar(GOOD, (name, b"gotcha"))
    if file == "p.deb" and name in ("p-1//etc/x", "p-1/C:/x"):  # nothing is taken off in front of these, so they stay inside
        assert len(unpacked(tmp_path, file, deb(data))) == 2
        return
    said = refusal(tmp_path, file, deb(data) if file == "p.deb" else data)
    assert f"the archive's member {name!r} points outside of it\n  do not trust this archive" in said


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE], ids=["symbolic", "hard"])
def test_links_are_never_made_and_an_npm_package_has_none(tmp_path, kind):
    link = special("p-1/l", kind, "/etc/passwd")
    through = ("p-1/l/x", b"inside")  # would land behind the link, if that were made
    assert unpacked(tmp_path, "p.tar.gz", tar(GOOD, link, through)) == {"a.txt": b"a", "l/x": b"inside"}
    (tmp_path / "deb").mkdir()
    assert unpacked(tmp_path / "deb", "p.deb", deb(tar(GOOD, link))) == {"p-1/a.txt": b"a"}
    (tmp_path / "npm").mkdir()
    assert "the archive's member 'p-1/l' is a link" in refusal(tmp_path / "npm", "p.tgz", tar(GOOD, link))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("file", ["p.tar.gz", "p.deb"])
def test_devices_and_pipes_refuse_the_archive(tmp_path, file, kind):
    data = tar(GOOD, special("p-1/null", kind))
    assert "the archive's member 'p-1/null' is a device" in refusal(tmp_path, file, deb(data) if file == "p.deb" else data)


@pytest.mark.parametrize("second", ["p-1/a.txt", "./p-1/a.txt", "p-1/./a.txt", "p-1/a.txt/b", "p-1/a.txt/b/c"])
def test_two_members_of_one_name_are_refused(tmp_path, second):
    assert "two members are a.txt" in refusal(tmp_path, "p.tar.gz", tar(GOOD, (second, b"b")))


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_UNPACKED", 1 << 20)
    bomb = tar(("p-1/a", bytes(1 << 19)), ("p-1/b", bytes(1 << 20)))
    assert len(bomb) < 1 << 12
    said = refusal(tmp_path, "p.tar.gz", bomb)
    assert "unpacks to more than 1,048,576 bytes" in said
    assert sum(path.stat().st_size for path in (tmp_path / "into").rglob("*") if path.is_file()) <= 1 << 20
    (tmp_path / "skipped").mkdir()
    with pytest.raises(SourceError, match="unpacks to more than"):  # what is not wanted must be decompressed too
        unpacked(tmp_path / "skipped", "p.tar.gz", bomb, admits=lambda path: path == "c")


def test_a_size_that_lies_is_refused(tmp_path):
    huge = special("p-1/huge", size=1 << 50)
    assert "unpacks to more than" in refusal(tmp_path, "p.tar.gz", tar(huge, format=tarfile.GNU_FORMAT))
    (tmp_path / "name").mkdir()
    name = special("p-1/x", tarfile.GNUTYPE_LONGNAME, size=1 << 40)
    assert "a header of 1,099,511,627,776 bytes" in refusal(tmp_path / "name", "p.tar.gz", tar(name, format=tarfile.GNU_FORMAT))


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 5)
    assert "or 5 files" in refusal(tmp_path, "p.tar.gz", tar(*((f"p-1/{n}", b"") for n in range(6))))


@pytest.mark.parametrize("packed", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_a_torn_or_garbled_archive_is_damaged_wherever_it_is_torn(tmp_path, packed):
    noise = random.Random(0).randbytes(5000)
    whole = tar(GOOD, ("p-1/b", noise), packed=packed)
    for number, torn in enumerate((whole[:40], whole[:-4], whole[: len(whole) // 2], whole[:2000] + b"\xff" * 9 + whole[2009:])):
        (tmp_path / str(number)).mkdir()
        assert "is damaged" in refusal(tmp_path / str(number), "p.tar.gz", torn)
        (tmp_path / f"deb{number}").mkdir()
        assert "is damaged" in refusal(tmp_path / f"deb{number}", "p.deb", deb(torn))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"PK", "it is no Debian package"),
        (deb(b"")[:70], "there is no data in it"),
        (deb(b"", "other"), "there is no data in it"),
        (deb(tar(GOOD), size="-60"), "has a size of -60"),
        (deb(tar(GOOD), size="x"), "invalid literal"),
        (deb(b""), "damaged"),
    ],
)
def test_a_debian_package_that_is_none_is_damaged(tmp_path, data, what):
    said = refusal(tmp_path, "p.deb", data)
    assert "p.deb is damaged" in said
    assert what in said


def test_zstd_is_read_where_python_can_and_else_says_what_to_do(tmp_path):
    with pytest.raises(SourceError) as caught:
        unpacked(tmp_path, "p.deb", deb(b"\x28\xb5\x2f\xfd" + bytes(20), "data.tar.zst"))
    assert "packed with zstd" in str(caught.value) or "is damaged" in str(caught.value)


def test_a_name_in_an_older_encoding_and_one_too_long_for_the_disk(tmp_path):
    latin = tar(GOOD, ("p-1/caf\udce9.txt", b"x"), format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape")
    assert set(unpacked(tmp_path, "p.tar.gz", latin)) == {"a.txt", "café.txt"}
    (tmp_path / "long").mkdir()
    assert "has too long a name" in refusal(tmp_path / "long", "p.tar.gz", tar(GOOD, ("p-1/" + "x" * 300, b"")))


def test_a_full_disk_is_not_taken_for_damage(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):  # sources.writing makes a MachineError of it
        unpacked(tmp_path, "p.tar.gz", tar(GOOD))

import re
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupola.errors import DataError, MachineError
from cupola.media.base import Pins, Problem
from cupola.media.text import LONGEST, Text, canonical, cut, read_blocks, read_text

TEXT = Text()
TEXT_BREAK = re.compile(r"\n")
LETTERS = st.text(st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\ufffd"), max_size=300)


def file(folder: Path, content: bytes, name: str = "notes.txt") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_text(path)
    return str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "Grüße, 世界 🎈\nand more\n".encode(),
        b"\xef\xbb\xbf" + "Grüße, 世界 🎈\nand more\n".encode(),
        b"\xff\xfe" + "Grüße, 世界 🎈\nand more\n".encode("utf-16-le"),
        b"\xfe\xff" + "Grüße, 世界 🎈\nand more\n".encode("utf-16-be"),
        "Grüße, 世界 🎈\r\nand more\r\n".encode(),
        "Grüße, 世界 🎈\rand more\r".encode(),
    ],
)
def test_utf8_and_marked_utf16_read_the_same_whatever_their_newlines(tmp_path, content):
    assert read_text(file(tmp_path, content)) == "Grüße, 世界 🎈\nand more\n"


@pytest.mark.parametrize("newline", ["\r\n", "\r", "\n"])
def test_newlines_and_characters_across_block_borders_survive(tmp_path, newline):
    line = "é" * 20 + newline
    assert read_text(file(tmp_path, (line * 6000).encode())) == ("é" * 20 + "\n") * 6000


def test_a_newline_parted_by_a_block_border_is_one_newline(tmp_path):
    assert read_text(file(tmp_path, b"a" * 65_535 + b"\r\nb\r")) == "a" * 65_535 + "\nb\n"


def test_an_8_bit_encoding_is_refused_with_file_byte_line_and_a_remedy(tmp_path):
    path = file(tmp_path, "first\nsecond\ncaf\xe9 au lait\n".encode("latin-1"))
    assert refusal(path) == (
        f"{path}: byte 16 (line 3) is 0xe9, which is not UTF-8\n"
        "  if that byte should read 'é', the file is Windows-1252: "
        "iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW mends it; otherwise leave it out"
    )


def test_a_fault_far_into_a_file_is_named_with_its_byte_and_line(tmp_path):
    good = "für alle\n".encode() * 40_000
    assert f"byte {len(good) + 3:,} (line 40,001) is 0xe9" in refusal(file(tmp_path, good + b"caf\xe9\n"))


def test_a_cut_off_character_at_the_end_is_a_fault(tmp_path):
    assert "byte 3 (line 1) is 0xc3, which is not UTF-8" in refusal(file(tmp_path, b"abc\xc3"))
    assert "byte 4 (line 1) is 0x61, which is not UTF-16" in refusal(file(tmp_path, b"\xff\xfea\x00a"))


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)),
        b"\x1f\x8b\x08" + bytes(range(200)) * 9,
        b"plain words, then \0 a zero",
        b"\xfa\x01\x02\x03\x04",
    ],
)
def test_a_binary_file_is_called_one(tmp_path, content):
    said = refusal(file(tmp_path, content, "tune.abc"))
    assert "tune.abc: looks binary: byte " in said
    assert "leave it out, or give it its right suffix" in said


def test_utf16_without_its_mark_is_refused_and_recognised(tmp_path):
    assert "it may be UTF-16 or UTF-32 without a byte order mark" in refusal(file(tmp_path, "plain words".encode("utf-16-le")))


def test_a_file_too_large_missing_or_a_folder_is_refused_by_name(tmp_path):
    path = file(tmp_path, b"a" * 1000)
    with pytest.raises(DataError, match="1,000 bytes, more than the 999 that are read at once"):
        read_text(path, max_bytes=999)
    assert len(read_text(path, max_bytes=1000)) == 1000
    assert f"{tmp_path / 'none.txt'}: cannot be read: No such file or directory" in refusal(tmp_path / "none.txt")
    assert "cannot be read: Is a directory" in refusal(tmp_path)


@given(LETTERS)
def test_the_canonical_form_is_stable_and_valid(text):
    once = canonical(text.replace("\r\n", "\n").replace("\r", "\n"))
    assert canonical(once) == once
    assert once == "" or once.strip() == "" or TEXT.check(once) == []


@given(LETTERS)
def test_write_then_read_gives_the_same_text(text):
    text = canonical(text)
    with tempfile.TemporaryDirectory() as folder:
        paths = TEXT.write(text, Path(folder) / "a story. 🎈")
        assert [p.name for p in paths] == ["a story. 🎈.txt"]
        assert [d.text for d in TEXT.read(paths[0])] == ([text] if text else [])


def test_reading_strips_what_an_editor_leaves(tmp_path):
    document = next(TEXT.read(file(tmp_path, b"\xef\xbb\xbf\n\n  Title\t \r\nA line.  \r\n\x0cNext\x1b[0m page.\r\n\r\n")))
    assert document.text == "  Title\nA line.\nNext[0m page.\n"
    assert (document.group, document.path, document.name, document.label) == ("notes.txt", "notes.txt", "notes", None)


@given(st.lists(st.text(st.sampled_from("aé世🎈 \n"), max_size=90), max_size=30), st.integers(8, 60))
def test_pieces_of_a_text_are_bounded_and_make_it_up_again(blocks, limit):
    pieces = list(cut(blocks, limit, (TEXT_BREAK,)))
    assert "".join(pieces) == "".join(blocks)
    assert all(0 < len(piece.encode()) <= limit for piece in pieces)


def test_a_long_file_is_cut_at_blank_lines_else_at_line_ends_else_anywhere(tmp_path):
    paragraphs = file(tmp_path, ("A paragraph of some words.\nIn two lines.\n\n" * 4000).encode(), "paragraphs.txt")
    pieces = list(TEXT.read(paragraphs))
    assert len(pieces) > 10
    assert all(p.text.startswith("A paragraph") and p.text.endswith("two lines.\n") and len(p.text) <= 8192 for p in pieces)
    assert {p.group for p in pieces} == {"paragraphs.txt"}
    assert [p.name for p in pieces[:2]] == ["paragraphs", "paragraphs (2)"]
    lines = list(TEXT.read(file(tmp_path, b"A line of words.\n" * 9000, "lines.txt")))
    assert all(p.text.endswith("A line of words.\n") for p in lines)
    hard = list(TEXT.read(file(tmp_path, "é".encode() * 20_000, "hard.txt")))
    assert "".join(p.text.strip() for p in hard) == "é" * 20_000


def test_a_huge_text_is_cut_without_being_held(tmp_path):
    blocks = ("words and words\n" * 4000 for _ in range(250))  # 16 MB
    tracemalloc.start()
    longest = max(len(piece) for piece in cut(blocks, LONGEST, (TEXT_BREAK,)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert longest <= LONGEST
    assert peak < 2_000_000


def test_a_file_of_200_mb_is_read_in_little_memory(tmp_path):
    path = tmp_path / "one.txt"
    with path.open("wb") as out:
        for n in range(2000):
            out.write((f"Page {n}.\n" + "Some words on this page, and then a few more.\n" * 2180).encode())
    assert path.stat().st_size > 200_000_000
    tracemalloc.start()
    longest = max(len(piece) for piece in read_blocks(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert longest <= 64 * 1024
    assert peak < 2_000_000
    pieces = TEXT.read(path)
    assert max(len(next(pieces).text.encode()) for _ in range(100)) <= LONGEST
    path.unlink()  # pytest keeps its folders for a while


def test_problems_have_a_place():
    assert TEXT.check("fine\nno\x07pe\n") == [Problem(2, 3, "control character U+0007", "leave it out")]
    assert TEXT.check("lost \ufffd\n")[0].what == "bytes that were no character (U+FFFD)"
    assert TEXT.check(" \n")[0].what == "nothing but white space"
    assert TEXT.check("tabs\tand 🎈 are fine\n") == []
    assert len(TEXT.check("\x07" * 1000)) == 20


STORY = "The old mill stood by the river, and nobody had lived there since the flood took its wheel away one night in March."


def test_distance_is_zero_for_a_copy_one_for_a_stranger_and_symmetric():
    other = "Seven ships left the harbour at dawn with salt, rope and a cargo of oranges that would never see the south again."
    assert TEXT.distance(STORY, STORY) == 0
    assert TEXT.distance(STORY, other) == 1
    assert TEXT.distance(STORY, f"{other}\n{STORY}\n{other}") == 0  # a passage out of a longer text is a copy
    near = STORY.replace("March", "May").replace("river", "road")
    assert 0 < TEXT.distance(STORY, near) == TEXT.distance(near, STORY) < 0.5


@given(LETTERS, LETTERS)
def test_distance_is_symmetric_and_within_bounds(a, b):
    assert TEXT.distance(a, b) == TEXT.distance(b, a)
    assert 0 <= TEXT.distance(a, b) <= 1
    assert TEXT.distance(a, a) == 0


def test_shingles_ignore_case_and_punctuation_and_do_without_spaces():
    assert TEXT.shingles("The old mill, STOOD by the river") == TEXT.shingles("the old mill stood -- by the river!")
    assert TEXT.shingles("two words") == {"two words"}
    assert TEXT.shingles("...") == set()
    assert len(TEXT.shingles("古い水車小屋が川のそばに立っていた")) > 5


def test_spans_are_an_editors_lines():
    text = "one\n\nthree\n"
    assert [text[a:b] for a, b in TEXT.spans(text)] == ["one", "", "three"]
    assert TEXT.spans("") == []


def test_titles_are_short_and_free_of_markup():
    assert TEXT.title("\n\n# The Foggy Dew #\n\nIt was") == "The Foggy Dew"
    assert TEXT.title("=====\nTitle\n=====\n") == "Title"
    assert TEXT.title(STORY) == "The old mill stood by the river, and nobody had lived there…"
    assert TEXT.title("") == ""


def test_text_has_no_grammar_and_no_variants():
    assert TEXT.grammar(Pins()) is None
    assert list(TEXT.variants(STORY)) == []


def test_writing_where_nothing_can_be_written_says_so(tmp_path):
    with pytest.raises(MachineError, match=r"a\.txt: cannot be written: Not a directory"):
        TEXT.write("x\n", file(tmp_path, b"") / "a")

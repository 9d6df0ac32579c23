from __future__ import annotations

import dataclasses
import html.parser
import re
import struct
import urllib.parse
import wave
import zlib
from pathlib import Path

import pytest

from cupola.errors import MachineError
from cupola.ledger import Artefact, artefact_id
from cupola.page import Facts, Origin, Row, Score, Yardstick, write_page

TUNE = "jig sixeight eighth g\njHhH ghjjlB <lsopnp> & S"


class Toy:
    name, unit = "tune", "bar"

    def title(self, text):
        return text.split("\n")[0]


class Reader(html.parser.HTMLParser):
    """The tags of a page in order, with their attributes, and what is read: text outside style and script."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "rect", "path", "circle", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> is in the wrong place"

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def svg(path: Path) -> None:
    path.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="840px" height="160px"><path d="M0 0h9"/></svg>')


def png(path: Path, width: int, height: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def wav(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0\0" * 80)


def artefact(text: str = TUNE, **changes) -> Artefact:
    base = Artefact(id=artefact_id(text), medium="tune", model="tunes", run="r", text=text, seed=7, seconds=0.8, joules=12.4, usd=0.00034)
    base = dataclasses.replace(base, kept=True, why="kept", logprob_per_byte=-1.0, nearest_name="The Foggy Dew", distance=0.41)
    return dataclasses.replace(base, **changes)


FACTS = Facts(
    name="my tunes <3",
    corpus="3,911 tunes of 4,248 kept · 1.4 MB · 391 held out",
    made="12 tunes from 48 candidates",
    figures={"in all": "$0.0041|0.0030 kWh"},
    rows=[Row("cost", "$0.0040", "$0.0041")],
    scores=[Score("this model", 1.61, 1.58, 1.64), Score("n-gram, order 8", 2.1), Score("xz", 2.63), Score("byte entropy", 4.42)],
    proof="GGUF and Transformers agree on 64 of 64 greedy tokens",
    cost="$0.0041 in all: training 92%",
    curves={"train": [(0, 8.0), (1300, 1.4)], "watch": [(0, 8.0), (600, 1.63), (1300, 1.71)]},
    marks={"best weights": 600},
    yardstick=Yardstick(0.31, 0.44, 0.58, 0.22),
    origins=[Origin("pypi:music21==10.5.1", "public domain tunes", "3,911", "O'Neill & others")],
    versions={"cupola": "0.1.0"},
    lines=[{"seq": 1, "at": "2026-11-24T23:00:00Z", "what": "spend", "kind": "train", "usd": 0.0038, "joules_by": "tdp_share", "id": "x"}],
)


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out 🎵"
    folder.mkdir()
    return folder


def full(out: Path) -> list[Artefact]:
    """Two kept tunes with all their files, the second with a hard name, and two rejected ones."""
    kept = []
    for stem, text in (("tune-01", TUNE), ("a: b #2?", TUNE + " S")):
        (out / f"{stem}.abc").write_text("X:1\nK:G\nGAB|]\n")
        (out / f"{stem}.mid").write_bytes(b"MThd\0")
        svg(out / f"{stem}.svg")
        wav(out / f"{stem}.wav")
        kept.append(artefact(text, files=[f"{stem}{s}" for s in (".abc", ".mid", ".svg", ".wav")], prompt="jig", pins={"most": 32}))
    bad = artefact(
        "x", kept=False, valid=False, why="not valid: line 1, column 1: no key", problems=["line 1, column 1: no key"], distance=None
    )
    copy = artefact("y", kept=False, why="a copy: 0.05 from 'The Foggy Dew'", distance=0.05)
    return [*kept, bad, copy]


def test_the_page_shows_each_piece_with_picture_player_notation_and_links_that_resolve(out):
    page = Reader(write_page(out, FACTS, full(out), Toy()))
    assert len(page.all("article")) == len(page.all("img")) == len(page.all("audio")) == 2
    for tag, attribute in (("img", "src"), ("audio", "src"), ("a", "href")):
        for attrs in page.all(tag):
            address = urllib.parse.urlsplit(urllib.parse.urljoin(f"{out.as_uri()}/index.html", attrs[attribute]))
            assert address.scheme == "file"
            assert not address.query
            assert Path(urllib.parse.unquote(address.path)).is_file()
    assert page.all("img")[0]["alt"] == "jig sixeight eighth g"
    assert (page.all("img")[0]["width"], page.all("img")[0]["height"]) == ("840", "160")
    assert TUNE in page.text
    assert "X:1\nK:G\nGAB|]" in page.text


@pytest.mark.parametrize(
    "said",
    [
        "0.41 from “The Foggy Dew”",
        "(real ones: 0.44, most from 0.31 to 0.58)",
        "1.44 bits per byte",  # one nat a byte
        "$0.00034 · 0.8 s · 12 J",
        "3,911 tunes of 4,248 kept",
        "1.61 (1.58 to 1.64)",
        "n-gram, order 8",
        "GGUF and Transformers agree on 64 of 64 greedy tokens",
        "$0.0041 in all: training 92%",
        "watch 1.71",
        "best weights",
        "O'Neill & others",
        "joules_by tdp_share",
        "1 × a copy",
        "line 1, column 1: no key",
        "How this was made",
    ],
)
def test_the_page_says(out, said):
    assert said in " ".join(Reader(write_page(out, FACTS, full(out), Toy())).text.split())


def test_nothing_on_the_page_asks_the_network(out):
    text = write_page(out, FACTS, full(out), Toy()).read_text("utf-8")
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    page = Reader(out / "index.html")
    assert not page.all("link")
    assert all("src" not in attrs and attrs.get("type") != "module" for attrs in page.all("script"))
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttp|import\(", text)


def test_markup_in_anything_from_outside_stays_text(out):
    evil = '</pre><script>alert("1")</script><img src=x onerror=alert(1)>'
    facts = dataclasses.replace(
        FACTS,
        name=evil,
        corpus=evil,
        made=evil,
        proof=evil,
        cost=evil,
        curve_note=evil,
        notes=[evil],
        figures={evil: evil},
        rows=[Row(evil, evil, evil)],
        scores=[Score(evil, 1.0)],
        origins=[Origin(evil, evil, evil, evil)],
        versions={evil: evil},
        lines=[{"what": evil, "detail": {evil: evil}}],
        curves={evil: [(0, 1.0), (1, 2.0)]},
        marks={evil: 1.0},
        x_label=evil,
    )
    kept = artefact(evil, prompt=evil, pins={evil: evil}, nearest_name=evil, files=[evil.replace("/", "") + ".svg"])
    rejected = artefact(evil + "2", kept=False, why=evil, problems=[evil], nearest_name=evil)
    page = Reader(write_page(out, facts, [kept, rejected], Toy()))
    assert len(page.all("script")) == 1
    assert not any("onerror" in attrs for _, attrs in page.tags)
    assert not page.all("img")


def test_the_same_arguments_give_the_same_bytes(out):
    first = write_page(out, FACTS, full(out), Toy()).read_bytes()
    assert write_page(out, FACTS, full(out), Toy()).read_bytes() == first


def test_the_page_does_not_name_the_folder_it_was_made_in(out):
    made = [dataclasses.replace(a, files=[str(out / f) for f in a.files]) for a in full(out)]
    text = write_page(out, FACTS, made, Toy()).read_text("utf-8")
    assert str(out.parent) not in text
    assert 'src="tune-01.svg"' in text


def test_a_text_medium_shows_its_notation_open(out):
    (out / "text-01.txt").write_text("once\n")
    page = Reader(write_page(out, FACTS, [artefact("once", files=["text-01.txt"])], Toy()))
    assert not page.all("audio")
    assert any("notation" in attrs.get("class", "") and "open" in attrs for attrs in page.all("details"))
    assert "space" not in page.text


def test_pixel_art_is_shown_larger_in_whole_steps(out):
    png(out / "sprite.png", 12, 16)
    (image,) = Reader(write_page(out, FACTS, [artefact(files=["sprite.png"])], Toy())).all("img")
    assert (image["width"], image["height"], image["class"]) == ("312", "416", "pixels")


def test_a_file_that_went_missing_is_named_and_the_page_still_comes(out):
    page = Reader(write_page(out, FACTS, [artefact(files=["gone.wav"])], Toy()))
    assert "gone.wav" in page.text
    assert not page.all("audio")


def test_a_page_without_a_kept_piece_or_a_single_figure_says_so(out):
    page = Reader(write_page(out, Facts(name="x", corpus="nothing"), [], Toy()))
    assert "Nothing was kept" in page.text
    assert "nothing measured yet" in page.text


def test_a_long_ledger_is_cut_to_its_end_and_says_where_the_rest_is(out):
    lines = [{"seq": i, "what": "note"} for i in range(1, 1203)]
    page = Reader(write_page(out, dataclasses.replace(FACTS, lines=lines), [], Toy()))
    assert "202 earlier lines are left out here; cupola ledger --json has them all." in page.text
    assert "1202" in page.text


def test_a_folder_that_cannot_be_written_is_named_and_the_old_page_stays(tmp_path):
    (tmp_path / "out").write_text("a file in the way")
    with pytest.raises(MachineError, match=r"index.html: the page cannot be written: File exists\n  free the disk"):
        write_page(tmp_path / "out", FACTS, [], Toy())


def test_every_control_is_reached_by_keyboard_and_every_picture_has_words(out):
    page = Reader(write_page(out, FACTS, full(out), Toy()))
    assert all(attrs.get("tabindex") == "0" for attrs in page.all("article"))
    assert all(attrs.get("alt") for attrs in page.all("img"))
    assert all(attrs.get("aria-label") or attrs.get("aria-labelledby") or attrs.get("aria-hidden") for attrs in page.all("svg"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = {name for _, attrs in page.tags for name in attrs.get("aria-labelledby", "").split()}
    assert named <= set(ids)

"""The printed page: every bar, sign and ending of the score is on it."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings
from test_score import scores, tune

from cupola.errors import MachineError
from cupola.media import engrave

BODY = "B/c/|d3 ed^c|{g}d3 (3dBd =c|Te3 [eB]dB|1 dBA A2:|2 dBA A3||_B2A z3|c5-c|[M:3/4][K:Am]A5/B/||"


def elements(score, title: str = "") -> list[tuple[str, dict]]:
    return [(e.tag.split("}")[1], e.attrib) for e in ElementTree.fromstring(engrave.mei(score, title)).iter()]


def test_mei_has_the_bars_signs_repeats_and_endings_of_the_score():
    parts = elements(tune(BODY, "M:6/8\nL:1/8\nQ:3/8=100\nK:Edor\n"))
    assert [a["right"] for tag, a in parts if tag == "measure"] == ["single"] * 4 + ["rptend", "dbl", "single", "single", "end"]
    assert [a["n"] for tag, a in parts if tag == "ending"] == ["1", "2"]
    assert [(a["pname"], a["accid"]) for tag, a in parts if tag == "note" and "accid" in a] == [("c", "n"), ("b", "f")]
    assert [a["keysig"] for tag, a in parts if tag == "scoreDef" and "keysig" in a] == ["2s", "0"]
    assert [a["num"] for tag, a in parts if tag == "tuplet"] == ["3"]
    assert sum(tag in ("trill", "turn", "tempo", "chord") for tag, _ in parts) == 3
    assert [a["tie"] for tag, a in parts if tag == "note" and "tie" in a] == ["i", "m", "t", "i", "t"]


def test_beams_end_with_the_beat():
    layer = re.search(r"<layer.*?</layer>", engrave.mei(tune("GABcde|GA||", "M:6/8\nL:1/8\nK:G\n")))[0]
    assert [beam.count("<note") for beam in re.findall(r"<beam>.*?</beam>", layer)] == [3, 3]


def test_a_title_is_printed_as_it_is():
    assert "<title>Tom &amp; &lt;Jerry&gt;  🎻</title>" in engrave.mei(tune("GABcde|A6||", "M:6/8\nL:1/8\nK:G\n"), "Tom & <Jerry> \x07🎻")


def test_the_page_is_one_svg_with_every_bar_on_white(tmp_path):
    score = tune("|".join(["GABcde"] * 80) + "||", "M:6/8\nL:1/8\nK:G\n")
    path = engrave.write_svg(score, tmp_path / "a.svg", "Long")
    text = path.read_text("utf-8")
    root = ElementTree.fromstring(text)
    assert len(re.findall(r'class="measure"', text)) == 80
    assert root.find("{http://www.w3.org/2000/svg}rect").attrib["fill"] == "white"
    assert not re.findall(r"@import|@font-face|url\(|href=.https?:", text)
    assert path.read_bytes() == engrave.write_svg(score, tmp_path / "b.svg", "Long").read_bytes()


@settings(max_examples=25, deadline=None)
@given(scores())
def test_any_score_can_be_drawn(tmp_path_factory, score):
    path = engrave.write_svg(score, tmp_path_factory.mktemp("s") / "a.svg")
    assert len(re.findall(r'class="measure"', path.read_text("utf-8"))) == len(score.bars)


def test_without_verovio_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "verovio", None)
    with pytest.raises(MachineError, match=r'verovio is not installed: it draws scores\n  pip install "cupola\[music\]"'):
        engrave.write_svg(tune("G6||"), tmp_path / "a.svg")


def test_a_folder_that_is_not_there_is_an_error_not_a_crash(tmp_path):
    with pytest.raises(MachineError, match="cannot be written: No such file or directory"):
        engrave.write_svg(tune("G6||"), tmp_path / "no" / "a.svg")

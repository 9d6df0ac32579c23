"""`cupola law fit` and `cupola law score` as a person with training logs meets them; no project, no torch."""

import json
import subprocess
import sys
import xml.etree.ElementTree

import numpy as np
import pytest

from cupola import lawtable

HEAD = "series,params,tokens,loss"


def runs(name, sizes=(1e6, 2.5e6, 6e6, 1.5e7), ratios=(5, 20, 80, 320), seed=0):
    """Lines of runs of the law E 1.7, A 400, B 410, alpha 0.34, beta 0.28, with a little noise."""
    noise = np.random.default_rng(seed).normal(0, 0.002, len(sizes) * len(ratios))
    pairs = [(n, n * r) for n in sizes for r in ratios]
    return [f"{name},{n:g},{d:g},{truth(n, d) * (1 + e):.6g}" for (n, d), e in zip(pairs, noise, strict=True)]


def truth(n, d):
    return 1.7 + 400 / n**0.34 + 410 / d**0.28


@pytest.fixture
def table(tmp_path, monkeypatch):
    """table(lines) -> "runs.csv", in the folder one stands in."""
    monkeypatch.chdir(tmp_path)

    def write(*lines, head=HEAD):
        (tmp_path / "runs.csv").write_text("\n".join([head, *lines, ""]), "utf-8")
        return "runs.csv"

    return write


# --- fit --------------------------------------------------------------------------------------------------------------------------------


def test_fit_prints_the_law_of_each_series_and_what_it_foretells(cupola, table):
    path = table(*runs("stories"), *runs("tunes", seed=1))
    code, out, err = cupola("law", "fit", path, "--at", "5e7,1e9", "--at", "1e12,1e13")
    assert (code, err) == (0, "")
    assert out.count("16 runs of 4 sizes, up to ") == 2
    blocks = out.split("tunes: ")
    for block in blocks:
        names = [line.split()[0] for line in block.split("\n") if line.startswith("  ")]
        assert names[:9] == ["L", "E", "A", "B", "alpha", "beta", "k", "a", "residual"]
    (said,) = [line for line in blocks[0].split("\n") if "at 50 M params, 1.0 G tokens: " in line]
    assert float(said.split(": ")[1].split()[0]) == pytest.approx(truth(5e7, 1e9), rel=0.05)
    assert "80%: " in said
    assert "at 1.0 T params, 10 T tokens: " in out
    assert "times the compute of the largest" in out


def test_json_of_fit_has_for_people_and_programs_the_same_numbers(cupola, table):
    code, out, err = cupola("law", "fit", table(*runs("a")), "--at", "5e7,1e9,1e8", "--json")
    assert (code, err) == (0, "")
    (law,) = json.loads(out)["series"]
    assert (law["series"], law["where"], law["n"], law["sizes"], law["error"]) == ("a", "runs.csv:2", 16, 4, None)
    assert {"E", "A", "B", "alpha", "beta", "k", "a"} <= set(law["constants"])
    formula = law["constants"]["beta"] / (law["constants"]["alpha"] + law["constants"]["beta"])
    assert law["constants"]["a"] == pytest.approx(formula, abs=0.02)  # read off the curve as drawn
    assert law["intervals"]["a"][0] <= law["constants"]["a"] <= law["intervals"]["a"][1]
    assert law["residual"] < 0.02
    (row,) = law["predictions"]
    assert (row["params"], row["tokens"], row["unique_tokens"], row["error"]) == (5e7, 1e9, 1e8, None)
    assert row["p10"] < row["p50"] < row["p90"]


def test_series_picks_and_a_name_that_is_not_there_is_told_with_the_one_that_was_meant(cupola, table):
    path = table(*runs("stories"), *runs("tunes"))
    _, out, _ = cupola("law", "fit", path, "--series", "tunes", "--json")
    assert [law["series"] for law in json.loads(out)["series"]] == ["tunes"]
    code, out, err = cupola("law", "fit", path, "--series", "tune")
    assert (code, out, err) == (1, "", "cupola: runs.csv: no series 'tune'\n  did you mean 'tunes'?\n")


def test_what_one_should_know_of_the_points_goes_to_stderr(cupola, table):
    path = table(*runs("a"), runs("a")[0])
    code, out, err = cupola("law", "fit", path)
    assert code == 0
    assert "counted once" not in out
    assert "note     a: line 18: the same run again, counted once\n" in err


def test_seeds_far_apart_make_the_interval_wide(cupola, table):
    widths = []
    for spread in (0.0005, 0.09):
        path = table(*runs("a"), *(f"a,1.5e7,4.8e9,{truth(1.5e7, 4.8e9) * (1 + sign * spread)}" for sign in (-1, 1)))
        _, out, _ = cupola("law", "fit", path, "--at", "1.5e7,4.8e9", "--json")
        (law,) = json.loads(out)["series"]
        widths.append(law["predictions"][0]["p90"] / law["predictions"][0]["p10"] - 1)
    assert widths[1] > 2 * widths[0]


@pytest.mark.parametrize(
    ("at", "what", "fix"),
    [
        ("1e9", "'1e9' is not PARAMS,TOKENS", "give two or three numbers and no spaces, such as 1.2e9,3e10"),
        ("7B,2e10", "it is '7B', not a plain number", "write it as 7e9"),
        ("1e9,-1", "a count is above zero", "give two or three numbers"),
        ("nan,1", "it is nan", ""),
    ],
)
def test_a_wrong_place_to_foretell_is_told(cupola, table, at, what, fix):
    code, out, err = cupola("law", "fit", table(*runs("a")), "--at", at)
    assert (code, out) == (1, "")
    assert what in err.split("\n")[0]
    assert err.split("\n")[1].startswith(f"  {fix}")


def test_a_place_far_beyond_the_runs_is_refused_and_the_law_is_printed_all_the_same(cupola, table):
    path = table(*runs("a"))
    code, out, err = cupola("law", "fit", path, "--at", "1e12,1e13")
    assert code == 1
    assert "alpha" in out
    assert err.startswith("cupola: --at 1e+12,1e+13: ")
    assert "times the compute of the largest" in err
    code, out, err = cupola("law", "fit", path, "--at", "1e12,1e13", "--json")
    facts = json.loads(out)
    assert (code, err, facts["error"]["where"]) == (1, "", "--at 1e+12,1e+13")
    assert facts["series"][0]["predictions"][0]["p50"] is None
    assert facts["series"][0]["constants"]["E"] > 0


def test_plot_draws_the_runs_and_the_law_of_one_series(cupola, table, tmp_path):
    path = table(*runs("stories"), *runs("tunes", seed=1))
    code, out, err = cupola("law", "fit", path, "--plot", "law.svg")
    assert (code, out, err) == (1, "", "cupola: --plot: a picture shows one series, and there are 2\n  pick one with --series\n")
    code, out, err = cupola("law", "fit", path, "--series", "tunes", "--plot", "law.svg")
    assert (code, err) == (0, "")
    svg = xml.etree.ElementTree.parse(tmp_path / "law.svg").getroot()
    assert (svg.tag.split("}")[1], svg[0].text) == ("svg", "tunes")
    assert len(svg.findall(".//{*}circle")) >= 16
    code, _, err = cupola("law", "fit", path, "--series", "tunes", "--plot", "nowhere/law.svg")
    assert code == 1
    assert "nowhere/law.svg: cannot be written: No such file or directory\n  give a file in a folder that is there" in err


# --- score ------------------------------------------------------------------------------------------------------------------------------


def test_score_prints_a_line_a_series_and_one_for_all(cupola, table):
    code, out, err = cupola("law", "score", table(*runs("stories"), *runs("tunes", seed=1)))
    assert (code, err) == (0, "")
    head, stories, tunes, total = out.rstrip("\n").split("\n")
    assert head.split("  ")[0] == "series"
    assert [line.split("  ")[0] for line in (stories, tunes, total)] == ["stories", "tunes", "all series"]
    assert all(" 60%  " in line for line in (stories, tunes, total))
    assert [len(line) for line in (head, stories, tunes, total)] == [len(head)] * 4


def test_several_cuts_are_scored_each_and_together(cupola, table):
    code, out, _ = cupola("law", "score", table(*runs("a"), *runs("b", seed=1)), "--cut", "0.5", "--cut", "0.8", "--json")
    assert code == 0
    facts = json.loads(out)
    assert [(s["series"], s["cut"]) for s in facts["scores"]] == [("a", 0.5), ("a", 0.8), ("b", 0.5), ("b", 0.8)]
    assert [(row["cut"], row["series"]) for row in facts["overall"]] == [(0.5, 2), (0.8, 2), (None, 2)]
    assert facts["overall"][2]["predicted"] == sum(s["predicted"] for s in facts["scores"])


def test_the_numbers_of_a_score_follow_from_its_points(cupola, table):
    _, out, _ = cupola("law", "score", table(*runs("a"), *runs("b", seed=1)), "--json")
    facts = json.loads(out)
    rows = [row for s in facts["scores"] for row in s["points"]]
    assert all(s["fitted"] + s["predicted"] == 16 and len(s["points"]) == s["predicted"] for s in facts["scores"])
    errors = [abs(row["p50"] / row["truth"] - 1) for row in rows]
    inside = [row["p10"] <= row["truth"] <= row["p90"] for row in rows]
    (total,) = facts["overall"]
    assert total["median_error"] == pytest.approx(np.median(errors))
    assert total["p90_error"] == pytest.approx(np.quantile(errors, 0.9))
    assert total["coverage"] == pytest.approx(np.mean(inside))
    assert total["width"] == pytest.approx(np.median([(row["p90"] - row["p10"]) / row["p50"] for row in rows]))
    assert total["lowest_coverage"] == pytest.approx(min(s["coverage"] for s in facts["scores"]))


def test_together_pools_points_and_names_the_worst_series():
    def point(p10, p50, p90):
        return {"p10": p10, "p50": p50, "p90": p90, "truth": 2.0}

    found = lawtable.together([[point(1.9, 2.0, 2.1), point(1.8, 1.9, 2.0)], [point(2.1, 2.2, 2.3), point(1.0, 2.02, 3.0)], []])
    assert found == {
        "predicted": 4,
        "median_error": pytest.approx(0.03),  # of 0, 0.05, 0.1, 0.01
        "p90_error": pytest.approx(0.085),
        "coverage": 0.75,
        "width": pytest.approx((0.2 / 2.0 + 0.2 / 1.9) / 2),
        "lowest_coverage": 0.5,
    }


@pytest.mark.parametrize(
    ("cut", "fix"), [("60", "did you mean 0.6?"), ("0", "0.6 fits the cheap 60%"), ("1", "0.6 fits"), ("nan", "0.6 fits")]
)
def test_a_cut_that_is_no_share_is_told(cupola, table, cut, fix):
    code, out, err = cupola("law", "score", table(*runs("a")), "--cut", cut)
    assert (code, out) == (1, "")
    assert f"--cut: {cut} is not a share between 0 and 1\n  {fix}" in err


# --- too little to go by ----------------------------------------------------------------------------------------------------------------

TWO = ["few,1e6,2e7,3.1", "few,2e6,4e7,2.9"]
ONE_SIZE = [f"single,1e6,{d}e6,{4 - d / 100}" for d in (5, 10, 20, 40, 80, 160)]
EQUAL = [f"flat,{n}e6,{20 * n}e6,2.5" for n in (1, 2, 3, 5, 8, 13)]


@pytest.mark.parametrize(
    ("lines", "what"),
    [(TWO, "2 runs"), (ONE_SIZE, "6 runs of 1 size"), (EQUAL, "all 6 losses are 2.5")],
    ids=["two points", "one size", "all losses equal"],
)
def test_a_file_that_no_law_can_be_had_from_is_refused_with_its_place(cupola, table, lines, what):
    path = table(*lines)
    code, out, err = cupola("law", "fit", path)
    assert code == 1
    assert f"cupola: runs.csv:2: {what}" in err
    assert err.rstrip().split("\n")[-1].startswith("  ")
    code, out, err = cupola("law", "fit", path, "--json")
    facts = json.loads(out)
    assert (code, err, facts["error"]["where"]) == (1, "", "runs.csv:2")
    assert facts["series"][0]["error"]["what"].startswith(what)


def test_a_ladder_that_is_too_short_still_shows_its_rough_law_and_foretells_nothing(cupola, table):
    path = table(*ONE_SIZE)
    code, out, _ = cupola("law", "fit", path, "--at", "2e6,1e8")
    assert code == 1
    assert "  rough only: 6 runs of 1 size" in out
    assert "alpha" in out
    assert "  at " not in out
    _, out, _ = cupola("law", "fit", path, "--at", "2e6,1e8", "--json")
    (law,) = json.loads(out)["series"]
    assert law["constants"]["E"] > 0
    assert law["predictions"] == []


@pytest.mark.parametrize("verb", ["fit", "score"])
def test_series_without_a_law_are_listed_with_the_reason_and_do_not_stop_the_others(cupola, table, verb):
    code, out, err = cupola("law", verb, table(*TWO, *EQUAL, *runs("good")))
    assert (code, err) == (0, "")
    assert "all 6 losses are 2.5" in out
    assert next(line for line in out.split("\n") if line.startswith("few"))
    _, out, _ = cupola("law", verb, table(*TWO, *EQUAL, *runs("good")), "--json")
    rows = json.loads(out)["scores" if verb == "score" else "series"]
    assert [(row["series"], row["error"] is None) for row in rows] == [("few", False), ("flat", False), ("good", True)]
    assert [row["where"] for row in rows] == ["runs.csv:2", "runs.csv:4", "runs.csv:10"]


def test_score_exits_1_when_no_series_could_be_scored(cupola, table):
    code, out, err = cupola("law", "score", table(*TWO, *EQUAL))
    assert code == 1
    assert out.count("not scored: ") == 2
    assert "(and 1 more like it)" in err


def test_counts_in_other_units_are_asked_about_and_may_be_insisted_on(cupola, table):
    path = table(*(line.replace("e+06", "").replace("2.5,", "2.5,") for line in runs("a")))
    code, out, err = cupola("law", "score", path)
    assert (code, out) == (1, "")
    assert "cupola: runs.csv:2: params of 1 beside 15,000,000: millions?" in err
    assert "pass --units-as-they-are" in err
    assert "millions?" not in "".join(cupola("law", "score", path, "--units-as-they-are")[1:])


def test_a_missing_file_is_told(cupola, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = cupola("law", "fit", "none.csv", "--json")
    assert (code, err) == (1, "")
    assert json.loads(out)["error"] == {
        "what": "no such file",
        "where": "none.csv",
        "fix": "give a CSV file with the columns params, tokens, loss",
    }


# --- how it runs ------------------------------------------------------------------------------------------------------------------------

BARE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "gguf", "xllamacpp", "psutil",
                                  "tomlkit", "datasketch", "detect_secrets", "jinja2", "verovio", "mido", "pandas", "matplotlib"}:
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
from cupola.cli import main
main()
"""


@pytest.mark.parametrize("verb", ["fit", "score"])
def test_the_verbs_work_where_torch_is_not_installed(table, verb):
    path = table(*runs("a"))
    done = subprocess.run([sys.executable, "-c", BARE, "law", verb, path, "--json"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)


def test_work_that_takes_long_says_how_far_it_is(monkeypatch, capsys):
    now = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: float(next(now)))
    assert list(lawtable._watched("abcdefgh")) == list("abcdefgh")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.split("\n")[0] == "         3 of 8 done ..."


def test_ctrl_c_exits_130_without_a_traceback(cupola, table, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cupola.lawtable.score", stopped)
    assert cupola("law", "score", table(*runs("a"))) == (130, "", "cupola: stopped\n")


def test_law_alone_lists_its_verbs(cupola):
    code, out, err = cupola("law", "--help")
    assert (code, err) == (0, "")
    assert out.index("  fit ") < out.index("  score ")

"""Anyone's training logs as a table: what is read, and every slip that is found, with its line and what to do."""

import codecs

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola import points
from cupola.errors import DataError


@pytest.fixture
def table(tmp_path):
    """table(text or bytes) -> the path of such a file, runs.csv."""

    def write(text):
        path = tmp_path / "runs.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def ladder(name="a", sizes=(1e6, 3e6, 1e7), ratios=(5, 20, 80, 320), unit=lambda i: (1, 1)):
    """(series, params, tokens, loss) of runs that follow a law exactly; unit(i): what the counts of row i are divided by."""
    rows = [(n, n * r) for n in sizes for r in ratios]
    losses = [1.7 + 400 / n**0.34 + 410 / d**0.28 for n, d in rows]
    return [(name, n / unit(i)[0], d / unit(i)[1], loss) for i, ((n, d), loss) in enumerate(zip(rows, losses, strict=True))]


def text_of(rows, header="series,params,tokens,loss"):
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"


# --- what is read -----------------------------------------------------------------------------------------------------------------------


def test_each_series_of_a_file_is_its_own_in_the_order_of_the_file(table):
    rows = [*ladder("b"), *ladder("a", sizes=(2e6, 5e6))]
    rows[3], rows[14] = rows[14], rows[3]
    b, a = points.read(table(text_of(rows)))
    assert (b.name, len(b.loss), a.name, len(a.loss)) == ("b", 12, "a", 8)
    assert (b.params[0], b.tokens[1], b.notes, b.noise, b.unique_tokens, b.flops) == (1e6, 2e7, (), None, None, None)
    assert a.where.endswith("runs.csv:5")


def test_without_a_column_of_series_all_rows_are_one_that_is_named_like_the_file(table):
    (only,) = points.read(table("params,tokens,loss\n1e6,2e7,3.1\n2e6,2e7,3.0\n"))
    assert only.name == "runs"


@pytest.mark.parametrize(
    "text",
    [
        " Params ;TOKENS; Loss\n1_000_000;2E7;3.5\n",
        "loss\ttokens\thost\tparams\n3.5\t20000000\tgpu 7\t1e6\n",
        '\r\nparams,tokens,loss\r\n\r\n"1e6", 2.0e+7 ,3.50,,\r\n\r\n',
        "params,tokens,loss,Unique Tokens,FLOPs,note\r1000000,2e7,3.5,nan,N/A,mine\r",
        "\ufeffparams,tokens,loss\n1e6,2e7,3.5",
    ],
    ids=[
        "semicolons, capitals, spaces",
        "tabs, another order, a column of its own",
        "Windows lines, quotes",
        "old Mac lines",
        "BOM, no end",
    ],
)
def test_the_tables_that_spreadsheets_and_programs_write_are_all_read(table, text):
    (only,) = points.read(table(text))
    assert [x.tolist() for x in (only.params, only.tokens, only.loss)] == [[1e6], [2e7], [3.5]]
    assert (only.unique_tokens, only.flops, only.notes) == (None, None, ())


def test_unique_tokens_and_flops_may_be_there_for_some_runs_only(table):
    (only,) = points.read(table("params,tokens,loss,unique_tokens,flops\n1e6,2e7,3.1,1e7,\n2e6,2e7,3.0,,2.4e14\n"))
    assert only.unique_tokens.tolist() == pytest.approx([1e7, np.nan], nan_ok=True)
    assert only.flops.tolist() == pytest.approx([np.nan, 2.4e14], nan_ok=True)


counts = st.floats(1e5, 1e12)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(counts, st.floats(0.5, 50), st.floats(0.1, 12)), min_size=1, max_size=8), mark=st.sampled_from(",;\t"))
def test_what_is_written_in_full_is_read_exactly(tmp_path_factory, rows, mark):
    path = tmp_path_factory.mktemp("p") / "runs.csv"
    runs = list(dict.fromkeys((n, n * ratio, loss) for n, ratio, loss in rows))
    path.write_text("\n".join([mark.join(("params", "tokens", "loss")), *(mark.join(map(repr, run)) for run in runs), ""]), "utf-8")
    (only,) = points.read(path, as_they_are=True)
    assert list(zip(only.params, only.tokens, only.loss, strict=True)) == runs


# --- what is refused --------------------------------------------------------------------------------------------------------------------

HEAD = "params,tokens,loss\n"


@pytest.mark.parametrize(
    ("text", "where", "what", "fix"),
    [
        ("", "", "is empty", "it begins with a line of names: series,params,tokens,loss"),
        (HEAD, ":1", "a header and no runs", "add a line for each finished run"),
        ("1e6,2e7,3.1\n2e6,2e7,3.0\n", ":1", "numbers where the names of the columns should be", "put a line above"),
        ("params,token,loss\n", ":1", "no column 'tokens'", "rename 'token' to 'tokens'"),
        ("N,D,val_loss\n", ":1", "no column 'params' nor 'tokens' nor", "'n' to 'params'; rename 'd' to 'tokens'; rename 'val_loss'"),
        ("step,lr\n", ":1", "no column 'params' nor", "it needs params, tokens and loss, and has 'step', 'lr'"),
        ("params,tokens,loss,Loss\n", ":1", "two columns are called 'loss'", "rename one of them"),
        (HEAD + "1e6,2e7,3.1\n1e6,2e7\n2e6,2e7,3.0\n", ":3", "2 cells where the header has 3", "one cell a column"),
        (HEAD + "1,200,000,2e7,3.1\n", ":2", "5 cells where the header has 3", "a comma inside a number splits it (write 1200000"),
        (HEAD + '1e6,"2e7,3.1\n2e6,2e7,3\n', ":3", "not CSV: unexpected end of data", "a quotation mark that opens a cell must close it"),
        (HEAD + "1e6,2e7,3.1\n1e6,2e", ":3", "the file ends in the middle of this line", "fetch it again"),
        (HEAD + "1e6,2e7,3.1234\n1e6,3e7,3.0234\n1e6,4e7,2.", ":4", "the file ends in the middle", "if the line is whole, end it"),
        ("series," + HEAD + "a,1e6,2e7,3.1\n,1e6,2e7,3.1\n", ":3", "no series", "name it in every line, or leave the column out"),
        (HEAD + "big,2e7,3.1\n", ":2", "params is 'big', not a plain number", "write it as 1200000 or 1.2e6"),
        (HEAD + "10^9,2e10,3.1\n", ":2", "params is '10^9', not a plain number", "write it as 1200000 or 1.2e6"),
        (HEAD + "350M,2e10,3.1\n", ":2", "params is '350M', not a plain number", "write it as 350e6"),
        (HEAD + "1e9,1.2 billion,3.1\n", ":2", "tokens is '1.2 billion', not a plain number", "write it as 1.2e9"),
        (HEAD + "60 thousand,2 Tn,3.1\n", ":2", "params is '60 thousand'", "write it as 60e3"),
        (HEAD + '"1,200,000",2e10,3.1\n', ":2", "params is '1,200,000'", "without thousands separators and with a decimal point"),
        (HEAD + "1 200 000,2e10,3.1\n", ":2", "params is '1 200 000'", "without thousands separators"),
        (HEAD.replace(",", ";") + "1e6;2e7;3,1\n", ":2", "loss is '3,1', not a plain number", "with a decimal point: 1200000, 2.31"),
        (HEAD + "1e6,,3.1\n", ":2", "tokens is missing", "write the count"),
        (HEAD + "1e6,2e7,\n", ":2", "loss is missing", "leave out runs that diverged or have not ended"),
        (HEAD + "1e6,2e7,NaN\n", ":2", "loss is NaN", "leave out runs that diverged or have not ended"),
        (HEAD + "1e6,2e7,inf\n", ":2", "loss is inf", "leave out runs that diverged"),
        (HEAD + "1e6,-2e7,3.1\n", ":2", "tokens is -2e7", "a count is above zero"),
        (HEAD + "0,2e7,3.1\n", ":2", "params is 0", "a count is above zero"),
        (HEAD + "1e6,2e7,0.0\n", ":2", "loss is 0.0", "a law fits the logarithm of the loss"),
        (HEAD + "1e6,2e7,-3\n", ":2", "loss is -3", "a law fits the logarithm of the loss"),
        (HEAD + "1e400,2e7,3\n", ":2", "params is 1e400, beyond any number", "look at the exponent"),
        (HEAD + "1e66,2e7,3\n", ":2", "params is 1e66", "no run is so large"),
        (HEAD + "1e6,x,3\n1e6,2e7,3\n1e6,2e7,x\ny,2e7,3\n", ":2", "tokens is 'x', not a plain number (and something in lines 4, 5)", ""),
        ((HEAD + "1e6,2e7,3\n").encode("utf-16"), "", "is UTF-16, not UTF-8", 'save it as "CSV UTF-8"'),
        ("params,tokens,loss,who\n1e6,2e7,3,Jürgen\n".encode("latin-1"), ":2", "not UTF-8: byte 0xfc", 'save it as "CSV UTF-8"'),
        (b"PK\x03\x04 a spreadsheet", "", "is not a text file", "save the table as CSV (UTF-8), unpacked"),
        (HEAD + "1e6,2e7\0,3\n", "", "is not a text file", "save the table as CSV"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "bytes",
)  # fmt: skip
def test_a_slip_is_told_with_its_line_and_what_to_do(table, text, where, what, fix):
    path = table(text)
    with pytest.raises(DataError) as told:
        points.read(path)
    assert told.value.where == f"{path}{where}"
    assert what in told.value.what
    assert fix in told.value.fix


def test_no_file_a_folder_and_a_file_that_may_not_be_read_are_told_apart(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: no such file\n  give a CSV file with the columns params, tokens, loss"):
        points.read(tmp_path / "none.csv")
    with pytest.raises(DataError, match="is a folder\n  give a CSV file"):
        points.read(tmp_path)


def test_a_last_line_without_an_end_is_fine_where_it_looks_like_the_others(table):
    (only,) = points.read(table(HEAD + "1e6,2e7,3.12\n1e6,3e7,3.02\n1e6,4e7,2.9"))
    assert only.loss[-1] == 2.9


# --- units ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "what"),
    [
        (lambda i: (1e6, 1) if i in (2, 7) else (1, 1), "params of 1 beside 3,000,000: millions? (lines 4, 9 of series 'a')"),
        (lambda i: (1e6, 1), "params of 1: millions? (every line of series 'a')"),
        (lambda i: (1e6, 1e9), "params of 1: millions? (every line of series 'a')"),
        (lambda i: (1, 1e9) if i % 2 else (1, 1), "tokens of 0.02 beside 65,000,000: billions? (lines 3, 5, 7, 9, 11, 13 of series 'a')"),
        (lambda i: (1, 1e9), "tokens of 0.005: billions? (every line of series 'a')"),
        (lambda i: (1, 1e6) if i == 5 else (1, 1), "tokens of 60 beside 200,000,000: millions? (line 7 of series 'a')"),
    ],
    ids=["some params in millions", "all params", "params and tokens", "some tokens in billions", "all tokens", "one in millions"],
)
def test_counts_in_millions_or_billions_are_asked_about_and_what_is_meant_is_said(table, unit, what):
    path = table(text_of(ladder(unit=unit)))
    with pytest.raises(DataError) as told:
        points.read(path)
    assert told.value.what == what
    assert told.value.fix.startswith(
        "write every count in full, such as 12000000 or 1.2e7; if they are right as they are, pass --units-as-they-are"
    )
    assert points.read(path, as_they_are=True)[0].params[2] == ladder(unit=unit)[2][1]


def test_some_counts_in_thousands_stand_out_by_their_losses(table):
    path = table(text_of(ladder(sizes=(3e8, 1e9, 3e9), unit=lambda i: (1e3, 1) if i % 2 == 0 else (1, 1))))
    with pytest.raises(DataError, match="params of 300,000 beside 1,000,000,000: some in thousands, some in ones") as told:
        points.read(path)
    assert told.value.where == f"{path}:2"


@pytest.mark.parametrize(("sizes", "ratios"), [((1e6, 2e6, 4e6, 7e9), (5, 20, 80, 320)), ((1e6, 1e7, 8e8), (1, 2))])
def test_a_ladder_that_ends_in_one_large_size_is_not_asked_about(table, sizes, ratios):
    (only,) = points.read(table(text_of(ladder(sizes=sizes, ratios=ratios))))
    assert (len(only.loss), only.notes) == (len(sizes) * len(ratios), ())


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.floats(1e6, 7e9), min_size=2, max_size=7), ratios=st.lists(st.floats(1, 300), min_size=1, max_size=4))
def test_no_ladder_that_follows_a_law_is_asked_about(tmp_path_factory, sizes, ratios):
    path = tmp_path_factory.mktemp("p") / "runs.csv"
    path.write_text(text_of(ladder(sizes=sizes, ratios=ratios)), "utf-8")
    assert len(points.read(path)) == 1


@pytest.mark.parametrize(
    ("row", "what", "fix"),
    [
        ("1e9,20000,3,", "20,000 tokens for 1,000,000,000 params, too few: in different units? (line 2 of series 'runs')", "in full"),
        ("1200,2e10,3,", "20,000,000,000 tokens for 1,200 params, too many: in different units?", "in full"),
        ("1e6,2e7,31,", "losses around 31: perplexities?", "write the natural logarithm of a perplexity"),
        (
            "1e9,2e10,3,1.4",
            "flops are 1.2e-20 times 6 * params * tokens: in another unit, such as petaFLOP-days?",
            "pass --units-as-they-are",
        ),
    ],
    ids=["too few tokens", "too many", "perplexity", "flops"],
)
def test_figures_that_fit_no_run_are_asked_about(table, row, what, fix):
    path = table(f"params,tokens,loss,flops\n{row}\n")
    with pytest.raises(DataError) as told:
        points.read(path)
    assert told.value.where == f"{path}:2"
    assert what in told.value.what
    assert fix in told.value.fix
    assert len(points.read(path, as_they_are=True)) == 1


# --- notes ------------------------------------------------------------------------------------------------------------------------------


def test_the_same_run_twice_counts_once(table):
    rows = [*ladder(), ladder()[4]]
    (only,) = points.read(table(text_of(rows)))
    assert len(only.loss) == 12
    assert only.notes == ("line 14: the same run again, counted once",)
    assert only.noise is None


def test_seeds_are_kept_and_say_how_noisy_a_loss_is(table):
    (only,) = points.read(table(HEAD + "1e6,2e7,2.00\n1e6,2e7,2.02\n2e6,2e7,1.9\n"))
    assert len(only.loss) == 3
    assert only.noise == pytest.approx(np.log(2.02 / 2.00) / np.sqrt(2))
    assert only.notes == (
        "lines 2, 3: the same params and tokens with different losses: read as seeds, whose losses differ by 0.007 of themselves "
        "(one standard deviation)",
    )


def test_runs_of_other_data_are_not_seeds(table):
    (only,) = points.read(table("params,tokens,loss,unique_tokens\n1e6,2e7,2.0,1e7\n1e6,2e7,2.3,5e6\n1e6,2e7,1.9,\n"))
    assert (only.noise, only.notes) == (None, ())


def test_losses_of_one_run_that_lie_far_apart_are_no_seeds(table):
    (only,) = points.read(table(HEAD + "1e6,2e7,2.0\n1e6,2e7,3.0\n2e6,2e7,1.9\n"))
    assert only.noise is None
    assert "29% apart: more than seeds do. Several series in one? Then name them in a column 'series'" in only.notes[0]


def test_checkpoints_of_one_run_are_told_from_runs(table):
    looks = [("a", 2e6, step * 1e6, 2 + 3 / step**0.5) for step in (1, 2, 3, 5, 6, 7, 8)]  # one look is missing
    (only,) = points.read(table(text_of([*ladder(), *looks])))
    assert len(only.notes) == 1
    assert "7 points of 1,000,000 to 8,000,000 tokens in even steps, all of 2,000,000 params, look like checkpoints" in only.notes[0]
    assert "a law wants the ends of separately cooled runs" in only.notes[0]


def test_runs_of_doubled_lengths_are_no_checkpoints(table):
    runs = [("a", 1e6, 2**k * 1e6, 4 - 0.2 * k) for k in range(8)]
    (only,) = points.read(table(text_of(runs)))
    assert only.notes == ()


def test_more_different_tokens_than_tokens_are_all_of_them(table):
    (only,) = points.read(table("params,tokens,loss,unique_tokens\n1e6,2e7,3.1,3e7\n1e6,4e7,3.0,3e7\n"))
    assert only.unique_tokens.tolist() == [2e7, 3e7]
    assert only.notes == ("line 2: more unique_tokens than tokens; read as all of them different",)


def test_flops_that_are_far_from_a_transformers_are_noted_and_taken(table):
    (only,) = points.read(table("params,tokens,loss,flops\n1e6,2e7,3.1,1.2e14\n1e6,4e7,3.0,9e15\n1e6,8e7,2.9,4.8e14\n2e6,8e7,2.8,4e13\n"))
    assert only.flops[1] == 9e15
    assert only.notes == ("lines 3, 5: flops over ten times off 6 * params * tokens; taken as given",)


def test_a_byte_order_mark_is_no_part_of_a_name(table):
    (only,) = points.read(table(codecs.BOM_UTF8 + b"series,params,tokens,loss\na,1e6,2e7,3\n"))
    assert only.name == "a"

"""cupola.toml, where a project is found, and the starter that `cupola new` writes."""

import pytest

from cupola import config, project
from cupola.errors import ConfigError, DataError

GOOD = """
[project]
name = "tales"
[budget]
minutes = 2
[models.tales]
medium = "text"
[[models.tales.sources]]
source = "stories"
licence = "CC0-1.0"
"""


def _write(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cupola.toml").write_text(text, "utf-8")
    return folder


def test_a_project_is_read_with_its_defaults(tmp_path):
    made = project.load(_write(tmp_path, GOOD))
    name, table = made.model()
    assert (name, table.medium, table.count, table.train.length) == ("tales", "text", 12, 256)
    assert made.settings.budget.limits().seconds == 120


def test_the_command_line_takes_the_place_of_the_files_budget(tmp_path):
    made = project.load(_write(tmp_path, GOOD), usd=0.5)
    assert made.settings.budget.limits().seconds is None
    assert made.settings.budget.usd == 0.5


def test_the_ladders_share_stays_when_the_command_line_gives_the_budget_and_is_no_budget(tmp_path):
    shared = GOOD.replace("minutes = 2", "minutes = 2\nladder = 0.4")
    assert project.load(_write(tmp_path / "a", shared), minutes=9).settings.budget.ladder == 0.4
    with pytest.raises(ConfigError, match="no budget"):
        project.load(_write(tmp_path / "b", shared.replace("minutes = 2\n", "")))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("minutes = 2", "minuts = 2"), r"unknown key 'budget.minuts'[\s\S]*did you mean 'minutes'"),
        (('medium = "text"', 'medium = "tex"'), r"models.tales.medium: no medium of that name; there are text, code, tune"),
        (('medium = "text"', 'medium = "text"\n[models.tales.train]\nlerning_rate = 1'), r"did you mean 'learning_rate'"),
        (('medium = "text"', 'medium = "text"\n[models.tales.train]\nlearning_rate = -1'), r"train.learning_rate: .*greater than 0"),
        (("minutes = 2", "minutes = 2\nladder = 0.9"), r"budget.ladder: .*less than or equal to 0.5"),
        (("minutes = 2", "minutes = 0"), r"a budget of .* buys nothing"),
        (("[budget]\nminutes = 2", ""), r"no budget[\s\S]*--minutes 5"),
        (("[models.tales]", "[models.Tales]"), r"a model is called by small letters"),
        (('name = "tales"', "name = tales"), r"not valid TOML"),
        (('licence = "CC0-1.0"', 'lisense = "CC0-1.0"'), r"did you mean 'licence'"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_named_with_what_was_meant(tmp_path, change, said):
    text = GOOD.replace(*change).replace("[[models.Tales", "[[models.Tales")
    if "Tales" in text:
        text = text.replace("[[models.tales", "[[models.Tales")
    with pytest.raises(ConfigError, match=said):
        project.load(_write(tmp_path, text))


def test_a_missing_file_or_folder_says_how_to_begin(tmp_path):
    with pytest.raises(ConfigError, match=r"no such file[\s\S]*cupola new"):
        project.load(tmp_path)
    with pytest.raises(ConfigError, match=r"no such folder[\s\S]*cupola new"):
        project.load(tmp_path / "nowhere")
    (tmp_path / "cupola.toml").write_bytes(b"[project]\nname = '\xff'\n")
    with pytest.raises(ConfigError, match=r"not UTF-8: byte 18 is 0xff"):
        project.load(tmp_path)


def test_a_project_is_found_from_inside_and_not_from_outside(tmp_path):
    _write(tmp_path / "a", GOOD)
    (tmp_path / "a" / "out" / "model").mkdir(parents=True)
    assert project.find(tmp_path / "a" / "out" / "model").folder == (tmp_path / "a").resolve()
    with pytest.raises(ConfigError, match=r"no cupola.toml here or above"):
        project.find(tmp_path)


def test_new_writes_a_project_that_loads_also_with_spaces_quotes_and_emoji(tmp_path, sentences):
    source = tmp_path / 'my "best" tales 🦊'
    source.mkdir()
    (source / "one.txt").write_text("Once upon a time.\n")
    folder = tmp_path / "Projekt Ärger 🎈"
    path = project.new(folder, "text", source)
    made = project.load(folder)
    name, table = made.model()
    assert path == folder / "cupola.toml"
    assert made.settings.project.name == "Projekt Ärger 🎈"
    assert table.sources[0].source == str(source.resolve())
    assert project.NAME.fullmatch(name)
    with pytest.raises(ConfigError, match="there is a project here already"):
        project.new(folder, "text", source)


def test_new_refuses_a_folder_without_files_of_the_medium(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"no tune files in it[\s\S]*\.abc"):
        project.new(tmp_path / "p", "tune", tmp_path / "in")
    with pytest.raises(ConfigError, match=r"no medium 'sprit'"):
        project.new(tmp_path / "p", "sprit", tmp_path / "in")
    with pytest.raises(DataError, match="no such folder"):
        project.new(tmp_path / "p", "text", tmp_path / "nowhere")


def test_settings_come_back_from_disk_as_they_were(tmp_path):
    made = project.load(_write(tmp_path, GOOD))
    config.write(tmp_path / "again.toml", made.settings)
    again = config.parse(project.Settings, config.read(tmp_path / "again.toml"), "again")
    assert again == made.settings


def test_settings_that_change_are_other_work_and_a_budget_is_not(tmp_path):
    one = project.load(_write(tmp_path, GOOD))
    assert one.fingerprint() == project.load(tmp_path).fingerprint()
    assert one.fingerprint() == project.load(tmp_path, minutes=3).fingerprint()  # a raised budget goes on
    assert one.fingerprint() != project.load(tmp_path, seed=1).fingerprint()

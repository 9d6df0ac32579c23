"""What every medium keeps, whichever it is."""

import inspect
import json

import pytest

from cupola import tokens
from cupola.media import MEDIA, Medium
from cupola.media.base import Options, Pins
from cupola.train import TrainConfig

ATTRIBUTES = [name for name in Medium.__annotations__ if not name.startswith("_")]
METHODS = [name for name, value in vars(Medium).items() if inspect.isfunction(value) and not name.startswith("_")]


@pytest.mark.parametrize("name", MEDIA)
def test_a_medium_has_every_member_of_the_contract_under_its_arguments(name):
    medium = MEDIA[name]
    assert medium.name == name
    for attribute in ATTRIBUTES:
        assert hasattr(medium, attribute), attribute
    for method in METHODS:
        wanted = [p for p in inspect.signature(getattr(Medium, method)).parameters if p != "self"]
        given = list(inspect.signature(getattr(medium, method)).parameters)
        assert given[: len(wanted)] == wanted, method


@pytest.mark.parametrize("name", MEDIA)
def test_what_a_medium_asks_of_training_and_tokens_is_there(name):
    medium = MEDIA[name]
    TrainConfig(**medium.train)
    assert medium.pretokenizer in tokens.PRETOKENIZERS
    assert medium.vocab_size >= tokens.SMALLEST_VOCABULARY
    assert issubclass(medium.options, Options)
    medium.options()  # everything has a default
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in medium.suffixes)
    assert 0 <= medium.passing <= 1


@pytest.mark.parametrize("name", MEDIA)
def test_settings_are_plain_json_and_come_back_the_same(name):
    medium = MEDIA[name]
    settings = medium.settings()
    assert json.loads(json.dumps(settings)) == settings
    assert medium.restore(settings).settings() == settings


@pytest.mark.parametrize("name", MEDIA)
def test_nonsense_is_an_error_to_check_and_no_crash(name):
    medium = MEDIA[name]
    for text in ("", "\n", "?", "no such notation\n\x00\n", "a " * 500):
        problems = medium.syntax(text)
        assert medium.check(text)[: len(problems)] == problems
        assert isinstance(medium.shingles(text), set)
        assert medium.distance(text, text) == 0.0
        assert list(medium.variants(text)) == list(medium.variants(text))
        medium.spans(text)
        medium.title(text)


@pytest.mark.parametrize("name", MEDIA)
def test_a_grammar_has_a_root_or_there_is_none(name):
    grammar = MEDIA[name].grammar(Pins())
    assert grammar is None or grammar.lstrip().startswith("root ::=") or "\nroot ::=" in grammar

"""The engine gives what the model gives, refuses what llama.cpp would mistake, and proves a GGUF against its folder. One test a trap."""

from __future__ import annotations

import _thread
import gc
import json
import os
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import gguf as library
import numpy as np
import psutil
import pytest
import torch
from test_modeldir import saved, tiny
from test_tokens import ANY, MADE, TEXTS

from cupola import engine as module
from cupola import gguf, modeldir
from cupola.engine import PROBES, Engine, Request, prove
from cupola.errors import ConfigError, EngineError, ProofError
from cupola.tokens import BOS, CONTROL, EOS, FIM_MIDDLE, PRETOKENIZERS, train_tokenizer

LETTERS = 'root ::= [a-z .]+ "\\n"'


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path]:
    """A folder with random weights and its f32 file."""
    folder = saved(tmp_path_factory.mktemp("made") / "m", generation={"temperature": 0.75, "min_p": 0.125})
    return folder, gguf.export(folder, dtype="f32")


@pytest.fixture(scope="module")
def engine(made):
    with Engine(made[1], MADE[ANY], slots=2) as e:
        yield e


def ask(engine: Engine, prompt: str = "the fox", n: int = 12, **settings):
    return engine.generate([Request(engine.tokenizer.prompt(prompt), n, **settings)])[0]


# --- what it gives


def test_the_log_probability_is_transformers_sum_over_the_ids_whatever_the_temperature_or_the_grammar(made, engine):
    model, tokenizer = modeldir.load(made[0])
    for grammar in (None, LETTERS):
        for seed in range(2):
            prompt = tokenizer.prompt("the fox")
            (answer,) = engine.generate([Request(prompt, 12, temperature=1.7, min_p=0.01, seed=seed, grammar=grammar, logprobs=1)])
            if answer.logprob is None:  # a character in several ids
                continue
            with torch.inference_mode():
                nats = torch.log_softmax(model(torch.tensor([[*prompt, *answer.ids]])).logits[0], -1)
            ours = sum(nats[len(prompt) - 1 + i, token].item() for i, token in enumerate(answer.ids))
            assert answer.logprob == pytest.approx(ours, abs=2e-4)


def test_answers_end_with_eos_at_a_length_or_at_a_stop_string_and_say_which(engine):
    short = ask(engine, grammar='root ::= "ab"', logprobs=1)
    assert (short.text, short.stop, short.ids[-1]) == ("ab", "eos", EOS)
    assert short.logprob is not None
    assert ask(engine, n=3, grammar='root ::= "abcdefghi"').stop == "length"
    stopped = ask(engine, n=50, grammar='root ::= "one two three"', stop=["thr", " t"])
    assert (stopped.text, stopped.stop) == ("one", "stop")
    assert engine.tokenizer.decode(stopped.ids).startswith("one t")


def test_the_same_requests_give_the_same_answers_for_any_number_of_slots(made, engine):
    requests = [Request(MADE[ANY].prompt(TEXTS[i % 7][:40]), 30, seed=i, logprobs=1) for i in range(24)]
    first = [(c.ids, c.logprob) for c in engine.generate(requests)]
    assert [(c.ids, c.logprob) for c in engine.generate(requests[::-1])][::-1] == first
    with Engine(made[1], MADE[ANY]) as alone:
        assert [(c.ids, c.logprob) for c in alone.generate(requests)] == first
    assert len({tuple(ids) for ids, _ in first}) > 12  # seeds differ


def test_temperature_zero_takes_the_likeliest(made, engine):
    model, tokenizer = modeldir.load(made[0])
    answer = ask(engine, temperature=0)
    with torch.inference_mode():
        logits = model(torch.tensor([[*tokenizer.prompt("the fox"), *answer.ids]])).logits[0]
    logits = logits[len(tokenizer.prompt("the fox")) - 1 : -1].clone()
    logits[:, module.BANNED] = -torch.inf
    assert logits.argmax(-1).tolist() == answer.ids


def test_alternatives_come_with_each_id_when_asked_for(engine):
    answer = ask(engine, n=2, grammar='root ::= "ab"', logprobs=engine.tokenizer.vocab_size)
    assert len(answer.top[0]) == engine.tokenizer.vocab_size
    assert sum(np.exp(list(answer.top[0].values()))) == pytest.approx(1, abs=1e-4)


def test_progress_is_told_of_each_answer(engine):
    said = []
    engine.generate([Request([BOS], 2, seed=i) for i in range(3)], progress=lambda what, share: said.append((what, round(share, 2))))
    assert said == [("sample", 0.33), ("sample", 0.67), ("sample", 1.0)]


def test_past_the_context_it_stops_or_if_told_so_shifts_and_goes_on(made, engine):
    grammar = f'root ::= "{"ab c" * 150}"'
    stopped = ask(engine, n=600, grammar=grammar)
    assert stopped.stop == "length"
    assert len(stopped.ids) == engine.n_ctx - len(engine.tokenizer.prompt("the fox")) == 253
    with Engine(made[1], MADE[ANY], n_ctx=64, shift=True) as shifting:
        assert shifting.n_ctx == 64
        assert ask(shifting, n=600, grammar=grammar).text == "ab c" * 150


def test_no_request_is_no_work(engine):
    assert engine.generate([]) == []


@pytest.mark.parametrize("kind", PRETOKENIZERS)
def test_a_grammar_rules_the_text_in_every_kind_of_vocabulary(kind, tmp_path):
    with Engine(gguf.export(saved(tmp_path / "m", kind)), MADE[kind]) as e:
        assert ask(e, n=60, grammar='root ::= "a  b\\n" "été 東\\n" [0-9]{3} " <0x41>▂"').text[:-4] == "a  b\nété 東\n" + ask(
            e, n=60, grammar='root ::= "a  b\\n" "été 東\\n" [0-9]{3} " <0x41>▂"'
        ).text[:-4].removeprefix("a  b\nété 東\n")


# --- traps: closing


def run(script: str, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess:
    """A script in a process of its own: what hangs can be killed there."""
    code = 'import sys; sys.path.insert(0, "tests")\n' + textwrap.dedent(script)
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=timeout)


def test_closing_right_after_opening_does_not_hang(made):
    script = """
        from pathlib import Path
        from cupola.engine import Engine
        from cupola.tokens import Tokenizer
        tokenizer = Tokenizer.load(Path(sys.argv[1]))
        for _ in range(6):
            Engine(Path(sys.argv[2]), tokenizer, slots=2).close()
            with Engine(Path(sys.argv[2]), tokenizer):
                pass
        Engine(Path(sys.argv[2]), tokenizer)  # never closed: the interpreter still ends
    """
    done = run(script, str(made[0]), str(made[1]))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_open_stream_does_not_hold_up_closing(made):
    e = Engine(made[1], MADE[ANY])
    body = json.dumps({"prompt": [BOS], "n_predict": 100_000, "stream": True, "ignore_eos": True})
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(e._address.removeprefix("unix://"))
        client.sendall(f"POST /completion HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        assert b"200 OK" in client.recv(1000)
        begun = time.monotonic()
        e.close()
        assert time.monotonic() - begun < 10  # 31 s with llama.cpp's default ping


def test_closing_waits_for_what_runs_and_refuses_what_comes_after(made):
    e = Engine(made[1], MADE[ANY])
    answers: list = []
    worker = threading.Thread(target=lambda: answers.extend(e.generate([Request([BOS], 200, seed=3)])))
    worker.start()
    while e._idle.qsize() and worker.is_alive():
        time.sleep(0.001)
    e.close()
    worker.join(10)
    assert len(answers) == 1
    e.close()
    with pytest.raises(EngineError, match="the engine is closed"):
        e.generate([Request([BOS], 1)])


def test_an_error_that_is_kept_does_not_keep_llama_cpp_alive(made):
    e = Engine(made[1], MADE[ANY])
    with pytest.raises(EngineError) as kept:
        e.generate([Request([BOS], 5, grammar="root ::= x")])
    server = e._idle.queue[0][0]
    e.close()
    assert kept.value is not None
    assert sys.getrefcount(server) == 2  # this name, and the call


def test_a_long_temporary_path_is_no_hindrance(made, tmp_path, monkeypatch):
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with Engine(made[1], MADE[ANY]) as e:
        assert ask(e, grammar='root ::= "ab"').text == "ab"


def test_control_c_stops_after_the_running_request_and_the_engine_goes_on(made):
    with Engine(made[1], MADE[ANY]) as e:
        done: list = []
        timer = threading.Timer(0.05, _thread.interrupt_main)  # while it waits

        def progress(what: str, share: float | None) -> None:
            done.append(share)
            if len(done) == 1:
                timer.start()

        with pytest.raises(KeyboardInterrupt):
            e.generate([Request([BOS], 200, seed=i) for i in range(2000)], progress)
        assert len(done) < 2000
        assert ask(e, grammar='root ::= "ab"').text == "ab"


def test_the_listener_is_a_private_socket_that_goes_with_the_engine(made):
    e = Engine(made[1], MADE[ANY], slots=2)
    folder = Path(e._folder)
    assert e._address.startswith("unix://")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not [c for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN]
    e.close()
    assert not folder.exists()


def test_memory_does_not_grow_with_prompts_asked(engine):
    def rss() -> float:
        gc.collect()
        return psutil.Process().memory_info().rss / 1e6

    engine.generate([Request([BOS, 70 + i % 50], 4, seed=i) for i in range(200)])
    before = rss()
    engine.generate([Request([BOS, *np.random.default_rng(i).integers(6, 300, 120).tolist()], 4, seed=i) for i in range(250)])
    assert rss() - before < 20  # 250 MB with llama.cpp's default cache of old prompts


# --- traps: names, ids, strings


def test_generation_runs_past_names_that_end_other_models_as_text(tmp_path):
    names = [
        "</s>",
        "<eos>",
        "<EOT>",
        "[EOS]",
        "[EOT]",
        "<|im_end|>",
        "<|endoftext|>",
        "<|end|>",
        "<|eot_id|>",
        "<end_of_turn>",
        "<PAD>",
        "[PAD]",
    ]
    names += ["<|fim_pad|>", "<|file_sep|>", "<|repo_name|>", "<|cupola:eos|>", "<|cupola:fim_middle|>"]
    for kind in ("superbpe", "sarvam-moe", ANY):
        tokenizer = train_tokenizer([f"go {n}{n} on {n}\n" for n in names] * 40, kind, 700)  # so common that each would become one token
        config, state = tiny(tokenizer)
        modeldir.save(tmp_path / kind, config, state, tokenizer)
        with Engine(gguf.export(tmp_path / kind), tokenizer) as e:
            for name in names:
                answer = ask(e, n=100, grammar=f'root ::= "a{name} b{name}"')
                assert (answer.text, answer.stop) == (f"a{name} b{name}", "eos")
                assert e.tokenize(name) == tokenizer.encode(name)
                assert min(tokenizer.encode(name)) > FIM_MIDDLE


def test_the_id_that_llama_cpp_would_take_for_eos_is_a_token_like_any_other(made, engine):
    assert engine._http("/props")["eos_token"] == CONTROL[EOS]
    eleven = MADE[ANY].decode([11])
    assert ask(engine, n=20, grammar=f'root ::= "{eleven}" "{eleven}" "b"').text == f"{eleven}{eleven}b"


def test_control_tokens_other_than_eos_are_never_sampled_even_where_a_grammar_admits_their_names(engine):
    for grammar in ("root ::= [^\\n]*", None):
        for answer in engine.generate([Request([BOS], 40, temperature=5.0, seed=i, grammar=grammar) for i in range(30)]):
            assert all(i >= 6 for i in answer.ids[:-1])


def test_a_prompt_of_ids_is_taken_as_it_is(engine):
    spelled = engine.tokenizer.prompt(CONTROL[EOS])
    with engine._server() as slot:
        answer = slot[0].handle_completions({"prompt": spelled, "max_tokens": 1, "verbose": True})
    assert answer["__verbose"]["tokens_evaluated"] == len(spelled) > 2


def test_the_cards_prompt_for_llama_cpp_is_the_ids_that_the_model_was_trained_on(engine):
    spelled = "".join((CONTROL[1], CONTROL[3], "the ", CONTROL[4], " fox", CONTROL[5]))
    parsed = engine._http("/tokenize", {"content": spelled, "add_special": True, "parse_special": True})["tokens"]
    assert parsed == engine.tokenizer.gap("the ", " fox")


def test_ids_inside_a_character_are_not_lost(engine):
    answer = ask(engine, n=30, grammar='root ::= "é東🙂ø"', logprobs=1)
    assert answer.text == "é東🙂ø"
    assert engine.tokenizer.decode(answer.ids) == "é東🙂ø"
    assert answer.logprob is None  # llama.cpp gives fewer log-probabilities than ids; a wrong sum would be worse


def test_no_tokens_asked_for_are_none_given(engine):
    answer = ask(engine, n=0)
    assert (answer.text, answer.ids, answer.stop) == ("", [], "length")


def test_the_files_sampling_defaults_are_llama_cpps_and_never_ours_by_accident(engine):
    settings = engine._http("/props")["default_generation_settings"]["params"]
    assert (settings["temperature"], settings["min_p"]) == (0.75, 0.125)
    with engine._server() as slot:
        used = engine._ask(slot, Request([BOS], 1))["generation_settings"]
    assert (round(used["temperature"], 3), used["top_k"], used["top_p"], used["min_p"]) == (0.9, 0, 1.0, 0.0)


# --- traps: grammars and other requests that cannot be met


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        ('root ::= "ab', "unexpected end of input"),
        ('rooot ::= "a"', "no rule named root"),
        ("root ::= x", "Undefined rule identifier 'x'"),
        ('root ::= root "a" | "b"', r"begins with itself \(left recursion\)"),
        ("root ::= [a-", "unexpected end of input"),
        ('root ::= "a"{2500}', "number of repetitions exceeds sane defaults"),
        ('root ::= ("a"', r"expecting '\)'"),
        ("root ::= 'a'", "expecting newline or end"),
        ("root ::= [z-a]", "empty grammar stack"),
        ("", "the grammar is empty: anything would be written"),
        (" \n", "the grammar is empty: anything would be written"),
        ("# a comment", "there is no rule named root"),
        ("%llguidance {}\nstart: /[/", "only GBNF grammars are taken"),  # llama.cpp ignores it and writes anything
        ('%llguidance {}\nstart: "ab"', "only GBNF grammars are taken"),
    ],
)
def test_a_bad_grammar_is_an_error_with_a_reason_and_nothing_is_written(engine, capfd, grammar, reason):
    with pytest.raises(EngineError, match=reason):
        engine.generate([Request([BOS], 5), Request([BOS], 5, grammar=grammar)])
    assert capfd.readouterr() == ("", "")
    assert ask(engine, grammar='root ::= "ab"').text == "ab"  # and the engine goes on


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (Request([], 5), "the prompt is empty or has ids outside the vocabulary"),
        (Request([BOS, MADE[ANY].vocab_size], 5), "ids outside the vocabulary"),
        (Request([-1], 5), "ids outside the vocabulary"),
        (Request([BOS] * 256, 5), "the prompt has 256 ids, 255 fit"),
        (Request([BOS], -1), "max_new_tokens is -1"),
        (Request([BOS], 5, temperature=-0.1), "temperature is -0.1"),
        (Request([BOS], 5, temperature=float("nan")), "temperature is nan"),
        (Request([BOS], 5, top_p=1.5), "top_p is 1.5"),
        (Request([BOS], 5, logprobs=500), "logprobs is 500"),
        (Request([BOS], 5, stop=[""]), "an empty stop string"),
    ],
)
def test_a_request_that_makes_no_sense_is_an_error_before_anything_is_sampled(engine, request_, reason):
    with pytest.raises(EngineError, match=reason):
        engine.generate([request_])


# --- opening


def test_opening_and_asking_print_nothing(made, capfd):
    with Engine(made[1], MADE[ANY]) as e:
        ask(e)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda b: b[: len(b) // 2], "not within the file bounds"),
        (lambda b: b.replace(b"qwen2", b"qwenX"), "unknown pre-tokenizer type: 'qwenX'"),
        (lambda b: b"not a model", "invalid magic"),
        (lambda b: b[:900], "failed to read key-value pairs"),
    ],
)
def test_a_file_that_does_not_load_is_an_error_with_llama_cpps_reason(made, tmp_path, capfd, spoil, reason):
    (tmp_path / "bad.gguf").write_bytes(spoil(made[1].read_bytes()))
    with pytest.raises(EngineError, match=f"cannot open it: .*{reason}"):
        Engine(tmp_path / "bad.gguf", MADE[ANY])
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_another_tokenizer_and_an_untrained_length_are_errors(made, tmp_path):
    with pytest.raises(EngineError, match="no such file"):
        Engine(tmp_path / "none.gguf", MADE[ANY])
    other = train_tokenizer(TEXTS, ANY, 300)
    with pytest.raises(EngineError, match=rf"it has {MADE[ANY].vocab_size} ids, the tokenizer 300(.|\n)*the folder it was exported from"):
        Engine(made[1], other)
    with pytest.raises(EngineError, match=r"n_ctx is 512(.|\n)*2 to 256, the longest it was trained with"):
        Engine(made[1], MADE[ANY], n_ctx=512)


# --- the proof


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        *((dtype, {}) for dtype in gguf.DTYPES),
        ("f32", {"tie_word_embeddings": False, "num_key_value_heads": 4, "rope_theta": 500.0}),
        ("f16", {"num_key_value_heads": 1, "hidden_size": 48, "num_hidden_layers": 1}),
    ],
)
def test_a_good_export_is_proved_within_what_its_rounding_allows(tmp_path, dtype, shape):
    folder = saved(tmp_path / "m", **shape)
    said = []
    proof = prove(folder, gguf.export(folder, dtype=dtype), documents=TEXTS[:20], progress=lambda what, share: said.append(share))
    assert (proof.texts, proof.prompts, proof.greedy_total, proof.dtype) == (len(PROBES) + 20, 16, 64, dtype)
    assert proof.exact_difference < 1e-4
    assert proof.difference < {"f32": 1e-4, "f16": 0.02, "q8_0": 0.25}[dtype]
    assert proof.summary.startswith(f"GGUF and Transformers agree on {proof.greedy_same} of 64 greedy tokens")
    assert (proof.greedy_same == 64) == ("tie" not in proof.summary)
    assert said[0] == 0.0
    assert said[-1] == 1.0


@pytest.mark.parametrize("kind", PRETOKENIZERS)
def test_every_kind_of_tokenizer_gives_the_same_ids_in_cupola_transformers_and_llama_cpp(kind, tmp_path):
    folder = saved(tmp_path / "m", kind)
    with Engine(gguf.export(folder), MADE[kind]) as e:
        module._same_ids(folder, e, [*PROBES, *TEXTS, *(t.upper() for t in TEXTS[:20]), *("".join(reversed(t)) for t in TEXTS[:20])])


@pytest.mark.slow
@pytest.mark.parametrize("kind", PRETOKENIZERS)
def test_every_kind_agrees_with_llama_cpp_on_real_code_at_a_larger_vocabulary(kind, tmp_path):
    texts = [p.read_text("utf-8") for p in sorted(Path(os.__file__).parent.glob("*.py"))[:60]]
    tokenizer = train_tokenizer(texts[:40], kind, 2048)
    config, state = tiny(tokenizer)
    modeldir.save(tmp_path / "m", config, state, tokenizer)
    with Engine(gguf.export(tmp_path / "m"), tokenizer) as e:
        module._same_ids(tmp_path / "m", e, [*PROBES, *texts[40:]])


def test_a_vocabulary_without_merges_is_proved_too(tmp_path):
    bare = train_tokenizer(["a"], ANY, 264)
    config, state = tiny(bare)
    modeldir.save(tmp_path / "m", config, state, bare)
    assert prove(tmp_path / "m", gguf.export(tmp_path / "m")).texts == len(PROBES)


def test_a_tokenizer_declared_as_another_kind_is_caught(made, tmp_path):
    (tmp_path / "wrong.gguf").write_bytes(made[1].read_bytes().replace(b"\5\0\0\0\0\0\0\0qwen2", b"\5\0\0\0\0\0\0\0gpt-2"))
    with pytest.raises(ProofError, match=r"llama\.cpp tokenises .* otherwise: from id \d+ on"):
        prove(made[0], tmp_path / "wrong.gguf")


def test_rows_left_in_transformers_order_are_caught(made, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf, "_interleave", lambda w, heads: w)
    with pytest.raises(ProofError, match=r"has log-probability .* in llama\.cpp and .* in Transformers"):
        prove(made[0], gguf.export(made[0], tmp_path / "wrong.gguf", "f32"))


@pytest.mark.parametrize("dtype", ["f32", "f16"])
def test_another_models_file_is_caught(made, tmp_path, dtype):
    other = saved(tmp_path / "other", seed=1)
    with pytest.raises(ProofError, match="do not use this file"):
        prove(made[0], gguf.export(other, dtype=dtype))


def test_a_small_fault_that_rounding_would_hide_is_caught_in_the_exact_export(tmp_path, monkeypatch):
    folder = saved(tmp_path / "m")
    shape = gguf._add_shape

    def wrong(writer, config, kind):
        shape(writer, config | {"rms_norm_eps": 1.5e-3}, kind)

    monkeypatch.setattr(gguf, "_add_shape", wrong)
    with pytest.raises(ProofError, match=r"exact\.gguf(.|\n)*more than 0\.0001 apart"):
        prove(folder, gguf.export(folder, dtype="q8_0"))


def test_a_wrong_greedy_token_is_caught_and_a_near_tie_counted(made, engine):
    model, tokenizer = modeldir.load(made[0])
    prompts = [tokenizer.prompt(t[:30]) for t in TEXTS[:8]]
    assert module._same_greedy(model, engine, prompts, 1e-6) == (64, 64)
    with torch.no_grad():
        model.model.norm.weight[0] += 1.0
    with pytest.raises(ProofError, match=r"greedy token \d+: llama\.cpp takes id \d+, Transformers id \d+, [\d.]+ nats likelier"):
        module._same_greedy(model, engine, prompts, 1e-6)
    same, total = module._same_greedy(model, engine, prompts, 50.0)
    assert same < total == 64


def test_a_kind_of_file_that_has_no_tolerance_is_refused(made, tmp_path, monkeypatch):
    path = tmp_path / "bf16.gguf"
    monkeypatch.setitem(gguf.DTYPES, "bf16", (library.GGMLQuantizationType.BF16, library.LlamaFileType.MOSTLY_BF16))
    gguf.export(made[0], path, "bf16")
    with pytest.raises(ConfigError, match="a bf16 file"):
        prove(made[0], path)


def test_the_proof_leaves_nothing_behind(made, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    prove(made[0], made[1], PROBES[:5])
    assert not list(tmp_path.iterdir())

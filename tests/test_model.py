"""The dial, the counts, and the class that trains."""

import numpy as np
import pytest
import torch

from cupola import config
from cupola.errors import ConfigError
from cupola.model import ModelConfig, batch_tokens, build, count_parameters, dial, flops_per_token

TINY = ModelConfig(
    vocab_size=300, hidden_size=32, intermediate_size=96, num_hidden_layers=2, num_attention_heads=1, num_key_value_heads=1, head_dim=32
)


def test_parameters_and_flops_equal_a_count_by_hand():
    # a block: q, k, v, o 4 * 32 * 32, three MLP matrices 3 * 32 * 96, two norms of 32; then the last norm and one table of 300 x 32
    block = 4 * 32 * 32 + 3 * 32 * 96 + 2 * 32
    assert count_parameters(TINY) == 2 * block + 32 + 300 * 32
    assert count_parameters(TINY, embeddings=False) == 2 * block + 32
    untied = TINY.model_copy(update={"tie_word_embeddings": False})
    assert count_parameters(untied) == count_parameters(TINY) + 300 * 32
    # forward: every matrix entry once, the output table too; scores and their weighted sum over a window of 256 in each block
    forward = 2 * (2 * (4 * 32 * 32 + 3 * 32 * 96) + 300 * 32) + 2 * 2 * (2 * 256 * 32)
    assert flops_per_token(TINY, 256) == 3 * forward


def test_the_counts_are_those_of_the_module():
    for params in (30_000, 300_000, 2_000_000):
        shape = dial(params, 512)
        assert sum(p.numel() for p in build(shape).parameters()) == count_parameters(shape)


def test_the_dial_comes_near_what_it_is_asked_for():
    for params in (90_000, 150_000, 940_000, 6_000_000, 50_000_000):
        assert 0.75 < count_parameters(dial(params, 1024)) / params < 1.33
    assert (dial(935_040, 1024).hidden_size, dial(935_040, 1024).num_hidden_layers) == (128, 4)
    assert batch_tokens(dial(935_040, 1024)) == 2_048
    assert batch_tokens(dial(6e6, 1024)) >= 16 * dial(6e6, 1024).hidden_size


def test_the_same_seed_draws_the_same_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    a, b, c = build(TINY, 1), build(TINY, 1), build(TINY, 2)
    assert torch.equal(torch.get_rng_state(), before)
    for (name, p), q, r in zip(a.named_parameters(), b.parameters(), c.parameters(), strict=True):
        assert torch.equal(p, q), name
        assert p.ndim == 1 or not torch.equal(p, r), name
    std = a.model.embed_tokens.weight.std().item()
    assert std == pytest.approx(0.02, rel=0.05)


def test_shapes_that_cannot_work_are_refused():
    for change, said in (({"head_dim": 31}, "odd"), ({"num_attention_heads": 3, "num_key_value_heads": 2}, "evenly")):
        with pytest.raises(ConfigError, match=said):
            config.parse(ModelConfig, {**TINY.model_dump(), **change}, "test")


def test_logits_do_not_look_ahead():
    network = build(TINY, 3).eval()
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 300, (1, 40)))
    other = ids.clone()
    other[0, 20:] = 7
    with torch.no_grad():
        assert torch.allclose(network(input_ids=ids).logits[0, :20], network(input_ids=other).logits[0, :20], atol=1e-6)


def test_no_size_has_fewer_than_four_layers():
    assert min(dial(params, 1024).num_hidden_layers for params in (1, 90_000, 300_000, 940_000)) == 4

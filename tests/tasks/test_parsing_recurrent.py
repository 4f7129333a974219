import pytest
import torch
from torch.nn import functional as F

from pellucid.errors import BadUsage
from pellucid.explain.hooks import replaced
from pellucid.task import Site
from pellucid.tasks.parsing.recurrent import Recurrent

PAD, START, END = 0, 1, 2


def a_net(layers=1, dropout=0.0):
    torch.manual_seed(0)
    net = Recurrent(11, 9, width=12, layers=layers, dropout=dropout, start_id=START, end_id=END, pad_id=PAD)
    return net.train(dropout > 0)


def two_rows():
    """A source of five tokens and one of three, what was said of each, and where they are real."""
    tokens = torch.tensor([[3, 7, 10, 2, 5], [8, 1, 4, 0, 0]])
    present = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    return tokens, present, torch.tensor([[3, 8, 5, 7, END], [6, 4, END, PAD, PAD]])


@pytest.mark.parametrize("layers", [1, 2])
def test_step_by_step_gives_the_logits_of_one_forced_pass(layers):
    net, (tokens, present, said) = a_net(layers), two_rows()
    forced = net.forced(net.encode(tokens, present), said)
    state, last = net.encode(tokens, present), torch.tensor([START, START])
    for t in range(said.shape[1]):
        logits, state = net.step(state, last)
        torch.testing.assert_close(logits, forced[:, t], atol=1e-6, rtol=0)
        last = said[:, t]


def test_logits_rest_on_the_tokens_before_them_and_on_no_later_ones():
    net, (tokens, present, said) = a_net(), two_rows()
    state, changed = net.encode(tokens, present), said.clone()
    changed[0, 2] = 4
    moved = (net.forced(state, said) - net.forced(state, changed)).abs().amax(-1)
    assert torch.equal(moved[0] > 0, torch.tensor([False, False, False, True, True])) and not moved[1].any()


def test_a_row_alone_gets_what_it_gets_beside_a_longer_one():
    net, (tokens, present, said) = a_net(layers=2), two_rows()
    both = net.forced(net.encode(tokens, present), said)
    alone = net.forced(net.encode(tokens[1:, :3], present[1:, :3]), said[1:, :3])
    torch.testing.assert_close(alone[0], both[1, :3], atol=1e-6, rtol=0)


@pytest.mark.parametrize("place", ["source_embedding", "memory"])
def test_noise_at_padding_is_dead_and_at_real_tokens_is_not(place):
    net, (tokens, present, said) = a_net(), two_rows()
    plain = net.forced(net.encode(tokens, present), said)

    def noisy(at):
        with replaced(net, Site(place, "b n d", present="tokens_present"), lambda x: x + at[..., None] * 1e3):
            return net.forced(net.encode(tokens, present), said)

    assert torch.equal(noisy(~present), plain)
    assert (noisy(present) - plain).abs().amax((1, 2)).min() > 1e-2


def test_all_that_is_known_of_the_source_passes_through_memory():
    net, (tokens, present, said) = a_net(), two_rows()

    def without(read):
        with replaced(net, Site("memory", "b n d", present="tokens_present"), torch.zeros_like):
            return net.forced(net.encode(read, present), said)

    assert torch.equal(without(tokens), without((tokens + 1) % 11))


def test_every_parameter_learns_from_a_forced_pass():
    net, (tokens, present, said) = a_net(layers=2, dropout=0.1), two_rows()
    F.cross_entropy(net.forced(net.encode(tokens, present), said).flatten(0, 1), said.flatten()).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_selected_rows_go_on_as_they_would_have_even_twice():
    net, (tokens, present, said) = a_net(layers=2), two_rows()
    _, state = net.step(net.encode(tokens, present), torch.tensor([START, START]))
    wanted, _ = net.step(state, said[:, 0])
    rows = torch.tensor([1, 0, 1])
    found, _ = net.step(net.select(state, rows), said[rows, 0])
    torch.testing.assert_close(found, wanted[rows], atol=1e-6, rtol=0)


def test_it_learns_to_turn_a_sequence_round():
    net, draw = a_net(), torch.Generator().manual_seed(1)
    adam = torch.optim.Adam(net.parameters(), lr=0.03)
    present = torch.ones(32, 3, dtype=torch.bool)
    for _ in range(100):
        tokens = torch.randint(3, 9, (32, 3), generator=draw)
        loss = F.cross_entropy(net.forced(net.encode(tokens, present), tokens.flip(1)).flatten(0, 1), tokens.flip(1).flatten())
        adam.zero_grad()
        loss.backward()
        adam.step()
    tokens = torch.randint(3, 9, (32, 3), generator=draw)
    state, last, made = net.encode(tokens, present), torch.full((32,), START), []
    for _ in range(3):
        logits, state = net.step(state, last)
        made.append(last := logits.argmax(-1))
    assert (torch.stack(made, 1) == tokens.flip(1)).all(1).float().mean() > 0.95


def test_an_odd_width_is_refused():
    with pytest.raises(BadUsage, match="width=7"):
        Recurrent(11, 9, width=7, layers=1, dropout=0.0, start_id=START, end_id=END, pad_id=PAD)

"""A text is encoded once; then either a given target is told how likely it is, or one is written."""

from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.task import Batch, Output
from pellucid.tasks.parsing.decode import GREEDY, Net, State, Writing, Written, beam, greedy


class Parser(nn.Module):
    """What all parsers share, whatever the net.

    Args:
        net: a module that is a `decode.Net`.
        most: tokens written at most.
    """

    def __init__(self, net: nn.Module, most: int, how: Writing = GREEDY):
        super().__init__()
        self.net, self.most, self.how = net, most, how

    def forward(self, batch: Batch) -> Output:
        """`tokens`, `tokens_present` and `token_log_probs` (b t): of what the batch says under `said`, else of what the net writes."""
        net: Net = self.net  # type: ignore[assignment]
        state = net.encode(batch["tokens"], batch["tokens_present"])
        if "said" in batch:
            said, present = batch["said"], batch["said_present"]
            return _output(said, present, log_probs_of(net.forced(state, said), said, present))
        return _output(*self._written(net, state, batch["tokens"]))

    def _written(self, net: Net, state: State, tokens: Int[Tensor, "b n"]) -> Written:
        find = beam if self.how.beams > 1 else greedy
        return find(net, state, len(tokens), self.most, tokens.device, self.how)


def log_probs_of(logits: Float[Tensor, "b t v"], said: Int[Tensor, "b t"], present: Bool[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Log-probability of each token that was said, in nats; 0 at padding."""
    flat = F.cross_entropy(rearrange(logits.float(), "b t v -> (b t) v"), rearrange(said, "b t -> (b t)"), reduction="none")
    return -rearrange(flat, "(b t) -> b t", b=len(said)) * present


def _output(tokens: Tensor, present: Tensor, log_probs: Tensor) -> Output:
    return {"tokens": tokens, "tokens_present": present, "token_log_probs": log_probs}

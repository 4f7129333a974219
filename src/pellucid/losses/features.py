"""How far what queries say of a patch's features is from what the backbone says of them."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pellucid.losses.matching import Matches
from pellucid.losses.set_prediction import Truth, per_object, wide


def feature_loss(
    features: Float[Tensor, "l b q e"], patch_features: Sequence[Float[Tensor, "n e"]], truth: Truth, matches: Matches
) -> Float[Tensor, " l"]:
    """Squared distance of both vectors at length 1, between 0 (alike) and 4 (opposite), over matched pairs, by the number of objects.

    Args:
        features: what each query says.
        patch_features: of each example's patches, in the order of its boxes: a pair's target is that of the patch matched, whatever
            patch the query was given.
    Source: Dai et al. 2021, equation 3, as in the authors' code.
    """
    given = F.normalize(wide(features[matches.layer, matches.example, matches.query]), dim=-1)
    wanted = F.normalize(wide(truth.matched(patch_features, matches)), dim=-1)
    return per_object((given - wanted).square().sum(-1), matches, len(features), truth.num)

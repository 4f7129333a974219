"""MDETR's network: sizes of the published ones, what must not matter, and what must."""

import pytest
import torch
import transformers
from torch.nn.utils.rnn import pad_sequence
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from pellucid.errors import BadUsage
from pellucid.nn.captions import Captions
from pellucid.nn.detr import Shape
from pellucid.nn.mdetr import Extras, Mdetr
from pellucid.nn.resnet import ResNet, resnet
from pellucid.nn.timm_maps import TimmMaps, timm_maps

SMALL = Shape(12, 5, width=16, num_heads=2, encoder_layers=2, decoder_layers=3, feedforward=24, dropout=0.0)
ALIGNED = Extras(6)
PAD = 1
TINY_TEXT = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
CAPTIONS = [[0, 5, 9, 2], [0, 7, 7, 11, 20, 2], [0, 4, 2]]


def roberta(pooler: bool = True) -> RobertaModel:
    config = RobertaConfig(**TINY_TEXT, **STILL, max_position_embeddings=20, type_vocab_size=1, pad_token_id=PAD, layer_norm_eps=1e-5)
    return RobertaModel(config, add_pooling_layer=pooler)


def bert() -> BertModel:
    """As MiniLM is made: two kinds of tokens, positions from 0, no pooler."""
    config = BertConfig(**TINY_TEXT, **STILL, max_position_embeddings=20, type_vocab_size=2, pad_token_id=PAD)
    return BertModel(config, add_pooling_layer=False)


def small(text=None, backbone=None, extras: Extras = ALIGNED, **changes) -> Mdetr:
    torch.manual_seed(0)
    return Mdetr(backbone or ResNet((1, 1, 1, 1), (8, 8, 8, 16), 8, norm="group"), SMALL, text or roberta(), 8, extras, **changes).eval()


def pictures(sizes, canvas=(64, 96)):
    """Random pictures of the sizes in one batch, and which pixels are real."""
    batch, present = torch.zeros(len(sizes), 3, *canvas), torch.zeros(len(sizes), *canvas, dtype=torch.bool)
    for i, (h, w) in enumerate(sizes):
        batch[i, :, :h, :w] = torch.rand(3, h, w, generator=torch.Generator().manual_seed(i))
        present[i, :h, :w] = True
    return batch, present


def captions(which=CAPTIONS, more: int = 0):
    """The captions in one batch with so much more padding than they need, and which tokens are real."""
    tokens = pad_sequence([torch.tensor(one + [PAD] * more) for one in which], batch_first=True, padding_value=PAD)
    return tokens, tokens != PAD


def full_text(layers: int = 12) -> RobertaModel:
    sizes = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
    return RobertaModel(RobertaConfig(**sizes, num_hidden_layers=layers))


@pytest.mark.parametrize(
    ("backbone", "options", "extras", "total"),
    [
        ("resnet101", {}, Extras(), 185_382_724),
        ("timm:tf_efficientnet_b3", {}, Extras(), 152_581_036),
        ("timm:tf_efficientnet_b5", {}, Extras(), 169_714_164),
        ("resnet18", {"layers": 6, "queries": 25}, Extras(answers="clevr"), 111_357_803),
        ("resnet101", {}, Extras(align=False, answers="gqa"), 186_069_422),
        ("resnet101", {"masks": "per_head"}, Extras(align=False), 186_683_485),
    ],
)
def test_the_published_networks_have_as_many_parameters_as_published(backbone, options, extras, total):
    with torch.device("meta"):
        maps = timm_maps(backbone.removeprefix("timm:")) if backbone.startswith("timm:") else resnet(backbone)
        text = full_text(options.get("layers", 12))
        net = Mdetr(maps, Shape(255, options.get("queries", 100)), text, 768, extras, masks=options.get("masks", ""))
    assert sum(p.numel() for p in net.parameters()) == total
    if total == 185_382_724:
        net.backbone.freeze()
        assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 185_160_324


@torch.no_grad()
def test_permuting_pictures_and_captions_together_permutes_the_outputs():
    net, order = small(extras=Extras(6, True, True, "clevr")), torch.tensor([2, 0, 1])
    given = (*pictures([(64, 64), (40, 91), (64, 30)]), *captions())
    before, after = net(*given), net(*(one[order] for one in given))
    assert len(before) == 15
    for name, value in before.items():
        torch.testing.assert_close(after[name], value[order], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_caption_with_another_picture_or_a_picture_with_another_caption_says_something_else():
    net = small()
    image, present = pictures([(64, 64), (64, 64)])
    tokens, real = captions(CAPTIONS[:2])
    told = net(image[[0, 1, 0]], present[[0, 1, 0]], tokens[[0, 0, 1]], real[[0, 0, 1]])["boxes_cxcywh"]
    assert (told[0] - told[1]).abs().max() > 1e-3
    assert (told[0] - told[2]).abs().max() > 1e-3


@pytest.mark.parametrize("make", [roberta, bert])
@torch.no_grad()
def test_padding_of_a_caption_changes_no_box_and_no_code_of_a_real_token(make):
    net = small(make())
    given = pictures([(64, 64), (40, 91), (64, 30)])
    tokens, real = captions()
    plain, padded = net(*given, tokens, real), net(*given, *captions(more=5))
    for name in ("logits", "boxes_cxcywh", "aux_boxes_cxcywh", "query_code"):
        torch.testing.assert_close(padded[name], plain[name], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(padded["token_code"][:, : tokens.shape[1]][real], plain["token_code"][real], rtol=1e-4, atol=1e-5)
    alone = net(given[0][2:], given[1][2:], *captions(CAPTIONS[2:]))
    torch.testing.assert_close(alone["boxes_cxcywh"][0], plain["boxes_cxcywh"][2], rtol=1e-4, atol=1e-5)


def normed() -> TimmMaps:
    """A network of timm's whose norms do something."""
    net = timm_maps("mobilenetv3_small_050")
    for name, buffer in net.named_buffers():
        buffer.copy_(torch.randn_like(buffer) * 0.1 if "mean" in name or "bias" in name else torch.rand_like(buffer) + 0.5)
    return net


@pytest.mark.parametrize("make", [None, normed])
@torch.no_grad()
def test_padding_of_a_picture_changes_nothing_where_it_is_masked(make):
    net, sizes = small(backbone=make and make()), [(64, 64), (37, 91), (64, 30), (1, 1)]
    tokens, real = captions([*CAPTIONS, CAPTIONS[0]])
    image, present = pictures(sizes)
    together = net(image, present, tokens, real)
    for i, (height, width) in enumerate(sizes):
        h, w = -(-height // 32) * 32, -(-width // 32) * 32
        alone = net(image[i : i + 1, :, :h, :w], present[i : i + 1, :h, :w], tokens[i : i + 1], real[i : i + 1])
        for name in ("logits", "boxes_cxcywh"):
            torch.testing.assert_close(alone[name][0], together[name][i], rtol=1e-4, atol=1e-5)
    loose = small(backbone=make and make(), mask_padding=False)
    wide = [loose(*pictures(sizes[1:2], canvas), tokens[1:2], real[1:2])["logits"] for canvas in ((64, 96), (128, 160))]
    assert (wide[0] - wide[1]).abs().max() > 1e-4


def test_only_the_first_decoder_layer_learns_from_questions():
    net = small(extras=Extras(6, answers="gqa"))
    told = net(*pictures([(64, 64)]), *captions(CAPTIONS[:1]))
    assert {name: tuple(value.shape) for name, value in told.items() if name.startswith("reply_")} == {
        "reply_type": (1, 5),
        "reply_obj": (1, 3),
        "reply_rel": (1, 1594),
        "reply_attr": (1, 403),
        "reply_cat": (1, 678),
        "reply_global": (1, 111),
    }
    torch.stack([value.logsumexp(-1).sum() for name, value in told.items() if name.startswith("reply_")]).sum().backward()
    for i, layer in enumerate(net.decoder.layers):
        touched = {name for name, p in layer.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
        assert {"cross_attention.in_proj_weight", "linear1.weight", "norm3.weight"} <= touched if i == 0 else not touched
    assert net.answer_queries.weight.grad.abs().sum(1).min() > 0
    assert net.text.resize.weight.grad.abs().max() > 0


@torch.no_grad()
def test_each_question_is_answered_from_a_query_of_its_own():
    net = small(extras=Extras(6, answers="clevr"))
    given = (*pictures([(64, 64)]), *captions(CAPTIONS[:1]))
    states = net.decoder(net.query_positions(1), net.encode(*given).seen.memory)
    told = net(*given, all_layers=False)
    for i, (name, head) in enumerate(net.answer_heads.items()):
        torch.testing.assert_close(told[name], head(states[0, :, SMALL.num_queries + i]).reshape(told[name].shape))
    assert told["logits"].shape == (1, 5, 13)
    assert not [name for name in told if name.startswith("aux_")]


@torch.no_grad()
def test_one_look_at_a_picture_serves_many_captions_at_once():
    net = small(extras=Extras(6, True, True))
    image, present = pictures([(50, 90)])
    tokens, real = captions()
    runs = []
    net.backbone.register_forward_hook(lambda *_: runs.append(1))
    found = net.decode(net.join(net.look(image, present), net.read(tokens, real)))
    assert len(runs) == 1
    whole = net(image.expand(3, -1, -1, -1), present.expand(3, -1, -1), tokens, real)
    assert found.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="2 pictures and 3 captions"):
        net.join(net.look(*pictures([(50, 90), (40, 40)])), net.read(tokens, real))


@torch.no_grad()
def test_masks_are_of_the_picture_alone_whatever_stands_before_and_behind_it_in_the_encoder():
    shape = Shape(12, 3, width=128, num_heads=8, encoder_layers=1, decoder_layers=1, feedforward=16, dropout=0.0)
    net = Mdetr(ResNet((1, 1, 1, 1), (8, 8, 8, 8), 8), shape, roberta(), 8, Extras(6, contrast=True), masks="per_head").eval()
    given = (*pictures([(64, 64), (40, 91)]), *captions(CAPTIONS[:2]))
    seen, told = net.encode(*given).seen, net(*given)
    assert seen.memory.values.shape[1] == 1 + 2 * 3 + 6
    torch.testing.assert_close(seen.memory.values[:, 1:7].transpose(1, 2).reshape(seen.encoded.shape), seen.encoded)
    assert told["mask_logits"].shape == (2, 3, 16, 24)


@pytest.mark.parametrize("make", [roberta, bert])
@torch.no_grad()
def test_embedded_tokens_are_read_as_the_encoder_reads_tokens_padding_among_them(make):
    encoder = make().eval()
    tokens, real = captions()
    whole = encoder(input_ids=tokens, attention_mask=real.long(), token_type_ids=torch.zeros_like(tokens)).last_hidden_state
    side = Captions(encoder, 8, 16).eval()
    torch.testing.assert_close(side(tokens, real).hidden, whole)


@pytest.mark.parametrize("kind", ["DistilBert", "Electra", "MPNet", "T5Encoder"])
@torch.no_grad()
def test_encoders_of_other_kinds_read_captions(kind):
    sizes = {
        "DistilBert": {"dim": 8, "hidden_dim": 12, "n_heads": 2, "n_layers": 1},
        "T5Encoder": {"d_model": 8, "d_kv": 4, "d_ff": 12, "num_heads": 2, "num_layers": 1},
    }.get(kind, TINY_TEXT | {"embedding_size": 6})
    config = getattr(transformers, f"{kind.removesuffix('Encoder')}Config")(**{"vocab_size": 30} | sizes, pad_token_id=PAD)
    encoder = getattr(transformers, f"{kind}Model")(config).eval()
    tokens, real = captions()
    found = Captions(encoder, 8, 16).eval()(tokens, real)
    wanted = encoder(input_ids=tokens, attention_mask=real.long()).last_hidden_state
    torch.testing.assert_close(found.hidden[real], wanted[real])
    assert found.resized.shape == (3, 6, 16)


@pytest.mark.parametrize("place", ["memory", "text.words", "text_memory"])
@torch.no_grad()
def test_what_is_put_in_the_place_of_units_is_what_the_network_goes_on_with(place):
    net = small()
    given = (*pictures([(64, 64)]), *captions(CAPTIONS[:1]))
    before, runs = net(*given), []

    def zero(module, args, value):
        runs.append(value.shape)
        return torch.zeros_like(value)

    handle = net.get_submodule(place).register_forward_hook(zero)
    after = net(*given)
    handle.remove()
    assert [tuple(shape) for shape in runs] == [{"memory": (1, 16, 2, 3), "text.words": (1, 4, 8), "text_memory": (1, 4, 16)}[place]]
    assert (after["boxes_cxcywh"] - before["boxes_cxcywh"]).abs().max() > 1e-4
    same_tokens = torch.equal(after["token_code"], before["token_code"])
    assert same_tokens == (place == "memory")


@torch.no_grad()
def test_codes_lie_on_a_sphere_and_the_earlier_layers_have_theirs():
    told = small()(*pictures([(64, 64)]), *captions(CAPTIONS[:1]))
    assert told["aux_query_code"].shape == (1, 2, 5, 6)
    for name in ("query_code", "aux_query_code", "token_code"):
        torch.testing.assert_close(told[name].norm(dim=-1), torch.ones(told[name].shape[:-1]))


def test_the_transformer_starts_even_and_the_text_encoder_as_it_was():
    text = roberta()
    before = {name: value.clone() for name, value in text.state_dict().items()}
    net = small(text, extras=Extras(6, contrast=True))
    assert all(torch.equal(value, before[name]) for name, value in net.text.encoder.state_dict().items())
    bounds = {"encoder.layers.0.linear1.weight": 40, "decoder.layers.2.cross_attention.in_proj_weight": 64, "summary.weight": 17}
    for name, sides in bounds.items():  # uniform up to the root of 6 / (rows + columns)
        most = (6 / sides) ** 0.5
        assert most * 0.75 < net.get_parameter(name).abs().max() <= most
    assert net.text.norm.eps == 1e-12


def test_what_cannot_be_made_is_refused():
    with pytest.raises(BadUsage, match="no pooler"):
        small(bert(), extras=Extras(6, contrast=True))
    with pytest.raises(BadUsage, match=r"'gqqa'.*gqa"):
        small(extras=Extras(6, answers="gqqa"))
    with pytest.raises(BadUsage, match=r"timm:mlp.*4 maps"):
        TimmMaps(torch.nn.Linear(1, 1), "mlp")


def test_timms_maps_are_timms_and_its_norms_do_not_move():
    import timm

    theirs = timm.create_model("mobilenetv3_small_050", features_only=True, out_indices=(1, 2, 3, 4)).eval()
    plain = timm.create_model("mobilenetv3_small_050", num_classes=0)
    state = {name: torch.rand_like(value) + 0.5 if value.is_floating_point() else value for name, value in plain.state_dict().items()}
    plain.load_state_dict(state)
    theirs.load_state_dict({name: state[name] for name in theirs.state_dict()})
    ours, image = TimmMaps(plain, "mobilenetv3_small_050"), torch.rand(2, 3, 70, 90)
    before = {name: value.clone() for name, value in ours.named_buffers()}
    for mine, wanted in zip(ours.train()(image), theirs(image), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-4, atol=1e-4)
    assert before
    assert all(torch.equal(value, before[name]) for name, value in ours.named_buffers())
    assert not any(".bn" in name for name, _ in ours.named_parameters())
    ours.freeze()
    still = {name.split(".")[1] for name, p in ours.named_parameters() if not p.requires_grad}
    assert still == {"conv_stem", "blocks"}
    assert all(p.requires_grad != name.startswith(("net.conv_stem", "net.blocks.0.")) for name, p in ours.named_parameters())


def test_timms_weights_give_timms_maps_whatever_its_norms_have_beside_the_variance():
    import timm

    plain = timm.create_model("tf_efficientnet_lite0", num_classes=0)  # whose norms have 0.001 beside the variance
    theirs = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4)).eval()
    state = {name: torch.rand_like(v) * 0.1 + 0.01 if name.endswith("var") else v for name, v in plain.state_dict().items()}
    plain.load_state_dict(state)
    theirs.load_state_dict({name: state[name] for name in theirs.state_dict()})
    ours, image = TimmMaps(plain.double(), "tf_efficientnet_lite0").eval(), torch.rand(1, 3, 64, 64, dtype=torch.double)
    with torch.no_grad():
        for mine, wanted in list(zip(ours(image), theirs.double()(image), strict=True))[:2]:  # deeper, random layers magnify the last bit
            torch.testing.assert_close(mine, wanted)


def test_a_published_norm_divides_by_the_root_of_the_variance_and_0_00001():
    norm = timm_maps("tf_efficientnet_lite0").net.bn1
    published = {"weight": 0.1, "bias": 0.0, "running_mean": 0.0, "running_var": 1e-3}
    norm.load_state_dict({name: torch.full((32,), value) for name, value in published.items()})
    torch.testing.assert_close(norm(torch.ones(1, 32, 1, 1)), torch.full((1, 32, 1, 1), 0.1 / 0.00101**0.5))

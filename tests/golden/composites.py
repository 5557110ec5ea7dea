"""What PyTorch gives for the functions of client/tensord_nn.h: a line each of name, result, and the gradient of every
tensor that was drawn, for a cotangent of 1, 1.125, 1.25 and so on. tests/test_composites.c has the same calls.

    /usr/bin/python3 tests/golden/composites.py > tests/golden/composites.txt

SPDX-License-Identifier: Apache-2.0
"""
import torch
import torch.nn.functional as F

F64 = torch.float64


def drawn(shape, k, low=-1.5, high=1.5):
    """The same numbers as drawn in test_composites.c: thirteen in turn between low and high."""
    n = 1
    for size in shape:
        n *= size
    some = [low + (high - low) * ((i * 7 + k * 5) % 13) / 13 for i in range(n)]
    return torch.tensor(some, dtype=F64).reshape(shape).requires_grad_()


def case(name, function, *tensors):
    y = function(*tensors)
    y.backward((1 + torch.arange(y.numel(), dtype=F64) / 8).reshape(y.shape))
    found = y.detach().flatten().tolist()
    for t in tensors:
        found += (t.grad if t.grad is not None else torch.zeros_like(t)).flatten().tolist()
    print(name, *("%.17g" % v for v in found))


def x(k=0):
    return drawn((4, 3), k)


def chances(k=0):
    return drawn((4, 3), k, 0.0625, 0.9375)


SIGNS = torch.tensor([1.0, -1, -1, 1], dtype=F64)
PLACES = torch.tensor([0, 2, 1, 2])
image = lambda: drawn((2, 4, 3), 1)
row = lambda k: drawn((4,), k, 0.25, 2)


def running():
    return torch.tensor([0.5, -0.25, 0, 1], dtype=F64), torch.tensor([1, 0.5, 2, 0.25], dtype=F64)


def batch_norm(training):
    def run(x, w, b):
        mean, var = running()
        y = F.batch_norm(x, mean, var, w, b, training, 0.25)
        return torch.cat([y.flatten(), mean, var])
    return run


def instance_norm(of_input):
    def run(x, w, b):
        mean, var = running()
        y = F.instance_norm(x, mean, var, w, b, of_input, 0.25)
        return torch.cat([y.flatten(), mean, var])
    return run


def cosine_of_later_torch(a, b):
    """1.13 raises the norms where their own gradient reads them; since then copies are raised."""
    sizes = [t.norm(dim=0, keepdim=True).clone() for t in (a, b)]
    with torch.no_grad():
        for size in sizes:
            size.clamp_min_(1.5)
    return (a / sizes[0] * (b / sizes[1])).sum(0)


case("l1_loss", F.l1_loss, x(), x(2))
case("l1_loss_none", lambda a, b: F.l1_loss(a, b, reduction="none"), x(), x(2))
case("smooth_l1_loss", lambda a, b: F.smooth_l1_loss(a, b, beta=0.5), x(), x(2))
case("smooth_l1_loss_0", lambda a, b: F.smooth_l1_loss(a, b, beta=0.0), x(), x(2))
case("huber_loss", lambda a, b: F.huber_loss(a, b, delta=0.75, reduction="sum"), x(), x(2))
case("binary_cross_entropy", F.binary_cross_entropy, chances(), chances(1))
case("binary_cross_entropy_weight", lambda a, b: F.binary_cross_entropy(a, b, torch.arange(3.0, dtype=F64), reduction="none"), chances(), chances(1))
case("binary_cross_entropy_with_logits", F.binary_cross_entropy_with_logits, x(), chances(1))
case("binary_cross_entropy_with_logits_weights", lambda a, b: F.binary_cross_entropy_with_logits(a, b, torch.arange(3.0, dtype=F64), pos_weight=torch.tensor([2.0, 1, 0.5], dtype=F64)), x(), chances(1))
case("binary_cross_entropy_with_logits_0", lambda a, b: F.binary_cross_entropy_with_logits(a * 0, b, reduction="sum"), x(), chances(1))
case("soft_cross_entropy", lambda a, b: F.cross_entropy(a, b, torch.tensor([1.0, 2, 0.5], dtype=F64), label_smoothing=0.25), x(), chances(3))
case("kl_div", F.kl_div, x(), chances())
case("kl_div_0", lambda a: F.kl_div(a, torch.eye(4, 3, dtype=F64), reduction="sum"), x())
case("kl_div_log_target", lambda a, b: F.kl_div(a, b, log_target=True, reduction="none"), x(), x(4))
case("poisson_nll_loss", F.poisson_nll_loss, x(), drawn((4, 3), 2, 0, 4))
case("poisson_nll_loss_full", lambda a: F.poisson_nll_loss(a, drawn((4, 3), 2, 0, 4).detach(), log_input=False, full=True), chances())
case("gaussian_nll_loss", lambda a, b, v: F.gaussian_nll_loss(a, b, v, full=True, eps=0.25), x(), x(1), chances())
case("hinge_embedding_loss", lambda a: F.hinge_embedding_loss(a, SIGNS[:, None].expand(4, 3), margin=0.75), x())
case("margin_ranking_loss", lambda a, b: F.margin_ranking_loss(a, b, SIGNS, margin=0.25), row(0), row(3))
case("soft_margin_loss", lambda a: F.soft_margin_loss(a, SIGNS[:, None].expand(4, 3)), x())
case("triplet_margin_loss", F.triplet_margin_loss, x(), x(1), x(2))
case("triplet_margin_loss_swap", lambda a, b, c: F.triplet_margin_loss(a, b, c, margin=2.0, p=3.0, swap=True, reduction="sum"), x(), x(1), x(2))
case("cosine_embedding_loss", lambda a, b: F.cosine_embedding_loss(a, b, SIGNS, margin=0.125), x(), x(2))
case("multi_margin_loss", lambda a: F.multi_margin_loss(a, PLACES), x())
case("multi_margin_loss_weight", lambda a: F.multi_margin_loss(a, PLACES, p=2, margin=0.5, weight=torch.tensor([1.0, 2, 0.5], dtype=F64), reduction="none"), x())
LABELS = torch.tensor([[0, 2, -1], [-1, 1, 2], [1, -1, 0], [0, 1, 2]])
case("multilabel_margin_loss", lambda a: F.multilabel_margin_loss(a, LABELS), x())
case("multilabel_margin_loss_none", lambda a: F.multilabel_margin_loss(a, LABELS, reduction="none"), x())
case("multilabel_soft_margin_loss", lambda a, b: F.multilabel_soft_margin_loss(a, b, torch.tensor([1.0, 2, 0.5], dtype=F64)), x(), chances(1))
case("normalize", F.normalize, x())
case("normalize_0", lambda a: F.normalize(a * torch.tensor([1.0, 0, 1], dtype=F64), p=1.0, dim=0), x())
case("cosine_similarity", F.cosine_similarity, x(), x(3))
case("cosine_similarity_0", cosine_of_later_torch, x(), x(3))
case("batch_norm", batch_norm(True), image(), row(1), row(2))
case("batch_norm_eval", batch_norm(False), image(), row(1), row(2))
case("batch_norm_plain", lambda a: F.batch_norm(a, None, None, training=True), image())
case("group_norm", lambda a, w, b: F.group_norm(a, 2, w, b), image(), row(1), row(2))
case("group_norm_weight", lambda a, w: F.group_norm(a, 4, w), image(), row(1))
case("instance_norm", lambda a, w, b: F.instance_norm(a, None, None, w, b), image(), row(1), row(2))
case("instance_norm_running", instance_norm(True), image(), row(1), row(2))
case("instance_norm_eval", instance_norm(False), image(), row(1), row(2))
case("glu", F.glu, drawn((3, 4), 1))
case("glu_0", lambda a: F.glu(a, 0), x())
case("softmin", lambda a: F.softmin(a, 1), x())
case("prelu", F.prelu, image(), row(2))
case("prelu_one", F.prelu, x(), drawn((1,), 2))


def attention(q, k, v, mask=None, causal=False, scale=None):
    """torch 1.13 keeps it private."""
    s = q @ k.transpose(-2, -1) * (scale or q.shape[-1] ** -0.5)
    if causal:
        s = s.masked_fill(~torch.ones(s.shape[-2:], dtype=torch.bool).tril(), float("-inf"))
    if mask is not None:
        s = s.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else s + mask
    return s.softmax(-1) @ v


SEEN = torch.tensor([[True, False, True, True], [True, True, False, True], [False, True, True, True]])
qkv = lambda: (drawn((2, 3, 5), 0), drawn((2, 4, 5), 1), drawn((2, 4, 2), 2))
case("attention", attention, *qkv())
case("attention_causal", lambda q, k, v: attention(q, k, v, None, True, 0.5), *qkv())
case("attention_bool", lambda q, k, v: attention(q, k, v, SEEN), *qkv())
case("attention_mask", lambda q, k, v, m: attention(q, k, v, m), *qkv(), drawn((3, 4), 3))

BAGS = torch.tensor([0, 3, 1, 1, 2, 0])
case("embedding_bag", lambda w: F.embedding_bag(BAGS.reshape(2, 3), w, mode="mean"), x())
case("embedding_bag_sum", lambda w, s: F.embedding_bag(BAGS.reshape(2, 3), w, mode="sum", per_sample_weights=s), x(), drawn((2, 3), 1))
case("embedding_bag_offsets", lambda w: F.embedding_bag(BAGS, w, torch.tensor([0, 2, 2, 5, 6]), mode="mean"), x())
case("embedding_bag_weights", lambda w, s: F.embedding_bag(BAGS, w, torch.tensor([0, 4]), mode="sum", per_sample_weights=s), x(), drawn((6,), 1))

picture = lambda: drawn((1, 2, 3, 4), 1)
case("im2col", lambda x: F.unfold(x, 2), picture())
case("im2col_sizes", lambda x: F.unfold(x, (2, 3), dilation=(1, 2), padding=(1, 2), stride=(2, 1)), picture())
case("col2im", lambda x: F.fold(x, (3, 4), 2), drawn((1, 8, 6), 2))
case("col2im_sizes", lambda x: F.fold(x, (3, 4), (2, 3), dilation=(1, 2), padding=(1, 2), stride=(2, 1)), drawn((1, 6, 8), 2))
case("col2im_plain", lambda x: F.fold(x, (3, 4), 2, stride=1), drawn((4, 6), 2))
case("nearest", lambda x: F.interpolate(x, (5, 3)), picture())
case("nearest_scale", lambda x: F.interpolate(x, scale_factor=1.7), image())
case("nearest_exact", lambda x: F.interpolate(x, (5, 3), mode="nearest-exact"), picture())
case("linear", lambda x: F.interpolate(x, 7, mode="linear"), image())
case("linear_scale", lambda x: F.interpolate(x, scale_factor=0.8, mode="linear"), drawn((1, 2, 9), 1))
case("linear_corners", lambda x: F.interpolate(x, 7, mode="linear", align_corners=True), image())
case("bilinear", lambda x: F.interpolate(x, (5, 3), mode="bilinear"), picture())
case("bilinear_scale", lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear"), picture())
case("bilinear_corners", lambda x: F.interpolate(x, (1, 6), mode="bilinear", align_corners=True), picture())
case("trilinear", lambda x: F.interpolate(x, (3, 2, 4), mode="trilinear"), drawn((1, 1, 2, 3, 3), 1))
case("bicubic", lambda x: F.interpolate(x, (5, 3), mode="bicubic"), picture())
case("bicubic_scale", lambda x: F.interpolate(x, scale_factor=1.7, mode="bicubic"), picture())
case("bicubic_corners", lambda x: F.interpolate(x, (5, 7), mode="bicubic", align_corners=True), picture())
case("kl_div_batchmean", lambda a, b: F.kl_div(a, b, reduction="batchmean"), x(), chances())
case("cross_entropy_of_chances", lambda a, b: F.cross_entropy(a, b, torch.tensor([1.0, 2, 0.5], dtype=F64), label_smoothing=0.25, reduction="sum"), x(), chances(3))
case("cross_entropy_of_classes", lambda a: F.cross_entropy(a, PLACES, torch.tensor([1.0, 2, 0.5], dtype=F64)), x())
case("embedding_bag_max", lambda w: F.embedding_bag(BAGS.reshape(2, 3), w, mode="max"), x())
case("embedding_bag_max_offsets", lambda w: F.embedding_bag(BAGS, w, torch.tensor([0, 2, 2, 5, 6]), mode="max"), x())
case("area", lambda x: F.interpolate(x, (5, 3), mode="area"), picture())
case("area_scale", lambda x: F.interpolate(x, scale_factor=0.8, mode="area"), drawn((1, 2, 9), 1))
case("area_3d", lambda x: F.interpolate(x, scale_factor=(1.5, 0.7, 2.0), mode="area"), drawn((1, 1, 2, 3, 3), 1))
case("nearest_scales", lambda x: F.interpolate(x, scale_factor=(1.7, 0.6)), picture())
case("bilinear_scales", lambda x: F.interpolate(x, scale_factor=(1.7, 0.6), mode="bilinear"), picture())
case("bicubic_scales", lambda x: F.interpolate(x, scale_factor=(0.7, 1.6), mode="bicubic"), picture())
matrix = torch.linalg.matrix_norm
case("matrix_norm", matrix, image())
case("matrix_norm_nuclear", lambda a: matrix(a, "nuc"), image())
case("matrix_norm_1", lambda a: matrix(a, 1), image())
case("matrix_norm_less_1", lambda a: matrix(a, -1, dim=(0, 2)), image())
case("matrix_norm_2", lambda a: matrix(a, 2, dim=(2, 0)), image())
case("matrix_norm_less_2", lambda a: matrix(a, -2), image())
case("matrix_norm_inf", lambda a: matrix(a, float("inf"), dim=(1, 0), keepdim=True) * torch.arange(1, 4, dtype=F64), image())
case("matrix_norm_less_inf", lambda a: matrix(a, -float("inf")), image())


def scattered(a, b):
    y = a.clone()
    y.masked_scatter_(torch.tensor([True, False, True]), b)
    return y * a


case("masked_scatter_", scattered, x(), drawn((9,), 2))


def cell(gates, *more):
    some = [x(), drawn((4, 2), 1), drawn((2 * gates, 3), 2), drawn((2 * gates, 2), 3)]
    return some + [drawn((2 * gates,), k) for k in more]


def lstm(x, h, w, u, p, *more):
    q, c = more if len(more) == 2 else (None, *more)
    if q is None:
        return torch.stack(torch.lstm_cell(x[None], (h[None], c[None]), w, u, p, torch.zeros_like(p))).squeeze(1)
    return torch.stack(torch.lstm_cell(x, (h, c), w, u, p, q))


case("rnn_tanh_cell", torch.rnn_tanh_cell, *cell(1, 4, 5))
case("rnn_relu_cell", torch.rnn_relu_cell, *cell(1, 4, 5))
case("gru_cell", torch.gru_cell, *cell(3, 4, 5))
case("gru_cell_plain", torch.gru_cell, *cell(3))
case("lstm_cell", lstm, *cell(4, 4, 5), drawn((4, 2), 6))
case("lstm_cell_row", lstm, drawn((3,), 0), drawn((2,), 1), drawn((8, 3), 2), drawn((8, 2), 3), drawn((8,), 4), drawn((2,), 6))
COLUMN = PLACES[:, None]
case("index_add_", lambda a, b: a.clone().index_add_(0, PLACES, b), x(), x(2))
case("index_copy_", lambda a, b: a.clone().index_copy_(1, PLACES[:3], b), x(), x(2))
case("index_fill_", lambda a: a.clone().index_fill_(0, PLACES, 2.5), x())
case("scatter_", lambda a, b: a.clone().scatter_(1, COLUMN, b[:, :1]), x(), x(2))
case("scatter_add_", lambda a, b: a.clone().scatter_add_(1, COLUMN, b[:, :1]), x(), x(2))
case("scatter_reduce_", lambda a, b: a.clone().scatter_reduce_(1, COLUMN, b[:, :1], "mean"), x(), x(2))
case("cumsum_", lambda a: a.clone().cumsum_(0), x())
case("cumprod_", lambda a: a.clone().cumprod_(1), x())
case("tril_", lambda a: a.clone().tril_(), x())
case("triu_", lambda a: a.clone().triu_(-1), x())
case("polygamma_", lambda a: a.clone().polygamma_(2), chances())
case("zero_", lambda a: a.clone().zero_() + a, x())
case("true_divide_", lambda a, b: a.clone().true_divide_(b), x(), chances(1))
case("float_power_", lambda a, b: a.clone().float_power_(b), chances(), chances(1))
case("ldexp_", torch.ldexp, x(), x(2))  # its own ldexp_ has no gradient
case("deg2rad_", lambda a: a.clone().deg2rad_(), x())
case("rad2deg_", lambda a: a.clone().rad2deg_(), x())
case("sgn_", lambda a: a.clone().sgn_() * a, x())
case("clamp_min_", lambda a, b: a.clone().clamp_min_(b), x(), x(2))
case("clamp_max_", lambda a: a.clone().clamp_max_(0.25), x())
case("clamp_between_", lambda a, b, c: a.clone().clamp_(b, c), x(), x(1), x(2))
case("addmm_", lambda a, b, c: a.clone().addmm_(b, c, beta=0.5, alpha=2), x(), drawn((4, 2), 1), drawn((2, 3), 2))
case("baddbmm_", lambda a, b, c: a.clone().baddbmm_(b, c), image(), drawn((2, 4, 5), 2), drawn((2, 5, 3), 3))
case("fill_diagonal_", lambda a: a.clone().fill_diagonal_(2), drawn((9, 3), 1))
case("fill_diagonal_wrap", lambda a: a.clone().fill_diagonal_(2, wrap=True), drawn((9, 3), 1))
case("fill_diagonal_cube", lambda a: a.clone().transpose(0, 1).fill_diagonal_(-1), drawn((3, 3, 3), 1))
case("addmv_", lambda a, b, c: a.clone().addmv_(b, c, beta=0.5, alpha=2), drawn((4,), 1), drawn((4, 2), 2), drawn((2,), 3))
case("addr_", lambda a, b, c: a.clone().addr_(b, c, beta=0.5, alpha=2), x(), drawn((4,), 2), drawn((3,), 3))
case("addbmm_", lambda a, b, c: a.clone().addbmm_(b, c), x(), drawn((2, 4, 5), 2), drawn((2, 5, 3), 3))
case("renorm_", lambda a: a.clone().renorm_(2, 1, 2), x())
case("renorm_1", lambda a: a.renorm(1, 0, 1.5), image())
case("repeat_interleave", lambda a: a.repeat_interleave(PLACES, 0), x())
case("repeat_interleave_all", lambda a: a.repeat_interleave(torch.tensor([2])), x())

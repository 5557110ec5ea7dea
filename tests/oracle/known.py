"""Where tensord differs from PyTorch: KNOWN on purpose, each with its reason; OPEN by a mistake that is not mended yet.
Cases of either are no golden cases and no finding of the fuzzers. Whoever mends one takes its line away and runs
`make oracle`.

Each is recognised by the op (None: any), what torch said when it refused (a pattern; None: it did not), what our side
answers (a pattern), and what the case's text holds (a pattern
or a function). SPDX-License-Identifier: Apache-2.0
"""
import json
import math
import re

import torch

from case import ROWS
from seen import empty, expanded, given, halves, holds, mixed, nan, seen, truths, wholes, wild

# Both dtypes of a call, or an op and a dtype, where torch has no kernel or no promotion.
LACKS = r"not implemented for|same (scalar |d)?type|[Ee]xpected .*(dtype|scalar type|type)|Found dtype|boolean alpha|" \
    r"Subtraction, the `-` operator, with|with a bool tensor is not supported|result type .* can't be cast|" \
    r"only supports? .*(floating|integral)|input dtype should be|must be floating|integer types|not supported on|" \
    r"should be either .*point|ow precision dtypes|Expected a floating point or complex|isDifferentiableType|tensors with different dtypes"


FEWER = r"\[dtype: \w+: (takes|cannot give|\w+ is \w+ where .* is due)"


def layout(text, answer):
    """The sizes of a result, the strides due, and ours."""
    got = re.match(r"(\w+) has strides \(([\d, ]+)\)", answer)
    found = got and re.search(r"\b%s>\w+(\[[\d,]+\])/(\[[\d,]+\])" % got.group(1), text)
    return [json.loads(n) for n in (found.group(1), found.group(2), "[%s]" % got.group(2))] if found else [[], [], []]


def of_ones(op, text, answer):
    """Only the strides of dimensions of size 1 differ, which lead nowhere."""
    sizes, want, got = layout(text, answer)
    return sizes and all(n == 1 or a == b for n, a, b in zip(sizes, want, got))


def channels_last(op, text, answer):
    """A result with four dimensions, one of them of size 1."""
    sizes = layout(text, answer)[0]
    return len(sizes) == 4 and 1 in sizes


def by_channels(op, text, answer):
    """torch's images lie so that the channels are nearest, or there are none."""
    sizes, want, got = layout(text, answer)
    rank = int(op[-2]) if op[-2].isdigit() else len(sizes) - 2
    return len(sizes) > rank > 0 and (0 in sizes or want[len(sizes) - 1 - rank] == 1) or of_ones(op, text, answer)


def both(answer):
    """Our number and torch's; inf and nan for other answers, which are near nothing."""
    found = re.search(r" is (\S+) where (\S+) is due", answer)
    return [float(n) for n in found.groups()] if found else [float("inf"), float("nan")]


def near(relative, *words):
    """Values as near as that, in a case that holds one of these words."""
    def check(op, text, answer):
        got, want = both(answer)
        return any(word in text for word in words) and abs(got - want) <= relative * abs(want)
    return check


slightly = near(1e-6, "f64")  # what f32 would not tell apart


def endless(op, text, answer):
    """One of the two values is inf or nan."""
    return not all(math.isfinite(n) for n in both(answer)) and " where " in answer


def batchless(c):
    """A window op's images are not in a batch, or in one of none."""
    spatial = c.weight.dim() - 2 if hasattr(c, "weight") else c.x.dim() - 2
    return c.x.dim() == spatial + 1 or empty(c.x)


def singular(x):
    """As far as the precision of its elements tells."""
    values = torch.linalg.svdvals(x.double())
    return holds(lambda v: v, values[..., -1] <= 64 * torch.finfo(x.dtype).eps * values[..., 0])


def many_halves(x):
    """More than can be counted in their type by ones."""
    return x.dtype in (torch.float16, torch.bfloat16) and x.numel() > 2 / torch.finfo(x.dtype).eps


def hinges(c):
    """Whether a triplet's margin is kept to within rounding."""
    def apart(a, b):
        return (a.double() - b.double() + 1e-6).norm(c.p, -1)
    far = apart(c.anchor, c.negative)
    far = torch.minimum(far, apart(c.positive, c.negative)) if c.swap else far
    precision = max(torch.finfo(x.dtype).eps for x in c.all)
    return holds(lambda x: x.abs() < 64 * precision, apart(c.anchor, c.positive) - far + c.margin)


def row_by_row(op, text, answer):
    """Ours lies row by row."""
    sizes, _, got = layout(text, answer)
    return all(n == 1 or t == math.prod(sizes[d + 1:]) for d, (n, t) in enumerate(zip(sizes, got)))


def roughly(op, text, answer):
    """Of several types, and as near as the coarsest of the floats among them tells."""
    c = seen(op, text)
    got, want = both(answer)
    floats = [torch.finfo(x.dtype).eps for x in c.all if x.dtype.is_floating_point]
    return mixed(c) and abs(got - want) <= 64 * max(floats) * max(1, abs(want))


def nowhere(op, text, answer):
    """Strides of nothing, or of dimensions of size 1."""
    return 0 in layout(text, answer)[0] or of_ones(op, text, answer)


KNOWN = [
    # op, torch's refusal, our answer, the case, why
    (None, LACKS, "not refused", given(lambda c: mixed(c) or halves(c) or wholes(c) or truths(c) or c.dtype), "it promotes, or takes a dtype, where torch refuses"),
    ("conv_weight avg_pool_back", None, FEWER, given(wholes), "of floats, as gradients are; torch takes integers, too"),
    ("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d avg_pool1d avg_pool2d avg_pool3d softmin softmax log_softmax soft_cross_entropy cross_entropy mse_loss mean eigh bucketize searchsorted max_dim min_dim mm mv bmm dot inner addmv addbmm "
     "addmm baddbmm matmul matrix_power linear adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d",
     None, FEWER, given(lambda c: wholes(c) and empty(*c.all)), "the row takes fewer dtypes; torch looks at them only where there are elements"),
    ("matmul linear mm mv bmm dot inner addmv addbmm addmm baddbmm conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_weight", None,
     r"is \w+ and \w+ is \w+, where all are of one type", given(mixed), "factors are of one type; torch looks only where there are elements, and not always at a bias"),
    (None, None, "strides", channels_last, "torch gives results in channels-last order strides of their own"),
    ("cat roll pad pixel_shuffle pixel_unshuffle", None, "strides", by_channels, "torch gives results in channels-last order strides of their own"),
    ("program", None, "strides", channels_last, "torch gives results in channels-last order strides of their own"),
    ("max_pool1d max_pool2d avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d",
     None, "strides", by_channels, "torch gives results in channels-last order strides of their own"),
    ("pow float_power max min scatter_reduce index_reduce multi_margin_loss multilabel_margin_loss", None, r"grad.* is -?\d\S* where -?nan", given(lambda c: wild(c.cotangent)),
     "a gradient of 0 stays 0 under a cotangent of nan or inf; torch multiplies"),
    ("pow", None, "grad.* where -?nan", given(lambda c: c.b is False and holds(lambda x: x == 0, c.a)), "torch takes an exponent of False for one that is not 0 and gives nan at 0"),
    ("maximum minimum", None, "grad.* where", given(lambda c: nan(c.a) != nan(c.b) or nan(c.a, c.b) and c.a.numel() > 1), "nan beside a number gets all of the gradient, in torch both get it"),
    ("pow", None, "is -0 where 0 is due|is -?nan where inf", given(lambda c: holds(lambda x: x == 0.5, c.b) and (halves(c) or torch.is_tensor(c.b))),
     "torch has a root for the number 0.5 alone, and not of f16"),
    ("max min", None, "grad.* where -?nan", given(lambda c: nan(c.x)),
     "where the result is nan its gradient goes to the nans, as torch.max(x)'s does; torch.amax's is nan everywhere"),
    (None, None, "^a list is too long", None, "a tensor has eight dimensions at most"),
    (None, ".", "^a list is too long", None, "a tensor has eight dimensions at most"),
    (None, None, "dimensions; the limit is 8", None, "a tensor has eight dimensions at most"),
    ("nanmean nansum", None, "grad.* is 0 where -?nan", given(lambda c: nan(c.x)), "what is nan has a gradient of 0; torch multiplies by 0"),
    ("rnn_tanh_cell gru_cell lstm_cell", None, "grad", given(lambda c: wild(c.cotangent, *c.all)), "what is nan and what inf varies with the order of the terms"),
    ("xlogy", None, "grad.* is -?nan where -?inf", given(halves), "a product that halves round to 0 is divided by 0"),
    ("made dropout", None, "strides", nowhere, "strides that lead nowhere"),
    ("bce_with_logits binary_cross_entropy", "not differentiable with respect to", "not refused", None, "weights have a gradient, too"),
    ("cosine_embedding_loss", "multi-target", "not refused", None, "any shapes broadcast"),
    ("isclose", "broadcast shape", "not refused", None, "any shapes broadcast"),
    ("isclose", "did not match", "not refused", given(mixed), "it promotes, where torch refuses"),
    ("kl_div", "Integral inputs", "not refused", given(wholes), "it promotes, where torch refuses"),
    ("batch_norm instance_norm group_norm", "more than 1 (spatial|value)", "not refused", given(lambda c: getattr(c, "mean", None) is None),
     "a single element is normalised to 0; it is refused where running statistics are kept"),
    ("take_along_dim", "has no dimensions", "not refused", given(lambda c: c.x.dim() == 0), "x has one element, without dimensions, too"),
    ("multilabel_soft_margin_loss kl_div", "has no dimensions", "not refused", given(lambda c: c.x.dim() == 0), "a single score"),
    ("multi_margin_loss", "non-empty vector|inconsistent target size", "not refused", given(lambda c: empty(c.x)), "nothing has a loss of nothing"),
    ("margin_ranking_loss hinge_embedding_loss soft_margin_loss", "Negation|could not infer output dtype", "not refused", given(wholes),
     "it promotes, where torch refuses"),
    ("diag kron take_along_dim", "multiplication overflow|view size is not", "not refused", None, "torch refuses some strides"),
    ("addmm baddbmm addmv addr addbmm", None, "grad: refused .grad|grad.* is -?0 where -?nan", given(lambda c: c.beta == 0), "what beta 0 leaves out has no gradient; in torch it is 0"),
    ("matrix_power", None, "grad: refused .grad", given(lambda c: c.n == 0), "the power 0 is a constant; in torch its gradient is 0"),
    ("hinge_embedding_loss margin_ranking_loss", None, "where", given(lambda c: holds(lambda x: x == 255, c.target)), "a target of u8 is none of 1 and -1; torch's -1 wraps to 255"),
    ("prelu soft_cross_entropy hinge_embedding_loss multi_margin_loss huber_loss smooth_l1_loss l1_loss bce_with_logits binary_cross_entropy poisson_nll_loss "
     "gaussian_nll_loss kl_div soft_margin_loss margin_ranking_loss cosine_embedding_loss triplet_margin_loss", None, r" is \w+$", given(lambda c: mixed(c) or wholes(c)),
     "operands promote as those of other ops; torch broadcasts before, or takes the first one's type"),
    ("bce_with_logits multilabel_soft_margin_loss", None, "where", roughly, "its parts are taken in their own types"),
    ("bce_with_logits", None, "grad.* is -?nan where -?inf", given(lambda c: wild(c.cotangent)), "inf meets the parts of the loss one by one"),
    ("bce_with_logits", None, "is -?inf where -?nan", given(lambda c: wild(c.x)), "at infinite logits torch adds inf and -inf"),
    ("embedding_bag", None, "grad.* where", given(lambda c: c.scale_grad_by_freq), "each row's gradient is divided by how often that row is named; torch 1.13 takes the count of another"),
    ("mvlgamma", "may not be a boolean", "not refused", given(wholes), "it promotes, or takes a dtype, where torch refuses"),
    ("mvlgamma", None, "grad.* is -?nan where", given(lambda c: wild(c.cotangent)), "inf meets the slopes of the sum one by one"),
    ("index_reduce", "out of range", "not refused", given(lambda c: empty(c.source)), "an index is looked at where something is brought"),
    ("cdist", None, " is nan where -?0", given(lambda c: c.p == math.inf and nan(c.a, c.b)), "of p inf a distance to nan is nan; torch's is 0"),
    ("matrix_power", None, "where", given(lambda c: wild(c.x)), "what is nan and what inf varies with the order of the products"),
    ("triplet_margin_loss", None, "grad.* where", given(hinges), "where the margin is just kept rounding says on which side"),
    ("cdist", None, "grad.* where -?nan", given(lambda c: nan(c.a, c.b)), "the gradient of a magnitude at nan is 0, as that of abs"),
    ("soft_margin_loss", None, "grad.* where -?nan", given(lambda c: wild(c.x, c.target)), "the slope at infinity is 0 or 1; torch divides inf by inf"),
    ("soft_margin_loss", None, "strides", row_by_row, "logsigmoid lays its results row by row, here too"),
    ("margin_ranking_loss huber_loss smooth_l1_loss l1_loss binary_cross_entropy ldexp clamp_min clamp_max clamp_between", None, "strides", given(expanded), "torch lays expanded operands in another order on the way"),
    ("batch_norm instance_norm group_norm", None, "where", given(lambda c: wild(*c.all)), "inf and nan meet in another order"),
    ("interpolate", None, "where", given(lambda c: wild(c.x, c.cotangent)), "elements of weight 0 meet inf and nan"),
    ("trace", None, "grad.* where", given(lambda c: c.x.shape[0] > c.x.shape[1]), "torch gives a part of a tall matrix's gradient to what is beside its diagonal"),
    ("dist norm", None, "where", given(lambda c: c.p == 0 and many_halves(c.x if hasattr(c, "x") else c.a - c.b)),
     "all that is not 0 is counted; torch adds ones in the same type, which stop at 256 in bf16 and at 2048 in f16"),
    ("pairwise_distance dist", None, "grad.* where -?0", given(halves), "torch's powers of halves are 0, or inf, sooner"),
    ("interpolate prelu", None, "strides", by_channels, "torch gives results in channels-last order strides of their own"),
    ("diff", None, "n is -1", given(lambda c: c.n < 0), "an order below 0 is refused"),
    ("cdist", None, "grad.* where", given(lambda c: c.p == math.inf), "of p inf ties share the gradient, as of norm; in torch each gets all"),
    ("smooth_l1_loss", None, "grad.* where", given(lambda c: c.beta == 0 and holds(lambda x: x, c.x == c.target)), "of beta 0 the gradient at 0 is that of l1_loss, 0; torch's is -1"),
    ("huber_loss smooth_l1_loss matrix_norm", None, "grad.* where -?nan", given(lambda c: wild(c.cotangent, *c.all)), "the gradient of a magnitude at nan is 0, as that of abs"),
    ("poisson_nll_loss", None, "grad.* where -?nan", given(lambda c: c.full and holds(lambda x: x <= 1, c.target)), "no gradient of Stirling's terms where they are left out"),
    ("var_mean std_mean", None, "is -?inf where -?nan", given(lambda c: wild(c.x)), "a mean of inf; torch takes it along the way"),
    ("multi_margin_loss multilabel_margin_loss", None, "where", given(lambda c: empty(c.x)), "the mean of nothing is nan; torch gives bytes of others"),
    (None, None, "elements share memory", None, "a write to elements that share memory is refused, also by fill_"),
    ("cross_entropy", None, "grad.* is -?inf where -?nan", given(lambda c: wild(c.cotangent)),
     "a cotangent of inf meets softmax - 1 as one factor, in torch in two parts that cancel"),
    ("cross_entropy", None, "is inf where -?nan", given(lambda c: c.label_smoothing and holds(lambda x: x == 0, c.weight)), "of weight 0 in all, with label_smoothing, torch divides 0 by 0 apart"),
    ("nll_loss", None, "shape: nll_loss", given(lambda c: c.x.dim() == 1 and c.target.shape == (1,)), "torch takes a row of one target beside logits without a number"),
    ("renorm normalize layer_norm rms_norm group_norm instance_norm batch_norm matrix_power attention scaled_dot_product_attention", None, "grad", given(lambda c: wild(c.cotangent, *c.all)), "inf and nan meet in another order"),
    ("attention_back", None, "(nan|inf) where|where -?(nan|inf)", given(lambda c: wild(*c.all) or any(x.abs().max() > 80 for x in c.all if x.is_floating_point() and x.numel())), "exponentials beyond the range: what is inf and what nan varies with the order of the terms"),
    ("dropout", None, "0 where nan", given(lambda c: wild(c.x, c.cotangent)), "what is dropped is 0; torch multiplies it by 0"),
    ("dropout", None, "strides", given(lambda c: not c.x.is_contiguous()), "x itself without training in torch, else the strides of a product"),
    ("conv_transpose1d conv_transpose2d conv_transpose3d", None, "output_padding|gives no result", given(lambda c: empty(c.x)),
     "torch looks at the sizes only where there is a batch"),
    ("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_weight", None, "strides", by_channels,
     "torch gives results in channels-last order strides of their own"),
    ("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_weight",
     "view size is not compatible", "not refused", given(batchless), "torch does not take every layout without a batch"),
    ("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_weight", None, "where", given(lambda c: wild(c.cotangent, *c.all)),
     "filters of nan and inf meet the zeros of a padding in some kernels only; so they do in torch"),
    ("avg_pool3d max_pool3d", "smaller than kernel size", "not refused", given(lambda c: c.ceil_mode or c.padding),
     "with ceil_mode or padding torch takes small images of two dimensions, and of three not"),
    ("conv_transpose1d conv_transpose2d conv_transpose3d", ".", "not refused", given(lambda c: empty(c.x)),
     "torch does not take every shape of an empty batch"),
    ("conv_weight", None, "grad is not refused", given(batchless), "torch gives no gradient where there is no batch"),
    ("unique", "nan has no order", "not refused", given(lambda c: nan(c.x)), "each nan is by itself; torch sorts by a comparison that has no place for nan"),
    ("multilabel_margin_loss", None, r" is f32$", given(lambda c: not c.x.dtype.is_floating_point and empty(c.x)), "the row takes fewer dtypes; torch often looks at the dtype only where there are elements"),
    ("baddbmm", None, r" is \w+$", given(lambda c: c.x.dtype != c.a.dtype), "it promotes; torch does not always look at the dtype of what is added"),
    ("baddbmm", None, "where -?nan", given(lambda c: c.beta == 0), "of beta 0 torch multiplies what its memory holds by 0"),
    ("renorm", "cannot compute the inf norm", "not refused", given(lambda c: c.p == math.inf and empty(c.x)), "the greatest of nothing is 0, as that of norm"),
    ("addr", None, "strides", given(lambda c: c.beta == 0), "of beta 0 x has no part in it, nor in how it lies"),
    ("inner addmv addr addbmm addmm baddbmm", None, r" is \w+$|does not go into",
     given(lambda c: mixed(c) and empty(*c.all) or c.a.shape[-1] == 1 and empty(*c.all)), "torch does not look at the dtypes of factors without elements"),
    ("cummax cummin", None, "does not exist in a tensor", given(lambda c: empty(c.x)),
     "torch looks at the dimension only where there are elements"),
    ("norm", None, "grad.* is -?0 where -?nan", given(lambda c: abs(c.p) == math.inf and wild(c.x, c.cotangent)), "of p inf all but the greatest gets 0, of -inf all but the least; torch multiplies by 0"),
    ("norm dist cdist pairwise_distance normalize", None, "grad is not refused", given(lambda c: c.p == 0), "p 0 gives a gradient of 0, torch none"),
    ("prod", None, r"grad.* is \S+ where -?nan", given(lambda c: wild(c.x)),
     "the gradient at nan and inf is the product of the others; torch divides"),
    ("var std var_mean std_mean", None, r"grad.* is -?nan where -?inf", given(lambda c: not c.dims),
     "of as many elements as correction the gradient is nan; torch's is inf where no dimensions are given"),
    ("mode", None, "", given(lambda c: nan(c.x)), "each nan is by itself; torch sorts by a comparison that has no place for nan"),
    ("mse_loss", None, "strides", of_ones, "torch broadcasts before it converts, and gives sizes of 1 other strides then"),
    ("mse_loss", None, r" is \w+$", given(lambda c: mixed(c) and any(x.dim() == 0 for x in c.all)), "torch broadcasts first: what has no dimensions counts like the others then"),
    ("mse_loss", None, r" is \w+$", given(lambda c: mixed(c) and c.reduction), "torch gives the mean and the sum the first operand's dtype"),
    ("full full_like fill_ randint masked_fill index_fill pad", "without overflow|is out of bounds for", "not refused", r"\b(bool|u8|i8|i16|i32)\b", "a number that does not fit wraps, as elements do"),
    ("where masked_fill pow", "at::Half without overflow", "not refused", given(halves), "a number that does not fit is inf, as elements are"),
    ("strided_write strided_add", None, "does not go into", None, "a gradient's op: it writes nothing that loses more than places"),
    ("scatter index_fill index_copy", None, "does not go into", None, "they write nothing that loses more than places"),
    ("masked_select", None, "grad.* where", given(lambda c: not c.x.is_contiguous()), "torch puts the gradient of a permuted x into the order of its memory"),
    ("index", None, "strides", nowhere, "torch's strides of nothing vary"),
    ("index index_put", None, "out of range", given(lambda c: empty(*c.all)), "torch does not look at indices where nothing is picked"),
    ("pad", "in a negative output size", "not refused", given(lambda c: c.mode == 0), "a size of 0 is one, too"),
    ("pad", r"Invalid padding size|Expected \dD|\dD .*expected|Only 2D", "not refused", given(lambda c: c.mode), "any dimensions are padded in any mode; torch has those of images"),
    ("tril triu", None, "less than two dimensions", given(lambda c: c.x.shape == (0,)), "torch takes one dimension without elements"),
    ("index_copy index_fill", None, "out of range for a dimension", r"index_(copy|fill)_? .*>\w+\[(\d+,)*0[],]",
     "torch does not look at an index where nothing is written"),
    ("program", "its base or another view of its base", "not refused", "no_grad 1 ",
     "torch refuses to read a view made under no_grad after a write to its base; here it has no gradient"),
    ("clamp", None, "where", given(lambda c: c.x.dtype == torch.uint8 and min(c.min, c.max) < 0),
     "bounds are doubles; torch's wrap to u8"),
    ("linspace", "without overflow", "not refused", r"\bu8\b", "numbers that u8 does not hold are cut"),
    ("linspace", None, "where", given(lambda c: c.dtype == torch.uint8 and min(c.start, c.end) < 0), "numbers that u8 does not hold are cut"),
    ("linspace", None, "where", given(lambda c: not c.dtype.is_floating_point and c.steps > 7), "each is cut from its own place; torch cuts the first of a vector's, and goes on from that"),
    ("linspace", None, FEWER, given(lambda c: c.dtype == torch.bool and c.steps < 2), "torch looks at the dtype only where there are several steps"),
    ("hardtanh threshold", "unsigned type|without overflow", "not refused", given(lambda c: c.x.dtype == torch.uint8), "numbers that u8 does not hold are cut"),
    ("copysign", None, "grad.* where -?nan", given(lambda c: wild(c.a, c.cotangent)), "the gradient at nan and inf is that of the sign; torch divides them"),
    ("softsign", None, r"grad.* is -?(\d\S*|inf) where -?nan", given(lambda c: wild(c.x, c.cotangent)), "a gradient of 0 at infinities; torch divides them, and cotangents of inf by others"),
    ("sinc", None, "grad.* is -?nan where -?inf", given(lambda c: halves(c) and wild(c.cotangent)), "a slope that halves round to 0 meets a cotangent of inf"),
    ("logit", None, "grad.* is -?nan where 0", given(lambda c: nan(c.x)), "the gradient at nan; torch's own varies with the position"),
    ("nan_to_num", None, "grad.* is 0 where -?nan", given(lambda c: wild(c.x) and wild(c.cotangent)), "the gradient of what is replaced is 0; torch multiplies by 0"),
    ("logaddexp logaddexp2", None, "grad.* where -?nan", given(lambda c: wild(c.cotangent)),
     "a cotangent of inf times a share that f32 holds; torch divides it by the share's inverse, which is inf"),
    ("addcdiv", "Integer division with addcdiv", "not refused", None, "it is true division, as torch announces"),
    ("elu celu selu softshrink hardshrink hardtanh relu6 hardswish", None, "grad.* where", given(lambda c: nan(c.x)),
     "the gradient at nan; torch's own varies with the position"),
    ("hardswish", None, "grad.* where", given(lambda c: holds(lambda x: x.abs() == 3, c.x)), "0 and the cotangent at -3 and 3, as later versions of torch"),
    ("polygamma", None, "is -?nan where -?inf", given(lambda c: holds(lambda x: x == -math.inf, c.x)), "there is no value at -inf"),
    ("digamma polygamma", None, r"is -?(inf|nan) where -?(\d|inf)", given(lambda c: holds(lambda x: (x <= 0) & (x == x.round()), c.x.double())), "torch is finite at the poles"),
    ("digamma polygamma", None, "0 where -?nan", given(lambda c: wild(c.x)), "0 at inf; torch has nan"),
    ("digamma polygamma", None, "where", slightly, "torch's polygamma of order 1 has nine digits"),
    ("i0 i1", None, "is -?inf where -?nan", given(lambda c: wild(c.x)), "inf at inf; torch has nan"),
    ("i1", None, "grad.* is -?nan where", given(lambda c: nan(c.x)), "the gradient at nan is nan; torch's is that at 0"),
    ("as_strided", None, r"grad.* where -?0 is due", None,
     "the gradient reaches what lies in the window beside the input; torch drops it"),
    ("multinomial", None, "fewer weights above 0", None, "torch draws places of weight 0 when no others are left"),
    ("histc", None, "where", given(lambda c: nan(c.x)), "nan is in no bin; torch counts it as it falls"),
    ("scatter_reduce index_reduce", None, r"grad.* is \S+ where -?nan", given(lambda c: c.reduce == 1 and wild(c.x, c.source)),
     "the gradient of a product at nan and inf is the product of the others; torch divides"),
    ("scatter_reduce index_reduce", None, "grad.* where -?nan", given(lambda c: c.reduce in (3, 4) and nan(c.x, c.source)),
     "nan is equal to nothing, and gets a gradient of 0; torch divides by how many there are"),
    ("scatter_reduce index_reduce", None, "where", given(lambda c: c.reduce == 2 and wholes(c)), "a mean of narrow integers is of their whole sum; torch's sum wraps"),
    ("scatter_reduce index_reduce", None, "grad.* where", given(lambda c: c.reduce in (3, 4) and not c.include_self),
     "what include_self 0 leaves out has no share in the gradient; in torch it has where it is equal to the result"),
    ("hardsigmoid", None, "grad", slightly, "torch's sixth is one of f32"),
    ("det", None, "grad is not refused", given(lambda c: empty(c.x)), "torch gives no gradient where there are no elements"),
    ("det", None, r"grad.* where -?(0|nan|inf) ", r"=det [^;]* ; [^;]*>[^;]*:([^;]*,)?-?0(\*\d+)?[ ,]",
     "the gradient at a singular matrix is its cofactors; torch's is often 0 or nan there"),
    ("cumprod", None, "grad.* where", given(lambda c: wild(c.x, c.cotangent)), "what is nan and what inf beside zeros and infinities varies with the order of the terms"),
    ("inverse solve", "singular", "not refused", given(lambda c: singular(c.all[0])), "a pivot that is 0 but for rounding"),
    ("cofactor", "singular", "not refused", given(lambda c: singular(c.x)), "torch's side of the comparison is the determinant times the inverse"),
    ("linear", "mat2 must be a matrix", "not refused", given(lambda c: c.weight.dim() == 1),
     "a weight of one dimension goes with a bias, too; in torch that depends on x's rank and strides"),
    ("logsumexp", None, "grad.* is -?0 where -?nan", given(lambda c: holds(lambda x: x == -math.inf, c.x)), "of nothing but -inf the gradient is 0; torch's is nan"),
    ("as_strided", None, "the window ends at element", given(lambda c: 0 in c.size),
     "a window without elements lies inside the storage, too"),
    ("solve_triangular", None, r" is f\d+$", given(mixed), "torch takes two dtypes and gives the first operand's"),
    ("slogdet logdet", None, r"grad: refused .singular", given(lambda c: singular(c.x)),
     "the gradient of the logarithm at a singular matrix is refused; torch's is nan or inf"),
    ("inverse solve solve_triangular cholesky det slogdet cofactor qr eigh svdvals svd", None, "grad.* where", given(lambda c: wild(c.cotangent)),
     "what is nan and what inf under a cotangent of inf varies with the order of the terms"),
    ("view_dtype", None, "refused", given(lambda c: torch.bool in (c.x.dtype, c.dtype)), "bytes seen as bools, or the other way round, could be neither 0 nor 1"),
]
OPEN = []


def why(op, refusal, answer, text):
    """The reason; None if this difference is not known."""
    names = {op, op[:-1] if op.endswith("_") else op}  # a form in place differs as its op does
    names |= {"made"} if op in ROWS and ROWS[op]["group"] == "made" else set()
    for ops, refusals, answers, texts, reason in KNOWN + OPEN:
        if not names & set(ops.split()) if ops is not None else op == "program":
            continue
        if refusals is None and refusal is not None and op != "program":  # of a program's calls any may be refused
            continue
        if refusals is not None and (refusal is None or not re.search(refusals, refusal)):
            continue
        if not re.search(answers, answer):
            continue
        if texts is None or (texts(op, text, answer) if callable(texts) else re.search(texts, text)):
            return reason
    return None

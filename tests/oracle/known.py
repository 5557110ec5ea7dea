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

from case import ROWS

# Both dtypes of a call, or an op and a dtype, where torch has no kernel or no promotion.
LACKS = r"not implemented for|same (scalar |d)?type|[Ee]xpected .*(dtype|scalar type|type)|Found dtype|boolean alpha|" \
    r"Subtraction, the `-` operator, with|with a bool tensor is not supported|result type .* can't be cast|" \
    r"only supports? .*(floating|integral)|input dtype should be|must be floating|integer types|not supported on|" \
    r"should be either .*point|ow precision dtypes|Expected a floating point or complex|isDifferentiableType|tensors with different dtypes"


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


def nowhere(op, text, answer):
    """Strides of nothing, or of dimensions of size 1."""
    return 0 in layout(text, answer)[0] or of_ones(op, text, answer)


KNOWN = [
    # op, torch's refusal, our answer, the case, why
    (None, LACKS, "not refused", None, "it promotes, or takes a dtype, where torch refuses"),
    ("linspace randint sign sgn softmin put mm mv bmm dot inner addmv addbmm addmm baddbmm soft_cross_entropy bucketize clamp index_add scatter_add strided_add matmul linear max_dim min_dim dropout softmax log_softmax "
     "mean cross_entropy mse_loss scatter_reduce searchsorted eigh conv1d conv2d conv3d conv_transpose1d conv_transpose2d "
     "conv_transpose3d conv_weight avg_pool1d avg_pool2d avg_pool3d avg_pool_back adaptive_avg_pool1d adaptive_avg_pool2d "
     "adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d", None, r"\[dtype: \w+: (takes|cannot give|\w+ is \w+ where .* is due)", r"(bool|u8|i8|i16|i32|i64)\b",
     "the row takes fewer dtypes; torch often looks at the dtype only where there are elements"),
    (None, None, "strides", channels_last, "torch gives results in channels-last order strides of their own"),
    ("cat roll pad", None, "strides", by_channels, "the same"),
    ("program", None, "strides", channels_last, "the same"),
    ("max_pool1d max_pool2d avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d",
     None, "strides", by_channels, "torch gives results in channels-last order strides of their own"),
    ("pow", None, r"grad.* is -?\d\S* where -?nan", "nan|inf",
     "a gradient of 0 stays 0 under a cotangent of nan or inf; torch multiplies"),
    ("pow", None, "grad", "#b0", "torch takes an exponent of False for one that is not 0 and gives nan at 0"),
    ("maximum minimum", None, "grad", "nan", "nan beside a number gets all of the gradient, in torch both get it"),
    ("pow", None, "is -0 where 0 is due|is -?nan where inf", r"=f16.*pow_? \w+ #f0\.5 |[:,]0\.5[,* ].*pow_? \w+ t\d+ ;",
     "torch has a root for the number 0.5 alone, and not of f16"),
    ("max min", None, "grad.* where -?nan", "nan",
     "where the result is nan its gradient goes to the nans, as torch.max(x)'s does; torch.amax's is nan everywhere"),
    (None, None, "^a list is too long", None, "a tensor has eight dimensions at most"),
    (None, ".", "^a list is too long", None, "the same"),
    (None, None, "dimensions; the limit is 8", None, "the same"),
    ("nanmean nansum", None, "grad.* where -?nan", "nan", "what is nan has a gradient of 0; torch multiplies by 0"),
    ("rnn_tanh_cell gru_cell lstm_cell", None, "grad", endless, "what is nan and what inf varies with the order of the terms"),
    ("xlogy", None, "grad.* is -?nan where -?inf", "f16", "a product that halves round to 0 is divided by 0"),
    ("made", None, "strides", nowhere, "strides that lead nowhere"),
    ("made", "not differentiable with respect to|multi-target|Integral inputs|did not match|more than 1 spatial|view size is not|"
     "has no dimensions|broadcast shape|Negation|more than 1 value|could not infer output dtype|non-empty vector|multiplication overflow", "not refused", None,
     "it takes what torch refuses"),
    ("addmm baddbmm addmv addr addbmm", None, "grad: refused .grad", r"=b?add(b?mm|mv|r) \w+ \w+ \w+ 0 ", "what beta 0 leaves out has no gradient; in torch it is 0"),
    ("matrix_power", None, "grad: refused .grad", r"=matrix_power \w+ 0 ;", "the power 0 is a constant; in torch its gradient is 0"),
    ("hinge_embedding_loss margin_ranking_loss", None, "where", "u8", "a target of u8 is none of 1 and -1; torch's -1 wraps to 255"),
    ("prelu soft_cross_entropy hinge_embedding_loss multi_margin_loss huber_loss smooth_l1_loss l1_loss bce_with_logits binary_cross_entropy poisson_nll_loss "
     "gaussian_nll_loss kl_div soft_margin_loss margin_ranking_loss cosine_embedding_loss triplet_margin_loss", None, r" is \w+$", None,
     "operands promote as those of other ops; torch broadcasts before, or takes the first one's type"),
    ("bce_with_logits multilabel_soft_margin_loss", None, "where", r"f64.*f(16|32)\[|f(16|32)!?\[.*f64", "its parts are taken in their own types"),
    ("clamp_between", None, "grad", None, "where low is high, high gets the gradient; in torch neither"),
    ("cdist", None, " is nan where", "nan.*inf ;", "of p inf a distance to nan is nan; torch's is 0"),
    ("matrix_power", None, "where", endless, "what is nan and what inf varies with the order of the products"),
    ("cdist", None, "grad.* where -?nan", "nan", "the gradient of a magnitude at nan is 0, as that of abs"),
    ("soft_margin_loss", None, "strides", None, "logsigmoid lays its results row by row, here too"),
    ("huber_loss smooth_l1_loss l1_loss ldexp clamp_min clamp_max clamp_between", None, "strides", None, "torch lays expanded operands in another order on the way"),
    ("batch_norm instance_norm group_norm", None, "where", endless, "inf and nan meet in another order"),
    ("interpolate", None, "where", endless, "elements of weight 0 meet inf and nan"),
    ("trace", None, "grad", None, "torch gives a part of a tall matrix's gradient to what is beside its diagonal"),
    ("pairwise_distance", None, "grad.* where -?0", "f16", "torch's squares of halves are 0 sooner"),
    ("interpolate prelu", None, "strides", by_channels, "torch gives results in channels-last order strides of their own"),
    ("diff", None, "n is -1", None, "an order below 0 is refused"),
    ("cdist", None, "grad", r"=cdist \w+ \w+ inf", "of p inf ties share the gradient, as of norm; in torch each gets all"),
    ("smooth_l1_loss", None, "grad.* is 0 where", r"=smooth_l1_loss \w+ \w+ \d 0 ;", "of beta 0 the gradient at 0 is that of l1_loss, 0; torch's is -1"),
    ("huber_loss smooth_l1_loss matrix_norm", None, "grad.* where -?nan", "nan|inf", "the gradient of a magnitude at nan is 0, as that of abs"),
    ("poisson_nll_loss", None, "grad.* where -?nan", r"\b0\b", "no gradient of Stirling's terms where they are left out"),
    ("var_mean std_mean", None, "is -?inf where -?nan", "inf", "a mean of inf; torch takes it along the way"),
    ("multi_margin_loss multilabel_margin_loss", None, "where", r"\[0,", "the mean of nothing is nan; torch gives bytes of others"),
    (None, None, "elements share memory", None, "a write to elements that share memory is refused, also by fill_"),
    ("cross_entropy", None, "grad.* is -?inf where -?nan", "inf",
     "a cotangent of inf meets softmax - 1 as one factor, in torch in two parts that cancel"),
    ("cross_entropy", None, "is inf where -?nan", "0", "of weight 0 in all, with label_smoothing, torch divides 0 by 0 apart"),
    ("nll_loss", None, "shape: nll_loss", r"i64\[1", "torch takes a row of one target beside logits without a number"),
    ("renorm normalize layer_norm rms_norm group_norm instance_norm batch_norm matrix_power", None, "grad", endless, "inf and nan meet in another order"),
    ("dropout", None, "0 where nan", "nan|inf", "what is dropped is 0; torch multiplies it by 0"),
    ("dropout", None, "strides", None, "x itself without training in torch, else the strides of a product"),
    ("conv_transpose1d conv_transpose2d conv_transpose3d", None, "output_padding|gives no result", r">\w+\[0,",
     "torch looks at the sizes only where there is a batch"),
    ("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_weight",
     "should be the same|expects float|primitive descriptor", "not refused", None, "it promotes where torch refuses"),
    ("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_weight", None, "strides", by_channels,
     "torch gives results in channels-last order strides of their own"),
    ("linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d", None, r"^t\d+ is \w+$", r"=(linear|conv\w+) t\d+ t\d+ t\d+ ",
     "torch does not always look at a bias's dtype"),
    ("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_weight",
     "view size is not compatible", "not refused", None, "torch does not take every layout without a batch"),
    ("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_weight", None, "where", endless,
     "filters of nan and inf meet the zeros of a padding in some kernels only; so they do in torch"),
    ("avg_pool3d max_pool3d", "smaller than kernel size", "not refused", None,
     "with ceil_mode torch takes small images of two dimensions, and of three not"),
    ("conv_transpose1d conv_transpose2d conv_transpose3d", ".", "not refused", r">?\w+!?\[0,",
     "torch does not take every shape without a batch"),
    ("conv_weight", None, "grad is not refused", None, "torch gives no gradient where there is no batch"),
    ("unique", "nan has no order", "not refused", None, "each nan is by itself; torch sorts by a comparison that has no place for nan"),
    ("multilabel_margin_loss", None, r" is f32$", r"=(u8|i8|i16|i32|i64)\[0,", "the row takes fewer dtypes; torch often looks at the dtype only where there are elements"),
    ("baddbmm", None, "where -?nan", r"=bf16!?\[.*=baddbmm \w+ \w+ \w+ 0 ", "of bf16 and beta 0 torch multiplies what its memory holds by 0"),
    ("renorm", "cannot compute the inf norm", "not refused", r"\[(\d+,)*0[],]", "the greatest of nothing is 0, as that of norm"),
    ("addr", None, "strides", r"=addr \w+ \w+ \w+ 0 ", "of beta 0 x has no part in it, nor in how it lies"),
    ("matmul linear mm mv bmm inner addmv addr addbmm addmm baddbmm conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_weight", None, r" is \w+$",
     r"=\w+!?\[(\d+,)*0[],]|>\w+\[(\d+,)*0[],]|expand \w+ \[(\d+,)*0[],]", "torch does not look at the dtypes of factors without elements"),
    ("cummax cummin", None, "does not exist in a tensor", None,
     "torch looks at the dimension only where there are elements"),
    ("norm", None, "grad.* is -?0 where -?nan", r"=norm .* -?inf ;", "of p inf all but the greatest gets 0, of -inf all but the least; torch multiplies by 0"),
    ("norm dist cdist pairwise_distance normalize", None, "grad is not refused", None, "p 0 gives a gradient of 0, torch none"),
    ("prod", None, r"grad.* is \S+ where -?nan", "nan|inf",
     "the gradient at nan and inf is the product of the others; torch divides"),
    ("var std var_mean std_mean", None, r"grad.* is -?nan where -?inf", None,
     "of as many elements as correction the gradient is nan; torch's is inf where no dimensions are given"),
    ("mode", None, "", "nan", "each nan is by itself; torch sorts by a comparison that has no place for nan"),
    ("mse_loss", None, "strides", of_ones, "torch broadcasts before it converts, and gives sizes of 1 other strides then"),
    ("mse_loss", None, r" is \w+$", None, "torch gives the mean and the sum the first operand's dtype"),
    ("full full_like fill_ randint masked_fill index_fill pad", "without overflow|is out of bounds for", "not refused", "u8|i8|i16|i32", "a number that does not fit wraps, as elements do"),
    ("where masked_fill pow", "at::Half without overflow", "not refused", "f16", "a number that does not fit is inf, as elements are"),
    ("strided_write strided_add", None, "does not go into", None, "a gradient's op: it writes nothing that loses more than places"),
    ("scatter index_fill index_copy", None, "does not go into", None, "they write nothing that loses more than places"),
    ("masked_select", None, "grad", "permute", "torch puts the gradient of a permuted x into the order of its memory"),
    ("index", None, "strides", r">\w+\[(\d+,)*0\b", "torch's strides of nothing vary"),
    ("index index_put", None, "out of range", r"\b0\b.*\]:", "torch does not look at indices where nothing is picked"),
    ("pad", r"Invalid padding size|Expected \dD|\dD .*expected|Only 2D|negative", "not refused", None, "any dimensions are padded in any mode; torch has those of images"),
    ("tril triu", None, "less than two dimensions", r"\[0\]", "torch takes one dimension without elements"),
    ("index_copy index_fill", None, "out of range for a dimension", r"index_(copy|fill)_? .*>\w+\[(\d+,)*0[],]",
     "torch does not look at an index where nothing is written"),
    ("program", "its base or another view of its base", "not refused", "no_grad 1 ",
     "torch refuses to read a view made under no_grad after a write to its base; here it has no gradient"),
    ("clamp", None, "where", r"=u8\[.*clamp_? \w+ (\S+ )?-\d",
     "bounds are doubles; torch's wrap to u8"),
    ("clamp", "does not fit", "not refused", r"clamp_ .*(\d\.\d|inf)", "bounds are doubles and integers stay integers"),
    ("clamp", None, r"is (u8|i8|i16|i32|i64)$", r"(u8|i8|i16|i32|i64)\[",
     "bounds are doubles and integers stay integers; torch promotes for a bound with a fraction"),
    ("hardtanh threshold", "unsigned type|without overflow", "not refused", "u8", "numbers that u8 does not hold are cut"),
    ("copysign", None, "grad.* where -?nan", "nan|inf", "the gradient at nan and inf is that of the sign; torch divides them"),
    ("softsign", None, r"grad.* is -?(\d\S*|inf) where -?nan", "inf", "a gradient of 0 at infinities; torch divides them, and cotangents of inf by others"),
    ("sinc", None, "grad.* is -?nan where -?inf", "f16.*inf", "a slope that halves round to 0 meets a cotangent of inf"),
    ("logit", None, "grad.* is -?nan where 0", "nan", "the gradient at nan; torch's own varies with the position"),
    ("nan_to_num", None, "grad.* is 0 where -?nan", "nan|inf", "the gradient of what is replaced is 0; torch multiplies by 0"),
    ("logaddexp logaddexp2", None, "grad.* where -?nan", "inf",
     "a cotangent of inf times a share that f32 holds; torch divides it by the share's inverse, which is inf"),
    ("addcdiv", "Integer division with addcdiv", "not refused", None, "it is true division, as torch announces"),
    ("elu celu selu softshrink hardshrink hardtanh relu6 hardswish", None, "grad", "nan",
     "the gradient at nan; torch's own varies with the position"),
    ("hardswish", None, "grad", r"\b-?3\b", "0 and the cotangent at -3 and 3, as later versions of torch"),
    ("polygamma", None, "is -?nan where -?inf", "-inf", "there is no value at -inf"),
    ("digamma polygamma", None, r"is -?(inf|nan) where -?(\d|inf)", None, "torch is finite at the poles"),
    ("digamma polygamma", None, "0 where -?nan", "inf", "0 at inf; torch has nan"),
    ("digamma polygamma", None, "where", slightly, "torch's polygamma of order 1 has nine digits"),
    ("i0 i1", None, "is -?inf where -?nan", None, "inf at inf; torch has nan"),
    ("i1", None, "grad.* is -?nan where", "nan", "the gradient at nan is nan; torch's is that at 0"),
    ("as_strided", None, r"grad.* where -?0 is due", None,
     "the gradient reaches what lies in the window beside the input; torch drops it"),
    ("multinomial", None, "fewer weights above 0", None, "torch draws places of weight 0 when no others are left"),
    ("histc", None, "where", "nan", "nan is in no bin; torch counts it as it falls"),
    ("scatter_reduce", None, r"grad.* is \S+ where -?nan", "nan|inf",
     "the gradient of a product at nan and inf is the product of the others; torch divides"),
    ("scatter_reduce", None, "where", r"(u8|i8|i16)\[.* 2 [01] ;", "a mean of narrow integers is of their whole sum; torch's sum wraps"),
    ("scatter_reduce", None, "grad.* where", r"scatter_reduce \w+ \S+ \w+ \w+ [34] 0",
     "what include_self 0 leaves out has no share in the gradient; in torch it has where it is equal to the result"),
    ("hardsigmoid", None, "grad", slightly, "torch's sixth is one of f32"),
    ("det", None, "grad is not refused", r"\[(\d+,)*0", "torch gives no gradient where there are no elements"),
    ("det", None, r"grad.* where -?(0|nan|inf) ", r"=det [^;]* ; [^;]*>[^;]*:([^;]*,)?-?0(\*\d+)?[ ,]",
     "the gradient at a singular matrix is its cofactors; torch's is often 0 or nan there"),
    ("cumprod", None, "grad", endless, "what is nan and what inf beside zeros and infinities varies with the order of the terms"),
    ("inverse solve", "singular", "not refused", None, "a pivot that is 0 but for rounding"),
    ("cofactor", "singular", "not refused", None, "torch's side of the comparison is the determinant times the inverse"),
    ("linear", "mat2 must be a matrix", "not refused", None,
     "a weight of one dimension goes with a bias, too; in torch that depends on x's rank and strides"),
    ("logsumexp", None, "grad.* is -?0 where -?nan", "-inf", "of nothing but -inf the gradient is 0; torch's is nan"),
    ("as_strided", None, "the window ends at element", r"=as_strided \w+ \[(\d+,)*0[],]",
     "a window without elements lies inside the storage, too"),
    ("solve_triangular", None, r" is f\d+$", None, "torch takes two dtypes and gives the first operand's"),
    ("slogdet logdet", None, r"grad: refused .singular", None,
     "the gradient of the logarithm at a singular matrix is refused; torch's is nan or inf"),
    ("inverse solve solve_triangular cholesky det slogdet cofactor qr eigh svdvals svd", None, "grad", endless,
     "what is nan and what inf under a cotangent of inf varies with the order of the terms"),
    ("view_dtype", None, "refused", r"bool", "bytes seen as bools, or the other way round, could be neither 0 nor 1"),
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

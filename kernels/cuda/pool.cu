/* Pools of the greatest, with windows of one size or as many as asked for. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "kernels/cuda/grid.h"

extern "C" {
#include "kernels/windows.h"
}

struct pool {
    bool adaptive;
    uint64_t total; /* windows of all images */
    int64_t pixels, size[TD_IMAGE_RANK], count[TD_IMAGE_RANK];
    int64_t kernel[TD_IMAGE_RANK], stride[TD_IMAGE_RANK], padding[TD_IMAGE_RANK], dilation[TD_IMAGE_RANK];
};

/* Elements of one dimension under window i: so many, step apart from first on. */
struct taps {
    int64_t first, count, step;
};

__device__ static taps taps_of(const pool &p, int d, int64_t i)
{
    int64_t low, high;
    if (p.adaptive) {
        td_adaptive_window(p.size[d], p.count[d], i, &low, &high);
        return {low, high - low, 1};
    }
    int64_t first = i * p.stride[d] - p.padding[d], step = p.dilation[d];
    td_window_taps(p.size[d], p.kernel[d], step, first, first, &low, &high);
    return {first + low * step, high > low ? high - low : 0, step};
}

/* A thread a window. The first of equal elements stays; nan wins, the last of them, as in PyTorch. */
template <class T> __global__ void find_greatest(pool p, const T *images, T *values, int64_t *indices)
{
    uint64_t i = td_thread(), at = i;
    if (i >= p.total)
        return;
    taps w = taps_of(p, 2, (int64_t)td_split(&at, (uint64_t)p.count[2]));
    taps h = taps_of(p, 1, (int64_t)td_split(&at, (uint64_t)p.count[1]));
    taps d = taps_of(p, 0, (int64_t)td_split(&at, (uint64_t)p.count[0]));
    const T *image = images + (int64_t)at * p.pixels;
    bool none = !d.count || !h.count || !w.count;
    int64_t found = none ? 0 : (d.first * p.size[1] + h.first) * p.size[2] + w.first;
    T most = -(T)INFINITY;
    for (int64_t a = 0; a < d.count; a++)
        for (int64_t b = 0; b < h.count; b++) {
            int64_t row = ((d.first + a * d.step) * p.size[1] + h.first + b * h.step) * p.size[2];
            for (int64_t c = 0; c < w.count; c++) {
                int64_t place = row + w.first + c * w.step;
                T x = image[place];
                if (x > most || x != x) {
                    most = x;
                    found = place;
                }
            }
        }
    values[i] = most;
    indices[i] = found;
}

static void run(struct td_launch *launch, bool adaptive)
{
    const struct td_operand *x = &launch->in[0], *y = &launch->out[0];
    int rank = td_image_rank(launch->op), first = x->rank - rank, added = TD_IMAGE_RANK - rank;
    struct td_windows w;
    pool p;
    memset(&p, 0, sizeof p);
    if (!adaptive)
        w = td_max_pool_windows(launch->attrs, rank);
    p.adaptive = adaptive;
    p.pixels = 1;
    p.total = (uint64_t)td_operand_numel(y);
    for (int d = 0; d < TD_IMAGE_RANK; d++) {
        int k = d - added;
        bool sized = k >= 0 && !adaptive;
        p.pixels *= p.size[d] = k >= 0 ? x->shape[first + k] : 1;
        p.count[d] = k >= 0 ? y->shape[first + k] : 1;
        p.kernel[d] = sized ? w.kernel[k] : 1;
        p.stride[d] = sized ? w.stride[k] : 1;
        p.padding[d] = sized ? w.padding[k] : 0;
        p.dilation[d] = sized ? w.dilation[k] : 1;
    }
    int64_t blocks = td_blocks((int64_t)p.total, 1, TD_THREADS);
    if (x->dtype == TD_F32)
        td_enqueue(find_greatest<float>, blocks, TD_THREADS, p, (const float *)x->data, (float *)y->data,
                   (int64_t *)launch->out[1].data);
    else
        td_enqueue(find_greatest<double>, blocks, TD_THREADS, p, (const double *)x->data, (double *)y->data,
                   (int64_t *)launch->out[1].data);
}

void TD_CUDA(max_pool1d)(struct td_launch *launch)
{
    run(launch, false);
}
void TD_CUDA(max_pool2d)(struct td_launch *launch)
{
    run(launch, false);
}
void TD_CUDA(max_pool3d)(struct td_launch *launch)
{
    run(launch, false);
}
void TD_CUDA(adaptive_max_pool1d)(struct td_launch *launch)
{
    run(launch, true);
}
void TD_CUDA(adaptive_max_pool2d)(struct td_launch *launch)
{
    run(launch, true);
}
void TD_CUDA(adaptive_max_pool3d)(struct td_launch *launch)
{
    run(launch, true);
}

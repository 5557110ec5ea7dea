/* Matrices turned. A block is one cache line square: it is read by whole lines and leaves by whole lines, so that
 * strides of powers of two, which put all lines of a column in one set of L1, cost nothing. In between it stands in
 * vector registers, or for small elements in a buffer. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kernels/cpu/iterate.h"
#include "kernels/cpu/past.h"

#define LINE_BYTES 64

/* What does not fill a block. */
#define TURN_REST(name, type)                                                                                   \
    static void name(const type *x, int64_t x_stride, type *y, int64_t y_stride, int64_t rows, int64_t columns) \
    {                                                                                                           \
        for (int64_t c = 0; c < columns; c++)                                                                   \
            for (int64_t r = 0; r < rows; r++)                                                                  \
                y[c * y_stride + r] = x[r * x_stride + c];                                                      \
    }
TURN_REST(rest_1, uint8_t)
TURN_REST(rest_2, uint16_t)
TURN_REST(rest_4, uint32_t)
TURN_REST(rest_8, uint64_t)

/* ---- by a buffer ---- */

#define BLOCK_BUFFERED(name, type, edge)                                                      \
    static void name(const type *x, int64_t x_stride, type *y, int64_t y_stride, bool stream) \
    {                                                                                         \
        type block[edge][edge];                                                               \
        (void)stream;                                                                         \
        for (int r = 0; r < (edge); r++)                                                      \
            for (int c = 0; c < (edge); c++)                                                  \
                block[c][r] = x[r * x_stride + c];                                            \
        for (int c = 0; c < (edge); c++)                                                      \
            memcpy(y + c * y_stride, block[c], sizeof block[c]);                              \
    }
BLOCK_BUFFERED(block_1, uint8_t, 64)
BLOCK_BUFFERED(block_2, uint16_t, 32)

/* ---- in registers ---- */

typedef uint32_t vector_4 __attribute__((vector_size(TD_VECTOR_BYTES)));
typedef uint64_t vector_8 __attribute__((vector_size(TD_VECTOR_BYTES)));
#define LANES_4 (TD_VECTOR_BYTES / 4)
#define LANES_8 (TD_VECTOR_BYTES / 8)

/* Where a lane comes from when two rows half apart exchange their quarters; the second row's lanes follow the first's.
 */
#define LOW(lane, half, lanes) ((lane) & (half) ? (lanes) + (lane) - (half) : (lane))
#define HIGH(lane, half, lanes) ((lane) & (half) ? (lanes) + (lane) : (lane) + (half))
#define LIST_2(f, h, n) f(0, h, n), f(1, h, n)
#define LIST_4(f, h, n) LIST_2(f, h, n), f(2, h, n), f(3, h, n)
#define LIST_8(f, h, n) LIST_4(f, h, n), f(4, h, n), f(5, h, n), f(6, h, n), f(7, h, n)
#define LIST_16(f, h, n)                                                                                      \
    LIST_8(f, h, n), f(8, h, n), f(9, h, n), f(10, h, n), f(11, h, n), f(12, h, n), f(13, h, n), f(14, h, n), \
        f(15, h, n)
#define EXCHANGE(vector, v, half, lanes, list)                                    \
    _Pragma("GCC unroll 16") for (int i = 0; i < (lanes); i++) if (!(i & (half))) \
    {                                                                             \
        vector a = (v)[i], b = (v)[i + (half)];                                   \
        (v)[i] = __builtin_shufflevector(a, b, list(LOW, half, lanes));           \
        (v)[i + (half)] = __builtin_shufflevector(a, b, list(HIGH, half, lanes)); \
    }

/* A line's worth of rows and a vector's of columns: squares of vectors, one below the other, whose rows are the pieces
 * of a line each. */
#define STRIP(name, type, vector, lanes, exchanges)                                                  \
    static inline void name(const type *x, int64_t x_stride, type *y, int64_t y_stride, bool stream) \
    {                                                                                                \
        enum { SQUARES = LINE_BYTES / TD_VECTOR_BYTES };                                             \
        vector v[SQUARES][lanes];                                                                    \
        _Pragma("GCC unroll 4") for (int s = 0; s < SQUARES; s++)                                    \
        {                                                                                            \
            _Pragma("GCC unroll 16") for (int r = 0; r < (lanes); r++)                               \
                memcpy(&v[s][r], x + (s * (lanes) + r) * x_stride, sizeof(vector));                  \
            exchanges(v[s])                                                                          \
        }                                                                                            \
        for (int c = 0; c < (lanes); c++)                                                            \
            for (int s = 0; s < SQUARES; s++) {                                                      \
                type *to = y + c * y_stride + s * (lanes);                                           \
                if (stream)                                                                          \
                    td_write_past(to, &v[s][c]);                                                     \
                else                                                                                 \
                    memcpy(to, &v[s][c], sizeof(vector));                                            \
            }                                                                                        \
    }
#if TD_VECTOR_BYTES == 64
#define EXCHANGES_4(v)                    \
    EXCHANGE(vector_4, v, 8, 16, LIST_16) \
    EXCHANGE(vector_4, v, 4, 16, LIST_16) \
    EXCHANGE(vector_4, v, 2, 16, LIST_16) \
    EXCHANGE(vector_4, v, 1, 16, LIST_16)
#define EXCHANGES_8(v)                  \
    EXCHANGE(vector_8, v, 4, 8, LIST_8) \
    EXCHANGE(vector_8, v, 2, 8, LIST_8) \
    EXCHANGE(vector_8, v, 1, 8, LIST_8)
#elif TD_VECTOR_BYTES == 32
#define EXCHANGES_4(v)                  \
    EXCHANGE(vector_4, v, 4, 8, LIST_8) \
    EXCHANGE(vector_4, v, 2, 8, LIST_8) \
    EXCHANGE(vector_4, v, 1, 8, LIST_8)
#define EXCHANGES_8(v)                  \
    EXCHANGE(vector_8, v, 2, 4, LIST_4) \
    EXCHANGE(vector_8, v, 1, 4, LIST_4)
#else
#define EXCHANGES_4(v)                  \
    EXCHANGE(vector_4, v, 2, 4, LIST_4) \
    EXCHANGE(vector_4, v, 1, 4, LIST_4)
#define EXCHANGES_8(v) EXCHANGE(vector_8, v, 1, 2, LIST_2)
#endif
STRIP(strip_4, uint32_t, vector_4, LANES_4, EXCHANGES_4)
STRIP(strip_8, uint64_t, vector_8, LANES_8, EXCHANGES_8)

#define BLOCK(name, type, edge, lanes, strip)                                                 \
    static void name(const type *x, int64_t x_stride, type *y, int64_t y_stride, bool stream) \
    {                                                                                         \
        for (int c = 0; c < (edge); c += (lanes))                                             \
            strip(x + c, x_stride, y + c * y_stride, y_stride, stream);                       \
    }
BLOCK(block_4, uint32_t, 16, LANES_4, strip_4)
BLOCK(block_8, uint64_t, 8, LANES_8, strip_8)

/* ---- all of it ---- */

#define TURN(name, type, edge, block, rest)                                                                     \
    static void name(const type *x, int64_t x_stride, type *y, int64_t y_stride, int64_t rows, int64_t columns, \
                     bool stream)                                                                               \
    {                                                                                                           \
        int64_t high = rows / (edge) * (edge), wide = columns / (edge) * (edge);                                \
        stream &= (uintptr_t)y % LINE_BYTES == 0 && y_stride % (edge) == 0;                                     \
        for (int64_t r = 0; r < high; r += (edge))                                                              \
            for (int64_t c = 0; c < wide; c += (edge))                                                          \
                block(x + r * x_stride + c, x_stride, y + c * y_stride + r, y_stride, stream);                  \
        rest(x + wide, x_stride, y + wide * y_stride, y_stride, high, columns - wide);                          \
        rest(x + high * x_stride, x_stride, y + high, y_stride, rows - high, columns);                          \
    }
TURN(turn_1, uint8_t, 64, block_1, rest_1)
TURN(turn_2, uint16_t, 32, block_2, rest_2)
TURN(turn_4, uint32_t, 16, block_4, rest_4)
TURN(turn_8, uint64_t, 8, block_8, rest_8)

void TD_CPU(turn)(int64_t size, const void *x, int64_t x_stride, void *y, int64_t y_stride, int64_t rows,
                  int64_t columns, bool stream)
{
    if (size == 1)
        turn_1(x, x_stride, y, y_stride, rows, columns, stream);
    else if (size == 2)
        turn_2(x, x_stride, y, y_stride, rows, columns, stream);
    else if (size == 4)
        turn_4(x, x_stride, y, y_stride, rows, columns, stream);
    else
        turn_8(x, x_stride, y, y_stride, rows, columns, stream);
    if (stream)
        td_written_past();
}

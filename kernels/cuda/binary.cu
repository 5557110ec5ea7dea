/* Elementwise ops of two tensors, where, add_ and mul_. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/functors.h"
#include "kernels/scalar.h"
#include "kernels/special.h"

/* Integers in unsigned arithmetic, which wraps. */
#define NUMBER_FUNCTORS(name, expression)                    \
    TD_FUNCTOR_2(name##_i32, uint32_t, uint32_t, expression) \
    TD_FUNCTOR_2(name##_i64, uint64_t, uint64_t, expression) \
    TD_FUNCTOR_2(name##_f32, float, float, expression)       \
    TD_FUNCTOR_2(name##_f64, double, double, expression)
#define ARITHMETIC(name, of_bool, of_numbers)            \
    TD_FUNCTOR_2(name##_bool, uint8_t, uint8_t, of_bool) \
    NUMBER_FUNCTORS(name, of_numbers)                    \
    TD_LAUNCHER_ANY(name)
#define ARITHMETIC_NUMBER(name, of_numbers) \
    NUMBER_FUNCTORS(name, of_numbers)       \
    TD_LAUNCHER_NUMBER(name)
#define COMPARE(name, operator) TD_PAIR_TRUTH(name, (a != 0) operator(b != 0), a operator b)

#include "kernels/binary.def"
TD_LAUNCHER(add_, add_bool, add_i32, add_i64, add_f32, add_f64)
TD_LAUNCHER(mul_, mul_bool, mul_i32, mul_i64, mul_f32, mul_f64)

/* ---- powers ---- */

TD_FUNCTOR_2(pow_i32, int32_t, uint32_t, td_pow_i64((uint64_t)a, b))
TD_FUNCTOR_2(pow_i64, int64_t, uint64_t, td_pow_i64((uint64_t)a, b))

/* Squares and roots as the CPU's kernel: where one number is the exponent of all elements. */
#define POWER(name, type, power, root)                            \
    namespace                                                     \
    {                                                             \
    struct name {                                                 \
        bool one;                                                 \
        TD_HD type operator()(type a, type b) const               \
        {                                                         \
            if (one && b == 2)                                    \
                return a * a;                                     \
            return one && b == (type)0.5 ? root(a) : power(a, b); \
        }                                                         \
    };                                                            \
    }
POWER(power_f32, float, td_pow_f32, td_sqrt_f32)
POWER(power_f64, double, td_pow_f64, td_sqrt_f64)

static bool is_one_number(const struct td_operand *x)
{
    for (int d = 0; d < x->rank; d++)
        if (x->shape[d] > 1 && x->stride[d])
            return false;
    return true;
}

void TD_CUDA(pow)(struct td_launch *launch)
{
    bool one = launch->in[1].immediate || is_one_number(&launch->in[1]);
    switch (launch->in[0].dtype) {
    case TD_I32:
        return pow_i32::run(launch);
    case TD_I64:
        return pow_i64::run(launch);
    case TD_F32:
        return td_map_launch<power_f32, float, float, float>(launch, {one});
    case TD_F64:
        return td_map_launch<power_f64, double, double, double>(launch, {one});
    }
}

/* ---- where ---- */

namespace
{
struct choose {
    template <class T> TD_HD T operator()(uint8_t condition, T a, T b) const
    {
        return condition ? a : b;
    }
};
} // namespace

/* Only the size of an element matters. */
static void choose_between(const struct td_operand &y, const struct td_operand &condition, const struct td_operand &a,
                           const struct td_operand &b)
{
    switch (td_dtype_size(y.dtype)) {
    case 1:
        return td_map<choose, uint8_t, uint8_t, uint8_t, uint8_t>(choose(), y, {&condition, &a, &b});
    case 4:
        return td_map<choose, uint32_t, uint8_t, uint32_t, uint32_t>(choose(), y, {&condition, &a, &b});
    case 8:
        return td_map<choose, uint64_t, uint8_t, uint64_t, uint64_t>(choose(), y, {&condition, &a, &b});
    }
}

void TD_CUDA(where)(struct td_launch *launch)
{
    choose_between(launch->out[0], launch->in[0], launch->in[1], launch->in[2]);
}

/* Where with its operands in another order. */
void TD_CUDA(masked_fill)(struct td_launch *launch)
{
    choose_between(launch->out[0], launch->in[1], launch->in[2], launch->in[0]);
}

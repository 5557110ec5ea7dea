/* The maths of single elements against libm's long double: accuracy over random arguments, special values, far angles.
 * The seed is printed and taken from TEST_SEED. SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/bessel.h"
#include "kernels/functions.h"
#include "kernels/gamma.h"
#include "kernels/scalar.h"
#include "kernels/special.h"

static uint64_t seed, random_state;

static uint64_t draw(void)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = random_state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
static int below(int n)
{
    return (int)(draw() % (uint64_t)n);
}
static double between(double low, double high)
{
    return low + (high - low) * (double)(draw() >> 11) * 0x1p-53;
}

/* Error in units of the last place of the result's type. */
static double ulps(double got, long double want, int digits, int exponent_min)
{
    int exponent;
    if (isnan(want))
        return isnan(got) ? 0 : INFINITY;
    if ((double)want == got)
        return 0;
    if (digits == 24 && isinf((float)want)) /* the last finite numbers are as good */
        return isinf(got) || fabs(got) > FLT_MAX * (1 - 4 * FLT_EPSILON) ? 0 : INFINITY;
    if (isinf(got) || isinf((double)want))
        return INFINITY;
    frexpl(want, &exponent);
    int last = exponent - digits > exponent_min ? exponent - digits : exponent_min;
    return (double)(fabsl(got - want) / ldexpl(1, last));
}

#define sigmoid_true(x) (1 / (1 + expl(-(x))))
#define silu_true(x) ((x) / (1 + expl(-(x))))
#define FUNCTIONS(X)                                \
    X(exp, expl, -110, 95, -750, 720, 4)            \
    X(log, logl, 0, 1e6, 0, 1e9, 4)                 \
    X(tanh, tanhl, -12, 12, -24, 24, 6)             \
    X(sigmoid, sigmoid_true, -110, 30, -750, 50, 4) \
    X(sin, sinl, -1e5, 1e5, -1e5, 1e5, 4)           \
    X(cos, cosl, -1e5, 1e5, -1e5, 1e5, 4)           \
    X(erf, erfl, -7, 7, -8, 8, 4)

#define ACCURACY(name, truth, low32, high32, low64, high64, bound)                               \
    static void test_accuracy_##name(void **state)                                               \
    {                                                                                            \
        (void)state;                                                                             \
        double worst32 = 0, worst64 = 0;                                                         \
        random_state = seed;                                                                     \
        for (int i = 0; i < 1000000; i++) {                                                      \
            float x = (float)between(low32, high32);                                             \
            double y = between(low64, high64);                                                   \
            if (i % 4 == 0) { /* all magnitudes */                                               \
                x = (float)ldexp(between(0.5, 1), below(150) - 149);                             \
                y = ldexp(between(0.5, 1), below(1080) - 1074);                                  \
            }                                                                                    \
            worst32 = fmax(worst32, ulps(td_##name##_f32(x), truth((long double)x), 24, -149));  \
            worst64 = fmax(worst64, ulps(td_##name##_f64(y), truth((long double)y), 53, -1074)); \
        }                                                                                        \
        print_message("%s: %.2f ulp in f32, %.2f in f64\n", #name, worst32, worst64);            \
        assert_true(worst32 <= bound);                                                           \
        assert_true(worst64 <= bound);                                                           \
    }
FUNCTIONS(ACCURACY)
ACCURACY(silu, silu_true, -80, 30, -700, 50, 4)
ACCURACY(sinh, sinhl, -90, 90, -720, 720, 2)
ACCURACY(cosh, coshl, -90, 90, -720, 720, 2)
ACCURACY(asinh, asinhl, -100, 100, -100, 100, 2)
ACCURACY(acosh, acoshl, 1, 100, 1, 100, 2)
ACCURACY(atanh, atanhl, -1, 1, -1, 1, 2)
ACCURACY(expm1, expm1l, -20, 90, -40, 720, 2)
ACCURACY(log1p, log1pl, -1, 100, -1, 100, 2)
ACCURACY(erfc, erfcl, -5, 10, -6, 27, 4)
ACCURACY(lgamma, lgammal, -30, 1000, -30, 1000, 4)

/* ---- what libm has not ---- */

/* Error in units of the last place of want, or of size where that is greater: what a sum cancelled from is rounded. */
static double ulps_of_terms(double got, long double want, double size, int digits)
{
    if (isnan(want) || isinf(want) || isinf(got) || isnan(got))
        return ulps(got, want, digits, -1074);
    return (double)fabsl(got - want) / ldexp(1, ilogb(fmax(fabs((double)want), size)) + 1 - digits);
}

/* By halving, on the side where erf or erfc has its digits. */
static long double erfinv_true(long double y)
{
    long double size = fabsl(y), low = size <= 0.5L ? 0.88L * size : 0, high = size <= 0.5L ? size : 7;
    if (size == 1)
        return copysignl(INFINITY, y);
    for (int k = 0; k < 80; k++) {
        long double middle = (low + high) / 2;
        bool below_it = size <= 0.5L ? erfl(middle) < size : erfcl(middle) > 1 - size;
        low = below_it ? middle : low;
        high = below_it ? high : middle;
    }
    return copysignl(low, y);
}

#define FAR 40 /* where the series below have all the digits of a long double */
static const long double bernoulli[] = {1 / 6.0L,  -1 / 30.0L,     1 / 42.0L, -1 / 30.0L,
                                        5 / 66.0L, -691 / 2730.0L, 7 / 6.0L,  -3617 / 510.0L};
#define BERNOULLI (int)(sizeof bernoulli / sizeof *bernoulli)

static long double digamma_true(long double x)
{
    long double sum = 0, power = 1;
    if (x <= 0 && x == floorl(x))
        return x == 0 ? -copysignl(INFINITY, x) : (long double)NAN;
    if (x < 0)
        return digamma_true(1 - x) - M_PIl / tanl(M_PIl * (x - rintl(x)));
    for (; x < FAR; x += 1)
        sum -= 1 / x;
    sum += logl(x) - 0.5L / x;
    for (int k = 1; k <= BERNOULLI; k++)
        sum -= bernoulli[k - 1] / (2 * k) * (power /= x * x);
    return sum;
}

/* Of order n, 1 or 2. */
static long double polygamma_true(int n, long double x)
{
    long double sum = 0, step = n, turn = M_PIl * (x - rintl(x)), sine = sinl(turn) / M_PIl;
    if (x <= 0 && x == floorl(x))
        return INFINITY;
    if (x < 0)
        return n == 1 ? 1 / (sine * sine) - polygamma_true(1, 1 - x)
                      : polygamma_true(2, 1 - x) - 2 * cosl(turn) / (sine * sine * sine);
    for (; x < FAR; x += 1)
        sum += n * powl(x, -n - 1);
    sum += powl(x, -n) + n * powl(x, -n - 1) / 2;
    step = powl(x, -n) * n;
    for (int k = 1; k <= BERNOULLI; k++) { /* B(2k) / (2k)! * (n + 2k - 1)! / (n - 1)! / x^(n + 2k), divided by n! */
        step *= k == 1 ? 1 : (n + 2 * k - 2);
        step /= k == 1 ? 2 * x * x / (n + 1) : 2.0L * k * (2 * k - 1) * x * x / (n + 2 * k - 1);
        sum += bernoulli[k - 1] * step;
    }
    return n == 1 ? sum : -sum;
}

static long double log2_sum_true(long double a, long double b)
{
    return fmaxl(a, b) + log1pl(exp2l(-fabsl(a - b))) / M_LN2l;
}

static void test_what_libm_has_not(void **state)
{
    (void)state;
    double erfinv = 0, erfinv_single = 0, digamma = 0, trigamma = 0, tetragamma = 0, log2_sum = 0, log2_sum_single = 0;
    random_state = seed;
    for (int i = 0; i < 20000; i++) {
        double y = i % 3   ? between(-1, 1)
                   : i % 2 ? 1 - ldexp(between(0.5, 1), -below(50))
                           : ldexp(between(-1, 1), -below(60));
        double x = i % 4 ? between(0, 50) : i % 8 ? between(-20, 0) : ldexp(between(0.5, 1), below(60) - 30);
        double a = between(-50, 50), b = i % 2 ? a + between(-2, 2) : between(-50, 50);
        erfinv = fmax(erfinv, ulps(td_erfinv_f64(y), erfinv_true(y), 53, -1074));
        erfinv_single = fmax(erfinv_single, ulps(td_erfinv_f32((float)y), erfinv_true((float)y), 24, -149));
        digamma = fmax(digamma, ulps_of_terms(td_digamma_f64(x), digamma_true(x), 1, 53));
        trigamma = fmax(trigamma, ulps_of_terms(td_polygamma_f64(1, x), polygamma_true(1, x), 0, 53));
        tetragamma = fmax(tetragamma, ulps_of_terms(td_polygamma_f64(2, x), polygamma_true(2, x), x > 0 ? 0 : 10, 53));
        log2_sum = fmax(log2_sum, ulps_of_terms(td_log2_sum_f64(a, b), log2_sum_true(a, b), fabs(a), 53));
        log2_sum_single = fmax(log2_sum_single, ulps_of_terms((double)td_log2_sum_f32((float)a, (float)b),
                                                              log2_sum_true((float)a, (float)b), fabs(a), 24));
    }
    print_message("erfinv: %.2f ulp in f32, %.2f in f64; digamma %.2f, polygamma %.2f of order 1, %.2f of order 2; "
                  "logaddexp2 %.2f in f32, %.2f in f64\n",
                  erfinv_single, erfinv, digamma, trigamma, tetragamma, log2_sum_single, log2_sum);
    assert_true(erfinv_single <= 1 && erfinv <= 4);
    assert_true(digamma <= 16 && trigamma <= 8 && tetragamma <= 16);
    assert_true(log2_sum_single <= 1 && log2_sum <= 4);
}

/* Arguments of all magnitudes, and the f64 that come nearest to a multiple of pi / 2 (Kahan's, and 2^k pi / 2). */
static void test_far_angles(void **state)
{
    (void)state;
    double worst = 0, near[] = {0x1.6ac5b262ca1ffp+849, 0x1.921fb54442d18p+100, 0x1.921fb54442d18p+1000, 1.6e6, -1.6e6};
    random_state = seed;
    for (int i = 0; i < 300000; i++) {
        double x = ldexp(between(0.5, 1), below(1010) + 14) * (below(2) ? 1 : -1);
        float y = (float)ldexp(between(0.5, 1), below(114) + 14);
        if (i < (int)(sizeof near / sizeof *near))
            x = near[i];
        worst = fmax(worst, ulps(td_sin_f64(x), sinl((long double)x), 53, -1074));
        worst = fmax(worst, ulps(td_cos_f64(x), cosl((long double)x), 53, -1074));
        worst = fmax(worst, ulps(td_sin_f32(y), sinl((long double)y), 24, -149));
        worst = fmax(worst, ulps(td_cos_f32(y), cosl((long double)y), 24, -149));
    }
    print_message("sin and cos beyond %g: %.2f ulp\n", TD_TURN_FAST, worst);
    assert_true(worst <= 1);
    assert_true(isnan(td_sin_f64(INFINITY)) && isnan(td_cos_f32(-INFINITY)) && isnan(td_sin_f32(NAN)));
    assert_true(signbit(td_sin_f64(-0.0)) && signbit(td_sin_f32(-0.0f)));
}

static void test_powers(void **state)
{
    (void)state;
    static const double x[] = {0.0, -0.0,  1,   -1,    INFINITY, -INFINITY, NAN,     2,         -2,        0.5,     3,
                               -3,  1e300, 1.5, -1e-9, 0x1p-149, 0x1p-1074, DBL_MAX, 1.0000001, 0.9999999, FLT_MAX, 7};
    static const double y[] = {0.0,
                               -0.0,
                               1,
                               -1,
                               INFINITY,
                               -INFINITY,
                               NAN,
                               2,
                               -2,
                               0.5,
                               -0.5,
                               3,
                               -3,
                               1e20,
                               -1e20,
                               0x1p53,
                               1e-9,
                               0x1p-149,
                               1e300,
                               1.5,
                               0x1p52 + 1,
                               0x1p51 + .5,
                               -1e300,
                               9007199254740993.0,
                               4503599627370495.5};
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        for (size_t j = 0; j < sizeof y / sizeof *y; j++) {
            float a = (float)x[i], b = (float)y[j];
            assert_true(ulps(td_pow_f64(x[i], y[j]), powl((long double)x[i], (long double)y[j]), 53, -1074) <= 2);
            assert_true(ulps(td_pow_f32(a, b), powl((long double)a, (long double)b), 24, -149) <= 1);
            assert_int_equal(!signbit(td_pow_f64(x[i], y[j])) && !isnan(td_pow_f64(x[i], y[j])),
                             !signbit(pow(x[i], y[j])) && !isnan(pow(x[i], y[j])));
        }
    double worst32 = 0, worst64 = 0;
    random_state = seed;
    for (int i = 0; i < 1000000; i++) {
        double a = i % 2 ? between(0, 4) : ldexp(between(0.5, 1), below(2000) - 1000);
        double b = between(-1, 1) * (i % 3 ? 10 : 740 / fabs(log(a)));
        float c = i % 2 ? (float)a : (float)ldexp(between(0.5, 1), below(240) - 120);
        float d = (float)(between(-1, 1) * (i % 3 ? 5 : 88 / fabs(log((double)c))));
        worst64 = fmax(worst64, ulps(td_pow_f64(a, b), powl((long double)a, (long double)b), 53, -1074));
        worst32 = fmax(worst32, ulps(td_pow_f32(c, d), powl((long double)c, (long double)d), 24, -149));
    }
    print_message("pow: %.2f ulp in f32, %.2f in f64\n", worst32, worst64);
    assert_true(worst32 <= 1);
    assert_true(worst64 <= 2);
    assert_int_equal(td_pow_i64(3, 5), 243);
    assert_int_equal(td_pow_i64((uint64_t)-1, -3), (uint64_t)-1);
    assert_int_equal(td_pow_i64((uint64_t)-1, INT64_MIN), 1);
    assert_int_equal(td_pow_i64(0, -1), 0);
    assert_int_equal(td_pow_i64(0, 0), 1);
}

/* The power series, in which nothing cancels. */
static long double bessel_true(int order, long double x)
{
    long double term = order ? x / 2 : 1, sum = term;
    for (int k = 1; fabsl(term) > fabsl(sum) * 1e-22L; k++)
        sum += term *= x * x / 4 / k / (k + order);
    return sum;
}

static void test_bessel(void **state)
{
    (void)state;
    double worst = 0, ends[] = {0.0, -0.0, 20, 20.000000000000004, -20, 0x1p-1074, 713.9869, -713.9};
    random_state = seed;
    for (int i = 0; i < 40000; i++) {
        double x = i % 2 ? between(-30, 30) : between(-713, 713);
        if (i % 8 == 0)
            x = ldexp(between(0.5, 1), below(1080) - 1074);
        if (i < (int)(sizeof ends / sizeof *ends))
            x = ends[i];
        worst = fmax(worst, ulps(td_i0_f64(x), bessel_true(0, (long double)x), 53, -1074));
        worst = fmax(worst, ulps(td_i1_f64(x), bessel_true(1, (long double)x), 53, -1074));
    }
    print_message("i0 and i1: %.2f ulp\n", worst);
    assert_true(worst <= 12);
    assert_true(td_i0_f64(715) == INFINITY && td_i1_f64(-715) == -INFINITY && td_i0_f64(-INFINITY) == INFINITY);
    assert_true(td_i0_f32(92) == INFINITY && isfinite(td_i0_f32(91)));
    assert_true(isnan(td_i0_f64(NAN)) && isnan(td_i1_f32(NAN)));
}

#define SPECIAL(name, truth, ...)                                                                                    \
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) {                                                              \
        assert_true(ulps(td_##name##_f64(x[i]), truth((long double)x[i]), 53, -1074) <= 6);                          \
        assert_true(                                                                                                 \
            ulps(td_##name##_f32((float)x[i]), (long double)(float)truth((long double)(float)x[i]), 24, -149) <= 6); \
    }

static void test_special_values(void **state)
{
    (void)state;
    static const double x[] = {0.0,       -0.0,     INFINITY,  -INFINITY, NAN,        1,          -1,     0x1p-149,
                               0x1p-1074, 0x1p-126, 0x1p-1022, -0x1p-149, 88.722839f, 88.722847f, -103.9, -104.5,
                               -87.5,     709.7827, 709.79,    -745.1,    -745.2,     -708.5,     1e30,   -1e30,
                               FLT_MAX,   DBL_MAX,  -DBL_MAX,  FLT_MIN,   0.625,      -0.625,     20,     -20};
    FUNCTIONS(SPECIAL)
    assert_true(signbit(td_tanh_f32(-0.0f)));
    assert_true(isnan(td_relu_f32(NAN)) && isnan(td_relu_f64(NAN)));
    assert_true(isnan(td_max_f32(NAN, 1)) && isnan(td_max_f32(1, NAN)));
    assert_int_equal(td_i64_of_f64(NAN), INT64_MIN);
    assert_int_equal(td_i64_of_f64(-INFINITY), INT64_MIN);
    assert_int_equal(td_i64_of_f64(9223372036854775808.0), INT64_MIN);
    assert_int_equal(td_i64_of_f64(-2.9), -2);
}

int main(void)
{
    const char *given = getenv("TEST_SEED");
    seed = given ? strtoull(given, NULL, 0) : 20251123;
    print_message("TEST_SEED=%" PRIu64 "\n", seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accuracy_exp),    cmocka_unit_test(test_accuracy_log),
        cmocka_unit_test(test_accuracy_tanh),   cmocka_unit_test(test_accuracy_sigmoid),
        cmocka_unit_test(test_accuracy_sin),    cmocka_unit_test(test_accuracy_cos),
        cmocka_unit_test(test_accuracy_erf),    cmocka_unit_test(test_accuracy_silu),
        cmocka_unit_test(test_accuracy_sinh),   cmocka_unit_test(test_accuracy_cosh),
        cmocka_unit_test(test_accuracy_asinh),  cmocka_unit_test(test_accuracy_acosh),
        cmocka_unit_test(test_accuracy_atanh),  cmocka_unit_test(test_accuracy_expm1),
        cmocka_unit_test(test_accuracy_log1p),  cmocka_unit_test(test_accuracy_erfc),
        cmocka_unit_test(test_accuracy_lgamma), cmocka_unit_test(test_what_libm_has_not),
        cmocka_unit_test(test_special_values),  cmocka_unit_test(test_far_angles),
        cmocka_unit_test(test_powers),          cmocka_unit_test(test_bessel),
    };
    return cmocka_run_group_tests_name("maths", tests, NULL, NULL);
}

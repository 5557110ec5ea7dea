/* npy, npz and safetensors: what NumPy wrote is read as NumPy reads it, what is written is what NumPy writes, and what
 * is damaged is an error that says where. SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/library.h"

#include "client/files.h"
#include "protocol/shape.h"
#include "tests/random.h"

static char folder[64];
static char path_text[4][256];
static int path_next;

/* A file of the test's own. */
static const char *own(const char *name)
{
    char *path = path_text[path_next++ % 4];
    snprintf(path, sizeof path_text[0], "%s/%s", folder, name);
    return path;
}

static const char *golden(const char *name)
{
    char *path = path_text[path_next++ % 4];
    const char *root = getenv("TENSORD_ROOT");
    snprintf(path, sizeof path_text[0], "%s/tests/golden/files/%s", root ? root : ".", name);
    return path;
}

static int start_with_folder(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/tensord-files-XXXXXX");
    return !mkdtemp(folder) || start(state);
}

/* Nothing may be left beside what was saved. */
static int stop_with_folder(void **state)
{
    int bad = 0;
    DIR *all = opendir(folder);
    for (struct dirent *entry; all && (entry = readdir(all));) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (strstr(entry->d_name, ".part")) {
            fprintf(stderr, "%s is left\n", path);
            bad = -1;
        }
        if (entry->d_name[0] != '.' && unlink(path))
            rmdir(path);
    }
    if (all)
        closedir(all);
    rmdir(folder);
    return stop(state) | bad;
}

static uint8_t *read_all(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *bytes = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(*bytes + 1);
    assert_int_equal(fread(data, 1, *bytes, file), *bytes);
    fclose(file);
    return data;
}

static void write_all(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static void assert_same_files(const char *a, const char *b)
{
    size_t a_bytes, b_bytes;
    uint8_t *x = read_all(a, &a_bytes), *y = read_all(b, &b_bytes);
    if (a_bytes != b_bytes || memcmp(x, y, a_bytes))
        fail_msg("%s is not %s", a, b);
    free(x);
    free(y);
}

/* What tests/golden/files.py puts at k. */
static double expected(uint8_t dtype, int64_t k)
{
    switch (td_dtype_category(dtype)) {
    case TD_BOOLEAN:
        return k % 3 == 0;
    case TD_INTEGER:
        return dtype == TD_U8 ? (uint8_t)(1 - k * 3) : (double)(1 - k * 3);
    case TD_FLOATING:
        break;
    }
    return (double)k * 1.5 - 2;
}

static void assert_values(td_tensor x, uint8_t dtype, int64_t count)
{
    double got[64];
    assert_int_equal(td_dtype_of(x), dtype);
    assert_int_equal(td_numel(x), count);
    assert_int_equal(td_read(x, got, TD_F64, 64), count);
    for (int64_t k = 0; k < count; k++)
        assert_true(got[k] == expected(dtype, k));
}

static td_tensor made(enum td_dtype dtype, struct td_dims shape)
{
    double values[64];
    int64_t count = td_checked_numel((int)shape.count, shape.v);
    for (int64_t k = 0; k < count; k++)
        values[k] = expected(dtype, k);
    return td_to(td_from(s, values, TD_F64, shape), dtype);
}

static bool same(td_tensor a, td_tensor b)
{
    return td_item(td_sum(td_ne(a, b))) == 0;
}

/* ---- npy ---- */

static const uint8_t dtypes[] = {
#define TD_DTYPE(id, name, NAME, ctype, category, torch, wide) id,
#include "protocol/dtypes.def"
};
#define DTYPES (sizeof dtypes / sizeof *dtypes)

static void numpys_arrays(void **state)
{
    (void)state;
    char name[64];
    for (size_t k = 0; k < DTYPES; k++)
        for (int way = 0; way < 4; way++) {
            TD_SCOPE(s);
            snprintf(name, sizeof name, "%s%s%s.npy", td_dtype_name(dtypes[k]), way & 1 ? "_big" : "",
                     way & 2 ? "_fortran" : "");
            if (access(golden(name), R_OK)) /* of a dtype that came later */
                continue;
            td_tensor x = td_load_npy(s, golden(name));
            assert_values(x, dtypes[k], 24);
            td_layout l = td_layout_of(x);
            assert_true(l.rank == 3 && l.shape[0] == 2 && l.shape[1] == 3 && l.shape[2] == 4);
            assert_true(l.stride[0] == (way & 2 ? 1 : 12) && l.stride[1] == (way & 2 ? 2 : 4) &&
                        l.stride[2] == (way & 2 ? 6 : 1));
            assert_true(td_is_leaf(x) && !td_requires_grad(x));
            assert_int_equal(td_save_npy(x, own(name)), 0); /* byte for byte what NumPy writes */
            snprintf(name + strlen(td_dtype_name(dtypes[k])), 8, ".npy");
            assert_same_files(golden(name), own(name));
        }
    assert_int_equal(td_tensor_count(s), 0);
    assert_values(td_load_npy(s, golden("version2.npy")), TD_F32, 24);
    assert_values(td_load_npy(s, golden("version3.npy")), TD_F32, 24);
    td_tensor scalar = td_load_npy(s, golden("scalar.npy")), empty = td_load_npy(s, golden("empty.npy"));
    assert_true(td_rank(scalar) == 0 && td_item(scalar) == -2);
    assert_true(td_rank(empty) == 2 && td_size(empty, 0) == 0 && td_size(empty, 1) == 3 && td_ok(empty));
    assert_int_equal(td_save_npy(scalar, own("scalar.npy")), 0);
    assert_int_equal(td_save_npy(empty, own("empty.npy")), 0);
    assert_same_files(golden("scalar.npy"), own("scalar.npy"));
    assert_same_files(golden("empty.npy"), own("empty.npy"));
    td_tensor w = td_set_requires_grad(td_load_npy(s, golden("f32_fortran.npy")), true);
    td_backward(td_sum(td_square(w)));
    assert_true(td_item(td_select(td_reshape(td_grad(w), TD_SHAPE(-1)), 0, 5)) == 2 * expected(TD_F32, 5));
    assert_int_equal(td_sync(s), 0);
}

static void what_tensord_has_not(void **state)
{
    (void)state;
    assert_false(td_ok(td_load_npy(s, golden("complex.npy"))));
    expect_error(TD_E_DTYPE, "<c16", __LINE__ - 1);
    td_load_npy(s, golden("unsigned.npy"));
    expect_error(TD_E_DTYPE, "<u4", __LINE__ - 1);
    td_load_npy(s, golden("object.npy"));
    expect_error(TD_E_DTYPE, "|O", __LINE__ - 1);
    td_load_npy(s, golden("structure.npy"));
    expect_error(TD_E_DTYPE, "[('a', '<f4'", __LINE__ - 1);
    td_load_npy(s, golden("rank9.npy"));
    expect_error(TD_E_LIMIT, "9 dimensions", __LINE__ - 1);
    td_load_npy(s, golden("long.npy"));
    expect_error(TD_E_FILE, "its array takes 30000 bytes, and 896 are there (byte 1024)", __LINE__ - 1);
    assert_int_equal(td_sync(s), 0);
}

static void layouts_of_all_kinds(void **state)
{
    (void)state;
    td_tensor base = made(TD_F32, TD_SHAPE(4, 6));
    const td_tensor views[] = {td_transpose(base, 0, 1),
                               td_slice(base, 1, .start = 1, .step = 2),
                               td_expand(td_select(base, 0, 1), TD_SHAPE(3, 6)),
                               td_select(base, 1, 2),
                               td_narrow(base, 0, 3, 1),
                               td_unsqueeze(base, 0)};
    for (size_t k = 0; k < sizeof views / sizeof *views; k++) {
        assert_int_equal(td_save_npy(views[k], own("view.npy")), 0);
        td_tensor back = td_load_npy(s, own("view.npy"));
        assert_true(same(back, views[k]));
        assert_true(td_is_contiguous(back));
    }
    for (size_t k = 0; k < DTYPES; k++) {
        td_tensor x = made(dtypes[k], TD_SHAPE(5));
        if (td_save_safetensors(own("all"), (const char *[]){"x"}, (const td_tensor[]){x}, 1))
            fail_msg("%s", td_error(s)->message);
        assert_values(td_load_safetensors(s, own("all"), "x"), dtypes[k], 5);
    }
    int64_t held = td_tensor_count(s);
    assert_int_equal(td_save_npy(td_neg(base), own("used.npy")), 0); /* used up */
    assert_int_equal(td_tensor_count(s), held);
    assert_int_equal(td_sync(s), 0);
}

/* ---- archives ---- */

static void numpys_archives(void **state)
{
    (void)state;
    static const char *const files[] = {"stored.npz", "deflated.npz", "zip64.npz"};
    for (int k = 0; k < 3; k++) {
        TD_SCOPE(s);
        td_stored *list;
        assert_int_equal(td_list_npz(s, golden(files[k]), &list), 3);
        assert_string_equal(list[0].name, "a");
        assert_string_equal(list[2].name, "part/c");
        assert_true(list[1].dtype == TD_I64 && list[1].rank == 1 && list[1].shape[0] == 3);
        assert_null(list[0].tensor.session);
        free(list);
        assert_int_equal(td_tensor_count(s), 0);
        assert_values(td_load_npz(s, golden(files[k]), "a"), TD_F32, 24);
        assert_values(td_load_npz(s, golden(files[k]), "b"), TD_I64, 3);
        td_tensor c = td_load_npz(s, golden(files[k]), "part/c");
        assert_values(c, TD_F64, 24);
        assert_false(td_is_contiguous(c));
        assert_int_equal(td_load_all_npz(s, golden(files[k]), &list), 3);
        assert_values(list[2].tensor, TD_F64, 24);
        assert_int_equal(td_tensor_count(s), 6);
        free(list);
    }
    assert_false(td_ok(td_load_npz(s, golden("stored.npz"), "z")));
    expect_error(TD_E_ARGUMENT, "has no tensor of the name z", __LINE__ - 1);
    td_load_npz(s, golden("f32.npy"), "a");
    expect_error(TD_E_FILE, "is no zip archive", __LINE__ - 1);
    assert_int_equal(td_sync(s), 0);
}

static void archives_of_our_own(void **state)
{
    (void)state;
    td_tensor a = made(TD_F32, TD_SHAPE(2, 3, 4)), b = made(TD_BOOL, TD_SHAPE(5)), none = td_zeros(s, TD_SHAPE(0));
    td_stored *all;
    assert_int_equal(td_save_npz(own("a.npz"), (const char *[]){"a", "ü b", "none"}, (td_tensor[]){a, b, none}, 3), 0);
    assert_int_equal(td_load_all_npz(s, own("a.npz"), &all), 3);
    assert_string_equal(all[1].name, "ü b");
    assert_values(all[0].tensor, TD_F32, 24);
    assert_values(all[1].tensor, TD_BOOL, 5);
    assert_true(td_ok(all[2].tensor) && td_numel(all[2].tensor) == 0);
    free(all);
    assert_int_equal(td_save_npz(own("empty.npz"), NULL, NULL, 0), 0);
    assert_int_equal(td_list_npz(s, own("empty.npz"), &all), 0);
    free(all);
    assert_int_equal(td_save_npz(own("twice.npz"), (const char *[]){"a", "a"}, (td_tensor[]){a, b}, 2), TD_E_ARGUMENT);
    expect_error(TD_E_ARGUMENT, "two tensors have the name a", __LINE__ - 1);
    td_save_npz(own("bad.npz"), (const char *[]){"a\nb"}, (td_tensor[]){a}, 1);
    expect_error(TD_E_ARGUMENT, "a?b cannot be the name of tensor 0", __LINE__ - 1);
    assert_int_not_equal(access(own("twice.npz"), F_OK), 0);
    assert_int_equal(td_sync(s), 0);
}

/* All 64 bit records, which only archives of gigabytes need. */
static void wide_archives(void **state)
{
    (void)state;
    struct td_failure failure = {0};
    struct output output;
    struct zip zip;
    size_t bytes;
    uint8_t *npy = read_all(golden("f32.npy"), &bytes);
    assert_true(output_open(&output, "test", own("wide.npz"), &failure));
    zip_begin(&zip, &output);
    zip.wide_from = 50;
    for (int k = 0; k < 3; k++) {
        zip_member_begin(&zip, (const char *[]){"a", "b", "c"}[k], bytes);
        output_write(&output, npy, bytes);
        zip_member_end(&zip);
    }
    zip_end(&zip);
    assert_true(output_close(&output));
    assert_values(td_load_npz(s, own("wide.npz"), "c"), TD_F32, 24);
    free(npy);
    assert_int_equal(td_sync(s), 0);
}

static void safetensors(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "ö\"c", "d", "e", "s"};
    const td_tensor tensors[] = {made(TD_F32, TD_SHAPE(2, 3, 4)), made(TD_I64, TD_SHAPE(3)),
                                 made(TD_BOOL, TD_SHAPE(5)),      td_zeros(s, TD_SHAPE(0, 3)),
                                 made(TD_F64, TD_SHAPE(2, 2)),    td_full(s, TD_SHAPE(), 1, .dtype = TD_I32)};
    td_stored *all;
    assert_int_equal(td_save_safetensors(own("ours"), names, tensors, 6,
                                         .metadata = (const char *[]){"format", "pt", "quote\"", "a\\b", NULL}),
                     0);
    assert_same_files(golden("ours.safetensors"), own("ours"));
    assert_int_equal(td_load_all_safetensors(s, own("ours"), &all), 6);
    for (int k = 0; k < 6; k++) {
        int which = 0;
        while (strcmp(all[k].name, names[which]))
            which++;
        assert_true(all[k].dtype == td_dtype_of(tensors[which]) && all[k].rank == td_rank(tensors[which]));
        assert_true(same(all[k].tensor, tensors[which]));
    }
    free(all);
    char *format = td_metadata_safetensors(s, own("ours"), "quote\""),
         *no = td_metadata_safetensors(s, own("ours"), "x");
    assert_string_equal(format, "a\\b");
    assert_null(no);
    free(format);
    /* Elements at odd places, a type that is not ours. */
    assert_int_equal(td_list_safetensors(s, golden("odd.safetensors"), &all), 3);
    assert_true(all[1].dtype == TD_DTYPE_NONE && all[1].shape[0] == 3);
    free(all);
    assert_values(td_load_safetensors(s, golden("odd.safetensors"), "y"), TD_F32, 3);
    int64_t held = td_tensor_count(s);
    assert_int_equal(td_load_all_safetensors(s, golden("odd.safetensors"), &all), -1);
    assert_null(all);
    expect_error(TD_E_DTYPE, "half has elements of type F8_E4M3", __LINE__ - 2);
    assert_int_equal(td_tensor_count(s), held);
    assert_int_equal(td_save_safetensors(own("m"), (const char *[]){"__metadata__"}, tensors, 1), TD_E_ARGUMENT);
    td_clear_error(s);
}

static void headers_of_safetensors(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        int data;
        const char *says; /* NULL: fine */
    } cases[] = {
        {"{}", 0, NULL},
        {"{}  ", 0, NULL},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4],\"dtype\":\"F32\"}}", 4, NULL},
        {"{\"__metadata__\":{},\"a\" : { \"dtype\":\"F32\", \"shape\":[ 1 , 1 ],\"data_offsets\":[0, 4]}}\n", 4, NULL},
        {"{\"\\ud83d\\ude00\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, NULL},
        {"", 0, "{ is due in the header, and nothing stands there (byte 8)"},
        {" {}", 0, "{ is due"},
        {"{}x", 0, "nothing more is due in the header, and x stands there (byte 10)"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},}", 4, "\" is due"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5,
         "its tensors take 4 bytes, and 5 are there"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3,
         "its tensors take 4 bytes, and 3 are there"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}", 5, "hole lies before it"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "data_offsets are [4, 0]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
         "a takes 8 bytes, and its data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
         6, "tensor overlaps it"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
         4, "a is there twice"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "each once"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 0, "dtype, shape and data_offsets is due"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[01],\"data_offsets\":[0,4]}}", 4, "a whole number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "a whole number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, "] is due"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[18446744073709551616],\"data_offsets\":[0,4]}}", 4, "below 2^64"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4, "fewer elements"},
        {"{\"a\x80\":{}}", 0, "text in UTF-8"},
        {"{\"a\\u0000\":{}}", 0, "a character that text can have"},
        {"{\"a\\ud800\":{}}", 0, "the second half"},
        {"{\"a\\x\":{}}", 0, "an escape"},
        {"{\"a", 0, "the end of a string"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "\" is due"},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        uint8_t file[512] = {0};
        size_t length = strlen(cases[k].header);
        td_stored *list;
        file[0] = (uint8_t)length;
        memcpy(file + 8, cases[k].header, length);
        write_all(own("st"), file, 8 + length + (size_t)cases[k].data);
        int64_t count = td_list_safetensors(s, own("st"), &list);
        if ((count < 0) != (cases[k].says != NULL))
            fail_msg("%s: %s", cases[k].header, td_error(s)->message);
        if (cases[k].says)
            expect_error(TD_E_FILE, cases[k].says, 0);
        free(list);
    }
    write_all(own("st"), "\0\0\0\0\0\0\0\1", 8);
    td_load_safetensors(s, own("st"), "a");
    expect_error(TD_E_FILE, "its header of 72057594037927936 bytes", __LINE__ - 1);
}

/* ---- damage ---- */

/* Loads whatever can be loaded of a file: all that matters is that it ends, and in an error or in a tensor. */
static void load_any(const char *path)
{
    TD_SCOPE(s);
    td_stored *all;
    td_load_npy(s, path);
    if (td_load_all_npz(s, path, &all) >= 0)
        free(all);
    if (td_load_all_safetensors(s, path, &all) >= 0)
        free(all);
}

static const char *const samples[] = {"f32_big_fortran.npy", "scalar.npy", "version2.npy",     "stored.npz",
                                      "deflated.npz",        "zip64.npz",  "ours.safetensors", "odd.safetensors"};
#define SAMPLES (sizeof samples / sizeof *samples)

static void every_truncation(void **state)
{
    (void)state;
    for (size_t k = 0; k < SAMPLES; k++) {
        size_t bytes;
        uint8_t *data = read_all(golden(samples[k]), &bytes);
        for (size_t cut = 0; cut < bytes; cut++) {
            td_stored *all;
            write_all(own("cut"), data, cut);
            if (strstr(samples[k], ".npy"))
                assert_false(td_ok(td_load_npy(s, own("cut"))));
            else if (strstr(samples[k], ".npz"))
                assert_int_equal(td_load_all_npz(s, own("cut"), &all), -1);
            else
                assert_int_equal(td_load_all_safetensors(s, own("cut"), &all), -1);
            assert_int_equal(td_error(s)->code, TD_E_FILE);
            assert_non_null(strstr(td_error(s)->message, "/cut: "));
            assert_non_null(strstr(td_error(s)->message, "(byte "));
            td_clear_error(s);
        }
        free(data);
    }
}

static void random_damage(void **state)
{
    (void)state;
    struct random random = random_new();
    for (int round = 0; round < 1500; round++) {
        size_t bytes;
        uint8_t *data = read_all(golden(samples[random_below(&random, SAMPLES)]), &bytes);
        for (uint64_t flips = 1 + random_below(&random, 4); flips > 0; flips--)
            data[random_below(&random, bytes)] = (uint8_t)random_next(&random);
        write_all(own("bad"), data, bytes);
        load_any(own("bad"));
        free(data);
    }
    assert_int_equal(td_tensor_count(s), 0);
    td_clear_error(s);
    assert_true(td_item(td_ones(s, TD_SHAPE(1))) == 1);
}

/* Elements of an archive are never taken for right when they are not. */
static void sums_are_checked(void **state)
{
    (void)state;
    static const char *const files[] = {"stored.npz", "deflated.npz"};
    for (int k = 0; k < 2; k++) {
        size_t bytes;
        uint8_t *data = read_all(golden(files[k]), &bytes);
        data[k ? 90 : 260] ^= 4;
        write_all(own("sum.npz"), data, bytes);
        assert_false(td_ok(td_load_npz(s, own("sum.npz"), "a")));
        expect_error(TD_E_FILE, k ? NULL : "it is damaged", 0);
        assert_true(td_ok(td_load_npz(s, own("sum.npz"), "b")));
        free(data);
    }
    assert_int_equal(td_sync(s), 0);
}

static void what_is_no_file(void **state)
{
    (void)state;
    td_tensor x = td_ones(s, TD_SHAPE(2));
    td_load_npy(s, own("missing"));
    expect_error(TD_E_FILE, "cannot be opened: No such file or directory", __LINE__ - 1);
    td_load_npy(s, folder);
    expect_error(TD_E_FILE, "is a directory", __LINE__ - 1);
    td_load_npy(s, "/dev/zero");
    expect_error(TD_E_FILE, "is a device", __LINE__ - 1);
    td_load_npy(s, NULL);
    expect_error(TD_E_ARGUMENT, "no path", __LINE__ - 1);
    assert_int_equal(mkfifo(own("fifo"), 0600), 0);
    td_load_npy(s, own("fifo"));
    expect_error(TD_E_FILE, "is a pipe", __LINE__ - 1);
    assert_int_equal(td_save_npy(x, own("fifo")), TD_E_FILE);
    expect_error(TD_E_FILE, "is a pipe", __LINE__ - 1);
    assert_int_equal(td_save_npy(x, own("no/such/folder")), TD_E_FILE);
    expect_error(TD_E_FILE, "cannot be made: No such file or directory", __LINE__ - 1);
    assert_int_equal(td_save_npy(x, folder), TD_E_FILE);
    expect_error(TD_E_FILE, "is a directory", __LINE__ - 1);
    if (geteuid() != 0) {
        write_all(own("locked"), "x", 1);
        assert_int_equal(chmod(own("locked"), 0), 0);
        td_load_npy(s, own("locked"));
        expect_error(TD_E_FILE, "Permission denied", __LINE__ - 1);
    }
    td_tensor failed = td_matmul(x, td_ones(s, TD_SHAPE(3)));
    td_clear_error(s);
    assert_int_equal(td_save_npy(failed, own("failed.npy")), TD_E_SHAPE);
    assert_int_equal(td_save_npz(own("failed.npy"), (const char *[]){"a", "b"}, (td_tensor[]){x, failed}, 2),
                     TD_E_SHAPE);
    td_tensor later = td_index_select(x, 0, td_full(s, TD_SHAPE(1), 9)); /* only the daemon knows */
    assert_int_equal(td_save_npy(later, own("failed.npy")), TD_E_INDEX);
    td_release(failed);
    assert_int_equal(td_save_npy(failed, own("failed.npy")), TD_E_HANDLE);
    assert_int_not_equal(access(own("failed.npy"), F_OK), 0);
    td_clear_error(s);
}

/* Nothing of it appears, and what was there stays. */
static void a_full_disk(void **state)
{
    (void)state;
    struct rlimit old, small = {.rlim_cur = 100000};
    td_tensor x = td_ones(s, TD_SHAPE(1 << 18)), few = td_ones(s, TD_SHAPE(2));
    assert_int_equal(td_save_npy(few, own("full.npy")), 0);
    assert_int_equal(chmod(own("full.npy"), 0640), 0);
    assert_int_equal(symlink("full.npy", own("link.npy")), 0);
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    int npy = td_save_npy(x, own("full.npy"));
    expect_error(TD_E_FILE, "cannot be written: File too large (byte 100000)", __LINE__ - 1);
    int npz = td_save_npz(own("full.npz"), (const char *[]){"a", "b"}, (td_tensor[]){few, x}, 2);
    td_clear_error(s);
    int safe = td_save_safetensors(own("full.safetensors"), (const char *[]){"a", "b"}, (td_tensor[]){few, x}, 2);
    td_clear_error(s);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_true(npy == TD_E_FILE && npz == TD_E_FILE && safe == TD_E_FILE);
    assert_int_equal(td_numel(td_load_npy(s, own("full.npy"))), 2);
    assert_int_not_equal(access(own("full.npz"), F_OK) & access(own("full.safetensors"), F_OK), 0);
    assert_int_equal(td_save_npy(x, own("link.npy")), 0); /* through the link, with the mode that it had */
    struct stat status;
    assert_int_equal(lstat(own("full.npy"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
    assert_true(S_ISREG(status.st_mode) && status.st_size == 128 + (4 << 18));
    assert_int_equal(td_sync(s), 0);
}

/* ---- size ---- */

#define BIG ((int64_t)16 << 20)

struct watch {
    int64_t calls, last, total, stop_at;
    int fd; /* cut when that much has been read; -1: not */
};

static int watch(int64_t done, int64_t total, void *data)
{
    struct watch *w = data;
    w->calls++;
    assert_true(done > w->last && done <= total);
    w->last = done;
    w->total = total;
    td_flush(s); /* it may use the session */
    if (w->fd >= 0 && done >= 8 << 20)
        assert_int_equal(ftruncate(w->fd, 9 << 20), 0);
    return w->stop_at && done >= w->stop_at;
}

static int64_t peak_kib(void)
{
    char line[256];
    long long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        sscanf(line, "VmHWM: %lld", &kib);
    fclose(file);
    return kib;
}

static void big_files_take_little_memory(void **state)
{
    (void)state;
    td_tensor x = td_arange(s, 0, BIG, .dtype = TD_F32);
    struct watch w = {.fd = -1};
    int64_t before = peak_kib();
    assert_int_equal(td_save_npy(x, own("big.npy")), 0);
    assert_int_equal(td_save_npz(own("big.npz"), (const char *[]){"x"}, &x, 1), 0);
    td_tensor y = td_load_npy(s, own("big.npy"), .progress = watch, .data = &w);
    assert_true(w.calls == 64 && w.last == 4 * BIG && w.total == 4 * BIG);
    td_tensor z = td_load_npz(s, own("big.npz"), "x");
    assert_true(same(x, y) && same(x, z));
    td_release(y);
    /* A sanitizer keeps what was freed. */
    const char *build = getenv("TENSORD_BUILD");
    if (build && strstr(build, "plain"))
        assert_in_range(peak_kib() - before, 0, 16 << 10);
    assert_int_equal(td_sync(s), 0);
}

static void *cancel_soon(void *data)
{
    (void)data;
    usleep(2000);
    td_cancel(s);
    return NULL;
}

static int linger(int64_t done, int64_t total, void *data)
{
    (void)done;
    (void)total;
    (void)data;
    usleep(1000);
    return 0;
}

static void loads_can_be_cancelled(void **state)
{
    (void)state;
    struct watch w = {.stop_at = 5 << 20, .fd = -1};
    pthread_t thread;
    td_stored *all;
    int64_t held = td_tensor_count(s);
    td_tensor y = td_load_npy(s, own("big.npy"), .progress = watch, .data = &w);
    assert_true(w.calls == 5 && !td_ok(y));
    expect_error(TD_E_CANCELLED, "cancelled by its progress function at byte 5242880 of 67108864", __LINE__ - 2);
    w = (struct watch){.stop_at = 5 << 20, .fd = -1};
    assert_int_equal(td_load_all_npz(s, own("big.npz"), &all, .progress = watch, .data = &w), -1);
    expect_error(TD_E_CANCELLED, NULL, __LINE__ - 1);
    td_release(y);
    pthread_create(&thread, NULL, cancel_soon, NULL);
    y = td_load_npy(s, own("big.npy"), .progress = linger);
    pthread_join(thread, NULL);
    assert_false(td_ok(y));
    td_clear_error(s);
    td_release(y);
    assert_int_equal(td_tensor_count(s), held);
}

static void files_may_change_meanwhile(void **state)
{
    (void)state;
    struct watch w = {.fd = open(own("big.npy"), O_WRONLY)};
    assert_false(td_ok(td_load_npy(s, own("big.npy"), .progress = watch, .data = &w)));
    expect_error(TD_E_FILE, "has become shorter while it was read (byte 9437184)", __LINE__ - 1);
    close(w.fd);
    assert_int_equal(td_sync(s), 0);
}

static void sessions_without_a_daemon(void **state)
{
    (void)state;
    td_session *none = td_open("unix:/nowhere");
    td_on_error(none, TD_CONTINUE);
    assert_false(td_ok(td_load_npy(none, golden("f32.npy"))));
    assert_false(td_ok(td_load_npz(none, golden("deflated.npz"), "a")));
    td_stored *all;
    assert_int_equal(td_list_npz(none, golden("deflated.npz"), &all), 3); /* asks no daemon */
    free(all);
    assert_int_equal(td_load_all_npz(none, golden("deflated.npz"), &all), -1);
    assert_int_equal(td_save_npy(td_ones(none, TD_SHAPE(1)), own("none.npy")), TD_E_CONNECT);
    assert_int_equal(td_save_npy((td_tensor){0}, own("none.npy")), TD_E_HANDLE);
    assert_int_not_equal(access(own("none.npy"), F_OK), 0);
    assert_int_equal(td_close(none), TD_E_CONNECT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_session, close_session)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(numpys_arrays),
        TEST(what_tensord_has_not),
        TEST(layouts_of_all_kinds),
        TEST(numpys_archives),
        TEST(archives_of_our_own),
        TEST(wide_archives),
        TEST(safetensors),
        TEST(headers_of_safetensors),
        TEST(every_truncation),
        TEST(random_damage),
        TEST(sums_are_checked),
        TEST(what_is_no_file),
        TEST(a_full_disk),
        TEST(big_files_take_little_memory),
        TEST(loads_can_be_cancelled),
        TEST(files_may_change_meanwhile),
        TEST(sessions_without_a_daemon),
    };
    return cmocka_run_group_tests(tests, start_with_folder, stop_with_folder);
}

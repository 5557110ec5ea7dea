/* The pool and what stands on it: blocks that never overlap, owners, the limit, and readers that keep their bytes
 * through writes. SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/worker/session.h"
#include "server/worker/tensor.h"
#include "tests/random.h"

#define MIB ((size_t)1 << 20)

/* ---- the pool ---- */

static void takes_and_gives_at_random(void **state)
{
    enum { BLOCKS = 400, ROUNDS = 40000 };
    struct random random = random_new();
    struct pool pool;
    struct block *blocks[BLOCKS] = {0};
    size_t used = 0;
    (void)state;
    pool_init(&pool, td_device_cpu(), 512 * MIB);
    for (int round = 0; round < ROUNDS; round++) {
        struct block **block = &blocks[random_below(&random, BLOCKS)];
        if (*block) {
            /* Its tag is still there: nobody else was given these bytes. */
            assert_int_equal(*(uint64_t *)(*block)->data, (*block)->request);
            assert_int_equal(((unsigned char *)(*block)->data)[(*block)->size - 1], (*block)->request & 0xff);
            used -= (*block)->size;
            pool_give(&pool, *block);
            *block = NULL;
        } else {
            size_t bytes = random_below(&random, 8) ? random_below(&random, 9000) : random_below(&random, 2 * MIB);
            *block = pool_take(&pool, bytes, 7, (uint64_t)round);
            assert_non_null(*block);
            assert_true((*block)->size >= bytes && (uintptr_t)(*block)->data % POOL_GRAIN == 0);
            assert_int_equal((*block)->session, 7);
            *(uint64_t *)(*block)->data = (uint64_t)round;
            ((unsigned char *)(*block)->data)[(*block)->size - 1] = (unsigned char)round;
            used += (*block)->size;
        }
        assert_int_equal(pool.used_bytes, used);
    }
    for (int k = 0; k < BLOCKS; k++)
        if (blocks[k])
            pool_give(&pool, blocks[k]);
    assert_int_equal(pool.used_bytes, 0);
    /* All is joined again: what was reserved last can be had in one piece. */
    blocks[0] = pool_take(&pool, 16 * MIB, 1, 1);
    assert_non_null(blocks[0]);
    pool_give(&pool, blocks[0]);
    pool_deinit(&pool);
}

static void limit_holds(void **state)
{
    struct pool pool;
    (void)state;
    pool_init(&pool, td_device_cpu(), 64 * MIB);
    assert_null(pool_take(&pool, 65 * MIB, 1, 1));
    assert_null(pool_take(&pool, SIZE_MAX, 1, 1));
    assert_null(pool_take(&pool, SIZE_MAX - 8, 1, 1));
    struct block *first = pool_take(&pool, 40 * MIB, 1, 1);
    assert_non_null(first);
    assert_null(pool_take(&pool, 40 * MIB, 1, 1));
    assert_true(pool.reserved_bytes <= 64 * MIB);
    pool_give(&pool, first);
    struct block *second = pool_take(&pool, 40 * MIB, 1, 1);
    assert_non_null(second);
    pool_give(&pool, second);
    pool_deinit(&pool);
}

static void small_blocks_do_not_starve_big_ones(void **state)
{
    enum { COUNT = 8 * 1024 };
    static struct block *blocks[COUNT];
    struct pool pool;
    (void)state;
    pool_init(&pool, td_device_cpu(), 32 * MIB);
    for (int k = 0; k < COUNT; k++)
        assert_non_null(blocks[k] = pool_take(&pool, 4000, 1, 1));
    for (int k = 0; k < COUNT; k++)
        pool_give(&pool, blocks[k]);
    /* They are kept by exact size, but given up when a big block needs the room. */
    blocks[0] = pool_take(&pool, 31 * MIB, 1, 1);
    assert_non_null(blocks[0]);
    pool_give(&pool, blocks[0]);
    pool_deinit(&pool);
}

/* Segments that nobody is in are given back where that makes room, and only there. */
static void idle_segments_make_room(void **state)
{
    struct pool pool;
    struct block *blocks[3];
    (void)state;
    pool_init(&pool, td_device_cpu(), 96 * MIB);
    for (int k = 0; k < 3; k++)
        assert_non_null(blocks[k] = pool_take(&pool, 24 * MIB, 1, 1)); /* one in each segment */
    assert_int_equal(pool.segment_count, 3);
    pool_give(&pool, blocks[0]);
    assert_int_equal(pool_room(&pool), 32 * MIB);
    assert_null(pool_take(&pool, 40 * MIB, 1, 1));
    assert_null(pool_take(&pool, 97 * MIB, 1, 1));
    assert_int_equal(pool.reserved_bytes, 96 * MIB);
    pool_give(&pool, blocks[2]);
    assert_int_equal(pool_room(&pool), 64 * MIB);
    *(char *)blocks[1]->data = 5;
    struct block *large = pool_take(&pool, 60 * MIB, 1, 1);
    assert_non_null(large);
    memset(large->data, 7, 60 * MIB);
    assert_int_equal(pool.segment_count, 2);
    assert_true(pool.reserved_bytes <= 96 * MIB && *(char *)blocks[1]->data == 5);
    pool_give(&pool, large);
    pool_give(&pool, blocks[1]);
    pool_deinit(&pool);
}

static uint64_t no_stamp(int lane)
{
    (void)lane;
    return 0;
}

/* What a lane gives back is taken again by that lane, with what is known of its use, and by another one only when
 * nothing else is left; then all of it is one piece again. */
static void lanes_keep_what_is_theirs(void **state)
{
    struct td_device device = *td_device_cpu();
    struct pool pool;
    (void)state;
    device.stamp = no_stamp;
    for (size_t bytes = 1000; bytes <= MIB; bytes += MIB - 1000) { /* small ones, and big ones */
        pool_init(&pool, &device, 64 * MIB);
        struct block *first = pool_take(&pool, bytes, 1, 1);
        void *data = first->data;
        first->uses->used[0] = 7;
        first->uses->used[TD_LANE_UPLOAD] = 3;
        pool_give(&pool, first);
        pool.lane = 1;
        struct block *other = pool_take(&pool, bytes, 1, 1);
        assert_ptr_not_equal(other->data, data);
        assert_int_equal(other->uses->used[0], 0);
        pool.lane = 0;
        first = pool_take(&pool, bytes, 1, 1);
        assert_ptr_equal(first->data, data);
        assert_int_equal(first->uses->used[0], 7);
        pool_give(&pool, first);
        pool.lane = 1;
        pool_give(&pool, other);
        pool.lane = 2; /* more than what nobody has had yet */
        struct block *rest = pool_take(&pool, 31 * MIB, 1, 1);
        assert_non_null(rest);
        other = pool_take(&pool, 31 * MIB, 1, 1);
        assert_non_null(other);
        assert_true(rest->uses->used[0] == 7 || other->uses->used[0] == 7);
        assert_int_equal(rest->uses->used[TD_LANE_UPLOAD] + other->uses->used[TD_LANE_UPLOAD], 3);
        pool_give(&pool, rest);
        pool_give(&pool, other);
        pool_deinit(&pool);
    }
}

/* ---- readers ---- */

static struct worker worker;
static struct session session;

static int setup(void **state)
{
    (void)state;
    worker = (struct worker){.device = td_device_cpu()};
    session = (struct session){.worker = &worker, .number = 1};
    pool_init(&worker.pool, worker.device, 64 * MIB);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    int left = worker.pool.used_bytes != 0 || session_bytes(&session) != 0;
    pool_deinit(&worker.pool);
    return left;
}

static struct tensor *row_of(int64_t count, int64_t offset, struct storage *storage)
{
    struct td_meta meta = {.dtype = TD_F32, .rank = 1, .offset = offset, .shape = {count}, .stride = {1}};
    struct tensor *tensor = tensor_new(&session, &meta, storage);
    assert_non_null(tensor);
    return tensor;
}

static struct tensor *counting(int64_t count)
{
    struct td_failure failure = {0};
    struct storage *storage = storage_new(&session, (size_t)count * sizeof(float), &failure);
    assert_non_null(storage);
    struct tensor *tensor = row_of(count, 0, storage);
    storage_unref(&session, storage);
    for (int64_t k = 0; k < count; k++)
        ((float *)tensor_data(tensor))[k] = (float)k;
    return tensor;
}

static void write_all(struct tensor *tensor, int64_t first, int64_t end, float value)
{
    struct td_failure failure = {0};
    assert_int_equal(storage_write(&session, tensor->storage, (size_t)first * 4, (size_t)end * 4, &failure), TD_E_OK);
    for (int64_t k = first; k < end; k++)
        ((float *)tensor->storage->block->data)[k] = value;
}

static void write_without_readers_is_in_place(void **state)
{
    (void)state;
    struct tensor *x = counting(100);
    void *before = tensor_data(x);
    write_all(x, 0, 100, -1);
    assert_ptr_equal(tensor_data(x), before);
    assert_int_equal(session.copied_bytes, 0);
    tensor_unref(&session, x);
}

static void write_beside_a_reader_is_in_place(void **state)
{
    (void)state;
    struct tensor *x = counting(100), *row = row_of(10, 20, x->storage);
    struct saved *saved = saved_new(&session, row);
    void *before = tensor_data(x);
    write_all(x, 0, 20, -1);
    write_all(x, 30, 100, -1);
    assert_ptr_equal(tensor_data(x), before);
    assert_int_equal(session.copied_bytes, 0);
    saved_free(&session, saved);
    tensor_unref(&session, row);
    tensor_unref(&session, x);
}

static void small_reader_moves_and_keeps_its_bytes(void **state)
{
    (void)state;
    struct tensor *x = counting(1000), *row = row_of(10, 503, x->storage);
    struct saved *saved = saved_new(&session, row);
    void *before = tensor_data(x);
    write_all(x, 500, 510, -1);
    assert_ptr_equal(tensor_data(x), before);
    assert_int_equal(session.copied_bytes, 40); /* the row, not the matrix */
    struct tensor *kept = saved_tensor(&session, saved);
    for (int k = 0; k < 10; k++)
        assert_true(((float *)tensor_data(kept))[k] == (float)(503 + k));
    assert_true(((float *)tensor_data(row))[0] == -1);
    tensor_unref(&session, kept);
    saved_free(&session, saved);
    tensor_unref(&session, row);
    tensor_unref(&session, x);
}

static void whole_reader_makes_the_storage_move(void **state)
{
    (void)state;
    struct tensor *x = counting(1024), *view = row_of(1024, 0, x->storage);
    struct saved *saved = saved_new(&session, x);
    write_all(x, 0, 1, -1);
    assert_int_equal(session.copied_bytes, 4096);
    struct tensor *kept = saved_tensor(&session, saved);
    assert_true(((float *)tensor_data(kept))[0] == 0);
    assert_true(((float *)tensor_data(view))[0] == -1); /* views move along */
    write_all(x, 0, 1, -2);                             /* once is enough */
    assert_int_equal(session.copied_bytes, 4096);
    tensor_unref(&session, kept);
    saved_free(&session, saved);
    tensor_unref(&session, view);
    tensor_unref(&session, x);
}

static void forked_storages_part_at_the_first_write(void **state)
{
    (void)state;
    struct tensor *x = counting(64);
    struct storage *fork = storage_fork(&session, x->storage);
    struct tensor *y = row_of(64, 0, fork);
    storage_unref(&session, fork);
    assert_ptr_equal(tensor_data(x), tensor_data(y));
    write_all(y, 0, 64, -1);
    assert_true(((float *)tensor_data(x))[5] == 5 && ((float *)tensor_data(y))[5] == -1);
    tensor_unref(&session, y);
    tensor_unref(&session, x);
}

static void write_without_room_leaves_all_as_it_was(void **state)
{
    (void)state;
    struct td_failure failure = {0};
    struct tensor *x = counting((int64_t)(40 * MIB / sizeof(float)));
    struct saved *saved = saved_new(&session, x);
    assert_int_equal(storage_write(&session, x->storage, 0, 4, &failure), TD_E_MEMORY);
    assert_non_null(strstr(failure.message, "do not fit"));
    struct tensor *kept = saved_tensor(&session, saved);
    assert_ptr_equal(tensor_data(kept), tensor_data(x));
    tensor_unref(&session, kept);
    saved_free(&session, saved);
    tensor_unref(&session, x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_and_gives_at_random),
        cmocka_unit_test(limit_holds),
        cmocka_unit_test(idle_segments_make_room),
        cmocka_unit_test(small_blocks_do_not_starve_big_ones),
        cmocka_unit_test(lanes_keep_what_is_theirs),
        cmocka_unit_test_setup_teardown(write_without_readers_is_in_place, setup, teardown),
        cmocka_unit_test_setup_teardown(write_beside_a_reader_is_in_place, setup, teardown),
        cmocka_unit_test_setup_teardown(small_reader_moves_and_keeps_its_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(whole_reader_makes_the_storage_move, setup, teardown),
        cmocka_unit_test_setup_teardown(forked_storages_part_at_the_first_write, setup, teardown),
        cmocka_unit_test_setup_teardown(write_without_room_leaves_all_as_it_was, setup, teardown),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}

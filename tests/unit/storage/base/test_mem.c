/*
 * Memory and arenas: alignment, ceilings, products that do not wrap.
 */
#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/base/mem.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

Test(mem, zero_sizes_give_memory_too)
{
    CLEANUP(mem_cleanup) void *a = mem_alloc(0);
    CLEANUP(mem_cleanup) void *b = mem_zeroed(0, 8);
    CLEANUP(mem_cleanup) void *c = mem_copy(NULL, 0);
    cr_expect_not_null(a);
    cr_expect_not_null(b);
    cr_expect_not_null(c);
    a = mem_resize(a, 0, 0);
    cr_expect_not_null(a);
}

Test(mem, products_do_not_wrap, .signal = SIGABRT)
{
    volatile size_t count = SIZE_MAX / 4;
    (void)mem_resize(NULL, count, 8); /* does not return */
}

Test(mem, copies)
{
    CLEANUP(mem_cleanup) char *text = mem_copy_text("abc");
    CLEANUP(mem_cleanup) char *bytes = mem_copy("a\0b", 3);
    cr_expect_str_eq(text, "abc");
    cr_expect_eq(memcmp(bytes, "a\0b", 3), 0);
    mem_cleanup(&text);
    cr_expect_null(text);
    mem_free(NULL);
}

#ifndef __SANITIZE_ADDRESS__ /* which keeps memory itself */
static size_t resident_bytes(void)
{
    unsigned long whole = 0;
    unsigned long resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    cr_assert_not_null(file);
    cr_assert_eq(fscanf(file, "%lu %lu", &whole, &resident), 2);
    (void)fclose(file); /* read only */
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

Test(mem, gives_a_surplus_back)
{
    enum { BLOCKS = 1000, BLOCK_BYTES = 64 << 10 };
    void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = mem_alloc(BLOCK_BYTES);
        memset(blocks[i], 1, BLOCK_BYTES);
    }
    CLEANUP(mem_cleanup)
    void *last = mem_alloc(BLOCK_BYTES); /* behind them: the heap cannot shrink by itself */
    size_t held = resident_bytes();
    for (int i = 0; i < BLOCKS; i++) {
        mem_free(blocks[i]);
    }
    mem_give_back_surplus((size_t)2 * BLOCKS * BLOCK_BYTES);
    cr_expect_gt(resident_bytes(), held - BLOCK_BYTES * 10UL, "not worth it");
    mem_give_back_surplus((size_t)BLOCKS * BLOCK_BYTES / 2);
    cr_expect_lt(resident_bytes(), held - BLOCK_BYTES * 900UL);
}
#endif

Test(arena, memory_is_zeroed_and_aligned)
{
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, 1 << 20);
    for (size_t size = 0; size < 200; size++) {
        uint8_t *memory = arena_alloc(&arena, size);
        cr_assert_not_null(memory);
        cr_assert_eq((uintptr_t)memory % _Alignof(max_align_t), 0U);
        for (size_t i = 0; i < size; i++) {
            cr_assert_eq(memory[i], 0);
        }
        memset(memory, 0xff, size);
    }
}

Test(arena, ceiling_is_sticky_until_reset)
{
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, 256);
    cr_expect_not_null(arena_alloc(&arena, 256));
    cr_expect_null(arena_alloc(&arena, 1));
    cr_expect(arena.overflowed);
    cr_expect_null(arena_alloc(&arena, 0));
    arena_reset(&arena);
    cr_expect_not_null(arena_alloc(&arena, 256));
    volatile size_t absurd = SIZE_MAX; /* hidden from the compiler, which knows better */
    cr_expect_null(arena_alloc(&arena, absurd));
    arena_reset(&arena);
    cr_expect_null(arena_alloc(&arena, absurd - 8));
}

Test(arena, text)
{
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, 1 << 20);
    cr_expect_str_eq(arena_text(&arena, span_of("abc!", 3)), "abc");
    cr_expect_str_eq(arena_text(&arena, (struct span){0}), "");
    cr_expect_str_eq(arena_format(&arena, "%s-%d", "x", 7), "x-7");
    for (int i = 0; i < 1000; i++) {
        /* over many blocks, and one larger than a block */
        cr_assert_not_null(arena_alloc(&arena, i == 500 ? 200000 : 500));
    }
}

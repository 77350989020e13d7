/*
 * Arena. See arena.h for the contract.
 */
#include "storage/base/arena.h"

#include "storage/base/mem.h"

#include <assert.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK_BYTES = 16384, ALIGNMENT = alignof(max_align_t) };

struct arena_block {
    struct arena_block *next;
    size_t size; /* bytes after the header */
    size_t used;
    alignas(ALIGNMENT) uint8_t data[];
};

void arena_init(struct arena *arena, size_t used_max)
{
    *arena = (struct arena){.used_max = used_max};
}

static void free_blocks(struct arena_block *block)
{
    while (block != NULL) {
        struct arena_block *next = block->next;
        mem_free(block);
        block = next;
    }
}

void arena_deinit(struct arena *arena)
{
    free_blocks(arena->blocks);
    *arena = (struct arena){0};
}

bool arena_is_half_used(const struct arena *arena)
{
    return arena->used > arena->used_max / 2;
}

void arena_reset(struct arena *arena)
{
    struct arena_block *first = arena->blocks;
    if (first != NULL) {
        free_blocks(first->next);
        first->next = NULL;
        first->used = 0;
    }
    arena->used = 0;
    arena->overflowed = false;
}

static void add_block(struct arena *arena, size_t size)
{
    size_t data_size = size > BLOCK_BYTES ? size : BLOCK_BYTES;
    struct arena_block *block = mem_alloc(sizeof *block + data_size);
    block->next = arena->blocks;
    block->size = data_size;
    block->used = 0;
    arena->blocks = block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX - ALIGNMENT) {
        arena->overflowed = true;
        return NULL;
    }
    size_t rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (arena->overflowed || rounded > arena->used_max - arena->used) {
        arena->overflowed = true;
        return NULL;
    }
    if (arena->blocks == NULL || rounded > arena->blocks->size - arena->blocks->used) {
        add_block(arena, rounded);
    }
    struct arena_block *block = arena->blocks;
    void *memory = block->data + block->used;
    block->used += rounded;
    arena->used += rounded;
    memset(memory, 0, rounded);
    return memory;
}

char *arena_text(struct arena *arena, struct span text)
{
    char *copy = arena_alloc(arena, text.size + 1);
    if (copy != NULL && text.size > 0) {
        memcpy(copy, text.data, text.size);
    }
    return copy;
}

char *arena_format(struct arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    assert(length >= 0);

    char *text = arena_alloc(arena, (size_t)length + 1);
    if (text != NULL) {
        (void)vsnprintf(text, (size_t)length + 1, format, again); /* same length as above */
    }
    va_end(again);
    return text;
}

/*
 * One arena per exchange and per task: everything decoded for it lives there
 * and is freed in one place. The ceiling comes from the route or task table;
 * passing it returns NULL once and for all (the caller answers ERR_TOO_LARGE).
 */
#pragma once

#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used;                /* bytes handed out, alignment included */
    size_t used_max;            /* ceiling, set once at init */
    bool overflowed;            /* sticky until reset */
};

void arena_init(struct arena *arena, size_t used_max);
void arena_deinit(struct arena *arena);

/* Has more than half been handed out? Then a page that is being read ends here. */
bool arena_is_half_used(const struct arena *arena);

/* Free all but the first block; what was handed out is gone. */
void arena_reset(struct arena *arena);

/* `size` bytes aligned for any type, zeroed; NULL when the ceiling would be passed. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((alloc_size(2)));

/* NUL-terminated copies; NULL when the ceiling would be passed. */
char *arena_text(struct arena *arena, struct span text);
char *arena_format(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Memory: the only place that calls malloc and free.
 *
 * Decision: running out of address space ends the process. Everything sized by
 * input has a named ceiling (arena, buffer, frame limits) and fails as
 * ERR_TOO_LARGE or ERR_NOMEM long before that; accepted work is durable and
 * every task is idempotent, so a restart is the honest answer to the rest.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* `size` uninitialised bytes, never NULL; free with mem_free. */
void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull, alloc_size(1)));

/* `count` zeroed objects of `size` bytes; the product is checked for overflow. */
void *mem_zeroed(size_t count, size_t size)
    __attribute__((malloc, returns_nonnull, alloc_size(1, 2)));

/* Resize to `count` objects of `size` bytes; the product is checked for overflow. */
void *mem_resize(void *memory, size_t count, size_t size) __attribute__((returns_nonnull));

/* Copies, never NULL; free with mem_free. mem_copy_text adds a terminating NUL. */
void *mem_copy(const void *bytes, size_t size) __attribute__((returns_nonnull));
char *mem_copy_text(const char *text) __attribute__((returns_nonnull));

/* Accepts NULL. */
void mem_free(void *memory);

/*
 * After work that held much: what is free goes back to the system, which the allocator by
 * itself would keep. Takes milliseconds, and others who allocate meanwhile may wait for it.
 */
void mem_give_back(void);

/*
 * The same, when the allocator has more than `kept` bytes free, those it gave back before included:
 * once a minute, say. What a flood of work took is reused while it lasts and goes when it is over.
 */
void mem_give_back_surplus(size_t kept);

/* Bytes that are allocated now, and those that were, given back or not. Looks at every arena. */
void mem_count(size_t *allocated_out, size_t *unused_out);

/* For CLEANUP on any pointer variable: frees what it points to and nulls it. */
void mem_cleanup(void *pointer_to_pointer);

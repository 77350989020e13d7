/*
 * Memory. See mem.h for the contract.
 */
#define SLUICE_MEM_C
#include "storage/base/mem.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

static void out_of_memory(size_t size) __attribute__((noreturn, cold));

static void out_of_memory(size_t size)
{
    (void)fprintf(stderr, "{\"level\":\"error\",\"msg\":\"out of memory for %zu bytes\"}\n",
                  size); /* nothing else can be done */
    abort();
}

static size_t product(size_t count, size_t size)
{
    size_t total = 0;
    if (__builtin_mul_overflow(count, size, &total)) {
        out_of_memory(SIZE_MAX);
    }
    return total;
}

void *mem_alloc(size_t size)
{
    void *memory = malloc(size > 0 ? size : 1);
    if (memory == NULL) {
        out_of_memory(size);
    }
    return memory;
}

void *mem_zeroed(size_t count, size_t size)
{
    void *memory = calloc(count > 0 ? count : 1, size > 0 ? size : 1);
    if (memory == NULL) {
        out_of_memory(product(count, size));
    }
    return memory;
}

void *mem_resize(void *memory, size_t count, size_t size)
{
    size_t total = product(count, size);
    void *resized = realloc(memory, total > 0 ? total : 1);
    if (resized == NULL) {
        out_of_memory(total);
    }
    return resized;
}

void *mem_copy(const void *bytes, size_t size)
{
    void *copy = mem_alloc(size);
    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    return copy;
}

char *mem_copy_text(const char *text)
{
    return mem_copy(text, strlen(text) + 1);
}

void mem_free(void *memory)
{
    free(memory);
}

void mem_give_back(void)
{
    (void)malloc_trim(0); /* 1 when there was something to give */
}

void mem_give_back_surplus(size_t kept)
{
    size_t allocated = 0;
    size_t unused = 0;
    mem_count(&allocated, &unused);
    if (unused > kept) {
        mem_give_back();
    }
}

void mem_count(size_t *allocated_out, size_t *unused_out)
{
    struct mallinfo2 held = mallinfo2(); /* of all arenas, whatever its manual says */
    *allocated_out = held.uordblks + held.hblkhd;
    *unused_out = held.fordblks;
}

void mem_cleanup(void *pointer_to_pointer)
{
    void **pointer = pointer_to_pointer;
    free(*pointer);
    *pointer = NULL;
}

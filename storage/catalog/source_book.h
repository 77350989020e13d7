/*
 * The book of sources in memory: the last step of every source that has one in a
 * piece (others are looked up in jobs.db). Private to the catalog; start and writer
 * thread only, hence no lock. A change inside a transaction is taken back when its
 * savepoint or commit fails (see writer.h).
 */
#pragma once

#include "storage/catalog/sources.h"

#include <stddef.h>
#include <stdint.h>

struct source_entry {
    uint8_t source[SOURCE_ID_BYTES];
    int64_t step;  /* 0 = the place is empty */
    int64_t piece; /* that holds this step */
};

/* Embedded in the catalog: a table with open addressing, at most three quarters full. */
struct source_book {
    struct source_entry *entries;
    size_t count;
    size_t capacity; /* a power of two, or 0 */
};

void source_book_deinit(struct source_book *book);

/* Step 0 when the source is not in the book. */
struct source_entry source_book_get(const struct source_book *book,
                                    const uint8_t source[SOURCE_ID_BYTES]);

/* Step 0 takes it out. */
void source_book_set(struct source_book *book, const struct source_entry *entry);

/* Take out every source whose last step stands in `piece`. */
void source_book_forget_piece(struct source_book *book, int64_t piece);

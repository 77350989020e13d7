/*
 * The book of sources. See source_book.h. Identities are hashes already, so their
 * first bytes choose the place.
 */
#include "storage/catalog/source_book.h"

#include "storage/base/mem.h"

#include <assert.h>
#include <string.h>

enum { CAPACITY_FIRST = 64 };

void source_book_deinit(struct source_book *book)
{
    mem_free(book->entries);
    *book = (struct source_book){0};
}

/* Where `source` is, or the empty place where it belongs. */
static size_t place_of(const struct source_book *book, const uint8_t source[SOURCE_ID_BYTES])
{
    uint64_t hash = 0;
    memcpy(&hash, source, sizeof hash);
    size_t place = (size_t)hash & (book->capacity - 1);
    while (book->entries[place].step != 0 &&
           memcmp(book->entries[place].source, source, SOURCE_ID_BYTES) != 0) {
        place = (place + 1) & (book->capacity - 1);
    }
    return place;
}

/* All entries but those of `piece` (0 = of none) into a table of `capacity` places. */
static void rebuild(struct source_book *book, size_t capacity, int64_t piece)
{
    struct source_book next = {
        .entries = mem_zeroed(capacity, sizeof *next.entries),
        .capacity = capacity,
    };
    for (size_t i = 0; i < book->capacity; i++) {
        const struct source_entry *entry = &book->entries[i];
        if (entry->step != 0 && entry->piece != piece) {
            next.entries[place_of(&next, entry->source)] = *entry;
            next.count++;
        }
    }
    mem_free(book->entries);
    *book = next;
}

struct source_entry source_book_get(const struct source_book *book,
                                    const uint8_t source[SOURCE_ID_BYTES])
{
    static const struct source_entry none;
    return book->capacity == 0 ? none : book->entries[place_of(book, source)];
}

/* Close the gap at `place`: entries behind it that were pushed on move up. */
static void take_out(struct source_book *book, size_t place)
{
    size_t mask = book->capacity - 1;
    book->entries[place].step = 0;
    book->count--;
    for (size_t i = (place + 1) & mask; book->entries[i].step != 0; i = (i + 1) & mask) {
        struct source_entry moved = book->entries[i];
        book->entries[i].step = 0;
        book->entries[place_of(book, moved.source)] = moved;
    }
}

void source_book_set(struct source_book *book, const struct source_entry *entry)
{
    assert(entry->step >= 0);
    if (book->count + 1 > book->capacity / 4 * 3) {
        rebuild(book, book->capacity == 0 ? CAPACITY_FIRST : book->capacity * 2, 0);
    }
    size_t place = place_of(book, entry->source);
    bool is_there = book->entries[place].step != 0;
    if (entry->step == 0) {
        if (is_there) {
            take_out(book, place);
        }
        return;
    }
    book->count += is_there ? 0 : 1;
    book->entries[place] = *entry;
}

void source_book_forget_piece(struct source_book *book, int64_t piece)
{
    if (book->count > 0) {
        rebuild(book, book->capacity, piece);
    }
}

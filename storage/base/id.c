/*
 * UUIDs as text (RFC 9562). See id.h for the contract.
 */
#include "storage/base/id.h"

#include "storage/base/clock.h"
#include "storage/base/secret.h"

#include <stdatomic.h>
#include <string.h>

enum { UUID_BYTES = 16, RANDOM_BYTES = 8, RANDOM_DRAWS = 64 };

static _Thread_local uint8_t random_store[RANDOM_BYTES * RANDOM_DRAWS];
static _Thread_local size_t random_left; /* draws left in the store */

/* Where the hyphens of 8-4-4-4-12 stand. */
static bool is_hyphen_place(size_t index)
{
    return index == 8 || index == 13 || index == 18 || index == 23;
}

struct id id_of_bytes(const uint8_t bytes[16])
{
    static const char digits[] = "0123456789abcdef";
    struct id id;
    size_t at = 0;
    for (size_t i = 0; i < UUID_BYTES; i++) {
        if (is_hyphen_place(at)) {
            id.text[at++] = '-';
        }
        id.text[at++] = digits[bytes[i] >> 4];
        id.text[at++] = digits[bytes[i] & 15];
    }
    id.text[at] = '\0';
    return id;
}

static void set_version(uint8_t bytes[UUID_BYTES], unsigned version)
{
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | version << 4);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
}

struct id id_new_random(void)
{
    uint8_t bytes[UUID_BYTES];
    secret_random(bytes, sizeof bytes);
    set_version(bytes, 4);
    return id_of_bytes(bytes);
}

/*
 * Wall time in units of 1/4096 ms, and at least one more than ever given before:
 * ids stay ordered inside one tick and when the clock steps back.
 */
static uint64_t next_tick(void)
{
    static _Atomic uint64_t last_tick;
    int64_t now_us = clock_wall_us();
    uint64_t now_tick = (uint64_t)(now_us / 1000) << 12 | (uint64_t)(now_us % 1000 * 4096 / 1000);
    uint64_t last = atomic_load_explicit(&last_tick, memory_order_relaxed);
    for (;;) {
        uint64_t tick = now_tick > last ? now_tick : last + 1;
        if (atomic_compare_exchange_weak_explicit(&last_tick, &last, tick, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return tick;
        }
    }
}

/*
 * Eight random bytes, drawn from a store of the thread: one system call serves
 * RANDOM_DRAWS ids, and every request makes one.
 */
static void draw_random(uint8_t bytes_out[RANDOM_BYTES])
{
    if (random_left == 0) {
        secret_random(random_store, sizeof random_store);
        random_left = RANDOM_DRAWS;
    }
    random_left--;
    memcpy(bytes_out, random_store + random_left * RANDOM_BYTES, RANDOM_BYTES);
}

struct id id_new_ordered(void)
{
    uint8_t bytes[UUID_BYTES];
    uint64_t tick = next_tick();
    /* spec: RFC 9562 6.2 method 3 — 48 bits of ms, then 12 bits of its fraction */
    for (unsigned i = 0; i < 6; i++) {
        bytes[i] = (uint8_t)(tick >> (52 - 8 * i));
    }
    bytes[6] = (uint8_t)(tick >> 8 & 0x0f);
    bytes[7] = (uint8_t)tick;
    draw_random(bytes + 8);
    set_version(bytes, 7);
    return id_of_bytes(bytes);
}

bool id_parse(struct span text, struct id *id_out)
{
    if (text.size != ID_TEXT_BYTES - 1) {
        return false;
    }
    struct id id = {0};
    for (size_t i = 0; i < text.size; i++) {
        char c = (char)text.data[i];
        if (is_hyphen_place(i) ? c != '-' : strchr("0123456789abcdefABCDEF", c) == NULL) {
            return false;
        }
        id.text[i] = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
    }
    /* strchr finds its own terminator, so a NUL came through the set above */
    if (strlen(id.text) != text.size) {
        return false;
    }
    *id_out = id;
    return true;
}

static unsigned nibble(char digit)
{
    return (unsigned)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

void id_bytes(const struct id *id, uint8_t bytes_out[16])
{
    const char *text = id->text;
    for (size_t i = 0; i < UUID_BYTES; i++) {
        text += *text == '-';
        bytes_out[i] = (uint8_t)(nibble(text[0]) << 4 | nibble(text[1]));
        text += 2;
    }
}

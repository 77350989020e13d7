/*
 * Identifiers: UUIDv7 text (time-ordered) for batches, requests, commits, files
 * and UUIDv4 for table identities.
 */
#pragma once

#include "storage/base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum { ID_TEXT_BYTES = 37 }; /* 36 characters and NUL */

struct id {
    char text[ID_TEXT_BYTES]; /* lower-case canonical UUID */
};

/* Strictly increasing within the process even inside one millisecond. Any thread. */
struct id id_new_ordered(void);
struct id id_new_random(void);

/* 36 characters, hyphens in place, hexadecimal; upper case accepted and lowered. */
bool id_parse(struct span text, struct id *id_out);

/* 16 bytes in network order. */
void id_bytes(const struct id *id, uint8_t bytes_out[16]);
struct id id_of_bytes(const uint8_t bytes[16]);

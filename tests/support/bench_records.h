/*
 * The records that every benchmark and every peer works with: prescriptions of 21 columns,
 * about 455 bytes as JSON, and members of 11 columns, about 300. A record is a template whose
 * marked places get digits, so that making one costs far less than taking it in.
 *
 * Thread: bench_records_init once, then any.
 */
#pragma once

#include "storage/base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    BENCH_RX_COLUMNS = 21,
    BENCH_RX_PER_MEMBER = 10, /* prescriptions 10 n … 10 n + 9 are those of member n */
};

enum bench_records {
    BENCH_RX_JSON, /* one object, no line end */
    BENCH_RX_CSV,  /* the same without quotes */
    BENCH_MEMBER_JSON,
    BENCH_MEMBER_CSV,
    BENCH_RECORDS_COUNT,
};

/* Definitions for PUT /v1/tables/{table}; a member's prescriptions are `prescriptions`. */
extern const char bench_rx_definition[];
extern const char bench_member_definition[];

/* "prescription_id,member_id,…" */
extern const char bench_rx_header[];
extern const char bench_member_header[];

void bench_records_init(void);

/* Append the record of a key; `random` chooses everything but the key. */
void bench_record_append(struct buffer *out, enum bench_records kind, int64_t key, uint64_t random);

/*
 * A whole body into `body`, which is initialised here: the records of keys `first` + i * `stride`,
 * lines (behind their header as CSV) or one array of JSON.
 */
void bench_body_make(struct buffer *body, enum bench_records kind, bool as_array, int64_t first,
                     int64_t stride, int64_t records);

/* Which keys upserts have. */
struct bench_keys {
    int64_t count;    /* keys 0 … count - 1 are there */
    int64_t hits;     /* percent of the upserts that are of those, far from each other */
    int64_t next;     /* turn; no key twice until all were there */
    int64_t next_new; /* the others take the next one; those of different seeds do not meet */
};
struct bench_keys bench_keys_of(const char *count, const char *hits, const char *seed);
int64_t bench_key(struct bench_keys *keys);

/* The same number sequence wherever it starts from the same state (splitmix64). */
uint64_t bench_random(uint64_t *state);

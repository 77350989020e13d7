/*
 * For the tests of sources: a folder that is a root, a table's schema, and what reading
 * a source comes to as text.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/roots.h"
#include "tests/support/temp_dir.h"
#include "workers/source.h"

#include <stdint.h>

struct source_kit {
    struct temp_dir dir;
    struct roots *roots;
    struct schema *schema;
    struct source_reader reader;
    int64_t checks_count; /* of reader.check_time */
    int64_t waited_us;    /* in reader.wait, which returns at once */
    int64_t checks_until; /* it says ERR_CANCELLED from this one on; 0 = never */
};

/* JSON of a table definition with ' for ". */
void source_kit_init(struct source_kit *kit, const char *definition);
void source_kit_deinit(struct source_kit *kit);

/* Write (or replace) a file below the root. */
void source_kit_put(const struct source_kit *kit, const char *name, struct span bytes);

/* What a reading came to. */
struct source_reading {
    struct buffer pieces;   /* "records checkpoint\n" a piece */
    struct buffer rows;     /* accepted rows with their numbers, as JSON */
    struct buffer rejected; /* record errors */
    int64_t pieces_count, records_count;
    char last_checkpoint[SOURCE_CHECKPOINT_BYTES_MAX]; /* of the last piece */
};
void source_reading_init(struct source_reading *reading);
void source_reading_deinit(struct source_reading *reading);

/*
 * Begin at `checkpoint` and read to the end, or `pieces_max` pieces (0 = all), decoding
 * each piece as an ingest task does.
 */
enum err_code source_kit_read(const struct source_kit *kit, struct source *source,
                              const char *checkpoint, int64_t pieces_max,
                              struct source_reading *reading, struct err *err);

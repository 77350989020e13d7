/*
 * A second implementation of cron for the tests, with another algorithm, another
 * parser and another reader of zones: it walks the clock of the C library minute by
 * minute (localtime_r under TZ) and asks of each whether the expression's text chooses it.
 *
 * It knows the grammar of cron.h but no error: it takes only right expressions. Offsets
 * must change at whole minutes, as they do since 1972.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* What the clock shows at each minute of a stretch of time. */
struct cron_walk {
    int64_t begin_s; /* a whole minute */
    size_t minutes;
    int64_t *wall_s;   /* [minutes] */
    int64_t reached_s; /* the latest time shown in the days before begin_s */
};

/* Walk `days` from `begin_s` on in a zone. Sets TZ for the whole process. */
void cron_walk_init(struct cron_walk *walk, const char *zone, int64_t begin_s, int days);
void cron_walk_deinit(struct cron_walk *walk);

/*
 * The fire times of an expression in the stretch, ascending.
 * Memory: *fires_out goes to the caller: free.
 */
void cron_walk_fires(const struct cron_walk *walk, const char *expression, int64_t **fires_out,
                     size_t *count_out);

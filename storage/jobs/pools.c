/*
 * The setting `task-pools`. See pools.h.
 */
#include "storage/jobs/pools.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/jobs/definition_rules.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { SHOWN_BYTES_MAX = 64 };

static struct span trimmed(struct span text)
{
    while (text.size > 0 && text.data[0] == ' ') {
        text = span_of(text.data + 1, text.size - 1);
    }
    while (text.size > 0 && text.data[text.size - 1] == ' ') {
        text.size--;
    }
    return text;
}

/* What stands before `byte`, which is taken off too; all of it when there is none. */
static struct span take_until(struct span *rest, char byte)
{
    const uint8_t *found = rest->size > 0 ? memchr(rest->data, byte, rest->size) : NULL;
    size_t size = found != NULL ? (size_t)(found - rest->data) : rest->size;
    struct span taken = span_of(rest->data, size);
    size += found != NULL;
    *rest = span_of(rest->data + size, rest->size - size);
    return trimmed(taken);
}

static enum err_code add_pool(struct job_pools *pools, struct span name, size_t places,
                              struct err *err)
{
    size_t sum = places;
    for (size_t i = 0; i < pools->count; i++) {
        sum += pools->items[i].places;
    }
    if (pools->count == JOB_POOLS_MAX || sum > JOB_PLACES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "at most %d pools with at most %d places together",
                       JOB_POOLS_MAX, JOB_PLACES_MAX);
    }
    char *copy = mem_alloc(name.size + 1);
    memcpy(copy, name.data, name.size);
    copy[name.size] = '\0';
    pools->items = mem_resize(pools->items, pools->count + 1, sizeof *pools->items);
    pools->items[pools->count++] = (struct job_pool){.name = copy, .places = places};
    return ERR_OK;
}

static enum err_code parse_entry(struct job_pools *pools, struct span entry, struct err *err)
{
    struct span shown =
        span_of(entry.data, entry.size < SHOWN_BYTES_MAX ? entry.size : SHOWN_BYTES_MAX);
    struct span rest = entry;
    struct span name = take_until(&rest, '=');
    struct span number = trimmed(rest);
    int64_t places = 0;
    if (!definition_key_is_valid(name) || !text_parse_int64(number, &places) || places < 1 ||
        places > JOB_POOL_PLACES_MAX) {
        return err_set(err, ERR_INVALID,
                       "'%.*s' must be NAME=PLACES, such as partners=4: a name of 1 to %d letters, "
                       "digits, hyphens and underscores, and 1 to %d places",
                       SPAN_PRINT(shown), DEFINITION_KEY_BYTES_MAX, JOB_POOL_PLACES_MAX);
    }
    for (size_t i = 0; i < pools->count; i++) {
        if (span_equal_text(name, pools->items[i].name)) {
            return err_set(err, ERR_INVALID, "'%.*s': pool '%s' is there already%s",
                           SPAN_PRINT(shown), pools->items[i].name,
                           i == 0 ? "; task-threads says its places" : "");
        }
    }
    return add_pool(pools, name, (size_t)places, err);
}

enum err_code job_pools_parse(struct span text, size_t default_places, struct job_pools *pools_out,
                              struct err *err)
{
    assert(default_places >= 1);
    CLEANUP(job_pools_deinit) struct job_pools pools = {0};
    TRY(add_pool(&pools, span_of_text("default"), default_places, err));
    for (struct span rest = trimmed(text); rest.size > 0;) {
        TRY(parse_entry(&pools, take_until(&rest, ','), err));
    }
    *pools_out = pools;
    pools = (struct job_pools){0};
    return ERR_OK;
}

void job_pools_deinit(struct job_pools *pools)
{
    for (size_t i = 0; i < pools->count; i++) {
        mem_free(pools->items[i].name);
    }
    mem_free(pools->items);
    *pools = (struct job_pools){0};
}

bool job_pools_find(const struct job_pools *pools, const char *name, size_t *index_out)
{
    for (size_t i = 0; i < pools->count; i++) {
        if (strcmp(pools->items[i].name, name) == 0) {
            *index_out = i;
            return true;
        }
    }
    return false;
}

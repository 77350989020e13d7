/*
 * The log folder's names, sorted into commits and complete checkpoints.
 * Source: delta PROTOCOL.md "Checkpoints", naming; reference section 7.1.
 */
#include "storage/delta/listing.h"

#include "storage/delta/checkpoint.h"

#include "storage/base/id.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/delta/state.h"
#include "storage/object/object.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { VERSION_DIGITS = 20, PART_DIGITS = 10, UUID_BYTES = 36 };

/* ---- names ---- */

/* Exactly `count` digits at *text; moves past them. */
static bool take_digits(const char **text, size_t count, int64_t *value_out)
{
    for (size_t i = 0; i < count; i++) {
        if ((*text)[i] < '0' || (*text)[i] > '9') {
            return false;
        }
    }
    bool good = text_parse_int64(span_of(*text, count), value_out);
    *text += count;
    return good;
}

static bool take_text(const char **text, const char *expected)
{
    size_t size = strlen(expected);
    if (strncmp(*text, expected, size) != 0) {
        return false;
    }
    *text += size;
    return true;
}

static bool parse_part(const char *rest, struct checkpoint_name *name)
{
    int64_t part = 0;
    int64_t parts = 0;
    if (!take_digits(&rest, PART_DIGITS, &part) || !take_text(&rest, ".") ||
        !take_digits(&rest, PART_DIGITS, &parts) || strcmp(rest, ".parquet") != 0 || part < 1 ||
        part > parts || parts > DELTA_CHECKPOINT_PARTS_MAX) {
        return false;
    }
    name->kind = CHECKPOINT_PART;
    name->part = (int32_t)part;
    name->parts = (int32_t)parts;
    return true;
}

static bool parse_v2(const char *rest, struct checkpoint_name *name)
{
    struct id id;
    if (strlen(rest) < UUID_BYTES || !id_parse(span_of(rest, UUID_BYTES), &id)) {
        return false;
    }
    bool is_json = strcmp(rest + UUID_BYTES, ".json") == 0;
    name->kind = is_json ? CHECKPOINT_V2_JSON : CHECKPOINT_V2_PARQUET;
    return is_json || strcmp(rest + UUID_BYTES, ".parquet") == 0;
}

bool checkpoint_name_parse(const char *name, struct checkpoint_name *name_out)
{
    struct checkpoint_name parsed = {.kind = CHECKPOINT_CLASSIC, .part = 1, .parts = 1};
    if (!take_text(&name, DELTA_LOG_FOLDER "/") ||
        !take_digits(&name, VERSION_DIGITS, &parsed.version) || !take_text(&name, ".checkpoint.")) {
        return false;
    }
    if (strcmp(name, "parquet") != 0 && !parse_part(name, &parsed) && !parse_v2(name, &parsed)) {
        return false;
    }
    *name_out = parsed;
    return true;
}

void checkpoint_classic_name(int64_t version, char name_out[DELTA_LOG_NAME_BYTES])
{
    assert(version >= 0);
    (void)snprintf(name_out, DELTA_LOG_NAME_BYTES, DELTA_LOG_FOLDER "/%020lld.checkpoint.parquet",
                   (long long)version); /* fits */
}

/* ---- grouping ---- */

struct found {
    struct checkpoint_name parsed;
    char *name;
};

static int compare_found(const void *a, const void *b)
{
    const struct checkpoint_name *left = &((const struct found *)a)->parsed;
    const struct checkpoint_name *right = &((const struct found *)b)->parsed;
    if (left->version != right->version) {
        return left->version < right->version ? -1 : 1;
    }
    if (left->kind != right->kind) {
        return left->kind < right->kind ? -1 : 1;
    }
    if (left->parts != right->parts) {
        return left->parts < right->parts ? -1 : 1;
    }
    return left->part < right->part ? -1 : left->part > right->part;
}

static bool same_set(const struct checkpoint_name *a, const struct checkpoint_name *b)
{
    return a->kind == CHECKPOINT_PART && b->kind == CHECKPOINT_PART && a->version == b->version &&
           a->parts == b->parts;
}

/* Sorted objects → complete checkpoints; sets with a part missing are passed over. */
static void group_checkpoints(struct found *found, size_t count, struct log_listing *listing)
{
    listing->objects = mem_zeroed(count, sizeof *listing->objects);
    listing->checkpoints = mem_zeroed(count, sizeof *listing->checkpoints);
    for (size_t i = 0; i < count; i++) {
        listing->objects[i] = found[i].name;
    }
    listing->objects_count = count;
    for (size_t start = 0; start < count;) {
        const struct checkpoint_name *first = &found[start].parsed;
        size_t end = start + 1;
        while (end < count && same_set(first, &found[end].parsed)) {
            end++;
        }
        if (end - start == (size_t)first->parts) {
            listing->checkpoints[listing->checkpoints_count++] = (struct listed_checkpoint){
                .version = first->version,
                .kind = first->kind,
                .names = listing->objects + start,
                .names_count = end - start,
            };
        }
        start = end;
    }
}

enum err_code log_listing_read(struct object_store *store, int64_t from_version, bool details,
                               struct log_listing *listing_out, struct err *err)
{
    char start_after[DELTA_LOG_NAME_BYTES];
    (void)snprintf(start_after, sizeof start_after, DELTA_LOG_FOLDER "/%020lld",
                   (long long)from_version); /* fits; a prefix sorts before its names */
    const struct object_list_options options = {
        .folder = DELTA_LOG_FOLDER, .start_after = start_after, .details = details};
    CLEANUP(object_list_free) struct object_list list = {0};
    TRY(object_list(store, &options, &list, err));
    CLEANUP(mem_cleanup) struct found *found = mem_zeroed(list.count, sizeof *found);
    size_t found_count = 0;
    struct log_listing listing = {.commits = mem_zeroed(list.count, sizeof *listing.commits)};
    for (size_t i = 0; i < list.count; i++) {
        struct object_info *info = &list.items[i];
        int64_t version = 0;
        if (delta_log_parse_commit(info->name, &version)) {
            listing.commits[listing.commits_count++] = (struct listed_commit){
                .version = version, .modified_ms = info->modified_ms, .size = info->size};
        } else if (checkpoint_name_parse(info->name, &found[found_count].parsed)) {
            found[found_count++].name = info->name;
            info->name = NULL; /* taken */
        }
    }
    if (found_count > 1) {
        qsort(found, found_count, sizeof *found, compare_found);
    }
    group_checkpoints(found, found_count, &listing);
    *listing_out = listing;
    return ERR_OK;
}

void log_listing_free(struct log_listing *listing)
{
    for (size_t i = 0; i < listing->objects_count; i++) {
        mem_free(listing->objects[i]);
    }
    mem_free(listing->objects);
    mem_free(listing->checkpoints);
    mem_free(listing->commits);
    *listing = (struct log_listing){0};
}

int64_t log_listing_find(const struct log_listing *listing, int64_t version)
{
    size_t low = 0;
    size_t high = listing->commits_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (listing->commits[middle].version < version) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool found = low < listing->commits_count && listing->commits[low].version == version;
    return found ? (int64_t)low : -1;
}

void log_listing_make_monotonic(struct log_listing *listing)
{
    for (size_t i = 1; i < listing->commits_count; i++) {
        int64_t before = listing->commits[i - 1].modified_ms;
        if (listing->commits[i].modified_ms <= before) {
            listing->commits[i].modified_ms = before + 1;
        }
    }
}

/* ---- for people ---- */

enum err_code delta_checkpoints_list(struct object_store *store,
                                     struct delta_checkpoints *checkpoints_out, struct err *err)
{
    static const char *const kinds[] = {
        [CHECKPOINT_CLASSIC] = "classic",
        [CHECKPOINT_PART] = "multi-part",
        [CHECKPOINT_V2_PARQUET] = "v2-parquet",
        [CHECKPOINT_V2_JSON] = "v2-json",
    };
    CLEANUP(log_listing_free) struct log_listing listing = {0};
    TRY(log_listing_read(store, 0, false, &listing, err));
    size_t count = listing.checkpoints_count;
    struct delta_checkpoint_info *items = mem_zeroed(count + 1, sizeof *items);
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct delta_checkpoint_info){
            .version = listing.checkpoints[i].version,
            .kind = kinds[listing.checkpoints[i].kind],
            .files_count = listing.checkpoints[i].names_count,
        };
    }
    *checkpoints_out =
        (struct delta_checkpoints){.items = items, .count = count, .hint = checkpoint_hint(store)};
    return ERR_OK;
}

void delta_checkpoints_free(struct delta_checkpoints *checkpoints)
{
    mem_free(checkpoints->items);
    *checkpoints = (struct delta_checkpoints){0};
}

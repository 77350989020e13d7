/*
 * Looking at triggers. See trigger.h for the contract and the form of their states.
 */
#include "workers/trigger.h"

#include "storage/base/hash.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/base/roots.h"
#include "storage/base/text.h"
#include "storage/delta/log.h"
#include "storage/delta/state.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"
#include "workers/scheduler.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_TEXT_BYTES_MAX = 64 << 10,
    KEY_HASH_BYTES = 8,
    COMMITS_READ_MAX = 1000,    /* more new versions than this are taken for a change of rows */
    FINISHED_PAGE = 100,        /* runs, on the way up to it */
    FINGERPRINT_BYTES = 8,      /* of path, size and time of a file */
    FAILURES_LOOKED_AT = 16,    /* runs in a row of a continuous job */
    BACKOFF_FIRST_US = 2000000, /* after one failure; doubles */
};

_Static_assert((int)TRIGGER_FILES_MAX <= (int)ROOT_MATCHES_MAX,
               "one file more is refused by the expansion");
_Static_assert((TRIGGER_FILES_MAX * FINGERPRINT_BYTES + 2) / 3 * 4 + 64 <=
                   JOB_TRIGGER_STATE_BYTES_MAX,
               "the list of seen files fits a state");

/* ---- names ---- */

static const char *type_name(enum job_trigger_type type)
{
    switch (type) {
    case JOB_TRIGGER_TABLE_UPDATE:
        return "table_update";
    case JOB_TRIGGER_FILE_ARRIVAL:
        return "file_arrival";
    case JOB_TRIGGER_CONTINUOUS:
        return "continuous";
    case JOB_TRIGGER_JOB_FINISHED:
        return "job_finished";
    }
    assert(!"a trigger of no type");
    return "";
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Tables in one order, so that only which they are matters. */
static void append_tables(const struct definition_trigger *trigger, struct buffer *text)
{
    const char **names = mem_zeroed(trigger->tables_count + 1, sizeof *names);
    for (size_t i = 0; i < trigger->tables_count; i++) {
        names[i] = trigger->tables[i];
    }
    qsort(names, trigger->tables_count, sizeof *names, compare_names);
    for (size_t i = 0; i < trigger->tables_count; i++) {
        buffer_append_text(text, names[i]);
        buffer_append_byte(text, '\n');
    }
    mem_free(names);
}

void trigger_key(const struct definition_trigger *trigger, char key_out[TRIGGER_KEY_BYTES])
{
    struct buffer text;
    buffer_init(&text, KEY_TEXT_BYTES_MAX);
    if (trigger->type == JOB_TRIGGER_TABLE_UPDATE) {
        append_tables(trigger, &text);
    } else if (trigger->type == JOB_TRIGGER_FILE_ARRIVAL) {
        buffer_append_format(&text, "%s\n%s", trigger->path, trigger->glob);
    } else if (trigger->type == JOB_TRIGGER_JOB_FINISHED) {
        buffer_append_format(&text, "%" PRId64, trigger->job_id);
    }
    uint8_t digest[HASH_SHA256_BYTES];
    hash_sha256(buffer_span(&text), digest);
    buffer_reset(&text);
    buffer_append_format(&text, "%s-", type_name(trigger->type));
    text_hex_encode(span_of(digest, KEY_HASH_BYTES), &text);
    assert(text.size < TRIGGER_KEY_BYTES);
    memcpy(key_out, text.data, text.size);
    key_out[text.size] = '\0';
    buffer_deinit(&text);
}

enum run_trigger trigger_run_kind(const struct definition_trigger *trigger)
{
    switch (trigger->type) {
    case JOB_TRIGGER_TABLE_UPDATE:
        return RUN_TRIGGER_TABLE_UPDATE;
    case JOB_TRIGGER_FILE_ARRIVAL:
        return RUN_TRIGGER_FILE_ARRIVAL;
    case JOB_TRIGGER_CONTINUOUS:
        return RUN_TRIGGER_CONTINUOUS;
    case JOB_TRIGGER_JOB_FINISHED:
        return RUN_TRIGGER_JOB_FINISHED;
    }
    assert(!"a trigger of no type");
    return RUN_TRIGGER_MANUAL;
}

/* ---- table_update ---- */

static bool commit_changes_rows(const struct delta_commit *commit)
{
    for (size_t i = 0; i < commit->files_count; i++) {
        if (commit->files[i]->data_change) {
            return true;
        }
    }
    return false;
}

/* Did a version in (seen, version] change rows? One that is gone from the log is taken to have. */
static enum err_code rows_changed(struct table *table, int64_t seen, int64_t version,
                                  bool *changed_out, struct err *err)
{
    bool changed = version - seen > COMMITS_READ_MAX;
    for (int64_t at = seen + 1; at <= version && !changed; at++) {
        CLEANUP(delta_commit_release) const struct delta_commit *commit = NULL;
        enum err_code code = delta_commit_read(table_store(table), at, &commit, err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err); /* cleaned up behind a checkpoint */
            changed = true;
            break;
        }
        TRY(code);
        changed = commit_changes_rows(commit);
    }
    *changed_out = changed;
    return ERR_OK;
}

/*
 * The newest version that was there when the job was last changed: what came before is no
 * news to a trigger that was never looked at. -1: none was.
 */
static enum err_code version_at(struct table *table, int64_t moment_us, int64_t *version_out,
                                struct err *err)
{
    enum err_code code =
        delta_state_version_at(table_store(table), moment_us / 1000, version_out, err);
    if (code == ERR_NOT_FOUND) {
        err_clear(err);
        *version_out = -1;
        return ERR_OK;
    }
    return code;
}

/* What is known of one table when a trigger is looked at. */
struct table_news {
    bool known;   /* the table is there */
    bool updated; /* its rows changed */
    int64_t seen; /* version that the trigger has dealt with */
    int64_t newest;
};

static enum err_code look_at_table(const struct trigger_services *services,
                                   const struct trigger *trigger, const char *name,
                                   const struct json *versions, struct table_news *news,
                                   char uuid_out[ID_TEXT_BYTES], struct err *err)
{
    CLEANUP(table_release) struct table *table = NULL;
    enum err_code code = tables_find(services->tables, name, &table, err);
    if (code == ERR_NOT_FOUND) {
        err_clear(err); /* dropped; a new one of the name begins anew */
        return ERR_OK;
    }
    TRY(code);
    news->known = true;
    (void)snprintf(uuid_out, ID_TEXT_BYTES, "%s", table_uuid(table)->text); /* the same size */
    news->newest = table_version(table);
    if (!json_as_integer(json_get(versions, uuid_out), &news->seen)) {
        TRY(version_at(table, trigger->changed_at_us, &news->seen, err));
    }
    if (news->newest < news->seen) {
        news->seen = -1; /* another engine made the table anew */
    }
    TRY(rows_changed(table, news->seen, news->newest, &news->updated, err));
    if (!news->updated) {
        news->seen = news->newest;
    }
    return ERR_OK;
}

static enum err_code look_at_tables(const struct trigger_services *services,
                                    const struct trigger *trigger, const struct json *state,
                                    int64_t now_us, struct buffer *state_out,
                                    struct trigger_look *look, struct err *err)
{
    const struct definition_trigger *definition = trigger->definition;
    const struct json *versions = json_get(state, "tables");
    size_t count = definition->tables_count;
    CLEANUP(mem_cleanup) struct table_news *news = mem_zeroed(count + 1, sizeof *news);
    CLEANUP(mem_cleanup) char(*uuids)[ID_TEXT_BYTES] = mem_zeroed(count + 1, sizeof *uuids);
    size_t updated = 0;
    for (size_t i = 0; i < count; i++) {
        TRY(look_at_table(services, trigger, definition->tables[i], versions, &news[i], uuids[i],
                          err));
        updated += news[i].updated ? 1 : 0;
    }
    int64_t fired_us = 0;
    (void)json_as_integer(json_get(state, "fired_us"), &fired_us); /* absent: it never fired */
    bool wanted = definition->all_updated ? updated == count : updated > 0;
    look->fire = wanted && now_us - fired_us >= definition->min_interval_us;
    if (wanted && !look->fire) {
        look->due_us = fired_us + definition->min_interval_us;
    }

    CLEANUP(json_free) struct json *next = json_new_object();
    struct json *seen = json_new_object();
    json_set_integer(next, "fired_us", look->fire ? now_us : fired_us);
    for (size_t i = 0; i < count; i++) {
        if (news[i].known) {
            json_set_integer(seen, uuids[i], look->fire ? news[i].newest : news[i].seen);
        }
    }
    look->changed = !json_equals(seen, versions);
    json_set(next, "tables", seen);
    json_write(next, state_out);
    return ERR_OK;
}

/* ---- file_arrival ---- */

static void fingerprint_of(const struct root_file *file, uint8_t fingerprint_out[FINGERPRINT_BYTES])
{
    struct buffer text;
    buffer_init(&text, ROOT_PATH_BYTES_MAX + 64);
    buffer_append_format(&text, "%" PRId64 " %" PRId64 " %s", file->size, file->modified_us,
                         file->path);
    uint8_t digest[HASH_SHA256_BYTES];
    hash_sha256(buffer_span(&text), digest);
    memcpy(fingerprint_out, digest, FINGERPRINT_BYTES);
    buffer_deinit(&text);
}

static int compare_fingerprints(const void *a, const void *b)
{
    return memcmp(a, b, FINGERPRINT_BYTES);
}

static bool was_seen(const struct buffer *seen, const uint8_t fingerprint[FINGERPRINT_BYTES])
{
    return seen->size > 0 && bsearch(fingerprint, seen->data, seen->size / FINGERPRINT_BYTES,
                                     FINGERPRINT_BYTES, compare_fingerprints) != NULL;
}

static enum err_code expand(const struct trigger_services *services,
                            const struct definition_trigger *definition,
                            struct root_matches *matches_out, struct err *err)
{
    char pattern[ROOT_PATH_BYTES_MAX + 1];
    int size = snprintf(pattern, sizeof pattern, "%s/%s", definition->path, definition->glob);
    if (size < 0 || (size_t)size >= sizeof pattern) {
        return err_set(err, ERR_TOO_LARGE, "path and glob together have more than %d bytes",
                       ROOT_PATH_BYTES_MAX);
    }
    return roots_expand(services->source_roots, pattern, TRIGGER_FILES_MAX, matches_out, err);
}

static enum err_code look_at_files(const struct trigger_services *services,
                                   const struct trigger *trigger, const struct json *state,
                                   int64_t now_us, struct buffer *state_out,
                                   struct trigger_look *look, struct err *err)
{
    CLEANUP(root_matches_free) struct root_matches matches = {0};
    CLEANUP(buffer_deinit) struct buffer seen;
    CLEANUP(buffer_deinit) struct buffer next;
    buffer_init(&seen, JOB_TRIGGER_STATE_BYTES_MAX);
    buffer_init(&next, JOB_TRIGGER_STATE_BYTES_MAX);
    struct span text = {0};
    if (json_as_string(json_get(state, "files"), &text) &&
        (!text_base64_decode(text, &seen) || seen.size % FINGERPRINT_BYTES != 0)) {
        return err_set(err, ERR_CORRUPT, "the stored list of seen files is damaged");
    }
    TRY(expand(services, trigger->definition, &matches, err));
    int64_t unsettled_us = INT64_MAX;
    for (size_t i = 0; i < matches.count; i++) {
        uint8_t fingerprint[FINGERPRINT_BYTES];
        fingerprint_of(&matches.files[i], fingerprint);
        bool is_new = !was_seen(&seen, fingerprint);
        int64_t settled_us = matches.files[i].modified_us + trigger->definition->settle_us;
        if (is_new && settled_us > now_us) {
            unsettled_us = settled_us < unsettled_us ? settled_us : unsettled_us;
            continue;
        }
        look->fire = look->fire || is_new;
        buffer_append(&next, fingerprint, sizeof fingerprint);
    }
    if (next.size > 0) {
        qsort(next.data, next.size / FINGERPRINT_BYTES, FINGERPRINT_BYTES, compare_fingerprints);
    }
    look->changed = !span_equal(buffer_span(&next), buffer_span(&seen));
    look->due_us = now_us + SCHEDULER_POLL_US;
    if (unsettled_us < look->due_us) {
        look->due_us = unsettled_us;
    }
    buffer_append_text(state_out, "{\"files\":\"");
    text_base64_encode(buffer_span(&next), state_out);
    buffer_append_text(state_out, "\"}");
    return ERR_OK;
}

/* ---- job_finished ---- */

/* The last end of a run that is not after the job's last change: what went before is no news. */
static enum err_code finish_at(const struct trigger_services *services,
                               const struct trigger *trigger, struct arena *arena,
                               int64_t *finish_out, struct err *err)
{
    int64_t finish = 0;
    for (;;) {
        struct job_run *runs = NULL;
        size_t count = 0;
        arena_reset(arena);
        TRY(runs_finished(services->catalog, trigger->definition->job_id, finish, FINISHED_PAGE,
                          arena, &runs, &count, err));
        for (size_t i = 0; i < count; i++) {
            if (runs[i].ended_us > trigger->changed_at_us) {
                *finish_out = finish;
                return ERR_OK;
            }
            finish = runs[i].finish;
        }
        if (count == 0) {
            *finish_out = finish;
            return ERR_OK;
        }
    }
}

static enum err_code look_at_runs(const struct trigger_services *services,
                                  const struct trigger *trigger, const struct json *state,
                                  struct arena *arena, struct buffer *state_out,
                                  struct trigger_look *look, struct err *err)
{
    int64_t finish = 0;
    if (!json_as_integer(json_get(state, "finish"), &finish)) {
        TRY(finish_at(services, trigger, arena, &finish, err));
        look->changed = true;
    }
    struct job_run *runs = NULL;
    size_t count = 0;
    arena_reset(arena);
    TRY(runs_finished(services->catalog, trigger->definition->job_id, finish, FINISHED_PAGE, arena,
                      &runs, &count, err));
    for (size_t i = 0; i < count && !look->fire; i++) {
        finish = runs[i].finish;
        look->changed = true;
        look->fire = (trigger->definition->results & (1U << runs[i].result)) != 0;
        look->time_us = runs[i].ended_us;
    }
    look->more = count > 0; /* a page may be short before the end */
    buffer_append_format(state_out, "{\"finish\":%" PRId64 "}", finish);
    return ERR_OK;
}

/* ---- continuous ---- */

static bool is_failure(enum run_result result)
{
    return result != RESULT_SUCCESS && result != RESULT_SUCCESS_WITH_FAILURES &&
           result != RESULT_CANCELED;
}

/* When the next run may begin, by how the last ones went. */
static int64_t continue_at(const struct job_run *runs, size_t count)
{
    size_t failures = 0;
    while (failures < count && is_failure(runs[failures].result)) {
        failures++;
    }
    int64_t backoff_us = 0;
    for (size_t i = 0; i < failures && backoff_us < SCHEDULER_CONTINUOUS_BACKOFF_US_MAX; i++) {
        backoff_us = backoff_us == 0 ? BACKOFF_FIRST_US : backoff_us * 2;
    }
    if (backoff_us > SCHEDULER_CONTINUOUS_BACKOFF_US_MAX) {
        backoff_us = SCHEDULER_CONTINUOUS_BACKOFF_US_MAX;
    }
    int64_t paced_us = runs[0].created_at_us + SCHEDULER_CONTINUOUS_US;
    int64_t patient_us = runs[0].ended_us + backoff_us;
    return paced_us > patient_us ? paced_us : patient_us;
}

static enum err_code look_at_job(const struct trigger_services *services,
                                 const struct trigger *trigger, int64_t now_us, struct arena *arena,
                                 struct buffer *state_out, struct trigger_look *look,
                                 struct err *err)
{
    int64_t active = 0;
    buffer_append_text(state_out, "{}");
    TRY(runs_active_count(services->catalog, trigger->job_id, &active, err));
    if (active > 0) {
        return ERR_OK; /* its end is told */
    }
    const struct run_filter filter = {.job_id = trigger->job_id};
    struct job_run *runs = NULL;
    size_t count = 0;
    int64_t next = 0;
    TRY(run_list(services->catalog, &filter, 0, FAILURES_LOOKED_AT, arena, &runs, &count, &next,
                 err));
    int64_t due_us = count > 0 ? continue_at(runs, count) : 0;
    look->fire = due_us <= now_us;
    look->due_us = look->fire ? INT64_MAX : due_us;
    return ERR_OK;
}

/* ---- one look ---- */

static enum err_code read_state(struct span text, struct json **state_out, struct err *err)
{
    if (text.size == 0) {
        return ERR_OK;
    }
    if (json_parse(text, state_out, err) != ERR_OK) {
        err->code = ERR_CORRUPT;
        return err_wrap(err, "what the trigger has seen");
    }
    return ERR_OK;
}

enum err_code trigger_look(const struct trigger_services *services, const struct trigger *trigger,
                           struct span state, int64_t now_us, struct arena *arena,
                           struct buffer *state_out, struct trigger_look *look_out, struct err *err)
{
    CLEANUP(json_free) struct json *seen = NULL;
    struct trigger_look look = {.time_us = now_us, .due_us = INT64_MAX};
    TRY(read_state(state, &seen, err));
    switch (trigger->definition->type) {
    case JOB_TRIGGER_TABLE_UPDATE:
        TRY(look_at_tables(services, trigger, seen, now_us, state_out, &look, err));
        break;
    case JOB_TRIGGER_FILE_ARRIVAL:
        TRY(look_at_files(services, trigger, seen, now_us, state_out, &look, err));
        break;
    case JOB_TRIGGER_JOB_FINISHED:
        TRY(look_at_runs(services, trigger, seen, arena, state_out, &look, err));
        break;
    case JOB_TRIGGER_CONTINUOUS:
        TRY(look_at_job(services, trigger, now_us, arena, state_out, &look, err));
        break;
    }
    TRY(buffer_check(state_out, "what the trigger has seen", err));
    *look_out = look;
    return ERR_OK;
}

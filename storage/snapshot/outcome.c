/*
 * Outcomes in commitInfo. See outcome.h.
 */
#include "storage/snapshot/outcome.h"

#include "storage/base/mem.h"
#include "storage/delta/log.h"
#include "storage/delta/state.h"
#include "storage/object/object.h"
#include "storage/snapshot/table_internal.h"

#include <assert.h>

static const char *const code_names[] = {
    [MERGE_KEY_EXISTS] = "key_exists",
    [MERGE_REQUIRED] = "required",
    [MERGE_CONSTRAINT] = "constraint",
};

const char *merge_code_name(enum merge_code code)
{
    return code_names[code];
}

void merge_batch_outcome_deinit(struct merge_batch_outcome *outcome)
{
    for (size_t i = 0; i < outcome->rejections_count; i++) {
        mem_free(outcome->rejections[i].detail);
    }
    mem_free(outcome->rejections);
    *outcome = (struct merge_batch_outcome){0};
}

void merge_outcome_deinit(struct merge_outcome *outcome)
{
    for (size_t i = 0; i < outcome->batches_count; i++) {
        merge_batch_outcome_deinit(&outcome->batches[i]);
    }
    mem_free(outcome->batches);
    *outcome = (struct merge_outcome){0};
}

/* ---- encoding ---- */

static struct json *encode_batch(const struct merge_input *input,
                                 const struct merge_batch_outcome *outcome)
{
    struct json *batch = json_new_object();
    json_set_text(batch, "id", input->batch.text);
    json_set_integer(batch, "position", input->position);
    json_set_integer(batch, "applied", outcome->applied);
    json_set_integer(batch, "superseded", outcome->superseded);
    struct json *rejected = json_new_array();
    for (size_t i = 0; i < outcome->rejections_count; i++) {
        const struct merge_rejection *rejection = &outcome->rejections[i];
        struct json *item = json_new_array();
        json_append(item, json_new_integer(rejection->row));
        json_append(item, json_new_text(merge_code_name(rejection->code)));
        json_append(item, json_new_integer(rejection->field_id));
        if (rejection->detail != NULL) {
            json_append(item, json_new_text(rejection->detail));
        }
        json_append(rejected, item);
    }
    json_set(batch, "rejected", rejected);
    return batch;
}

/* The batches go into the extension, or into a file when they are large. */
static enum err_code place_batches(struct object_store *store, const char *txn_id,
                                   struct json **batches, struct json *extension, bool *written_out,
                                   struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, OUTCOME_BYTES_MAX);
    json_write(*batches, &text);
    TRY(buffer_check(&text, "outcome of a merge", err));
    if (text.size <= MERGE_OUTCOME_INLINE_BYTES) {
        json_set(extension, "batches", *batches);
        *batches = NULL;
        return ERR_OK;
    }
    char name[OUTCOME_NAME_BYTES];
    (void)snprintf(name, sizeof name, TABLE_PRIVATE_FOLDER "/outcome-%s.json", txn_id); /* a uuid */
    TRY(object_put(store, name, buffer_span(&text), err));
    json_set_text(extension, "outcome", name);
    *written_out = true;
    return ERR_OK;
}

enum err_code outcome_encode(struct object_store *store, const char *txn_id, const char *lane,
                             const struct merge_input *inputs,
                             const struct merge_batch_outcome *outcomes, size_t inputs_count,
                             const struct tombstone_file *tombstones, size_t tombstones_count,
                             struct json **extension_out, bool *written_out, struct err *err)
{
    CLEANUP(json_free) struct json *extension = json_new_object();
    json_set_text(extension, "lane", lane);
    CLEANUP(json_free) struct json *batches = json_new_array();
    bool written = false;
    int64_t from = -1;
    int64_t to = -1;
    for (size_t i = 0; i < inputs_count; i++) {
        if (!outcomes[i].already) {
            from = from < 0 ? inputs[i].position : from;
            to = inputs[i].position;
            json_append(batches, encode_batch(&inputs[i], &outcomes[i]));
        }
    }
    if (inputs_count > 0) {
        json_set_integer(extension, "from", from);
        json_set_integer(extension, "to", to);
        TRY(place_batches(store, txn_id, &batches, extension, &written, err));
    }
    struct json *names = json_new_array();
    for (size_t i = 0; i < tombstones_count; i++) {
        json_append(names, json_new_text(tombstones[i].name));
    }
    json_set(extension, "tombstones", names);
    *extension_out = extension;
    extension = NULL;
    *written_out = written;
    return ERR_OK;
}

/* ---- decoding ---- */

const struct json *outcome_extension(const struct json *info)
{
    const struct json *extension = json_get(info, "sluice");
    return json_kind(extension) == JSON_KIND_OBJECT ? extension : NULL;
}

bool outcome_positions(const struct json *extension, int64_t *from_out, int64_t *to_out)
{
    int64_t from = 0;
    int64_t to = 0;
    if (!json_as_integer(json_get(extension, "from"), &from) ||
        !json_as_integer(json_get(extension, "to"), &to)) {
        return false;
    }
    *from_out = from;
    *to_out = to;
    return true;
}

static bool decode_code(const struct json *name, enum merge_code *code_out)
{
    struct span text;
    if (!json_as_string(name, &text)) {
        return false;
    }
    for (size_t i = 0; i < sizeof code_names / sizeof code_names[0]; i++) {
        if (span_equal_text(text, code_names[i])) {
            *code_out = (enum merge_code)i;
            return true;
        }
    }
    return false;
}

static bool decode_rejection(const struct json *item, struct merge_rejection *rejection)
{
    int64_t field_id = 0;
    if (!json_as_integer(json_at(item, 0), &rejection->row) || rejection->row < 0 ||
        !decode_code(json_at(item, 1), &rejection->code) ||
        !json_as_integer(json_at(item, 2), &field_id) || field_id < 0 || field_id > INT32_MAX) {
        return false;
    }
    const char *detail = json_text(json_at(item, 3));
    rejection->field_id = (int32_t)field_id;
    rejection->detail = detail != NULL ? mem_copy_text(detail) : NULL;
    return true;
}

static enum err_code decode_batch(const struct json *batch, struct merge_batch_outcome *outcome_out,
                                  struct err *err)
{
    CLEANUP(merge_batch_outcome_deinit)
    struct merge_batch_outcome outcome = {.already = true, .counts_known = true, .version = -1};
    const struct json *rejected = json_get(batch, "rejected");
    if (!json_as_integer(json_get(batch, "position"), &outcome.position) ||
        !json_as_integer(json_get(batch, "applied"), &outcome.applied) ||
        !json_as_integer(json_get(batch, "superseded"), &outcome.superseded) ||
        json_kind(rejected) != JSON_KIND_ARRAY) {
        return err_set(err, ERR_CORRUPT, "outcome of a batch is malformed");
    }
    outcome.rejections_count = json_count(rejected);
    outcome.rejections = mem_zeroed(outcome.rejections_count + 1, sizeof *outcome.rejections);
    for (size_t i = 0; i < outcome.rejections_count; i++) {
        if (!decode_rejection(json_at(rejected, i), &outcome.rejections[i])) {
            return err_set(err, ERR_CORRUPT, "rejected record %zu of an outcome is malformed", i);
        }
    }
    *outcome_out = outcome;
    outcome = (struct merge_batch_outcome){0};
    return ERR_OK;
}

/* Names in a log may come from anybody: only our own folder is read. */
static bool is_outcome_name(const char *name)
{
    static const char prefix[] = TABLE_PRIVATE_FOLDER "/outcome-";
    return name != NULL && strncmp(name, prefix, sizeof prefix - 1) == 0 &&
           strchr(name + sizeof prefix - 1, '/') == NULL && strlen(name) < OUTCOME_NAME_BYTES;
}

/* The batches of a commit: borrowed from the extension, or read from its file into `owned`. */
static enum err_code list_batches(struct object_store *store, const struct json *extension,
                                  struct json **owned, const struct json **batches_out,
                                  struct err *err)
{
    const char *name = json_text(json_get(extension, "outcome"));
    if (!is_outcome_name(name)) {
        *batches_out = json_get(extension, "batches");
        return ERR_OK;
    }
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, OUTCOME_BYTES_MAX);
    TRY(object_get(store, name, &text, err));
    if (json_parse(buffer_span(&text), owned, err) != ERR_OK) {
        err->code = ERR_CORRUPT;
        return err_wrap(err, "%s", name);
    }
    *batches_out = *owned;
    return ERR_OK;
}

enum err_code outcomes_decode(struct object_store *store, const struct json *extension,
                              const int64_t *positions, size_t count,
                              struct merge_batch_outcome *outcomes, struct err *err)
{
    CLEANUP(json_free) struct json *owned = NULL;
    const struct json *batches = NULL;
    TRY(list_batches(store, extension, &owned, &batches, err));
    size_t next = 0; /* both ascend */
    for (size_t i = 0; i < json_count(batches) && next < count; i++) {
        const struct json *batch = json_at(batches, i);
        int64_t position = 0;
        if (!json_as_integer(json_get(batch, "position"), &position)) {
            continue;
        }
        while (next < count && positions[next] < position) {
            next++;
        }
        if (next < count && positions[next] == position) {
            TRY(decode_batch(batch, &outcomes[next], err));
            next++;
        }
    }
    return ERR_OK;
}

/* ---- looking into the log ---- */

int64_t table_applied_position(struct table *table)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    int64_t version = 0;
    return delta_state_txn(snapshot->state, table->app_id, &version) ? version : 0;
}

/* Rows of another life of the instance (after a restore) have only their files to tell. */
int64_t table_snapshot_position(const struct table *table, const struct snapshot *snapshot)
{
    int64_t position = 0;
    (void)delta_state_txn(snapshot->state, table->app_id, &position); /* none: 0 */
    for (size_t i = 0; i < snapshot->files_count; i++) {
        position = snapshot->files[i].position > position ? snapshot->files[i].position : position;
    }
    return position;
}

/* What a walk down the log has not met yet: the first `left` of the positions. */
struct walk {
    const int64_t *positions;
    struct merge_batch_outcome *outcomes;
    size_t left;
    int64_t version;
};

/* Those of the commit's positions are decoded; what is above them is in no commit. */
static enum err_code meet(struct table *table, struct walk *walk, const struct json *extension,
                          int64_t from, int64_t to, struct err *err)
{
    while (walk->left > 0 && walk->positions[walk->left - 1] > to) {
        walk->left--;
    }
    size_t end = walk->left;
    while (walk->left > 0 && walk->positions[walk->left - 1] >= from) {
        walk->left--;
    }
    size_t first = walk->left;
    if (first == end) {
        return ERR_OK;
    }
    TRY(outcomes_decode(table->store, extension, walk->positions + first, end - first,
                        walk->outcomes + first, err));
    for (size_t i = first; i < end; i++) {
        walk->outcomes[i].version = walk->outcomes[i].counts_known ? walk->version : -1;
    }
    return ERR_OK;
}

static enum err_code look_into(struct table *table, struct walk *walk, struct err *err)
{
    CLEANUP(delta_commit_release) const struct delta_commit *commit = NULL;
    CLEANUP(json_free) struct json *info = NULL;
    TRY(delta_commit_read(table->store, walk->version, &commit, err));
    TRY(delta_commit_info(commit, &info, err));
    const struct json *extension = outcome_extension(info);
    int64_t from = 0;
    int64_t to = 0;
    const char *lane = json_text(json_get(extension, "lane"));
    bool ours = lane != NULL && strcmp(lane, table->app_id) == 0;
    return ours && outcome_positions(extension, &from, &to)
               ? meet(table, walk, extension, from, to, err)
               : ERR_OK;
}

enum err_code table_outcomes_read(struct table *table, const int64_t *positions, size_t count,
                                  struct merge_batch_outcome *outcomes_out, struct err *err)
{
    struct walk walk = {.positions = positions, .outcomes = outcomes_out, .left = count};
    for (size_t i = 0; i < count; i++) {
        assert(i == 0 || positions[i] > positions[i - 1]);
        outcomes_out[i] =
            (struct merge_batch_outcome){.position = positions[i], .already = true, .version = -1};
    }
    for (walk.version = table_version(table); walk.version >= 0 && walk.left > 0; walk.version--) {
        struct err problem = {0};
        enum err_code code = look_into(table, &walk, &problem);
        if (code == ERR_NOT_FOUND) {
            break; /* the log does not reach back so far */
        }
        if (code != ERR_OK) {
            for (size_t i = 0; i < count; i++) {
                merge_batch_outcome_deinit(&outcomes_out[i]);
            }
            *err = problem;
            return err_wrap(err, "table '%s': outcomes up to position %lld", table->name,
                            (long long)positions[count - 1]);
        }
    }
    return ERR_OK;
}

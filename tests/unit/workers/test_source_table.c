/*
 * Tables as sources: whatever the history, and wherever a reading is broken off, applying
 * the pieces makes the table that was read.
 */
#include "workers/source_table.h"

#include "storage/base/file.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/decode.h"
#include "storage/columns/encode_json.h"
#include "storage/delta/log.h"
#include "storage/object/object.h"
#include "storage/snapshot/compact.h"
#include "storage/snapshot/scan.h"
#include "storage/snapshot/snapshot.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"
#include "tests/unit/workers/source_kit.h"
#include "workers/source_table_keys.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS_MAX = 4000, ROW_BYTES = 200, NAME_BYTES = 300 };

static const char members[] =
    "{'schema':{'fields':[{'name':'id','type':'string','nullable':false},"
    "{'name':'n','type':'integer'},{'name':'note','type':'string'}]},'key':['id']}";
static const char appended[] =
    "{'schema':{'fields':[{'name':'id','type':'string','nullable':false},"
    "{'name':'n','type':'integer'},{'name':'note','type':'string'}]},'merge':'append'}";

/* ---- the table that is made of the pieces ---- */

struct model {
    char keys[ROWS_MAX][ROW_BYTES];
    char rows[ROWS_MAX][ROW_BYTES];
    size_t count;
    int64_t records_count; /* applied to it */
};

static void set_row(struct model *model, const char *key, struct span row)
{
    size_t i = 0;
    while (i < model->count && strcmp(model->keys[i], key) != 0) {
        i++;
    }
    cr_assert_lt(i, ROWS_MAX);
    model->count += i == model->count ? 1 : 0;
    (void)snprintf(model->keys[i], ROW_BYTES, "%s", key);
    (void)snprintf(model->rows[i], ROW_BYTES, "%.*s", SPAN_PRINT(row));
}

static void remove_row(struct model *model, const char *key)
{
    for (size_t i = 0; i < model->count; i++) {
        if (strcmp(model->keys[i], key) == 0) {
            model->count--;
            memcpy(model->keys[i], model->keys[model->count], ROW_BYTES);
            memcpy(model->rows[i], model->rows[model->count], ROW_BYTES);
            return;
        }
    }
}

static void key_of(struct span row, const char *field, char key_out[ROW_BYTES])
{
    CLEANUP(json_free) struct json *json = NULL;
    CLEANUP(buffer_deinit) struct buffer text;
    struct err err = {0};
    buffer_init(&text, ROW_BYTES);
    cr_assert_eq(json_parse(row, &json, &err), ERR_OK, "%s: %.*s", err.msg, SPAN_PRINT(row));
    cr_assert_not_null(json_get(json, field), "%.*s", SPAN_PRINT(row));
    json_write(json_get(json, field), &text);
    (void)snprintf(key_out, ROW_BYTES, "%.*s", SPAN_PRINT(buffer_span(&text)));
}

/* Lines "NUMBER OPERATION ROW" of a reading. */
static void apply(struct model *model, const struct source_reading *reading, const char *field)
{
    const char *at = (const char *)reading->rows.data;
    const char *end = at + reading->rows.size;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        const char *operation = strchr(at, ' ') + 1;
        const char *row = strchr(operation, ' ') + 1;
        char key[ROW_BYTES];
        struct span text = span_of(row, (size_t)(line_end - row));
        key_of(text, field, key);
        if (strncmp(operation, "delete ", 7) == 0) {
            remove_row(model, key);
        } else {
            set_row(model, key, text);
        }
        at = line_end + 1;
    }
}

static int compare_rows(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Rows of a version by reading it directly. */
static void expect_version(struct model *model, const char *folder, int64_t version,
                           const char *what)
{
    static char lines[ROWS_MAX][ROW_BYTES];
    struct err err = {0};
    size_t count = 0;
    CLEANUP(snapshot_release) const struct snapshot *snapshot = NULL;
    CLEANUP(buffer_deinit) struct buffer line;
    struct scan_request request = {.limit = 1000};
    buffer_init(&line, ROW_BYTES);
    cr_assert_eq(snapshot_open_folder(folder, version, &snapshot, &err), ERR_OK, "%s", err.msg);
    for (bool done = false; !done;) {
        struct scan_result page = {0};
        cr_assert_eq(scan_run(snapshot, &request, &page, &err), ERR_OK, "%s", err.msg);
        for (int64_t row = 0; row < page.frame->rows_count; row++) {
            buffer_reset(&line);
            encode_json_row(page.frame, row, NULL, &line);
            cr_assert_lt(count, ROWS_MAX);
            (void)snprintf(lines[count++], ROW_BYTES, "%.*s", SPAN_PRINT(buffer_span(&line)));
        }
        request.start = page.next;
        done = page.done;
        scan_result_deinit(&page);
    }
    static char got[ROWS_MAX][ROW_BYTES];
    memcpy(got, model->rows, sizeof got);
    qsort(lines, count, ROW_BYTES, compare_rows);
    qsort(got, model->count, ROW_BYTES, compare_rows);
    cr_assert_eq(model->count, count, "%s: %zu rows, the source has %zu", what, model->count,
                 count);
    for (size_t i = 0; i < count; i++) {
        cr_assert_str_eq(got[i], lines[i], "%s: row %zu", what, i);
    }
}

/* ---- a source ---- */

struct house {
    struct source_kit kit;
    struct tables *tables; /* in the root's folder `src` */
    struct schema *schema;
    struct table *table;
    int64_t position;
    char folder[2 * NAME_BYTES]; /* of the table */
};

static void make_house(struct house *house, const char *source, const char *target)
{
    struct err err = {0};
    *house = (struct house){0};
    source_kit_init(&house->kit, target);
    struct source_kit other;
    source_kit_init(&other, source); /* for its schema */
    house->schema = schema_acquire(other.schema);
    source_kit_deinit(&other);
    CLEANUP(mem_cleanup) char *root = temp_dir_join(&house->kit.dir, "src");
    CLEANUP(mem_cleanup) char *index = temp_dir_join(&house->kit.dir, "index");
    const struct tables_options options = {
        .root = root, .index_root = index, .instance = id_new_random(), .index_key = "key"};
    const struct id uuid = id_new_random();
    cr_assert_eq(tables_open(&options, &house->tables, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(tables_create(house->tables, "t", &uuid, house->schema, &err), ERR_OK, "%s",
                 err.msg);
    cr_assert_eq(tables_find(house->tables, "t", &house->table, &err), ERR_OK, "%s", err.msg);
    (void)snprintf(house->folder, sizeof house->folder, "%s/t", root);
}

static void free_house(struct house *house)
{
    table_release(&house->table);
    tables_close(&house->tables);
    schema_release(&house->schema);
    source_kit_deinit(&house->kit);
}

/* NDJSON with ' for ", `_op` allowed. */
static void merge(struct house *house, const char *records)
{
    struct err err = {0};
    CLEANUP(mem_cleanup) char *text = mem_copy_text(records);
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    for (char *at = strchr(text, '\''); at != NULL; at = strchr(at, '\'')) {
        *at = '"';
    }
    const struct decode_options options = {
        .format = DECODE_NDJSON,
        .operation = house->schema->key_count > 0 ? FRAME_UPSERT : FRAME_INSERT};
    cr_assert_eq(decode_body(span_of_text(text), house->schema, &options, &frame, &errors, &err),
                 ERR_OK, "%s", err.msg);
    cr_assert_eq(errors.items_count, 0);
    house->position++;
    const struct merge_input input = {.frame = frame,
                                      .rows_count = frame->rows_count,
                                      .batch = id_new_ordered(),
                                      .position = house->position,
                                      .order_position = house->position};
    struct merge_outcome outcome = {0};
    cr_assert_eq(table_merge(house->table, &input, 1, &outcome, &err), ERR_OK, "%s", err.msg);
    merge_outcome_deinit(&outcome);
}

static void compact(struct house *house)
{
    struct err err = {0};
    CLEANUP(compact_plan_deinit) struct compact_plan plan = {0};
    struct compact_result result = {0};
    compact_plan_thorough(house->table, &plan);
    if (plan.count > 0) {
        cr_assert_eq(compact_run(house->table, &plan, NULL, &result, &err), ERR_OK, "%s", err.msg);
    }
}

static enum err_code read_from(const struct house *house,
                               const struct source_table_options *options, const char *checkpoint,
                               int64_t pieces_max, struct source_reading *reading, struct err *err)
{
    CLEANUP(source_close) struct source *source = NULL;
    TRY(source_table_open(options, &house->kit.reader, &source, err));
    return source_kit_read(&house->kit, source, checkpoint, pieces_max, reading, err);
}

static struct source_table_options by_path(const struct house *house)
{
    return (struct source_table_options){.roots = house->kit.roots, .path = "src/t"};
}

/*
 * Read to the end with a new source for each piece; every second piece is read twice, as
 * if the first attempt had died before it was recorded.
 */
static void read_broken(const struct house *house, const struct source_table_options *options,
                        const char *field, struct model *model, char *checkpoint, const char *what)
{
    for (int64_t pieces = 0;; pieces++) {
        struct err err = {0};
        struct source_reading reading;
        source_reading_init(&reading);
        if (pieces % 2 == 1) {
            struct source_reading lost;
            source_reading_init(&lost);
            cr_assert_eq(read_from(house, options, checkpoint, 1, &lost, &err), ERR_OK, "%s: %s",
                         what, err.msg);
            source_reading_deinit(&lost);
        }
        cr_assert_eq(read_from(house, options, checkpoint, 1, &reading, &err), ERR_OK, "%s: %s",
                     what, err.msg);
        int64_t count = reading.pieces_count;
        if (count > 0) {
            cr_assert_eq(reading.rejected.size, 0, "%s: %.*s", what,
                         SPAN_PRINT(buffer_span(&reading.rejected)));
            apply(model, &reading, field);
            model->records_count += reading.records_count;
            (void)snprintf(checkpoint, SOURCE_CHECKPOINT_BYTES_MAX, "%s", reading.last_checkpoint);
        }
        source_reading_deinit(&reading);
        if (count == 0) {
            return;
        }
        cr_assert_lt(pieces, 1000, "%s does not end", what);
    }
}

/* ---- histories ---- */

static uint64_t roll(uint64_t *state, uint64_t sides)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*state >> 33) % sides;
}

static void make_version(struct house *house, uint64_t *dice)
{
    CLEANUP(buffer_deinit) struct buffer text;
    if (roll(dice, 6) == 0) {
        compact(house);
        return;
    }
    buffer_init(&text, 1 << 20);
    for (uint64_t count = 1 + roll(dice, 9); count > 0; count--) {
        buffer_append_format(&text, "{'_op':'%s','id':'k%" PRIu64 "','n':%" PRIu64 "}\n",
                             roll(dice, 4) == 0 ? "delete" : "upsert", roll(dice, 15),
                             roll(dice, 1000));
    }
    buffer_append_byte(&text, '\0');
    merge(house, (const char *)text.data);
}

static void follow_history(uint64_t seed)
{
    static struct model model;
    static char checkpoint[SOURCE_CHECKPOINT_BYTES_MAX];
    struct house house;
    uint64_t dice = seed;
    char what[64];
    make_house(&house, members, members);
    house.kit.reader.piece_records = 1 + (int64_t)(seed % 4);
    struct source_table_options options = by_path(&house);
    options.table = seed % 2 == 0 ? house.table : NULL;
    model.count = 0;
    checkpoint[0] = '\0';
    for (int i = 0; i < 5; i++) {
        for (uint64_t count = roll(&dice, 4); count > 0; count--) {
            make_version(&house, &dice);
        }
        (void)snprintf(what, sizeof what, "seed %" PRIu64 ", reading %d", seed, i);
        read_broken(&house, &options, "id", &model, checkpoint, what);
        expect_version(&model, house.folder, -1, what);
    }
    free_house(&house);
}

TestSuite(source_table, .timeout = 300);

Test(source_table, follows_any_history_wherever_it_is_broken_off)
{
    for (uint64_t seed = 1; seed <= 25; seed++) {
        follow_history(seed);
    }
}

Test(source_table, there_is_nothing_to_do_without_a_new_version)
{
    struct house house;
    struct err err = {0};
    struct source_reading reading;
    make_house(&house, members, members);
    merge(&house, "{'id':'a','n':1}\n{'id':'b','n':2}\n");
    const struct source_table_options options = by_path(&house);
    source_reading_init(&reading);
    cr_assert_eq(read_from(&house, &options, "", 0, &reading, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(reading.records_count, 2);
    cr_expect_eq(reading.pieces_count, 1);
    CLEANUP(source_close) struct source *source = NULL;
    bool done = false;
    cr_assert_eq(source_table_open(&options, &house.kit.reader, &source, &err), ERR_OK);
    cr_expect_eq(source_table_version(source), 1);
    cr_assert_eq(source_begin(source, span_of_text(reading.last_checkpoint), &done, &err), ERR_OK);
    cr_expect(done);
    /* a version without changed rows is noted once */
    merge(&house, "{'id':'c','n':3}\n");
    compact(&house);
    struct source_reading more;
    source_reading_init(&more);
    cr_assert_eq(read_from(&house, &options, reading.last_checkpoint, 0, &more, &err), ERR_OK);
    cr_expect_eq(more.records_count, 1);
    cr_expect_eq(more.pieces_count, 2, "%.*s", SPAN_PRINT(buffer_span(&more.pieces)));
    source_reading_deinit(&more);
    source_reading_deinit(&reading);
    free_house(&house);
}

/* ---- append tables, other operations ---- */

Test(source_table, append_tables_take_what_was_added_and_no_more)
{
    struct house house;
    struct err err = {0};
    struct source_reading reading;
    struct source_reading more;
    make_house(&house, members, appended);
    house.kit.reader.operation = FRAME_INSERT;
    merge(&house, "{'id':'a','n':1}\n{'id':'b','n':2}\n");
    const struct source_table_options options = by_path(&house);
    source_reading_init(&reading);
    source_reading_init(&more);
    cr_assert_eq(read_from(&house, &options, "", 0, &reading, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(reading.records_count, 2);
    merge(&house, "{'id':'c','n':3}\n");
    compact(&house);
    merge(&house, "{'id':'d','n':4}\n");
    cr_assert_eq(read_from(&house, &options, reading.last_checkpoint, 0, &more, &err), ERR_OK, "%s",
                 err.msg);
    cr_expect(span_equal_text(buffer_span(&more.rows),
                              "1 insert {\"id\":\"c\",\"n\":3,\"note\":null}\n"
                              "1 insert {\"id\":\"d\",\"n\":4,\"note\":null}\n"),
              "%.*s", SPAN_PRINT(buffer_span(&more.rows)));
    merge(&house, "{'id':'a','n':5}\n");
    cr_expect_eq(read_from(&house, &options, more.last_checkpoint, 0, &reading, &err),
                 ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(err.msg, "version 5: it removes or changes rows"), "%s", err.msg);
    source_reading_deinit(&more);
    source_reading_deinit(&reading);
    free_house(&house);
}

Test(source_table, each_row_is_appended_once_wherever_reading_is_broken_off)
{
    static struct model model;
    static char checkpoint[SOURCE_CHECKPOINT_BYTES_MAX];
    for (int64_t piece_records = 1; piece_records <= 5; piece_records++) {
        struct house house;
        int64_t made = 0;
        make_house(&house, appended, appended);
        house.kit.reader.piece_records = piece_records;
        house.kit.reader.operation = FRAME_INSERT;
        const struct source_table_options options = by_path(&house);
        model.count = 0;
        model.records_count = 0;
        checkpoint[0] = '\0';
        for (int version = 0; version < 12; version++) {
            CLEANUP(buffer_deinit) struct buffer text;
            buffer_init(&text, 1 << 16);
            for (int i = 0; i <= version % 5; i++) {
                buffer_append_format(&text, "{'id':'k%" PRId64 "','n':1}\n", made++);
            }
            buffer_append_byte(&text, '\0');
            merge(&house, (const char *)text.data);
            if (version % 4 == 3) {
                compact(&house);
                read_broken(&house, &options, "id", &model, checkpoint, "append");
                cr_expect_eq(model.records_count, made, "pieces of %" PRId64, piece_records);
                expect_version(&model, house.folder, -1, "append");
            }
        }
        free_house(&house);
    }
}

Test(source_table, only_upserts_follow_what_was_removed)
{
    static const struct {
        enum frame_operation operation;
        const char *change;
        enum err_code code;
    } cases[] = {
        {FRAME_UPSERT, "{'_op':'delete','id':'a'}", ERR_OK},
        {FRAME_PATCH, "{'_op':'delete','id':'a'}", ERR_UNSUPPORTED},
        {FRAME_INSERT, "{'_op':'delete','id':'a'}", ERR_UNSUPPORTED},
        {FRAME_DELETE, "{'_op':'delete','id':'a'}", ERR_UNSUPPORTED},
        {FRAME_PATCH, "{'id':'a','n':7}", ERR_OK}, /* the key is still there */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct house house;
        struct err err = {0};
        struct source_reading reading;
        struct source_reading more;
        make_house(&house, members, members);
        house.kit.reader.operation = cases[i].operation;
        merge(&house, "{'id':'a','n':1}\n{'id':'b','n':2}\n");
        const struct source_table_options options = by_path(&house);
        source_reading_init(&reading);
        source_reading_init(&more);
        cr_assert_eq(read_from(&house, &options, "", 0, &reading, &err), ERR_OK, "%s", err.msg);
        merge(&house, cases[i].change);
        cr_expect_eq(read_from(&house, &options, reading.last_checkpoint, 0, &more, &err),
                     cases[i].code, "case %zu: %s", i, err.msg);
        source_reading_deinit(&more);
        source_reading_deinit(&reading);
        free_house(&house);
    }
}

/* ---- columns ---- */

Test(source_table, columns_are_chosen_and_checked)
{
    static const char *const two[] = {"id", "n"};
    static const char *const unknown[] = {"id", "colour"};
    static const char *const keyless[] = {"n"};
    static const struct {
        const char *const *columns;
        size_t count;
        enum err_code code;
        const char *text;
    } cases[] = {
        {two, 2, ERR_OK, NULL},
        {NULL, 0, ERR_INVALID, "'extra'"},
        {unknown, 2, ERR_INVALID, "'colour'"},
        {keyless, 1, ERR_INVALID, "'id'"},
    };
    struct house house;
    make_house(&house,
               "{'schema':{'fields':[{'name':'id','type':'string','nullable':false},"
               "{'name':'n','type':'integer'},{'name':'extra','type':'double'}]},'key':['id']}",
               members);
    merge(&house, "{'id':'a','n':1,'extra':2.5}\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        struct source_reading reading;
        struct source_table_options options = by_path(&house);
        options.columns = cases[i].columns;
        options.columns_count = cases[i].count;
        source_reading_init(&reading);
        cr_expect_eq(read_from(&house, &options, "", 0, &reading, &err), cases[i].code,
                     "case %zu: %s", i, err.msg);
        if (cases[i].text != NULL) {
            cr_expect_not_null(strstr(err.msg, cases[i].text), "case %zu: %s", i, err.msg);
        } else {
            cr_expect(span_equal_text(buffer_span(&reading.rows),
                                      "1 upsert {\"id\":\"a\",\"n\":1,\"note\":null}\n"),
                      "%.*s", SPAN_PRINT(buffer_span(&reading.rows)));
        }
        source_reading_deinit(&reading);
    }
    free_house(&house);
}

Test(source_table, its_identity_is_the_table_and_what_is_read_of_it)
{
    static const char *const columns[] = {"id", "n"};
    struct house house;
    struct err err = {0};
    make_house(&house, members, members);
    struct source_table_options named = by_path(&house);
    struct source_table_options chosen = by_path(&house);
    const struct source_table_options folder = by_path(&house);
    named.table = house.table;
    chosen.columns = columns;
    chosen.columns_count = 2;
    struct source *sources[4] = {0};
    const struct source_table_options *options[4] = {&folder, &named, &chosen, &folder};
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(source_table_open(options[i], &house.kit.reader, &sources[i], &err), ERR_OK,
                     "%s", err.msg);
    }
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = i + 1; k < 4; k++) {
            bool same = memcmp(sources[i]->id, sources[k]->id, SOURCE_ID_BYTES) == 0;
            cr_expect_eq(same, i == 0 && k == 3, "%zu and %zu", i, k);
        }
    }
    for (size_t i = 0; i < 4; i++) {
        source_close(&sources[i]);
    }
    free_house(&house);
}

/* ---- what cannot be gone on with ---- */

static void log_name(const struct house *house, int64_t version, char path_out[NAME_BYTES])
{
    (void)snprintf(path_out, NAME_BYTES, "%.200s/_delta_log/%020" PRId64 ".json", house->folder,
                   version);
}

Test(source_table, refuses_to_go_on_where_removals_cannot_be_told)
{
    static const struct {
        const char *name;
        int64_t removed;  /* commit file that is gone */
        bool is_replaced; /* the version that was read is another one now */
        int64_t newest_removed;
        enum err_code code;
        const char *text;
    } cases[] = {
        {"nothing happened", -1, false, -1, ERR_OK, NULL},
        {"put back", -1, false, 2, ERR_PRECONDITION, "there is no such version"},
        {"made anew", -1, true, -1, ERR_PRECONDITION, "another one has this number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct house house;
        struct err err = {0};
        struct source_reading reading;
        struct source_reading more;
        char path[NAME_BYTES];
        make_house(&house, members, members);
        merge(&house, "{'id':'a','n':1}\n");
        merge(&house, "{'id':'b','n':2}\n");
        const struct source_table_options options = by_path(&house);
        source_reading_init(&reading);
        source_reading_init(&more);
        cr_assert_eq(read_from(&house, &options, "", 0, &reading, &err), ERR_OK, "%s", err.msg);
        log_name(&house, 2, path);
        if (cases[i].newest_removed > 0) {
            cr_assert_eq(unlink(path), 0);
        }
        if (cases[i].is_replaced) {
            CLEANUP(buffer_deinit) struct buffer text;
            buffer_init(&text, 1 << 20);
            cr_assert_eq(file_read(path, &text, &err), ERR_OK, "%s", err.msg);
            buffer_append_byte(&text, '\n');
            cr_assert_eq(file_replace_derived(path, buffer_span(&text), &err), ERR_OK);
        }
        cr_expect_eq(read_from(&house, &options, reading.last_checkpoint, 0, &more, &err),
                     cases[i].code, "%s: %s", cases[i].name, err.msg);
        if (cases[i].text != NULL) {
            cr_expect_not_null(strstr(err.msg, cases[i].text), "%s: %s", cases[i].name, err.msg);
        }
        source_reading_deinit(&more);
        source_reading_deinit(&reading);
        free_house(&house);
    }
}

Test(source_table, refuses_foreign_checkpoints)
{
    static const char *const texts[] = {
        "{}",
        "nonsense",
        "{\"at\":3}",
        "{\"read\":1}",
        "{\"read\":-1,\"hash\":\"0000000000000000\"}",
        "{\"read\":1,\"hash\":\"00\"}",
        "{\"version\":1,\"hash\":\"0000000000000000\",\"whole\":true,\"side\":\"removed\","
        "\"passes\":1,\"pass\":0,\"file\":0,\"row\":0,\"rows\":0}",
        "{\"version\":1,\"hash\":\"0000000000000000\",\"whole\":true,\"side\":\"added\","
        "\"passes\":1,\"pass\":1,\"file\":0,\"row\":0,\"rows\":0}",
        "{\"version\":1,\"hash\":\"0000000000000000\",\"whole\":true,\"side\":\"added\","
        "\"passes\":1,\"pass\":0,\"file\":9,\"row\":0,\"rows\":0}",
        "{\"version\":1,\"hash\":\"0000000000000000\",\"whole\":true,\"side\":\"added\","
        "\"passes\":1,\"pass\":0,\"file\":0,\"row\":9,\"rows\":0}",
    };
    struct house house;
    make_house(&house, members, members);
    merge(&house, "{'id':'a','n':1}\n");
    const struct source_table_options options = by_path(&house);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct err err = {0};
        struct source_reading reading;
        source_reading_init(&reading);
        cr_expect_eq(read_from(&house, &options, texts[i], 0, &reading, &err), ERR_CORRUPT,
                     "%s: %s", texts[i], err.msg);
        source_reading_deinit(&reading);
    }
    free_house(&house);
}

Test(source_table, reads_nothing_outside_of_the_roots)
{
    struct house house;
    make_house(&house, members, members);
    merge(&house, "{'id':'a','n':1}\n");
    CLEANUP(mem_cleanup) char *link = temp_dir_join(&house.kit.dir, "link");
    cr_assert_eq(symlink("src/t", link), 0);
    static const struct {
        const char *path;
        enum err_code code;
    } cases[] = {
        {"link", ERR_FORBIDDEN},    {"../t", ERR_FORBIDDEN},
        {"/etc", ERR_FORBIDDEN},    {"src/t/_delta_log/../..", ERR_FORBIDDEN},
        {"nowhere", ERR_NOT_FOUND}, {"src", ERR_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        struct source_reading reading;
        struct source_table_options options = by_path(&house);
        options.path = cases[i].path;
        source_reading_init(&reading);
        cr_expect_eq(read_from(&house, &options, "", 0, &reading, &err), cases[i].code, "%s: %s",
                     cases[i].path, err.msg);
        source_reading_deinit(&reading);
    }
    free_house(&house);
}

/* ---- more keys than fit ---- */

Test(source_table, keys_that_do_not_fit_are_compared_in_parts)
{
    enum { KEYS = 3000, GONE_EVERY = 6 };
    struct house house;
    struct err err = {0};
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 20);
    make_house(&house, members, members);
    for (int i = 0; i < KEYS; i++) {
        buffer_append_format(&text, "{'id':'k%d','n':1}\n", i);
    }
    buffer_append_byte(&text, '\0');
    merge(&house, (const char *)text.data);
    buffer_reset(&text);
    for (int i = 0; i < KEYS; i++) {
        buffer_append_format(&text, "{'_op':'%s','id':'k%d','n':2}\n",
                             i % GONE_EVERY == 0 ? "delete" : "upsert", i);
    }
    buffer_append_byte(&text, '\0');
    merge(&house, (const char *)text.data);
    struct object_store *store = table_store(house.table);
    CLEANUP(delta_state_release) struct delta_state *before = NULL;
    CLEANUP(delta_state_release) struct delta_state *after = NULL;
    CLEANUP(delta_commit_release) const struct delta_commit *commit = NULL;
    CLEANUP(changes_free) struct changes *changes = NULL;
    const struct table_key_names names = table_key_names_of(house.kit.schema);
    const struct changes_options options = {
        .store = store, .columns = {[CHANGE_REMOVED] = {names.names, names.count}}};
    cr_assert_eq(delta_state_load_version(store, 1, &before, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(delta_state_load_version(store, 2, &after, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(delta_commit_read(store, 2, &commit, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(changes_of_commit(&options, before, commit, after, &changes, &err), ERR_OK);
    const struct table_commit of = {
        .store = store, .before = before, .after = after, .commit = commit};
    struct table_place place = {.version = 2, .side = CHANGE_REMOVED, .passes_count = 1};
    bool gone[KEYS] = {false};
    int reads = 0;
    for (bool done = false; !done; reads++) {
        struct table_keys keys = {0};
        CLEANUP(frame_free) struct frame *rows = NULL;
        if (reads % 3 == 0 && reads > 0 && reads < 7) { /* begun anew by the next attempt */
            cr_assert_gt(place.passes_count, 1);
        }
        cr_assert_eq(table_keys_open(&keys, changes, &of, &house.kit.reader, 1, &place, &err),
                     ERR_OK, "%s", err.msg);
        cr_assert_eq(place.pass, 0);
        cr_assert_not(keys.is_empty);
        while (!done) {
            frame_free(&rows);
            cr_assert_eq(table_keys_read(&keys, 70, &place, &rows, &done, &err), ERR_OK, "%s",
                         err.msg);
            for (int64_t row = 0; row < rows->rows_count; row++) {
                struct span key = column_bytes(&rows->columns[0], row);
                int64_t number = -1;
                cr_assert(text_parse_int64(span_of(key.data + 1, key.size - 1), &number));
                cr_assert_eq(frame_operation_at(rows, row), FRAME_DELETE);
                cr_assert_eq(number % GONE_EVERY, 0, "%.*s is still there", SPAN_PRINT(key));
                gone[number] = true;
            }
            if (reads < 3 && place.pass > 0) {
                break; /* dies in the second part */
            }
        }
        table_keys_close(&keys);
    }
    cr_expect_eq(reads, 4);
    for (int i = 0; i < KEYS; i += GONE_EVERY) {
        cr_expect(gone[i], "k%d was not deleted", i);
    }
    free_house(&house);
}

/* ---- tables of other engines ---- */

static void extract(const char *archive, const char *folder)
{
    pid_t child = fork();
    if (child == 0) {
        (void)execlp("tar", "tar", "--warning=no-unknown-keyword", "--zstd", "-xf", archive, "-C",
                     folder, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "cannot extract %s", archive);
}

/* Take all of the log but version 0 aside, or one version back. */
static void move_log(const struct house *house, int64_t version, bool back)
{
    char path[NAME_BYTES];
    char aside[NAME_BYTES + 8];
    log_name(house, version, path);
    (void)snprintf(aside, sizeof aside, "%s.aside", path);
    cr_assert_eq(back ? rename(aside, path) : rename(path, aside), 0, "%s", path);
}

static void remove_checkpoints(const struct house *house)
{
    char log[NAME_BYTES];
    struct file_names names = {0};
    struct err err = {0};
    (void)snprintf(log, sizeof log, "%.200s/_delta_log", house->folder);
    cr_assert_eq(file_list(log, &names, &err), ERR_OK, "%s", err.msg);
    for (size_t i = 0; i < names.count; i++) {
        if (strstr(names.names[i], "checkpoint") != NULL) {
            CLEANUP(mem_cleanup) char *path = file_join(log, names.names[i]);
            cr_assert_eq(unlink(path), 0);
        }
    }
    file_names_free(&names);
}

Test(source_table, follows_tables_that_others_wrote)
{
    static const struct {
        const char *name;
        const char *target;
        const char *key;
        int64_t newest;
    } cases[] = {
        {"basic-with-inserts-merge",
         "{'schema':{'fields':[{'name':'id','type':'integer','nullable':false},"
         "{'name':'str','type':'string'}]},'key':['id']}",
         "id", 1},
        {"basic-with-inserts-updates",
         "{'schema':{'fields':[{'name':'id','type':'integer','nullable':false},"
         "{'name':'str','type':'string'}]},'key':['id']}",
         "id", 1},
        {"dv-partitioned-with-checkpoint",
         "{'schema':{'fields':[{'name':'part','type':'integer'},"
         "{'name':'col1','type':'integer','nullable':false},{'name':'col2','type':'string'}]},"
         "'key':['col1']}",
         "col1", 15},
    };
    static struct model model;
    static char checkpoint[SOURCE_CHECKPOINT_BYTES_MAX];
    const char *data = getenv("SLUICE_TEST_DATA");
    if (data == NULL) {
        cr_skip_test("set SLUICE_TEST_DATA to the folder of golden tables");
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct house house = {0};
        char archive[NAME_BYTES];
        char path[NAME_BYTES];
        char what[NAME_BYTES];
        source_kit_init(&house.kit, cases[i].target);
        (void)snprintf(archive, sizeof archive, "%s/delta-golden/%s.tar.zst", data, cases[i].name);
        (void)snprintf(path, sizeof path, "%s/delta", cases[i].name);
        (void)snprintf(house.folder, sizeof house.folder, "%s/%s", house.kit.dir.path, path);
        extract(archive, house.kit.dir.path);
        remove_checkpoints(&house);
        for (int64_t version = 1; version <= cases[i].newest; version++) {
            move_log(&house, version, false);
        }
        const struct source_table_options options = {.roots = house.kit.roots, .path = path};
        house.kit.reader.piece_records = 7;
        model.count = 0;
        checkpoint[0] = '\0';
        for (int64_t version = 0; version <= cases[i].newest; version++) {
            if (version > 0) {
                move_log(&house, version, true);
            }
            (void)snprintf(what, sizeof what, "%s, version %" PRId64, cases[i].name, version);
            read_broken(&house, &options, cases[i].key, &model, checkpoint, what);
            expect_version(&model, house.folder, version, what);
        }
        source_kit_deinit(&house.kit);
    }
}

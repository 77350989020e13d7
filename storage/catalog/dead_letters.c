/*
 * Dead letters: listing, showing, replaying once, giving up. See dead_letters.h.
 */
#include "storage/catalog/dead_letters.h"

#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/catalog/batch_rows.h"
#include "storage/catalog/private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LETTER_COLUMNS                                                                             \
    "SELECT id, table_uuid, batch, principal, batch_position, line, pointer, code, message,"       \
    " state, operation, schema_version, created_at, resolved_at, replay_batch,"                    \
    " payload_segment, payload_offset, payload_bytes, payload_start, payload_size"                 \
    " FROM dead_letters"
/* ?1 table ?2 batch ?3 principal ?4 code ?5 state ?6 before id ?7 limit */
#define FILTER                                                                                     \
    " AND (?1 IS NULL OR table_uuid = ?1) AND (?2 IS NULL OR batch = ?2)"                          \
    " AND (?3 IS NULL OR principal = ?3) AND (?4 IS NULL OR code = ?4)"                            \
    " AND (?5 = 0 OR state = ?5) AND id < ?6              "
#define NEWEST_FIRST " ORDER BY id DESC LIMIT ?7"

static const char sql_list[] = LETTER_COLUMNS " WHERE 1" FILTER NEWEST_FIRST;
static const char sql_list_of_table[] =
    LETTER_COLUMNS " INDEXED BY dead_letters_table WHERE table_uuid = ?1" FILTER NEWEST_FIRST;
static const char sql_list_of_batch[] =
    LETTER_COLUMNS " INDEXED BY dead_letters_batch WHERE batch = ?2" FILTER NEWEST_FIRST;
static const char sql_get[] = LETTER_COLUMNS " WHERE id = ?";
static const char sql_groups[] =
    "SELECT table_uuid, code, state, count(*), max(created_at) FROM dead_letters WHERE 1" FILTER
    " AND ?7 > 0 GROUP BY table_uuid, code, state";
static const char sql_state[] =
    "SELECT state, batch_position, payload_size, table_uuid FROM dead_letters WHERE id = ?";
static const char sql_replaying[] =
    "UPDATE dead_letters SET state = 2, replay_batch = ? WHERE id = ?";
static const char sql_settle[] =
    "UPDATE dead_letters SET state = ?1, resolved_at = ?2, code = coalesce(?3, code),"
    " message = coalesce(?4, message) WHERE id = ?5 AND state = 2 RETURNING payload_size";
static const char sql_discard[] = "UPDATE dead_letters SET state = 5, resolved_at = ? WHERE id = ?";
static const char sql_floor[] = "SELECT min(payload_segment) FROM dead_letters"
                                " WHERE state IN (1, 2, 4) AND payload_segment > 0";

static const char *const state_names[] = {
    [DEAD_LETTER_PENDING] = "pending",     [DEAD_LETTER_REPLAYING] = "replaying",
    [DEAD_LETTER_APPLIED] = "applied",     [DEAD_LETTER_SUPERSEDED] = "superseded",
    [DEAD_LETTER_DISCARDED] = "discarded",
};

const char *dead_letter_state_name(enum dead_letter_state state)
{
    assert(state >= DEAD_LETTER_PENDING && state <= DEAD_LETTER_DISCARDED);
    return state_names[state];
}

bool dead_letter_state_parse(struct span name, enum dead_letter_state *state_out)
{
    for (int i = DEAD_LETTER_PENDING; i <= DEAD_LETTER_DISCARDED; i++) {
        if (span_equal_text(name, state_names[i])) {
            *state_out = (enum dead_letter_state)i;
            return true;
        }
    }
    return false;
}

/* ---- reading ---- */

static enum err_code read_letter(const struct query *query, int64_t piece, struct arena *arena,
                                 struct dead_letter *letter_out, struct err *err)
{
    struct dead_letter letter = {
        .piece = piece,
        .batch_position = query_integer(query, 4),
        .line = query_integer(query, 5),
        .state = (enum dead_letter_state)query_integer(query, 9),
        .operation = (enum frame_operation)query_integer(query, 10),
        .schema_version = (int32_t)query_integer(query, 11),
        .created_at_us = query_integer(query, 12),
        .resolved_at_us = query_integer(query, 13),
        .payload = query_location(query, 15),
        .payload_start = query_integer(query, 18),
        .payload_size = query_integer(query, 19),
    };
    TRY(query_id(query, 0, &letter.id, err));
    TRY(query_id(query, 1, &letter.table, err));
    TRY(query_id(query, 2, &letter.batch, err));
    TRY(query_id(query, 3, &letter.principal, err));
    TRY(query_id(query, 14, &letter.replay_batch, err));
    TRY(query_text(query, 6, arena, &letter.pointer, err));
    TRY(query_text(query, 7, arena, &letter.code, err));
    TRY(query_text(query, 8, arena, &letter.message, err));
    *letter_out = letter;
    return ERR_OK;
}

static void bind_filter(struct query *query, const struct dead_letter_filter *filter,
                        const struct id *before, size_t limit)
{
    static const struct id behind_all = {.text = "ffffffff-ffff-ffff-ffff-ffffffffffff"};
    query_bind_id(query, &filter->table);
    query_bind_id(query, &filter->batch);
    query_bind_id(query, &filter->principal);
    query_bind_text(query, filter->code);
    query_bind_integer(query, filter->state);
    query_bind_id(query, before == NULL ? &behind_all : before);
    query_bind_integer(query, (int64_t)limit);
}

static const char *list_statement(const struct dead_letter_filter *filter)
{
    if (filter->batch.text[0] != '\0') {
        return sql_list_of_batch;
    }
    return filter->table.text[0] != '\0' ? sql_list_of_table : sql_list;
}

/* Letters gathered from pieces: at most twice `limit`, sorted and cut after each piece. */
struct listing {
    const struct dead_letter_filter *filter;
    const struct id *after;
    size_t limit;
    struct arena *arena;
    struct dead_letter *letters;
    size_t count;
};

static enum err_code list_piece(struct store *store, int64_t piece, struct listing *listing,
                                struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, list_statement(listing->filter), &query, err));
    bind_filter(&query, listing->filter, listing->after, listing->limit);
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        TRY(read_letter(&query, piece, listing->arena, &listing->letters[listing->count], err));
        listing->count++;
    }
}

static int compare_newest_first(const void *a, const void *b)
{
    const struct dead_letter *left = a;
    const struct dead_letter *right = b;
    return strcmp(right->id.text, left->id.text);
}

static void keep_newest(struct listing *listing)
{
    if (listing->count > 1) {
        qsort(listing->letters, listing->count, sizeof *listing->letters, compare_newest_first);
    }
    if (listing->count > listing->limit) {
        listing->count = listing->limit;
    }
}

enum err_code dead_letter_list(struct catalog *catalog, const struct dead_letter_filter *filter,
                               const struct id *after, size_t limit, struct arena *arena,
                               struct dead_letter **letters_out, size_t *count_out, struct err *err)
{
    struct listing listing = {.filter = filter, .after = after, .limit = limit, .arena = arena};
    listing.letters = arena_alloc(arena, (2 * limit + 1) * sizeof *listing.letters);
    if (listing.letters == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the answer is larger than its memory budget");
    }
    int64_t numbers[CATALOG_PIECES_MAX];
    size_t count = pieces_numbers(catalog, numbers);
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    for (size_t i = 0; i < count; i++) {
        struct store *store = NULL;
        enum err_code code = reader_piece(reader, numbers[i], &store, err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err); /* dropped since the list was taken */
            continue;
        }
        TRY(code);
        TRY(list_piece(store, numbers[i], &listing, err));
        keep_newest(&listing);
    }
    *letters_out = listing.letters;
    *count_out = listing.count;
    return ERR_OK;
}

/* ---- groups ---- */

struct grouping {
    struct arena *arena;
    struct dead_letter_group *groups; /* on the heap while it grows */
    size_t count;
};

static struct dead_letter_group *find_group(struct grouping *grouping, const struct id *table,
                                            struct span code, enum dead_letter_state state)
{
    for (size_t i = 0; i < grouping->count; i++) {
        struct dead_letter_group *group = &grouping->groups[i];
        if (group->state == state && span_equal_text(code, group->code) &&
            strcmp(group->table.text, table->text) == 0) {
            return group;
        }
    }
    return NULL;
}

static enum err_code add_group_row(const struct query *query, struct grouping *grouping,
                                   struct err *err)
{
    struct id table;
    enum dead_letter_state state = (enum dead_letter_state)query_integer(query, 2);
    TRY(query_id(query, 0, &table, err));
    struct dead_letter_group *group = find_group(grouping, &table, query_span(query, 1), state);
    if (group == NULL) {
        const char *code = NULL;
        TRY(query_text(query, 1, grouping->arena, &code, err));
        grouping->groups =
            mem_resize(grouping->groups, grouping->count + 1, sizeof *grouping->groups);
        group = &grouping->groups[grouping->count++];
        *group = (struct dead_letter_group){.table = table, .code = code, .state = state};
    }
    group->count += query_integer(query, 3);
    int64_t newest_us = query_integer(query, 4);
    group->newest_us = newest_us > group->newest_us ? newest_us : group->newest_us;
    return ERR_OK;
}

static enum err_code group_piece(struct store *store, const struct dead_letter_filter *filter,
                                 struct grouping *grouping, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_groups, &query, err));
    bind_filter(&query, filter, NULL, 1);
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        TRY(add_group_row(&query, grouping, err));
    }
}

static int compare_largest_first(const void *a, const void *b)
{
    const struct dead_letter_group *left = a;
    const struct dead_letter_group *right = b;
    return left->count > right->count ? -1 : left->count < right->count;
}

static enum err_code group_all(struct catalog *catalog, const struct dead_letter_filter *filter,
                               struct grouping *grouping, struct err *err)
{
    int64_t numbers[CATALOG_PIECES_MAX];
    size_t count = pieces_numbers(catalog, numbers);
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    for (size_t i = 0; i < count; i++) {
        struct store *store = NULL;
        enum err_code code = reader_piece(reader, numbers[i], &store, err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err); /* dropped since the list was taken */
            continue;
        }
        TRY(code);
        TRY(group_piece(store, filter, grouping, err));
    }
    return ERR_OK;
}

static enum err_code hand_over_groups(struct grouping *grouping, size_t limit,
                                      struct dead_letter_group **groups_out, size_t *count_out,
                                      struct err *err)
{
    if (grouping->count > 1) {
        qsort(grouping->groups, grouping->count, sizeof *grouping->groups, compare_largest_first);
    }
    size_t count = grouping->count < limit ? grouping->count : limit;
    struct dead_letter_group *groups = arena_alloc(grouping->arena, (count + 1) * sizeof *groups);
    if (groups == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the answer is larger than its memory budget");
    }
    if (count > 0) {
        memcpy(groups, grouping->groups, count * sizeof *groups);
    }
    *groups_out = groups;
    *count_out = count;
    return ERR_OK;
}

enum err_code dead_letter_groups(struct catalog *catalog, const struct dead_letter_filter *filter,
                                 size_t limit, struct arena *arena,
                                 struct dead_letter_group **groups_out, size_t *count_out,
                                 struct err *err)
{
    struct grouping grouping = {.arena = arena};
    enum err_code code = group_all(catalog, filter, &grouping, err);
    if (code == ERR_OK) {
        code = hand_over_groups(&grouping, limit, groups_out, count_out, err);
    }
    mem_free(grouping.groups);
    return code;
}

/* ---- one ---- */

static enum err_code get_from(struct store *store, int64_t piece, const struct id *id,
                              struct arena *arena, bool *found_out, struct dead_letter *letter_out,
                              struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_get, &query, err));
    query_bind_id(&query, id);
    TRY(query_next(&query, found_out, err));
    return *found_out ? read_letter(&query, piece, arena, letter_out, err) : ERR_OK;
}

static enum err_code no_such_letter(const struct id *id, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no dead letter %s", id->text);
}

enum err_code dead_letter_get(struct catalog *catalog, const struct id *id, struct arena *arena,
                              struct dead_letter *letter_out, struct err *err)
{
    int64_t numbers[CATALOG_PIECES_MAX];
    size_t count = pieces_numbers(catalog, numbers);
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    for (size_t i = 0; i < count; i++) {
        struct store *store = NULL;
        bool found = false;
        enum err_code code = reader_piece(reader, numbers[i], &store, err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err); /* dropped since the list was taken */
            continue;
        }
        TRY(code);
        TRY(get_from(store, numbers[i], id, arena, &found, letter_out, err));
        if (found) {
            return ERR_OK;
        }
    }
    return no_such_letter(id, err);
}

/* ---- replaying ---- */

struct letter_place {
    struct id table;
    int64_t piece;
    enum dead_letter_state state;
    int64_t batch_position;
    int64_t payload_size;
};

static enum err_code read_state(struct store *store, const struct id *letter, bool *found_out,
                                struct letter_place *place, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_state, &query, err));
    query_bind_id(&query, letter);
    TRY(query_next(&query, found_out, err));
    if (*found_out) {
        place->state = (enum dead_letter_state)query_integer(&query, 0);
        place->batch_position = query_integer(&query, 1);
        place->payload_size = query_integer(&query, 2);
        TRY(query_id(&query, 3, &place->table, err));
    }
    return ERR_OK;
}

/* Writer thread: where the letter lies, through the writer's own connections. */
static enum err_code find_letter(struct catalog *catalog, const struct id *letter,
                                 struct letter_place *place_out, struct err *err)
{
    for (size_t i = catalog->pieces.count; i > 0; i--) {
        const struct piece *piece = catalog->pieces.sorted[i - 1];
        struct letter_place place = {.piece = piece->number};
        bool found = false;
        TRY(read_state(piece->database.store, letter, &found, &place, err));
        if (found) {
            *place_out = place;
            return ERR_OK;
        }
    }
    return no_such_letter(letter, err);
}

static enum err_code check_replayable(const struct letter_place *place, bool forced,
                                      struct err *err)
{
    bool replayable =
        place->state == DEAD_LETTER_PENDING || (place->state == DEAD_LETTER_SUPERSEDED && forced);
    if (!replayable) {
        return err_set(
            err, ERR_CONFLICT, "the dead letter is %s%s", dead_letter_state_name(place->state),
            place->state == DEAD_LETTER_SUPERSEDED ? ": a newer row is stored, force it to win"
                                                   : "");
    }
    return ERR_OK;
}

struct replay_write {
    const struct id *letter;
    bool forced;
    const struct batch_accept *accept;
    int64_t position;
};

static enum err_code write_replay(struct transaction *transaction, void *arg, struct err *err)
{
    struct replay_write *replay = arg;
    struct letter_place found = {0};
    TRY(find_letter(transaction_catalog(transaction), replay->letter, &found, err));
    TRY(check_replayable(&found, replay->forced, err));
    /* Batch and letter lie in one piece, so that one commit settles both. */
    const struct accept_place place = {
        .piece = found.piece,
        .order_position = found.batch_position,
        .flags = FLAG_REPLAY | (replay->forced ? FLAG_FORCED : 0),
        .letter = replay->letter,
    };
    TRY(batch_accept_in(transaction, replay->accept, &place, &replay->position, err));
    struct store *store = NULL;
    TRY(transaction_piece(transaction, found.piece, &store, NULL, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_replaying, &query, err));
    query_bind_id(&query, &replay->accept->id);
    query_bind_id(&query, replay->letter);
    return query_run(&query, err);
}

enum err_code dead_letter_replay(struct catalog *catalog, const struct id *letter, bool forced,
                                 const struct batch_accept *accept, int64_t *position_out,
                                 struct err *err)
{
    assert(accept->errors_count == 0);
    assert(accept->accepted > 0);
    assert(location_is_set(&accept->frame));
    struct replay_write replay = {.letter = letter, .forced = forced, .accept = accept};
    TRY(catalog_promise(catalog, write_replay, &replay, err));
    *position_out = replay.position;
    return ERR_OK;
}

/* What a replay's outcome makes of its letter. */
struct settlement {
    enum dead_letter_state state;
    struct span code; /* empty = as it was */
    struct span message;
};

static struct settlement settlement_of(const struct batch_outcome *outcome)
{
    if (outcome->state == BATCH_FAILED) {
        const char *message = outcome->failure_message == NULL ? "" : outcome->failure_message;
        const char *code = outcome->failure == NULL ? "failed" : outcome->failure;
        return (struct settlement){.state = DEAD_LETTER_PENDING,
                                   .code = span_of_text(code),
                                   .message = span_of_text(message)};
    }
    if (outcome->errors_count > 0 && outcome->applied == 0) {
        return (struct settlement){.state = DEAD_LETTER_PENDING,
                                   .code = outcome->errors[0].code,
                                   .message = outcome->errors[0].message};
    }
    bool moved_on = outcome->superseded > 0 && outcome->applied == 0;
    return (struct settlement){.state = moved_on ? DEAD_LETTER_SUPERSEDED : DEAD_LETTER_APPLIED};
}

enum err_code letter_settle(struct transaction *transaction, struct store *store, struct lane *lane,
                            const struct id *letter, const struct batch_outcome *outcome,
                            struct err *err)
{
    struct settlement settlement = settlement_of(outcome);
    bool resolved = settlement.state == DEAD_LETTER_APPLIED;
    bool settled = false;
    int64_t payload_size = 0;
    {
        CLEANUP(query_end) struct query query = {0};
        TRY(query_begin(store, sql_settle, &query, err));
        query_bind_integer(&query, settlement.state);
        query_bind_integer(&query, resolved ? clock_wall_us() : 0);
        if (settlement.code.size == 0) {
            query_bind_null(&query);
            query_bind_null(&query);
        } else {
            query_bind_span(&query, text_cut(settlement.code, BATCH_TEXT_BYTES_MAX));
            query_bind_span(&query, text_cut(settlement.message, BATCH_TEXT_BYTES_MAX));
        }
        query_bind_id(&query, letter);
        TRY(query_next(&query, &settled, err));
        payload_size = settled ? query_integer(&query, 0) : 0;
    }
    if (!settled || !resolved) {
        return ERR_OK;
    }
    return letters_charge(transaction, store, lane, -1, -payload_size, err);
}

/* ---- giving up ---- */

static enum err_code write_discard(struct transaction *transaction, void *arg, struct err *err)
{
    const struct id *id = arg;
    struct catalog *catalog = transaction_catalog(transaction);
    struct letter_place found = {0};
    TRY(find_letter(catalog, id, &found, err));
    if (found.state != DEAD_LETTER_PENDING && found.state != DEAD_LETTER_SUPERSEDED) {
        return err_set(err, ERR_CONFLICT, "the dead letter is %s",
                       dead_letter_state_name(found.state));
    }
    struct store *store = NULL;
    TRY(transaction_piece(transaction, found.piece, &store, NULL, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_discard, &query, err));
    query_bind_integer(&query, clock_wall_us());
    query_bind_id(&query, id);
    TRY(query_run(&query, err));
    struct lane *lane = lanes_find(&catalog->lanes, &found.table);
    return lane == NULL ? ERR_OK
                        : letters_charge(transaction, store, lane, -1, -found.payload_size, err);
}

enum err_code dead_letter_discard(struct catalog *catalog, const struct id *letter, struct err *err)
{
    struct id id = *letter;
    return catalog_write(catalog, write_discard, &id, err);
}

enum err_code dead_letters_journal_floor(struct catalog *catalog, int64_t *segment_out,
                                         struct err *err)
{
    return catalog_lowest(catalog, sql_floor, segment_out, err);
}

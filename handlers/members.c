/*
 * Members: one person with everything that declares itself part of it, out of one
 * atomically taken set of snapshots.
 *
 * A table is a part of the member when a lookup of its definition names the
 * entity. The one whose `as` is the entity itself is the root.
 */
#include "generated/operations.h"

#include "handlers/access_audit.h"
#include "handlers/page_token.h"
#include "handlers/problem.h"
#include "handlers/rows.h"
#include "storage/base/hash.h"
#include "storage/base/text.h"
#include "storage/catalog/access.h"
#include "storage/columns/encode_json.h"
#include "storage/snapshot/lookup.h"
#include "storage/snapshot/scan.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"

#include <string.h>

#define ENTITY "member"

enum {
    PARTS_MAX = TABLES_SET_MAX,
    PART_LIMIT_DEFAULT = 100,
    PART_LIMIT_MAX = 1000,
    MEMBERS_MAX = 1000,
    PLACE_BYTES_MAX = 1024,
};

/* One table of the view. */
struct part {
    struct table *table; /* borrowed from the view's list */
    const char *as;      /* in the arena: the definition may change under us */
    const struct snapshot *snapshot;
    size_t lookup; /* index into snapshot->schema->lookup */
    bool is_root;
    bool included;
    bool absent; /* as of a moment before the table existed */
};

/* The parts of the entity at one moment. */
struct view {
    struct tables_list list;
    struct part parts[PARTS_MAX];
    size_t count;
    size_t root; /* index into parts */
};

static void view_deinit(struct view *view)
{
    for (size_t i = 0; i < view->count; i++) {
        snapshot_release(&view->parts[i].snapshot);
    }
    tables_list_free(&view->list);
}

/* What a request wants to see. */
struct request {
    struct span *include;
    size_t include_count;
    bool include_given;
    int64_t limit;
    int64_t timestamp_us;     /* -1 = now */
    struct span after;        /* a batch to wait for */
    const char *page_part;    /* NULL = first pages; else only this part goes on … */
    struct buffer page_place; /* … behind this row */
};

static void request_deinit(struct request *request)
{
    buffer_deinit(&request->page_place);
}

/* Index of the table's lookup for the entity, or -1. */
static int lookup_of(const struct schema *schema)
{
    for (size_t i = 0; i < schema->lookup_count; i++) {
        if (strcmp(schema->lookup[i].entity, ENTITY) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static bool is_wanted(const struct request *request, const char *as)
{
    if (request->page_part != NULL) {
        return strcmp(request->page_part, as) == 0;
    }
    for (size_t i = 0; i < request->include_count; i++) {
        if (span_equal_text(request->include[i], as)) {
            return true;
        }
    }
    return !request->include_given;
}

/* The tables that are parts, as far as the caller may read them. */
static enum err_code find_parts(struct services *services, struct exchange *exchange,
                                const struct request *request, struct view *view)
{
    bool has_root = false;
    tables_list_looked_up(services->tables, &view->list);
    for (size_t i = 0; i < view->list.count && view->count < PARTS_MAX; i++) {
        struct table *table = view->list.items[i];
        CLEANUP(schema_release) struct schema *schema = table_schema(table);
        int lookup = lookup_of(schema);
        if (lookup < 0 || !access_allows(exchange->principal, "member.read", table_name(table))) {
            continue;
        }
        struct part *part = &view->parts[view->count];
        *part = (struct part){
            .table = table,
            .as = arena_text(&exchange->arena, span_of_text(schema->lookup[lookup].as)),
            .is_root = strcmp(schema->lookup[lookup].as, ENTITY) == 0,
        };
        part->included = part->is_root || is_wanted(request, part->as);
        if (part->is_root) {
            view->root = view->count;
            has_root = true;
        }
        view->count++;
    }
    if (!has_root) {
        return err_set(&exchange->err, ERR_NOT_FOUND,
                       "no table that you may read is the root of '" ENTITY
                       "': one needs a lookup {entity: " ENTITY ", as: " ENTITY "}");
    }
    return ERR_OK;
}

static enum err_code check_include(struct exchange *exchange, const struct request *request,
                                   const struct view *view)
{
    for (size_t i = 0; i < request->include_count; i++) {
        bool known = false;
        for (size_t p = 0; p < view->count; p++) {
            known = known || span_equal_text(request->include[i], view->parts[p].as);
        }
        if (!known) {
            return err_set(&exchange->err, ERR_INVALID,
                           "include: entry %zu is no part of a " ENTITY " that you may read",
                           i + 1);
        }
    }
    return ERR_OK;
}

/* All snapshots at one moment: the newest set, or each as of the timestamp. */
static enum err_code take_snapshots(struct services *services, struct exchange *exchange,
                                    const struct request *request, struct view *view)
{
    if (request->timestamp_us < 0) {
        struct table *set[PARTS_MAX];
        const struct snapshot *snapshots[PARTS_MAX];
        for (size_t i = 0; i < view->count; i++) {
            set[i] = view->parts[i].table;
        }
        tables_snapshot_set(services->tables, set, view->count, snapshots);
        for (size_t i = 0; i < view->count; i++) {
            view->parts[i].snapshot = snapshots[i];
        }
        return ERR_OK;
    }
    for (size_t i = 0; i < view->count; i++) {
        struct part *part = &view->parts[i];
        enum err_code code = table_snapshot_at_time(part->table, request->timestamp_us / 1000,
                                                    &part->snapshot, &exchange->err);
        if (code == ERR_NOT_FOUND) {
            err_clear(&exchange->err); /* the table is younger: it had no rows then */
            part->absent = true;
        } else {
            TRY(code);
        }
    }
    return ERR_OK;
}

/* A definition may have changed since find_parts: what its snapshot says counts. */
static void settle_lookups(struct view *view)
{
    for (size_t i = 0; i < view->count; i++) {
        struct part *part = &view->parts[i];
        int lookup = part->absent ? -1 : lookup_of(part->snapshot->schema);
        part->absent = lookup < 0;
        part->lookup = lookup < 0 ? 0 : (size_t)lookup;
    }
}

static enum err_code view_open(struct services *services, struct exchange *exchange,
                               const struct request *request, struct view *view)
{
    TRY(find_parts(services, exchange, request, view));
    TRY(check_include(exchange, request, view));
    TRY(take_snapshots(services, exchange, request, view));
    settle_lookups(view);
    return ERR_OK;
}

/* Rows of one part for one identifier. An identifier that is no value of the column finds nothing.
 */
static enum err_code find_rows(struct exchange *exchange, const struct part *part,
                               struct span identifier, const struct lookup_options *options,
                               struct lookup_result *result_out)
{
    if (part->absent) {
        return ERR_OK;
    }
    const struct schema *schema = part->snapshot->schema;
    const struct field *field = &schema->fields[schema->lookup[part->lookup].column];
    struct row_value value = {0};
    if (scan_value_parse(field, identifier, &exchange->arena, &value, &exchange->err) != ERR_OK) {
        if (exchange->err.code != ERR_INVALID) {
            return exchange->err.code;
        }
        err_clear(&exchange->err);
        return ERR_OK;
    }
    return lookup_value(part->snapshot, part->lookup, &value, options, result_out, &exchange->err);
}

static const char *part_token(struct services *services, struct exchange *exchange,
                              const struct part *part, struct span identifier, struct span place)
{
    struct buffer text;
    buffer_init(&text, 2 * PLACE_BYTES_MAX);
    text_base64url_encode(place, &text);
    CLEANUP(json_free) struct json *state = json_new_object();
    json_set_text(state, "part", part->as);
    json_set(state, "place", json_new_string(buffer_span(&text)));
    json_set_integer(state, "member", (int64_t)(hash_checksum(identifier) >> 1));
    buffer_deinit(&text);
    return page_token_seal(services, exchange, &state);
}

/* Append `,"prescriptions":[…]`; a token for the rest goes to *tokens, NULL before the first. */
static enum err_code write_part(struct services *services, struct exchange *exchange,
                                const struct request *request, const struct part *part,
                                struct span identifier, struct json **tokens, int64_t *rows_count)
{
    struct buffer *answer = &exchange->answer;
    const struct lookup_options options = {
        .limit = (size_t)request->limit,
        .after = request->page_part != NULL ? buffer_span(&request->page_place) : (struct span){0},
    };
    CLEANUP(lookup_result_deinit) struct lookup_result result = {0};
    TRY(find_rows(exchange, part, identifier, &options, &result));
    buffer_append_text(answer, ",\"");
    buffer_append_text(answer, part->as);
    buffer_append_text(answer, "\":[");
    for (size_t i = 0; i < result.count; i++) {
        if (i > 0) {
            buffer_append_byte(answer, ',');
        }
        TRY(encode_json_image(result.rows[i].image, part->snapshot->schema, NULL, answer,
                              &exchange->err));
    }
    buffer_append_byte(answer, ']');
    *rows_count += (int64_t)result.count;
    if (result.more && result.count > 0) {
        *tokens = *tokens != NULL ? *tokens : json_new_object();
        json_set_text(
            *tokens, part->as,
            part_token(services, exchange, part, identifier, result.rows[result.count - 1].place));
    }
    return ERR_OK;
}

static void write_versions(struct exchange *exchange, const struct view *view)
{
    struct buffer *answer = &exchange->answer;
    buffer_append_text(answer, "\"versions\":{");
    bool first = true;
    for (size_t i = 0; i < view->count; i++) {
        const struct part *part = &view->parts[i];
        if (!part->included || part->absent) {
            continue;
        }
        buffer_append_text(answer, first ? "\"" : ",\"");
        buffer_append_text(answer, table_name(part->table));
        buffer_append_text(answer, "\":");
        text_append_int64(part->snapshot->version, answer);
        first = false;
    }
    buffer_append_byte(answer, '}');
}

/*
 * The root and the included parts of one member, as members of an object that is
 * open already. Nothing is written when there is no root row.
 */
static enum err_code write_member(struct services *services, struct exchange *exchange,
                                  const struct request *request, const struct view *view,
                                  struct span identifier, bool *found_out, int64_t *rows_count)
{
    struct buffer *answer = &exchange->answer;
    const struct part *root = &view->parts[view->root];
    const struct lookup_options one = {.limit = 1};
    CLEANUP(lookup_result_deinit) struct lookup_result found = {0};
    TRY(find_rows(exchange, root, identifier, &one, &found));
    *found_out = found.count > 0;
    if (found.count == 0) {
        return ERR_OK;
    }
    buffer_append_text(answer, ",\"" ENTITY "\":");
    TRY(encode_json_image(found.rows[0].image, root->snapshot->schema, NULL, answer,
                          &exchange->err));
    *rows_count += 1;
    CLEANUP(json_free) struct json *tokens = NULL;
    for (size_t i = 0; i < view->count; i++) {
        if (!view->parts[i].is_root && view->parts[i].included) {
            TRY(write_part(services, exchange, request, &view->parts[i], identifier, &tokens,
                           rows_count));
        }
    }
    if (tokens != NULL) {
        buffer_append_text(answer, ",\"next_page_tokens\":");
        json_write(tokens, answer);
    }
    return ERR_OK;
}

static enum err_code parse_page_token(struct services *services, struct exchange *exchange,
                                      struct span identifier, struct request *request)
{
    CLEANUP(json_free) struct json *state = NULL;
    TRY(page_token_open(services, exchange, exchange_query(exchange, "page_token"), &state));
    if (state == NULL) {
        return ERR_OK;
    }
    struct span place;
    int64_t member = 0;
    const char *part = json_text(json_get(state, "part"));
    if (part == NULL || !json_as_string(json_get(state, "place"), &place) ||
        !json_as_integer(json_get(state, "member"), &member) ||
        member != (int64_t)(hash_checksum(identifier) >> 1) ||
        !text_base64url_decode(place, &request->page_place)) {
        return err_set(&exchange->err, ERR_INVALID, "page_token: it belongs to another member");
    }
    request->page_part = arena_text(&exchange->arena, span_of_text(part));
    return ERR_OK;
}

static enum err_code parse_moment(struct exchange *exchange, struct span text, int64_t *us_out)
{
    if (text.data == NULL) {
        return ERR_OK;
    }
    if (!text_parse_timestamp(text, us_out) || *us_out < 0) {
        return err_set(&exchange->err, ERR_INVALID,
                       "timestamp: give a moment since 1970 as RFC 3339 with zone");
    }
    return ERR_OK;
}

static enum err_code parse_query(struct services *services, struct exchange *exchange,
                                 struct request *request)
{
    struct span include = exchange_query(exchange, "include");
    request->include_given = include.data != NULL;
    TRY(rows_split_names(exchange, include.size > 0 ? include : (struct span){0}, &request->include,
                         &request->include_count));
    TRY(exchange_query_integer(exchange, "limit", 1, PART_LIMIT_MAX, &request->limit));
    TRY(parse_moment(exchange, exchange_query(exchange, "timestamp"), &request->timestamp_us));
    request->after = exchange_query(exchange, "after");
    return parse_page_token(services, exchange, exchange->parameters[0], request);
}

static enum err_code answer_member(struct services *services, struct exchange *exchange,
                                   const struct request *request, struct view *view)
{
    struct span identifier = exchange->parameters[0];
    struct buffer *answer = &exchange->answer;
    TRY(view_open(services, exchange, request, view));
    buffer_append_text(answer, "{\"" ENTITY "_id\":");
    json_write_string(answer, identifier);
    buffer_append_byte(answer, ',');
    write_versions(exchange, view);
    bool found = false;
    int64_t rows_count = 0;
    TRY(write_member(services, exchange, request, view, identifier, &found, &rows_count));
    buffer_append_byte(answer, '}');
    TRY(buffer_check(answer, "the answer; ask for fewer parts or a smaller limit", &exchange->err));
    TRY(access_audit_read(services, exchange, "member.read", ENTITY, &identifier, 1, rows_count));
    exchange->log_records = rows_count;
    if (!found) {
        return err_set(&exchange->err, ERR_NOT_FOUND, "there is no such " ENTITY);
    }
    return ERR_OK;
}

/* 200 with the answer that was written, or 304 when the caller holds it. */
static enum handler_result finish_member(struct exchange *exchange)
{
    if (exchange_is_current(exchange,
                            exchange_set_etag(exchange, buffer_span(&exchange->answer)))) {
        exchange_answer_empty(exchange, 304);
        return HANDLER_DONE;
    }
    exchange->status = 200;
    return HANDLER_DONE;
}

/* Would this request read the catalog or old log files? Then not on the network thread. */
static bool must_move(const struct exchange *exchange, const struct request *request)
{
    return !exchange->on_door_thread && (request->after.data != NULL || request->timestamp_us >= 0);
}

enum handler_result handle_member_get(struct services *services, struct exchange *exchange)
{
    CLEANUP(request_deinit)
    struct request request = {.limit = PART_LIMIT_DEFAULT, .timestamp_us = -1};
    buffer_init(&request.page_place, PLACE_BYTES_MAX);
    if (parse_query(services, exchange, &request) != ERR_OK) {
        return problem_err(exchange);
    }
    if (must_move(exchange, &request)) {
        return HANDLER_DEFER;
    }
    bool visible = true;
    struct id waited_table;
    if (rows_after_is_visible(services, exchange, request.after, &waited_table, &visible) !=
        ERR_OK) {
        return problem_err(exchange);
    }
    if (!visible) {
        return rows_wait_for(services, exchange, request.after, &waited_table, handle_member_get);
    }
    CLEANUP(view_deinit) struct view view = {0};
    if (answer_member(services, exchange, &request, &view) != ERR_OK) {
        return problem_err(exchange);
    }
    return finish_member(exchange);
}

/* ---- many at once ---- */

static enum err_code parse_body(struct exchange *exchange, const struct json *body,
                                struct request *request, struct span **identifiers_out,
                                size_t *count_out)
{
    static const char *const names[] = {"member_ids", "include",   "limit",
                                        "after",      "timestamp", NULL};
    TRY(json_check_names(body, "", names, &exchange->err));
    const struct json *ids = json_get(body, "member_ids");
    size_t count = json_count(ids);
    if (json_kind(ids) != JSON_KIND_ARRAY || count == 0 || count > MEMBERS_MAX) {
        return err_set(&exchange->err, ERR_INVALID, "/member_ids: give an array of 1 to %d texts",
                       MEMBERS_MAX);
    }
    const struct json *include = json_get(body, "include");
    request->include_given = include != NULL;
    request->include_count = json_count(include);
    struct span *identifiers = arena_alloc(&exchange->arena, count * sizeof *identifiers);
    request->include =
        arena_alloc(&exchange->arena, (request->include_count + 1) * sizeof *request->include);
    if (identifiers == NULL || request->include == NULL) {
        return err_set(&exchange->err, ERR_TOO_LARGE, "the body names too much; ask for less");
    }
    for (size_t i = 0; i < count; i++) {
        if (!json_as_string(json_at(ids, i), &identifiers[i]) || identifiers[i].size == 0) {
            return err_set(&exchange->err, ERR_INVALID, "/member_ids/%zu: give a text", i);
        }
    }
    for (size_t i = 0; i < request->include_count; i++) {
        if (!json_as_string(json_at(include, i), &request->include[i])) {
            return err_set(&exchange->err, ERR_INVALID, "/include/%zu: give the name of a part", i);
        }
    }
    const struct json *limit = json_get(body, "limit");
    if (limit != NULL && (!json_as_integer(limit, &request->limit) || request->limit < 1 ||
                          request->limit > PART_LIMIT_MAX)) {
        return err_set(&exchange->err, ERR_INVALID, "/limit: give a whole number from 1 to %d",
                       PART_LIMIT_MAX);
    }
    struct span text;
    if (json_as_string(json_get(body, "timestamp"), &text)) {
        TRY(parse_moment(exchange, text, &request->timestamp_us));
    }
    request->after = json_as_string(json_get(body, "after"), &text)
                         ? span_of_text(arena_text(&exchange->arena, text))
                         : exchange_query(exchange, "after");
    *identifiers_out = identifiers;
    *count_out = count;
    return ERR_OK;
}

static enum err_code answer_members(struct services *services, struct exchange *exchange,
                                    const struct request *request, const struct span *identifiers,
                                    size_t count, struct view *view)
{
    struct buffer *answer = &exchange->answer;
    TRY(view_open(services, exchange, request, view));
    buffer_append_byte(answer, '{');
    write_versions(exchange, view);
    buffer_append_text(answer, ",\"members\":[");
    int64_t rows_count = 0;
    for (size_t i = 0; i < count; i++) {
        buffer_append_text(answer, i > 0 ? ",{\"" ENTITY "_id\":" : "{\"" ENTITY "_id\":");
        json_write_string(answer, identifiers[i]);
        bool found = false;
        TRY(write_member(services, exchange, request, view, identifiers[i], &found, &rows_count));
        buffer_append_text(answer, found ? ",\"found\":true}" : ",\"found\":false}");
    }
    buffer_append_text(answer, "]}");
    TRY(buffer_check(answer, "the answer; ask for fewer members or a smaller limit",
                     &exchange->err));
    exchange->log_records = rows_count;
    return access_audit_read(services, exchange, "member.read", ENTITY, identifiers, count,
                             rows_count);
}

enum handler_result handle_member_lookup(struct services *services, struct exchange *exchange)
{
    struct request request = {.limit = PART_LIMIT_DEFAULT, .timestamp_us = -1};
    struct span *identifiers = NULL;
    size_t count = 0;
    CLEANUP(json_free) struct json *body = NULL;
    if (exchange_body_json(exchange, &body) != ERR_OK ||
        parse_body(exchange, body, &request, &identifiers, &count) != ERR_OK) {
        return problem_err(exchange);
    }
    if (must_move(exchange, &request)) {
        return HANDLER_DEFER;
    }
    bool visible = true;
    struct id waited_table;
    if (rows_after_is_visible(services, exchange, request.after, &waited_table, &visible) !=
        ERR_OK) {
        return problem_err(exchange);
    }
    if (!visible) {
        return rows_wait_for(services, exchange, request.after, &waited_table,
                             handle_member_lookup);
    }
    CLEANUP(view_deinit) struct view view = {0};
    if (answer_members(services, exchange, &request, identifiers, count, &view) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange->status = 200;
    return HANDLER_DONE;
}

/*
 * Principals and their roles: /v1/principals, /v1/roles, /v1/access/explain.
 */
#include "generated/operations.h"

#include "handlers/access_audit.h"
#include "handlers/page_token.h"
#include "handlers/problem.h"
#include "handlers/times.h"
#include "storage/catalog/access.h"

#include <string.h>

static struct json *assignments_to_json(const struct principal_record *record)
{
    struct json *roles = json_new_array();
    for (size_t i = 0; i < record->assignments_count; i++) {
        const struct access_assignment *assignment = &record->assignments[i];
        size_t tables = assignment->scope_count > 0 ? assignment->scope_count : 1;
        for (size_t t = 0; t < tables; t++) {
            struct json *role = json_new_object();
            json_set_text(role, "role", assignment->role);
            json_set_text(role, "table", assignment->scope_count > 0 ? assignment->scope[t] : "*");
            json_append(roles, role);
        }
    }
    return roles;
}

static struct json *principal_to_json(const struct principal_record *record)
{
    struct json *json = json_new_object();
    json_set_text(json, "principal_id", record->id.text);
    json_set_text(json, "name", record->name);
    json_set_text(json, "kind", record->kind == PRINCIPAL_HUMAN ? "human" : "service");
    json_set_boolean(json, "disabled", record->disabled);
    times_set(json, "created_at", record->created_at_us);
    json_set(json, "roles", assignments_to_json(record));
    return json;
}

/* The body's `roles` as assignments in the arena, one each. */
static enum err_code parse_roles(struct exchange *exchange, const struct json *roles,
                                 struct access_assignment **assignments_out, size_t *count_out)
{
    static const char *const names[] = {"role", "table", NULL};
    size_t count = json_count(roles);
    if (json_kind(roles) != JSON_KIND_ARRAY && roles != NULL) {
        return err_set(&exchange->err, ERR_INVALID, "/roles: give an array of {role, table}");
    }
    if (count > ACCESS_ASSIGNMENTS_MAX) {
        return err_set(&exchange->err, ERR_TOO_LARGE, "/roles: at most %d", ACCESS_ASSIGNMENTS_MAX);
    }
    struct access_assignment *assignments =
        arena_alloc(&exchange->arena, (count + 1) * sizeof *assignments);
    const char **scopes = arena_alloc(&exchange->arena, (count + 1) * sizeof *scopes);
    if (assignments == NULL || scopes == NULL) {
        return err_set(&exchange->err, ERR_TOO_LARGE, "/roles: too many");
    }
    for (size_t i = 0; i < count; i++) {
        const struct json *item = json_at(roles, i);
        TRY(json_check_names(item, "/roles", names, &exchange->err));
        const char *role = json_text(json_get(item, "role"));
        const struct json *table = json_get(item, "table");
        scopes[i] = table == NULL ? "*" : json_text(table);
        if (role == NULL || scopes[i] == NULL) {
            return err_set(&exchange->err, ERR_INVALID,
                           "/roles/%zu: give `role`, and `table` as a name or \"*\"", i);
        }
        assignments[i] = (struct access_assignment){
            .role = role,
            .scope_count = strcmp(scopes[i], "*") == 0 ? 0 : 1,
            .scope = &scopes[i],
        };
    }
    *assignments_out = assignments;
    *count_out = count;
    return ERR_OK;
}

/* Answer with the principal as it is stored now. */
static enum handler_result answer_principal(struct services *services, struct exchange *exchange,
                                            int status, const char *name)
{
    struct principal_record record;
    if (principal_get(services->catalog, name, &exchange->arena, &record, &exchange->err) !=
        ERR_OK) {
        return problem_err(exchange);
    }
    CLEANUP(json_free) struct json *json = principal_to_json(&record);
    exchange_answer_json(exchange, status, &json);
    return HANDLER_DONE;
}

static enum err_code create_principal(struct services *services, struct exchange *exchange,
                                      const struct json *body, const char **name_out)
{
    static const char *const names[] = {"name", "kind", "roles", NULL};
    TRY(json_check_names(body, "", names, &exchange->err));
    const char *name = json_text(json_get(body, "name"));
    const char *kind = json_text(json_get(body, "kind"));
    if (name == NULL) {
        return err_set(&exchange->err, ERR_INVALID, "/name: give the principal's name");
    }
    if (kind != NULL && strcmp(kind, "human") != 0 && strcmp(kind, "service") != 0) {
        return err_set(&exchange->err, ERR_INVALID, "/kind: give \"human\" or \"service\"");
    }
    struct access_assignment *assignments = NULL;
    size_t count = 0;
    TRY(parse_roles(exchange, json_get(body, "roles"), &assignments, &count));
    struct id id;
    TRY(principal_create(services->catalog, name,
                         kind != NULL && strcmp(kind, "human") == 0 ? PRINCIPAL_HUMAN
                                                                    : PRINCIPAL_SERVICE,
                         assignments, count, &id, &exchange->err));
    *name_out = arena_text(&exchange->arena, span_of_text(name));
    return access_audit_change(services, exchange, "principal.create", name);
}

enum handler_result handle_principal_create(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *body = NULL;
    if (exchange_body_json(exchange, &body) != ERR_OK) {
        return problem_err(exchange);
    }
    const char *name = NULL;
    if (create_principal(services, exchange, body, &name) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_set_header(exchange, "Location", "/v1/principals/%s", name);
    return answer_principal(services, exchange, 201, name);
}

enum handler_result handle_principal_get(struct services *services, struct exchange *exchange)
{
    const char *name = arena_text(&exchange->arena, exchange->parameters[0]);
    return answer_principal(services, exchange, 200, name);
}

/*
 * Would this change leave nobody who administers? The change is refused then,
 * because the way back would need the files.
 */
static enum err_code keep_an_administrator(struct services *services, struct exchange *exchange,
                                           const struct principal_record *changed,
                                           const struct access_assignment *assignments,
                                           size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(assignments[i].role, "admin") == 0 && assignments[i].scope_count == 0) {
            return ERR_OK;
        }
    }
    const char *after = NULL;
    for (;;) {
        struct principal_record *records = NULL;
        size_t records_count = 0;
        TRY(principal_list(services->catalog, after, 100, &exchange->arena, &records,
                           &records_count, &exchange->err));
        for (size_t i = 0; i < records_count; i++) {
            if (records[i].disabled || strcmp(records[i].id.text, changed->id.text) == 0) {
                continue;
            }
            for (size_t a = 0; a < records[i].assignments_count; a++) {
                if (strcmp(records[i].assignments[a].role, "admin") == 0 &&
                    records[i].assignments[a].scope_count == 0) {
                    return ERR_OK;
                }
            }
        }
        if (records_count < 100) {
            return err_set(&exchange->err, ERR_CONFLICT,
                           "this is the last administrator; give somebody else the role first");
        }
        after = records[records_count - 1].name;
    }
}

static enum err_code replace_roles(struct services *services, struct exchange *exchange,
                                   const struct json *body, const char *name)
{
    static const char *const names[] = {"roles", NULL};
    TRY(json_check_names(body, "", names, &exchange->err));
    struct access_assignment *assignments = NULL;
    size_t count = 0;
    TRY(parse_roles(exchange, json_get(body, "roles"), &assignments, &count));
    struct principal_record record;
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&services->roles);
    TRY(principal_get(services->catalog, name, &exchange->arena, &record, &exchange->err));
    TRY(keep_an_administrator(services, exchange, &record, assignments, count));
    TRY(principal_update(services->catalog, &record.id, record.disabled, assignments, count,
                         &exchange->err));
    return access_audit_change(services, exchange, "principal.roles", record.name);
}

enum handler_result handle_principal_roles_put(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *body = NULL;
    const char *name = arena_text(&exchange->arena, exchange->parameters[0]);
    if (exchange_body_json(exchange, &body) != ERR_OK ||
        replace_roles(services, exchange, body, name) != ERR_OK) {
        return problem_err(exchange);
    }
    return answer_principal(services, exchange, 200, name);
}

static enum err_code list_principals(struct services *services, struct exchange *exchange,
                                     struct json **answer_out)
{
    int64_t limit = 100;
    TRY(exchange_query_integer(exchange, "limit", 1, 10000, &limit));
    CLEANUP(json_free) struct json *state = NULL;
    TRY(page_token_open(services, exchange, exchange_query(exchange, "page_token"), &state));
    struct principal_record *records = NULL;
    size_t count = 0;
    TRY(principal_list(services->catalog, json_text(json_get(state, "after")), (size_t)limit,
                       &exchange->arena, &records, &count, &exchange->err));

    struct json *answer = json_new_object();
    struct json *principals = json_new_array();
    for (size_t i = 0; i < count; i++) {
        json_append(principals, principal_to_json(&records[i]));
    }
    json_set(answer, "principals", principals);
    const char *next = NULL;
    if (count == (size_t)limit) {
        CLEANUP(json_free) struct json *after = json_new_object();
        json_set_text(after, "after", records[count - 1].name);
        next = page_token_seal(services, exchange, &after);
    }
    json_set_text(answer, "next_page_token", next);
    *answer_out = answer;
    return ERR_OK;
}

enum handler_result handle_principal_list(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *answer = NULL;
    if (list_principals(services, exchange, &answer) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, 200, &answer);
    return HANDLER_DONE;
}

enum handler_result handle_role_list(struct services *services, struct exchange *exchange)
{
    (void)services; /* roles are built in */
    size_t count = 0;
    const struct access_role *roles = access_roles(&count);
    CLEANUP(json_free) struct json *answer = json_new_object();
    struct json *list = json_new_array();
    for (size_t i = 0; i < count; i++) {
        struct json *role = json_new_object();
        json_set_text(role, "name", roles[i].name);
        json_set_text(role, "description", roles[i].description);
        struct json *actions = json_new_array();
        for (const char *const *action = roles[i].actions; *action != NULL; action++) {
            json_append(actions, json_new_text(*action));
        }
        json_set(role, "actions", actions);
        json_append(list, role);
    }
    json_set(answer, "roles", list);
    exchange_answer_json(exchange, 200, &answer);
    return HANDLER_DONE;
}

/* One sentence for each reason; never more than what the roles themselves say. */
static struct json *reasons_of(const struct access_explanation *explanation, const char *action,
                               const char *table)
{
    struct json *reasons = json_new_array();
    struct buffer text;
    buffer_init(&text, 1024);
    if (explanation->allowed) {
        buffer_append_format(&text, "role %s on table %s grants %s", explanation->role,
                             explanation->scope, explanation->grant);
    } else {
        buffer_append_format(&text, "no role grants %s%s%s", action, table != NULL ? " on " : "",
                             table != NULL ? table : "");
    }
    json_append(reasons, json_new_string(buffer_span(&text)));
    buffer_deinit(&text);
    return reasons;
}

enum handler_result handle_access_explain(struct services *services, struct exchange *exchange)
{
    const char *name = arena_text(&exchange->arena, exchange_query(exchange, "principal"));
    const char *action = arena_text(&exchange->arena, exchange_query(exchange, "action"));
    struct span resource = exchange_query(exchange, "resource");
    const char *table = resource.data != NULL ? arena_text(&exchange->arena, resource) : NULL;

    CLEANUP(access_release) struct access_identity identity = {0};
    if (access_find(services->catalog, name, &identity, &exchange->err) != ERR_OK) {
        return problem_err(exchange);
    }
    struct access_explanation explanation = {0};
    access_explain(identity.principal, action, table, &explanation);

    CLEANUP(json_free) struct json *answer = json_new_object();
    json_set_text(answer, "principal", identity.principal->name);
    json_set_text(answer, "action", action);
    json_set_text(answer, "resource", table);
    json_set_boolean(answer, "allowed", explanation.allowed);
    json_set(answer, "reasons", reasons_of(&explanation, action, table));
    exchange_answer_json(exchange, 200, &answer);
    return HANDLER_DONE;
}

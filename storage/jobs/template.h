/*
 * References in the strings of a task's body: {{tasks.load.values.rows}}. Expansion
 * is one pass over the definition's own text; what is inserted is never looked at
 * again, so that a value from outside cannot make up a reference.
 *
 * A string that is one reference and nothing else becomes the referenced JSON value;
 * inside a longer string the value is inserted as text: strings as they are, others
 * as JSON. Spaces inside the braces do not matter. "{{" always begins a reference; a
 * text that needs one literally takes it from a parameter.
 *
 *   {{tasks.KEY.values.NAME}} {{tasks.KEY.result}} {{job.parameters.NAME}} {{job.id}}
 *   {{run.id}} {{run.trigger_time}} {{run.start_time}} {{input}} {{input.field.field}}
 *   {{secrets.NAME}}
 *
 * Secrets are not expanded here: their references leave template_expand with a mark
 * that nobody outside can guess, and template_open_secrets, called by the task just
 * before the request, opens marked ones only.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/json.h"

#include <stdbool.h>
#include <stddef.h>

struct buffer;

enum {
    TEMPLATE_REFERENCE_BYTES_MAX = 512, /* between the braces */
    TEMPLATE_BYTES_MAX = 16 << 20,      /* all strings and inserted values of one expansion */
    TEMPLATE_MARK_BYTES = 16,           /* hex digits of a secret's mark */
};

enum template_kind {
    TEMPLATE_TASK_VALUE,    /* key, name */
    TEMPLATE_TASK_RESULT,   /* key */
    TEMPLATE_JOB_PARAMETER, /* name */
    TEMPLATE_JOB_ID,
    TEMPLATE_RUN_ID,
    TEMPLATE_RUN_TRIGGER_TIME,
    TEMPLATE_RUN_START_TIME,
    TEMPLATE_INPUT,  /* name: the path behind "input.", empty = the whole */
    TEMPLATE_SECRET, /* name */
};

/* Spans are borrowed from the text that holds the reference. */
struct template_reference {
    enum template_kind kind;
    struct span key;
    struct span name;
    struct span text; /* "tasks.load.values.rows", for messages */
    bool whole;       /* the string is this reference and nothing else */
};

/* Called for each reference; `pointer` is that of the string, below the value's root. */
typedef enum err_code template_visit_fn(void *arg, const char *pointer,
                                        const struct template_reference *reference,
                                        struct err *err);
/* Called for what begins as a reference and is none: unclosed braces, unknown words. */
typedef void template_broken_fn(void *arg, const char *pointer, const char *message);

/*
 * Every reference in the strings below `value` (member names are no templates), in document order.
 *
 *   broken  told of malformed references; not NULL
 *
 * Errors:  those of `visit`, which end the walk.
 */
enum err_code template_list(const struct json *value, template_visit_fn *visit,
                            template_broken_fn *broken, void *arg, struct err *err) MUST_USE;

/*
 * The value of a reference that is no secret: a new JSON value.
 * Errors:  ERR_INVALID there is none; the message names the reference.
 */
typedef enum err_code template_resolve_fn(void *arg, const struct template_reference *reference,
                                          struct json **value_out, struct err *err);

struct template_scope {
    template_resolve_fn *resolve;
    void *arg;
    char mark[TEMPLATE_MARK_BYTES + 1]; /* of this attempt's secrets; "" = secrets are refused */
};

/* A fresh random mark. */
void template_mark_make(char mark_out[TEMPLATE_MARK_BYTES + 1]);

/*
 * A copy of `value` with every reference replaced.
 *
 *   value_out  json_free
 *
 * Errors:  ERR_INVALID a malformed or unknown reference, by name; ERR_TOO_LARGE
 *          TEMPLATE_BYTES_MAX; those of resolve.
 */
enum err_code template_expand(const struct json *value, const struct template_scope *scope,
                              struct json **value_out, struct err *err) MUST_USE;

/* Appends the secret's text. Errors: ERR_NOT_FOUND by name. */
typedef enum err_code template_secret_fn(void *arg, struct span name, struct buffer *text,
                                         struct err *err);

/*
 * Replace the secret references that carry `mark`; all other text stays as it is.
 *
 *   mark  as in the scope of template_expand; "": those of text that was never expanded
 *         (a webhook's secret)
 *
 * Memory:  the caller wipes text_out (secret_wipe), after a failure too.
 * Errors:  those of `secret`; ERR_TOO_LARGE the ceiling of text_out.
 */
enum err_code template_open_secrets(struct span text, const char *mark, template_secret_fn *secret,
                                    void *arg, struct buffer *text_out, struct err *err) MUST_USE;

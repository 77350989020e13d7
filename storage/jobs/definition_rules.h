/*
 * Rules: tables that say what an object of a definition may hold. One walk over
 * them checks a client's JSON, collects every error and writes the canonical form.
 * The tables of jobs are in definition_job.c, those of task types in
 * definition_tasks.c; the walk is in definition_normalize.c. Private to the room.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/json.h"
#include "storage/jobs/definition.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rule_kind {
    RULE_STRING,
    RULE_INTEGER,
    RULE_NUMBER, /* integer or real */
    RULE_BOOLEAN,
    RULE_CHOICE, /* a string of `choices` */
    RULE_SCALAR, /* string, number or boolean */
    RULE_ANY,
    RULE_OBJECT, /* by `object` */
    RULE_ARRAY,  /* of `items` */
    RULE_MAP,    /* an object of free names, each by `items` */
};

enum rule_flag {
    RULE_REQUIRED = 1 << 0,
    RULE_KEY = 1 << 1,          /* strings, names of a map: A–Z a–z 0–9 _ - */
    RULE_TEMPLATE = 1 << 2,     /* references are expanded; other kinds than strings take a
                                   string that is one reference and nothing else */
    RULE_SECRET = 1 << 3,       /* … those to secrets, too */
    RULE_NEEDS_SECRET = 1 << 4, /* and there must be one: what stands here is shown to readers */
    RULE_UNIQUE = 1 << 5,       /* items of an array: no two strings are equal */
};

enum { RULE_MESSAGE_BYTES = 256 };

/* Is the text well formed? Else what it must be, as "must be …". */
typedef bool rule_format_fn(const char *text, char message_out[RULE_MESSAGE_BYTES]);

struct normalizer;
struct object_rule;

/* A choice and the other word it is also known by (NULL = none). */
struct rule_choice {
    const char *name;
    const char *alias;
};

struct field_rule {
    const char *name;
    enum rule_kind kind;
    unsigned flags; /* enum rule_flag */
    /* strings: bytes; numbers: value; arrays, maps: count. Both 0: strings and counts without limit
     * of their own, numbers from 0. */
    int64_t minimum, maximum;
    const char *fallback; /* JSON text of the default; NULL = none */
    rule_format_fn *format;
    const struct rule_choice *choices; /* ends with a NULL name */
    const struct object_rule *object;
    const struct field_rule *items;
    /* RULE_ANY: tells what is wrong with it; NULL = anything goes. */
    void (*look)(struct normalizer *normalizer, const struct json *value);
};

struct object_rule {
    const struct field_rule *fields; /* ends with a NULL name */
    /* A field of strings that selects further fields; NULL = none. */
    const char *selector;
    const char *selector_code; /* of the problem of an unknown word */
    const struct rule_variant *variants;
    /* Looks at what was given as a whole; NULL = nothing to look at. */
    void (*check)(struct normalizer *normalizer, const struct json *given);
};

struct rule_variant {
    const char *name; /* NULL ends the list */
    const struct object_rule *rule;
};

/* One walk. */
struct normalizer {
    struct definition_problems *problems;
    struct buffer pointer; /* where the walk is */
    bool expanded;         /* templates were expanded: "{{" means nothing any more */
};

void normalizer_init(struct normalizer *normalizer, struct definition_problems *problems);
void normalizer_deinit(struct normalizer *normalizer);

/*
 * A canonical copy of `given`: known members in the order of the rule, defaults filled in.
 * What is wrong is told to the problems and left out.
 *
 * Returns an object always; json_free.
 */
struct json *rule_normalize(struct normalizer *normalizer, const struct object_rule *rule,
                            const struct json *given);

/* A problem at the walk's place, or at `member` below it. */
void normalizer_tell(struct normalizer *normalizer, const char *member, const char *code,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Is the member there, and not null? */
static inline bool rule_has(const struct json *object, const char *name)
{
    return json_kind(json_get(object, name)) != JSON_KIND_NULL;
}

/* Is there a {{reference}} in the strings of a value? */
bool rule_has_reference(const struct json *value);

/* ---- words of the tables ---- */

#define RULE_END                                                                                   \
    {                                                                                              \
        .name = NULL                                                                               \
    }
#define RULE_FIELDS(...)                                                                           \
    .fields = (const struct field_rule[])                                                          \
    {                                                                                              \
        __VA_ARGS__, RULE_END                                                                      \
    }
#define RULE_CHOICES(...)                                                                          \
    (const struct rule_choice[])                                                                   \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            NULL, NULL                                                                             \
        }                                                                                          \
    }

enum { RULE_TABLE_BYTES_MAX = 128, RULE_COLUMNS_MAX = 1000, RULE_COLUMN_BYTES_MAX = 256 };

#define RULE_TABLE(flags_)                                                                         \
    {                                                                                              \
        "table", RULE_STRING, .flags = RULE_TEMPLATE | (flags_), .minimum = 1,                     \
                              .maximum = RULE_TABLE_BYTES_MAX, .format = definition_table_format   \
    }
#define RULE_COLUMNS(flags_)                                                                       \
    {                                                                                              \
        "columns", RULE_ARRAY, .flags = RULE_TEMPLATE | RULE_UNIQUE | (flags_),                    \
                               .items = &definition_column_item, .minimum = 1,                     \
                               .maximum = RULE_COLUMNS_MAX                                         \
    }
#define RULE_COLUMN(flags_)                                                                        \
    {                                                                                              \
        "column", RULE_STRING, .flags = RULE_TEMPLATE | (flags_), .minimum = 1,                    \
                               .maximum = RULE_COLUMN_BYTES_MAX                                    \
    }

extern const struct field_rule definition_column_item;

/* http:// or https://, a host, no spaces, no user information. */
rule_format_fn definition_url_format;
/* A JSON pointer. */
rule_format_fn definition_pointer_format;
/* The name of a table here. */
rule_format_fn definition_table_format;

/* ---- the tables ---- */

extern const struct object_rule definition_job_rule;
extern const struct object_rule definition_one_off_rule; /* POST /v1/runs */
extern const struct object_rule definition_task_rule;

/* The rule of the object named after the type. */
const struct object_rule *definition_body_rule(enum job_task_type type);

/* In the order of enum job_run_if and of enum job_condition_op. */
extern const struct rule_choice definition_run_if_choices[];
extern const struct rule_choice definition_condition_choices[];

/* Objects of definition_remote.c: where data come from, where they go, and calls. */
extern const struct object_rule definition_source_rule;
extern const struct object_rule definition_destination_rule;
extern const struct object_rule definition_http_request_rule;

/* 1 to DEFINITION_KEY_BYTES_MAX of A–Z a–z 0–9 _ - */
bool definition_key_is_valid(struct span text);

/*
 * The lexical half of the JSON decoder: strings, and values that are skipped but
 * must be well formed. Knows no schema; private to decode_json*.c.
 *
 * Functions that take a position return the one after what they read, or NULL
 * after json_stop said why.
 */
#pragma once

#include "storage/columns/decode.h"
#include "storage/columns/decode_scan.h"

struct decoder;

/*
 * Bytes are read up to `end`. Inside an NDJSON line that is the line's end: the
 * scans may look further, as far as `readable_end`, because the line feed stops
 * every one of them.
 */
struct json_parser {
    struct decoder *decoder; /* of the record half, decode_json.c */
    size_t previous;         /* its index of the field read last, which predicts the next */
    const uint8_t *body;
    const uint8_t *end;
    const uint8_t *readable_end;
    struct buffer unescaped; /* the last text that had escapes */
    /* why parsing stopped; set when a function returns NULL */
    const uint8_t *fault_at;
    const char *fault;
    bool too_deep;
};

/* A string as read: borrowed from the body or from `unescaped` until the next one. */
struct json_token {
    struct span text;
    bool ascii;
    const char *refused; /* NULL, or why this well-formed JSON string cannot be a value */
};

/* The byte at `p`, or 0, which no JSON has outside of strings, at the end. */
static inline uint8_t json_peek(const struct json_parser *parser, const uint8_t *p)
{
    return p < parser->end ? *p : 0;
}

static inline const uint8_t *json_skip_space(const struct json_parser *parser, const uint8_t *p)
{
    while (p < parser->end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;
    }
    return p;
}

/* Note where and why parsing stops; returns NULL. */
const uint8_t *json_stop(struct json_parser *parser, const uint8_t *at, const char *why)
    __attribute__((cold));

/* The rest of a string that starts at `start` and has its first escape, or fault, at `p`. */
const uint8_t *json_read_escaped_string(struct json_parser *parser, const uint8_t *start,
                                        const uint8_t *p, bool high, struct json_token *text);

/* `p` is after the opening quote; returns the byte after the closing one. */
static inline const uint8_t *json_read_string(struct json_parser *parser, const uint8_t *p,
                                              struct json_token *text)
{
    const uint8_t *start = p;
    bool high = false;
    p = scan_json_text(p, parser->readable_end, &high);
    if (__builtin_expect(json_peek(parser, p) == '"', 1)) {
        *text = (struct json_token){.text = span_of(start, (size_t)(p - start)), .ascii = !high};
        return p + 1;
    }
    return json_read_escaped_string(parser, start, p, high, text);
}

/* "null", "true" or "false". */
const uint8_t *json_skip_word(struct json_parser *parser, const uint8_t *p, const char *word);

/* Any value; `depth` containers are open around it. Sets too_deep past DECODE_DEPTH_MAX. */
const uint8_t *json_skip_value(struct json_parser *parser, const uint8_t *p, int depth);

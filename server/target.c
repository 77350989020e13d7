/* Strict reading of the request target; see target.h. */
#include "server/target.h"

#include "storage/base/buffer.h"
#include "storage/base/text.h"

#include <assert.h>
#include <string.h>

enum { TARGET_BYTES_MAX = 8 << 10 };

void target_split(struct span target, struct span *path_out, struct span *query_out)
{
    if (target.size > 0 && target.data[0] != '/') {
        /* spec: RFC 9112 section 3.2.2 — the absolute form names scheme and authority too */
        const uint8_t *scheme_end = memmem(target.data, target.size, "://", 3);
        const uint8_t *from = scheme_end != NULL ? scheme_end + 3 : target.data + target.size;
        size_t left = target.size - (size_t)(from - target.data);
        const uint8_t *slash = left > 0 ? memchr(from, '/', left) : NULL;
        target = slash != NULL ? span_of(slash, left - (size_t)(slash - from)) : (struct span){0};
    }
    const uint8_t *mark = target.size > 0 ? memchr(target.data, '?', target.size) : NULL;
    if (mark == NULL) {
        *path_out = target;
        *query_out = (struct span){0};
        return;
    }
    size_t path_size = (size_t)(mark - target.data);
    *path_out = span_of(target.data, path_size);
    *query_out = span_of(mark + 1, target.size - path_size - 1);
}

/* Decoded text in the arena; data NULL when it is not sound or the arena is full. */
static struct span decode(struct arena *arena, struct span text, bool plus_is_space)
{
    struct buffer decoded;
    buffer_init(&decoded, TARGET_BYTES_MAX);
    struct span result = {0};
    if (text_percent_decode(text, plus_is_space, &decoded) && !decoded.overflowed &&
        text_is_utf8(buffer_span(&decoded), &(size_t){0})) {
        const char *copy = arena_text(arena, buffer_span(&decoded));
        if (copy != NULL) {
            result = span_of(copy, decoded.size);
        }
    }
    buffer_deinit(&decoded);
    return result;
}

bool target_path_is_sound(struct span path)
{
    if (path.size == 0 || memchr(path.data, '%', path.size) == NULL) {
        return true; /* the guard lets only visible ASCII pass */
    }
    struct buffer decoded;
    buffer_init(&decoded, TARGET_BYTES_MAX);
    bool sound = text_percent_decode(path, false, &decoded) && !decoded.overflowed &&
                 text_is_utf8(buffer_span(&decoded), &(size_t){0});
    buffer_deinit(&decoded);
    return sound;
}

enum err_code target_decode_parameters(const struct route_match *match, struct exchange *exchange)
{
    for (size_t i = 0; i < match->parameters_count; i++) {
        struct span value = decode(&exchange->arena, match->parameters[i], false);
        if (value.data == NULL) {
            return err_set(&exchange->err, ERR_TOO_LARGE, "the path is too long");
        }
        if (span_equal_text(value, ".") || span_equal_text(value, "..")) {
            return err_set(&exchange->err, ERR_NOT_FOUND, "there is no such path");
        }
        exchange->parameters[i] = value;
    }
    return ERR_OK;
}

static int find_name(const struct route *route, struct span name)
{
    for (int i = 0; route->query_names[i] != NULL; i++) {
        if (span_equal_text(name, route->query_names[i])) {
            return i;
        }
    }
    return -1;
}

static enum err_code add_pair(struct exchange *exchange, struct span pair)
{
    const uint8_t *equals = memchr(pair.data, '=', pair.size);
    size_t name_size = equals != NULL ? (size_t)(equals - pair.data) : pair.size;
    struct span name = decode(&exchange->arena, span_of(pair.data, name_size), true);
    struct span raw = equals != NULL ? span_of(equals + 1, pair.size - name_size - 1)
                                     : span_of(pair.data + pair.size, 0);
    struct span value = decode(&exchange->arena, raw, true);
    if (name.data == NULL || value.data == NULL) {
        return err_set(&exchange->err, ERR_INVALID,
                       "the query has a broken escape or is not UTF-8");
    }
    int index = find_name(exchange->route, name);
    if (index < 0) {
        return err_set(&exchange->err, ERR_INVALID,
                       "the operation does not have one of the query parameters given; see "
                       "/docs#%s for those it has",
                       exchange->route->operation_id);
    }
    bool repeatable = (exchange->route->query_repeatable >> index & 1) != 0;
    if (!repeatable && exchange_query(exchange, exchange->route->query_names[index]).data != NULL) {
        return err_set(&exchange->err, ERR_INVALID, "query parameter '%s' is given twice",
                       exchange->route->query_names[index]);
    }
    if (exchange->query_count == EXCHANGE_QUERY_MAX) {
        return err_set(&exchange->err, ERR_INVALID, "more than %d query parameters",
                       EXCHANGE_QUERY_MAX);
    }
    exchange->query[exchange->query_count] = (struct exchange_pair){name, value};
    exchange->query_count++;
    return ERR_OK;
}

enum err_code target_decode_query(struct span query, struct exchange *exchange)
{
    while (query.size > 0) {
        const uint8_t *ampersand = memchr(query.data, '&', query.size);
        size_t size = ampersand != NULL ? (size_t)(ampersand - query.data) : query.size;
        if (size > 0) {
            TRY(add_pair(exchange, span_of(query.data, size)));
        }
        size_t used = ampersand != NULL ? size + 1 : size;
        query = span_of(query.data + used, query.size - used);
    }
    return ERR_OK;
}

/*
 * The place in a walk. See source_http_place.h.
 */
#include "workers/source_http_place.h"

#include "storage/base/json.h"
#include "storage/base/text.h"
#include "storage/catalog/sources.h"

#include <assert.h>
#include <string.h>

_Static_assert(SOURCE_HTTP_PLACE_BYTES_MAX * 2 + SOURCE_HTTP_ETAG_BYTES_MAX * 2 +
                       SOURCE_HTTP_SEEN_MAX * (4 * SEEN_BYTES + 3) + 512 <=
                   (int)SOURCE_CHECKPOINT_BYTES_MAX,
               "the longest place fits a checkpoint, quotes in its texts escaped");

/* ---- hashes ---- */

static void shorten(struct span bytes, uint8_t hash_out[SEEN_BYTES])
{
    uint8_t digest[HASH_SHA256_BYTES];
    hash_sha256(bytes, digest);
    memcpy(hash_out, digest, SEEN_BYTES);
}

static size_t seen_kept(const struct http_place *place)
{
    return place->seen_count < SOURCE_HTTP_SEEN_MAX ? place->seen_count : SOURCE_HTTP_SEEN_MAX;
}

void http_place_note(struct http_place *place, struct span content)
{
    struct http_seen *seen = &place->seen[place->seen_count++ % SOURCE_HTTP_SEEN_MAX];
    shorten(span_of_text(place->next), seen->place);
    shorten(content, seen->content);
}

bool http_place_has_next(const struct http_place *place, const char *next)
{
    uint8_t hash[SEEN_BYTES];
    shorten(span_of_text(next), hash);
    for (size_t i = 0; i < seen_kept(place); i++) {
        if (memcmp(place->seen[i].place, hash, sizeof hash) == 0) {
            return true;
        }
    }
    return strcmp(place->next, next) == 0;
}

bool http_place_has_content(const struct http_place *place, struct span content)
{
    uint8_t hash[SEEN_BYTES];
    shorten(content, hash);
    for (size_t i = 0; i < seen_kept(place); i++) {
        if (memcmp(place->seen[i].content, hash, sizeof hash) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- as text ---- */

static void write_hex(const char *name, struct span bytes, struct json *json)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 2 * HASH_SHA256_BYTES);
    text_hex_encode(bytes, &text);
    json_set(json, name, json_new_string(buffer_span(&text)));
}

static struct json *seen_to_json(const struct http_place *place)
{
    struct json *list = json_new_array();
    size_t kept = seen_kept(place);
    for (size_t i = 0; i < kept; i++) {
        CLEANUP(buffer_deinit) struct buffer text;
        const struct http_seen *seen =
            &place->seen[(place->seen_count - kept + i) % SOURCE_HTTP_SEEN_MAX];
        buffer_init(&text, 4 * SEEN_BYTES);
        text_hex_encode(span_of(seen, sizeof *seen), &text);
        json_append(list, json_new_string(buffer_span(&text)));
    }
    return list;
}

void http_place_write(const struct http_place *place, struct buffer *text)
{
    CLEANUP(json_free) struct json *json = json_new_object();
    json_set_integer(json, "run", place->run_id);
    json_set_boolean(json, "done", place->is_done);
    json_set_integer(json, "page", place->page);
    json_set_text(json, "next", place->next);
    json_set_integer(json, "taken", place->taken);
    write_hex("prefix", span_of(place->prefix, sizeof place->prefix), json);
    json_set_text(json, "etag", place->etag);
    json_set(json, "seen", seen_to_json(place));
    buffer_reset(text);
    json_write(json, text);
    assert(!text->overflowed);
}

static bool copy_text(const struct json *value, char *out, size_t size)
{
    struct span text = {0};
    if (!json_as_string(value, &text) || text.size >= size ||
        (text.size > 0 && memchr(text.data, '\0', text.size) != NULL)) {
        return false;
    }
    if (text.size > 0) {
        memcpy(out, text.data, text.size);
    }
    out[text.size] = '\0';
    return true;
}

static bool copy_hex(const struct json *value, void *out, size_t size)
{
    CLEANUP(buffer_deinit) struct buffer bytes;
    struct span text = {0};
    buffer_init(&bytes, size);
    if (!json_as_string(value, &text) || !text_hex_decode(text, &bytes) || bytes.overflowed ||
        bytes.size != size) {
        return false;
    }
    memcpy(out, bytes.data, size);
    return true;
}

static bool read_seen(const struct json *list, struct http_place *place)
{
    size_t count = json_count(list);
    if (json_kind(list) != JSON_KIND_ARRAY || count > SOURCE_HTTP_SEEN_MAX) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!copy_hex(json_at(list, i), &place->seen[i], sizeof place->seen[i])) {
            return false;
        }
    }
    place->seen_count = count;
    return true;
}

enum err_code http_place_parse(struct span text, struct http_place *place_out, struct err *err)
{
    CLEANUP(json_free) struct json *json = NULL;
    struct http_place place = {.page = 1};
    if (text.size > 0 &&
        (json_parse(text, &json, err) != ERR_OK ||
         !json_as_integer(json_get(json, "run"), &place.run_id) ||
         !json_as_boolean(json_get(json, "done"), &place.is_done) ||
         !json_as_integer(json_get(json, "page"), &place.page) || place.page < 1 ||
         place.page > INT32_MAX ||
         !copy_text(json_get(json, "next"), place.next, sizeof place.next) ||
         !json_as_integer(json_get(json, "taken"), &place.taken) || place.taken < 0 ||
         !copy_hex(json_get(json, "prefix"), place.prefix, sizeof place.prefix) ||
         !copy_text(json_get(json, "etag"), place.etag, sizeof place.etag) ||
         !read_seen(json_get(json, "seen"), &place))) {
        return err_set(err, ERR_CORRUPT, "the stored checkpoint cannot be read");
    }
    *place_out = place;
    return ERR_OK;
}

/* Request targets: splitting, soundness, routing and the strict decoders. */
#include "server/target.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARENA_BYTES = 1 << 16 };

static void check_text(struct span text)
{
    assert(text.size == 0 || memchr(text.data, '\0', text.size) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"limit", "filter", NULL};
    static const struct route route = {
        .operation_id = "fuzz", .query_names = names, .query_repeatable = 2};
    struct span path = {0};
    struct span query = {0};
    struct route_match match = {0};
    struct exchange exchange = {.route = &route};
    arena_init(&exchange.arena, ARENA_BYTES);
    target_split(span_of(data, size), &path, &query);
    assert(path.size + query.size <= size);
    (void)target_path_is_sound(path); /* only must not break */
    match.parameters_count = 1;
    match.parameters[0] = path;
    if (target_decode_parameters(&match, &exchange) == ERR_OK) {
        check_text(exchange.parameters[0]);
    }
    if (target_decode_query(query, &exchange) == ERR_OK) {
        for (size_t i = 0; i < exchange.query_count; i++) {
            check_text(exchange.query[i].value);
        }
    }
    arena_deinit(&exchange.arena);
    return 0;
}

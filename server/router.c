/* Path and method → route, over the generated table. */
#include "server/routes.h"

#include "storage/base/text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { SEGMENT_BYTES_MAX = 1024 };

/* A path cut at its slashes; segments keep their percent-encoding. */
struct segments {
    size_t count;
    struct span items[ROUTE_SEGMENTS_MAX];
};

static bool is_dots(struct span decoded)
{
    return span_equal_text(decoded, ".") || span_equal_text(decoded, "..");
}

/* False for paths that no route can have: too many, empty or dot segments, broken escapes. */
static bool cut_path(struct span path, struct segments *segments)
{
    segments->count = 0;
    if (path.size < 2 || path.data[0] != '/') {
        return false;
    }
    struct span rest = span_of(path.data + 1, path.size - 1);
    for (;;) {
        const uint8_t *slash = rest.size > 0 ? memchr(rest.data, '/', rest.size) : NULL;
        size_t size = slash != NULL ? (size_t)(slash - rest.data) : rest.size;
        struct span segment = span_of(rest.data, size);
        if (size == 0 || size > SEGMENT_BYTES_MAX || segments->count == ROUTE_SEGMENTS_MAX ||
            is_dots(segment)) {
            return false;
        }
        segments->items[segments->count] = segment;
        segments->count++;
        if (slash == NULL) {
            return true;
        }
        rest = span_of(slash + 1, rest.size - size - 1);
    }
}

/* Literal segments are compared as they came: nobody needs to escape their letters. */
static bool match_route(const struct route *route, const struct segments *segments,
                        struct route_match *match)
{
    const char *at = route->path;
    size_t parameters = 0;
    for (size_t i = 0; i < segments->count; i++) {
        if (*at != '/') {
            return false;
        }
        at++;
        size_t size = strcspn(at, "/");
        if (at[0] == '{') {
            assert(parameters < ROUTE_PARAMETERS_MAX);
            match->parameters[parameters] = segments->items[i];
            parameters++;
        } else if (!span_equal(span_of(at, size), segments->items[i])) {
            return false;
        }
        at += size;
    }
    match->parameters_count = parameters;
    return *at == '\0';
}

/* Most routes are out at their first bytes, before their segments are looked at. */
static bool begins_like(const struct route *route, struct span path)
{
    return path.size >= route->literal_bytes &&
           memcmp(path.data, route->path, route->literal_bytes) == 0;
}

static void add_allowed(struct route_match *match, const char *method)
{
    char *allow = match->allow;
    size_t used = strlen(allow);
    const char *also = strcmp(method, "GET") == 0 ? ", HEAD" : "";
    (void)snprintf(allow + used, sizeof match->allow - used, "%s%s%s", used > 0 ? ", " : "", method,
                   also); /* all methods there are fit */
}

static bool serves(const struct route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

void route_find(const char *method, struct span path, struct route_match *match_out)
{
    *match_out = (struct route_match){0};
    struct segments segments;
    if (!cut_path(path, &segments)) {
        return;
    }
    const char *matched_path = NULL; /* a path has several routes, one a method */
    for (size_t i = 0; i < routes_count; i++) {
        const struct route *route = &routes[i];
        if (matched_path != NULL && strcmp(route->path, matched_path) != 0) {
            return;
        }
        if (!begins_like(route, path) || !match_route(route, &segments, match_out)) {
            continue;
        }
        matched_path = route->path;
        match_out->path_known = true;
        if (serves(route, method)) {
            match_out->route = route;
            match_out->allow[0] = '\0';
            return;
        }
        add_allowed(match_out, route->method);
    }
}

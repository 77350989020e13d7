/*
 * The route table and the contract's own bytes, generated from
 * openapi/openapi.yaml into $(OUT)/generated/routes.c; and the router over it.
 */
#pragma once

#include "handlers/contract.h"
#include "handlers/exchange.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>

/* Sorted so that the first route whose segments agree is the right one. */
extern const struct route routes[];
extern const size_t routes_count;

enum { ROUTE_METHODS_BYTES = 64, ROUTE_SEGMENTS_MAX = 16 };

/* What a path and a method lead to. */
struct route_match {
    const struct route *route;       /* NULL: see path_known */
    bool path_known;                 /* some method has this path: 405, else 404 */
    char allow[ROUTE_METHODS_BYTES]; /* for 405: "GET, HEAD, PUT" */
    size_t parameters_count;
    struct span parameters[ROUTE_PARAMETERS_MAX]; /* still percent-encoded, in path order */
};

/*
 * Find the route of a request; HEAD is served by GET.
 *
 *   path  raw path without query, as it came; borrowed by the match
 *
 * A path whose segments are ".", ".." or empty in decoded form matches nothing.
 */
void route_find(const char *method, struct span path, struct route_match *match_out);

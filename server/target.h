/*
 * The request target: path and query, percent-decoded strictly into an exchange.
 * A broken escape, an encoded NUL, a dot segment, an unknown or repeated query
 * parameter is refused, never repaired.
 */
#pragma once

#include "handlers/exchange.h"
#include "server/routes.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

/* Origin or absolute form → raw path and raw query; borrowed from `target`. */
void target_split(struct span target, struct span *path_out, struct span *query_out);

/* May the raw path be decoded: no broken escape, no %00, well-formed UTF-8? */
bool target_path_is_sound(struct span path);

/*
 * Decode the path parameters of a match into exchange->parameters.
 * Errors:  ERR_NOT_FOUND a dot segment; ERR_TOO_LARGE the arena.
 */
enum err_code target_decode_parameters(const struct route_match *match,
                                       struct exchange *exchange) MUST_USE;

/*
 * Decode the query into exchange->query.
 * Errors:  ERR_INVALID naming the parameter (never its value); ERR_TOO_LARGE the arena.
 */
enum err_code target_decode_query(struct span query, struct exchange *exchange) MUST_USE;

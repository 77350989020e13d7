/*
 * A service that gives records page by page as a source. A reading from the first page
 * to the last is a walk; how far it came is stored with the records of each piece, down to
 * the record within a page.
 *
 * A walk that was not finished is gone on with, by whichever run comes next. A finished
 * one is followed by
 *   - a walk from the first page, for tables with a key: the same records again change
 *     nothing. The first page is asked for under the condition that it changed (ETag); when
 *     it did not, there is nothing to do;
 *   - what came behind the last record, for append tables: the service is taken as a feed
 *     that only grows.
 *
 * What a service may get wrong, and what becomes of it:
 *   a page that was read in part is another one now   keyed tables take it from its start
 *                                                     again; append tables: ERR_PRECONDITION
 *   the page before, or a cursor, once more           ERR_IO: asked again by the next attempt;
 *                                                     records are neither left out nor doubled
 *   429, 5xx, cut or slow answers                     asked again a few times, as long as
 *                                                     Retry-After or the breaker says
 *   the next page at another host                     ERR_FORBIDDEN: credentials stay here
 */
#pragma once

#include "storage/base/err.h"
#include "workers/outgoing.h"
#include "workers/source.h"

#include <stdint.h>

struct json;
struct remote;

enum {
    SOURCE_HTTP_PAGE_BYTES_MAX = 64 << 20, /* of one answer, decompressed */
    SOURCE_HTTP_PAGES_MAX = 10000000,      /* of one walk */
    SOURCE_HTTP_TRIES = 6,                 /* of one page in one attempt */
    SOURCE_HTTP_SEEN_MAX = 32,             /* pages that are remembered, to see them come again */
    SOURCE_HTTP_PLACE_BYTES_MAX = 4096,    /* a cursor or URL */
    SOURCE_HTTP_ETAG_BYTES_MAX = 512,      /* longer ones are not remembered */
};

/* Borrowed for source_http_open. */
struct source_http_options {
    const struct json *given; /* the task's source, validated: url, headers, auth, format, … */
    struct remote *remote;    /* outlives the source */
    outgoing_open_fn *open_secrets;
    void *open_arg; /* outlives the source */
    /* between two tries of a page, without a word from the server; 0 = the default, 500 ms */
    int64_t retry_us;
};

/*
 * Errors:  ERR_INVALID the URL, headers or credentials; a cursor in an answer that is not
 *          JSON; those of `open_secrets`.
 */
enum err_code source_http_open(const struct source_http_options *options,
                               const struct source_reader *reader, struct source **source_out,
                               struct err *err) MUST_USE;

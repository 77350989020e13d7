/*
 * Header fields of answers: finding one, and reading those whose values have a
 * grammar of their own. Everything here comes from somebody else's server.
 *
 * A head is the text "name: value\n" per field, as client.c keeps it.
 * Thread: reentrant.
 */
#pragma once

#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEADER_RETRY_SECONDS_MAX = 7 * 86400 /* longer ones are taken for this */ };

/*
 * The value of the next field `name` (letters' case aside) from `*position` on, outer blanks
 * removed; borrows from `head`.
 *
 *   position  0 at first; afterwards where to go on
 */
bool header_next(struct span head, const char *name, size_t *position, struct span *value_out);

/*
 * Retry-After: seconds, or one of HTTP's three date forms; a time that is over is 0.
 * False for anything else.
 *
 *   now_us  wall clock
 *
 * Source:  RFC 9110 sections 10.2.3 and 5.6.7.
 */
bool header_retry_after(struct span value, int64_t now_us, int64_t *seconds_out);

enum header_link { HEADER_LINK_FOUND, HEADER_LINK_NONE, HEADER_LINK_MALFORMED };

/*
 * The target of the first link of a Link field that has the relation `rel` (letters' case
 * aside); not resolved. Borrows from `value`. A field that is malformed before such a
 * link is HEADER_LINK_MALFORMED, because the link that is missing may be the next page.
 *
 * Source:  RFC 8288 section 3; parameters after the first `rel` of a link do not count.
 */
enum header_link header_link_find(struct span value, const char *rel, struct span *target_out);

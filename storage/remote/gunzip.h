/*
 * Inflating a gzip content encoding as it arrives. libcurl could do it, but takes a
 * stream that ends in the middle for a whole one; here that is an error.
 * Private to the room. Thread: the handle belongs to one call.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"

struct gunzip;

struct gunzip *gunzip_new(void);
/* Accepts NULL inside; nulls. */
void gunzip_free(struct gunzip **gunzip);

/* Takes inflated bytes, a piece of at most 64 KiB at a time. */
typedef enum err_code gunzip_take_fn(void *arg, struct span piece, struct err *err);

/*
 * Inflate the next bytes. Several members one after the other are one text.
 * Errors:  ERR_IO not gzip, or damaged; any error of `take`, unchanged.
 */
enum err_code gunzip_push(struct gunzip *gunzip, struct span bytes, gunzip_take_fn *take, void *arg,
                          struct err *err) MUST_USE;

/* Errors: ERR_IO the last member is not complete, or there was none. */
enum err_code gunzip_end(const struct gunzip *gunzip, struct err *err) MUST_USE;

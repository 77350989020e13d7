/*
 * Syncs that go on while the caller works: begun as soon as a file is written, waited for when
 * its contents have to be durable, several at a time. A disk answers many syncs hardly later
 * than one.
 *
 * Thread:  any; a sync is ended by the thread that began it.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/lock.h"

#include <stdbool.h>

enum { FILE_SYNC_THREADS_MAX = 4 }; /* of the process, started when there is work for them */

/* One sync; stays where it is from its begin to its end. Zeroed: nothing to wait for. */
struct file_sync {
    bool begun;
    bool folder; /* names and all metadata; else what reading the contents needs */
    int fd;
    struct latch done;
    struct err err;
    struct file_sync *next;
};

/* Takes the descriptor, of a file or a folder that is written. */
void file_sync_begin(struct file_sync *sync, int fd, bool folder);

/*
 * Wait and close; the sync is zeroed again.
 * Errors:  ERR_IO; must end in process_stop_after_io_error.
 * Durable: what was written before the begin, when ERR_OK.
 */
enum err_code file_sync_end(struct file_sync *sync, struct err *err) MUST_USE;

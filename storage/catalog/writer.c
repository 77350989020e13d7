/*
 * The writer thread. See writer.h.
 *
 * A group: take what waits, open transactions as closures ask for files, run each
 * closure in savepoints (or without them, where one that fails can be undone by running
 * the others again), COMMIT the current piece, the other pieces and jobs.db,
 * catalog.db, then answer. The current piece goes first because it holds the floor of
 * positions: a position that another file uses is never given out twice.
 */
#include "storage/catalog/writer.h"

#include "storage/base/clock.h"
#include "storage/base/fault.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/sched.h"
#include "storage/catalog/private.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum {
    DATABASES_MAX = CATALOG_PIECES_MAX + 2,
    PLANTED_DELAY_US = 20000, /* widens the window of a planted bug */
};

static const char sql_begin[] = "BEGIN IMMEDIATE";
static const char sql_savepoint[] = "SAVEPOINT w";
static const char sql_rollback_to[] = "ROLLBACK TO w";
static const char sql_release[] = "RELEASE w";
static const char sql_commit[] = "COMMIT";
static const char sql_store_lane[] = "INSERT INTO lanes(table_uuid, position_last) VALUES(?, ?)"
                                     " ON CONFLICT(table_uuid) DO UPDATE SET position_last = "
                                     "max(position_last, excluded.position_last)";

/*
 * One write. Of a caller that waits: on its stack, until it is answered. Of one that does not:
 * allocated, and freed before `done` is called.
 */
struct write_request {
    catalog_write_fn *write;
    void *arg;
    struct err *err;
    enum err_code code;
    bool alone;
    bool promises;         /* makes use of catalog_options.before_promise */
    bool lazy;             /* need not survive a power cut */
    bool repeatable;       /* `write` may be run twice */
    struct latch answered; /* the caller goes on, the request is gone */
    catalog_done_fn *done; /* NULL = the caller waits */
    struct write_request *next;
    uint64_t touched; /* bits of the databases it changed */
};

/* A change in memory that may have to be taken back: of a lane, or of a source's last step. */
struct undo {
    size_t request; /* index in the group */
    bool done;
    struct lane *lane; /* NULL = of a source */
    struct lane_change change;
    struct source_entry before;
};

struct transaction {
    struct catalog *catalog;
    struct write_request *requests[CATALOG_GROUP_MAX];
    size_t requests_count;
    size_t current;                            /* index of the request that runs */
    struct database *databases[DATABASES_MAX]; /* with a transaction open */
    size_t databases_count;
    struct undo *undos;
    size_t undos_count;
    size_t undos_capacity;
    bool access_changed;
    bool savepoints; /* around each request, because what others did must outlive its failure */
    bool durable;    /* one of the requests waits for the disk */
};

/* ---- the queue ---- */

void writer_init(struct writer *writer)
{
    *writer = (struct writer){0};
    lock_init(&writer->lock, LOCK_RANK_CATALOG_QUEUE);
    wake_init(&writer->work);
    lock_init(&writer->answers.lock, LOCK_RANK_CATALOG_QUEUE);
    wake_init(&writer->answers.work);
}

void writer_deinit(struct writer *writer)
{
    wake_deinit(&writer->answers.work);
    lock_deinit(&writer->answers.lock);
    wake_deinit(&writer->work);
    lock_deinit(&writer->lock);
}

/* Errors: it is not queued; in err, which may be gone behind the queue. */
static enum err_code enqueue(struct catalog *catalog, struct write_request *request,
                             struct err *err)
{
    struct writer *writer = &catalog->writer;
    if (atomic_load(&catalog->corrupt)) {
        return err_set(err, ERR_CORRUPT,
                       "the catalog was found damaged: keep the files, restore a backup");
    }
    if (!writer->started) {
        return err_set(err, ERR_UNSUPPORTED, "the catalog is open for reading only");
    }
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&writer->lock);
    if (writer->count >= CATALOG_QUEUE_MAX) {
        return err_set(err, ERR_BUSY, "%d writes are waiting already", CATALOG_QUEUE_MAX);
    }
    if (writer->last == NULL) {
        writer->first = request;
        wake_one(&writer->work);
    } else {
        writer->last->next = request;
    }
    writer->last = request;
    writer->count++;
    return ERR_OK;
}

static enum err_code submit(struct catalog *catalog, struct write_request *request)
{
    TRY(enqueue(catalog, request, request->err));
    (void)latch_wait(&request->answered); /* opened with one value only */
    return request->code;
}

enum err_code catalog_write(struct catalog *catalog, catalog_write_fn *write, void *arg,
                            struct err *err)
{
    struct write_request request = {.write = write, .arg = arg, .err = err};
    return submit(catalog, &request);
}

enum err_code catalog_promise(struct catalog *catalog, catalog_write_fn *write, void *arg,
                              struct err *err)
{
    struct write_request request = {.write = write, .arg = arg, .err = err, .promises = true};
    return submit(catalog, &request);
}

enum err_code catalog_write_lazily(struct catalog *catalog, catalog_write_fn *write, void *arg,
                                   struct err *err)
{
    struct write_request request = {
        .write = write, .arg = arg, .err = err, .lazy = true, .repeatable = true};
    return submit(catalog, &request);
}

enum err_code catalog_promise_later(struct catalog *catalog, catalog_write_fn *write, void *arg,
                                    catalog_done_fn *done, struct err *err)
{
    struct write_request *request = mem_zeroed(1, sizeof *request);
    *request = (struct write_request){
        .write = write, .arg = arg, .err = err, .promises = true, .repeatable = true, .done = done};
    enum err_code code = enqueue(catalog, request, err);
    if (code != ERR_OK) {
        mem_free(request);
    }
    return code;
}

static enum err_code sync_pieces(struct transaction *transaction, void *arg, struct err *err)
{
    (void)arg;
    (void)err; /* a sync that fails ends the process */
    struct catalog *catalog = transaction->catalog;
    int64_t synced = store_sync(catalog->main.store) + store_sync(catalog->jobs.store);
    for (size_t i = 0; i < catalog->pieces.count; i++) { /* only this thread changes the list */
        synced += store_sync(catalog->pieces.sorted[i]->database.store);
    }
    atomic_fetch_add(&catalog->syncs_count, synced);
    return ERR_OK;
}

enum err_code catalog_sync(struct catalog *catalog, struct err *err)
{
    return catalog_work_alone(catalog, sync_pieces, NULL, err);
}

enum err_code catalog_work_alone(struct catalog *catalog, catalog_write_fn *work, void *arg,
                                 struct err *err)
{
    struct write_request request = {.write = work, .arg = arg, .err = err, .alone = true};
    return submit(catalog, &request);
}

/* Wait for work; at most CATALOG_GROUP_MAX requests, one that wants to be alone alone. */
static bool take_group(struct writer *writer, struct transaction *transaction)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&writer->lock);
    while (writer->first == NULL && !writer->stopping) {
        wake_wait(&writer->work, &writer->lock);
    }
    transaction->requests_count = 0;
    while (writer->first != NULL && transaction->requests_count < CATALOG_GROUP_MAX) {
        struct write_request *request = writer->first;
        if (request->alone && transaction->requests_count > 0) {
            break;
        }
        writer->first = request->next;
        writer->last = writer->first == NULL ? NULL : writer->last;
        writer->count--;
        transaction->requests[transaction->requests_count++] = request;
        if (request->alone) {
            break;
        }
    }
    return transaction->requests_count > 0;
}

/* ---- answers ---- */

static void add_answers(struct answers *answers, struct write_request *first,
                        struct write_request *last)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&answers->lock);
    if (answers->last == NULL) {
        answers->first = first;
        wake_one(&answers->work);
    } else {
        answers->last->next = first;
    }
    answers->last = last;
}

/* Let the callers go; their requests are gone from here on. */
static void answer_group(struct transaction *transaction)
{
    struct write_request *first = NULL;
    struct write_request *last = NULL;
    for (size_t i = 0; i < transaction->requests_count; i++) {
        struct write_request *request = transaction->requests[i];
        if (request->done == NULL) {
            latch_open(&request->answered, 1);
            continue;
        }
        request->next = NULL;
        if (last == NULL) {
            first = request;
        } else {
            last->next = request;
        }
        last = request;
    }
    transaction->requests_count = 0;
    if (first != NULL) {
        add_answers(&transaction->catalog->writer.answers, first, last);
    }
}

/* All that wait to be told; NULL when the thread is to end. */
static struct write_request *take_answers(struct answers *answers)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&answers->lock);
    while (answers->first == NULL && !answers->stopping) {
        wake_wait(&answers->work, &answers->lock);
    }
    struct write_request *first = answers->first;
    answers->first = NULL;
    answers->last = NULL;
    return first;
}

static void *run_answers(void *arg)
{
    struct answers *answers = arg;
    (void)pthread_setname_np(pthread_self(), "answers"); /* for whoever looks */
    struct write_request *request = NULL;
    while ((request = take_answers(answers)) != NULL) {
        while (request != NULL) {
            struct write_request told = *request;
            mem_free(request);
            told.done(told.arg, told.code);
            request = told.next;
        }
    }
    return NULL;
}

/* ---- inside a closure ---- */

struct catalog *transaction_catalog(struct transaction *transaction)
{
    return transaction->catalog;
}

static enum err_code enter(struct transaction *transaction, struct database *database,
                           struct store **store_out, struct err *err)
{
    struct query query;
    if (!database->in_transaction) {
        store_set_durable(database->store, transaction->durable);
        TRY(query_begin(database->store, sql_begin, &query, err));
        TRY(query_run(&query, err));
        database->in_transaction = true;
        /* Beyond 63 files they share the last bit: a failure then counts for all of them. */
        size_t bit = transaction->databases_count < 63 ? transaction->databases_count : 63;
        database->group_bit = (unsigned)bit;
        transaction->databases[transaction->databases_count++] = database;
    }
    if (transaction->savepoints && !database->in_savepoint) {
        TRY(query_begin(database->store, sql_savepoint, &query, err));
        TRY(query_run(&query, err));
        database->in_savepoint = true;
    }
    transaction->requests[transaction->current]->touched |= UINT64_C(1) << database->group_bit;
    *store_out = database->store;
    return ERR_OK;
}

enum err_code transaction_main(struct transaction *transaction, struct store **store_out,
                               struct err *err)
{
    return enter(transaction, &transaction->catalog->main, store_out, err);
}

enum err_code transaction_jobs(struct transaction *transaction, struct store **store_out,
                               struct err *err)
{
    return enter(transaction, &transaction->catalog->jobs, store_out, err);
}

enum err_code transaction_piece(struct transaction *transaction, int64_t number,
                                struct store **store_out, int64_t *number_out, struct err *err)
{
    struct piece *piece = number == 0 ? pieces_current(transaction->catalog)
                                      : pieces_find(transaction->catalog, number);
    if (piece == NULL) {
        return err_set(err, ERR_NOT_FOUND, "the piece of the catalog that held it was removed");
    }
    TRY(enter(transaction, &piece->database, store_out, err));
    if (number_out != NULL) {
        *number_out = piece->number;
    }
    return ERR_OK;
}

static void remember(struct transaction *transaction, const struct undo *undo)
{
    if (transaction->undos_count == transaction->undos_capacity) {
        transaction->undos_capacity =
            transaction->undos_capacity == 0 ? 64 : transaction->undos_capacity * 2;
        transaction->undos =
            mem_resize(transaction->undos, transaction->undos_capacity, sizeof *transaction->undos);
    }
    transaction->undos[transaction->undos_count++] = *undo;
}

void transaction_change_lane(struct transaction *transaction, struct lane *lane,
                             const struct lane_change *change)
{
    const struct undo undo = {.request = transaction->current, .lane = lane, .change = *change};
    remember(transaction, &undo);
    lanes_change(&transaction->catalog->lanes, lane, change);
}

void transaction_set_source(struct transaction *transaction, const struct source_entry *entry)
{
    struct source_book *book = &transaction->catalog->sources;
    struct undo undo = {.request = transaction->current};
    undo.before = source_book_get(book, entry->source);
    memcpy(undo.before.source, entry->source, sizeof undo.before.source); /* also if it is new */
    remember(transaction, &undo);
    source_book_set(book, entry);
}

void transaction_access_changed(struct transaction *transaction)
{
    transaction->access_changed = true;
}

static void undo_lane_change(struct transaction *transaction, const struct undo *undo)
{
    const struct lane_change *done = &undo->change;
    const struct lane_change back = {
        .queued_count = -done->queued_count,
        .queued_bytes = -done->queued_bytes,
        .queued_records = -done->queued_records,
        .dead_letter_count = -done->dead_letter_count,
        .dead_letter_bytes = -done->dead_letter_bytes,
        .live = -done->live,
    };
    lanes_change(&transaction->catalog->lanes, undo->lane, &back);
}

/* Newest first, because a step of a source may have followed another of the same request. */
static void undo_changes(struct transaction *transaction, size_t request)
{
    for (size_t i = transaction->undos_count; i > 0; i--) {
        struct undo *undo = &transaction->undos[i - 1];
        if (undo->request != request || undo->done) {
            continue;
        }
        if (undo->lane != NULL) {
            undo_lane_change(transaction, undo);
        } else {
            source_book_set(&transaction->catalog->sources, &undo->before);
        }
        undo->done = true;
    }
}

/* ---- savepoints ---- */

/* Keep (RELEASE) or undo what the closure did; false when a file's transaction is lost. */
static bool end_savepoints(struct transaction *transaction, bool keep)
{
    bool whole = true;
    for (size_t i = 0; i < transaction->databases_count; i++) {
        struct database *database = transaction->databases[i];
        if (!database->in_savepoint) {
            continue;
        }
        database->in_savepoint = false;
        struct err err = {0};
        struct query query;
        bool ok = store_in_transaction(database->store);
        if (ok && !keep) {
            ok = query_begin(database->store, sql_rollback_to, &query, &err) == ERR_OK &&
                 query_run(&query, &err) == ERR_OK;
        }
        if (ok) {
            ok = query_begin(database->store, sql_release, &query, &err) == ERR_OK &&
                 query_run(&query, &err) == ERR_OK;
        }
        whole = whole && ok;
    }
    return whole;
}

static void note_corruption(struct catalog *catalog, enum err_code code)
{
    if (code == ERR_CORRUPT) {
        atomic_store(&catalog->corrupt, true);
    }
}

/* False when the whole group is lost. */
static bool run_closure(struct transaction *transaction, size_t index)
{
    struct write_request *request = transaction->requests[index];
    transaction->current = index;
    request->code = request->write(transaction, request->arg, request->err);
    note_corruption(transaction->catalog, request->code);
    bool kept = request->code == ERR_OK;
    if (!kept) {
        undo_changes(transaction, index);
    }
    return end_savepoints(transaction, kept);
}

/* ---- commit ---- */

static void fail_request(struct transaction *transaction, size_t index, enum err_code code,
                         const char *message)
{
    struct write_request *request = transaction->requests[index];
    if (request->code == ERR_OK) {
        undo_changes(transaction, index);
        request->code = err_set(request->err, code, "%s", message);
    }
}

/* The last first, as in fail_group: each restores what it found, which another may have made. */
static void fail_touching(struct transaction *transaction, uint64_t bits, const struct err *err)
{
    for (size_t i = transaction->requests_count; i > 0; i--) {
        if ((transaction->requests[i - 1]->touched & bits) != 0) {
            fail_request(transaction, i - 1, err->code, err->msg);
        }
    }
}

/* What was to be stored about positions is not: all of it again with the next group. */
static void forget_stored_positions(struct lanes *lanes)
{
    for (size_t i = 0; i < lanes->count; i++) {
        lanes->sorted[i]->position_dirty = true;
    }
}

static void roll_back(struct database *database)
{
    struct err err = {0};
    if (store_in_transaction(database->store) &&
        store_run(database->store, "ROLLBACK", &err) != ERR_OK) {
        process_stop_after_io_error(&err); /* a writer that cannot roll back cannot go on */
    }
    database->in_transaction = false;
    database->in_savepoint = false;
}

static void roll_back_all(struct transaction *transaction)
{
    for (size_t i = 0; i < transaction->databases_count; i++) {
        roll_back(transaction->databases[i]);
    }
    transaction->databases_count = 0;
}

static void fail_group(struct transaction *transaction, enum err_code code, const char *message)
{
    roll_back_all(transaction);
    forget_stored_positions(&transaction->catalog->lanes);
    for (size_t i = transaction->requests_count; i > 0; i--) {
        fail_request(transaction, i - 1, code, message);
    }
}

/* Store the positions given out, as the floor for the next start. */
static enum err_code store_positions(struct transaction *transaction, struct err *err)
{
    struct lanes *lanes = &transaction->catalog->lanes;
    struct store *store = NULL;
    for (size_t i = 0; i < lanes->count; i++) {
        struct lane *lane = lanes->sorted[i]; /* only this thread changes the list */
        if (!lane->position_dirty) {
            continue;
        }
        TRY(transaction_piece(transaction, 0, &store, NULL, err));
        CLEANUP(query_end) struct query query = {0};
        TRY(query_begin(store, sql_store_lane, &query, err));
        query_bind_id(&query, &lane->statistics.table);
        query_bind_integer(&query, lane->statistics.position_last);
        TRY(query_run(&query, err));
        lane->position_dirty = false;
    }
    return end_savepoints(transaction, true)
               ? ERR_OK
               : err_set(err, ERR_IO, "the catalog's transaction was lost");
}

static void commit_database(struct transaction *transaction, struct database *database)
{
    struct err err = {0};
    struct query query;
    enum err_code code = query_begin(database->store, sql_commit, &query, &err);
    if (code == ERR_OK) {
        code = query_run(&query, &err);
    }
    if (code != ERR_OK) {
        note_corruption(transaction->catalog, code);
        fail_touching(transaction, UINT64_C(1) << database->group_bit, &err);
        roll_back(database);
        forget_stored_positions(&transaction->catalog->lanes);
    }
    database->in_transaction = false;
    atomic_fetch_add(&transaction->catalog->syncs_count, transaction->durable ? 1 : 0);
}

static bool holds_promise(const struct transaction *transaction)
{
    for (size_t i = 0; i < transaction->requests_count; i++) {
        if (transaction->requests[i]->promises) {
            return true;
        }
    }
    return false;
}

/* What the rows of this group refer to must be on disk before the rows are. */
static void prepare_promises(struct transaction *transaction)
{
    const struct catalog_options *options = &transaction->catalog->options;
    if (options->before_promise != NULL && holds_promise(transaction)) {
        options->before_promise(options->before_promise_arg);
    }
}

static void commit_all(struct transaction *transaction)
{
    prepare_promises(transaction);
    if (FAULT("catalog.commit")) {
        fail_group(transaction, ERR_NO_SPACE, "injected");
        return;
    }
    const struct piece *current = pieces_current(transaction->catalog);
    struct database *last = &transaction->catalog->main;
    for (int pass = 0; pass < 3; pass++) {
        for (size_t i = 0; i < transaction->databases_count; i++) {
            struct database *database = transaction->databases[i];
            bool is_current = current != NULL && database == &current->database;
            int turn = is_current ? 0 : database == last ? 2 : 1;
            if (turn == pass) {
                commit_database(transaction, database);
            }
        }
    }
    (void)FAULT("catalog.committed"); /* a point to crash at; it cannot fail */
    atomic_fetch_add(&transaction->catalog->commits_count, 1);
    atomic_fetch_add(&transaction->catalog->writes_count, (int64_t)transaction->requests_count);
}

/* ---- groups ---- */

/* Begin the day's piece, or the next one of the day when the current is full. */
static enum err_code roll_piece(struct catalog *catalog, struct err *err)
{
    const struct piece *current = pieces_current(catalog);
    int64_t today = piece_number_of_day(clock_wall_us());
    int64_t wanted = current != NULL && current->number >= today ? current->number : today;
    if (current != NULL && current->number == wanted) {
        if (!store_has_reached(current->database.store, catalog->options.piece_bytes_max)) {
            return ERR_OK;
        }
        wanted++;
    }
    struct piece *piece = NULL;
    TRY(pieces_add(catalog, wanted, &piece, err));
    forget_stored_positions(&catalog->lanes); /* the new piece takes over the floor */
    return ERR_OK;
}

/*
 * Without savepoints, which cost as much as a small write: of one request, or of several that may
 * be run again. False when one failed: nothing was done.
 */
static bool run_without_savepoints(struct transaction *transaction)
{
    size_t done = 0;
    transaction->savepoints = false;
    while (done < transaction->requests_count) {
        (void)run_closure(transaction, done); /* there is no savepoint to be lost */
        if (transaction->requests[done]->code != ERR_OK) {
            break;
        }
        done++;
    }
    if (done == transaction->requests_count) {
        return true;
    }
    roll_back_all(transaction);
    transaction->access_changed = false;
    for (; done > 0; done--) {
        undo_changes(transaction, done - 1); /* the one that failed did it already */
    }
    return false;
}

static bool may_go_without_savepoints(const struct transaction *transaction)
{
    bool repeatable = true;
    for (size_t i = 0; i < transaction->requests_count && repeatable; i++) {
        repeatable = transaction->requests[i]->repeatable;
    }
    return repeatable || transaction->requests_count == 1;
}

/* The requests as they came. */
static void begin_again(struct transaction *transaction)
{
    transaction->undos_count = 0;
    for (size_t i = 0; i < transaction->requests_count; i++) {
        struct write_request *request = transaction->requests[i];
        request->code = ERR_OK;
        request->touched = 0;
        err_clear(request->err);
    }
}

/* False when the whole group is lost. */
static bool run_requests(struct transaction *transaction)
{
    if (may_go_without_savepoints(transaction)) {
        if (run_without_savepoints(transaction)) {
            return true;
        }
        if (transaction->requests_count == 1) {
            return true; /* it failed, and nothing of it is left */
        }
        begin_again(transaction);
    }
    transaction->savepoints = true;
    for (size_t i = 0; i < transaction->requests_count; i++) {
        if (!run_closure(transaction, i)) {
            return false;
        }
    }
    return true;
}

static void run_closures(struct transaction *transaction)
{
    struct err err = {0};
    if (roll_piece(transaction->catalog, &err) != ERR_OK) {
        note_corruption(transaction->catalog, err.code);
        fail_group(transaction, err.code, err.msg);
        return;
    }
    if (!run_requests(transaction)) {
        fail_group(transaction, ERR_NO_SPACE, "the catalog's disk is full");
        return;
    }
    transaction->current = 0;
    if (store_positions(transaction, &err) != ERR_OK) {
        fail_group(transaction, err.code, err.msg);
        return;
    }
    if (holds_promise(transaction) && FAULT_SKIP("accept.ack-before-sync")) {
        answer_group(transaction); /* a planted bug */
        (void)usleep(PLANTED_DELAY_US);
    }
    commit_all(transaction);
}

static void publish_access(struct transaction *transaction)
{
    struct err err = {0};
    if (access_cache_rebuild(&transaction->catalog->access, transaction->catalog->main.store,
                             &err) != ERR_OK) {
        /* A revocation that is stored but not in force must not be answered as done. */
        (void)err_wrap(&err, "rebuild the access snapshot");
        process_stop_after_io_error(&err);
    }
}

static bool waits_for_disk(const struct transaction *transaction)
{
    for (size_t i = 0; i < transaction->requests_count; i++) {
        if (!transaction->requests[i]->lazy) {
            return true;
        }
    }
    return false;
}

static void run_group(struct transaction *transaction)
{
    transaction->durable = waits_for_disk(transaction);
    transaction->databases_count = 0;
    transaction->undos_count = 0;
    transaction->access_changed = false;
    run_closures(transaction);
    if (transaction->access_changed) {
        publish_access(transaction);
    }
    answer_group(transaction);
    for (size_t i = 0; i < transaction->databases_count; i++) {
        store_checkpoint(transaction->databases[i]->store);
    }
}

static void run_alone(struct transaction *transaction)
{
    struct write_request *request = transaction->requests[0];
    transaction->databases_count = 0;
    request->code = request->write(transaction, request->arg, request->err);
    note_corruption(transaction->catalog, request->code);
    answer_group(transaction);
}

static void *run_writer(void *arg)
{
    struct catalog *catalog = arg;
    struct transaction *transaction = mem_zeroed(1, sizeof *transaction);
    transaction->catalog = catalog;
    (void)pthread_setname_np(pthread_self(), "catalog"); /* for whoever looks */
    while (take_group(&catalog->writer, transaction)) {
        if (transaction->requests[0]->alone) {
            run_alone(transaction);
        } else {
            run_group(transaction);
        }
    }
    mem_free(transaction->undos);
    mem_free(transaction);
    return NULL;
}

static void stop_answers(struct answers *answers)
{
    {
        CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&answers->lock);
        answers->stopping = true;
        wake_all(&answers->work);
    }
    int failed = pthread_join(answers->thread, NULL);
    assert(failed == 0);
}

enum err_code writer_start(struct catalog *catalog, struct err *err)
{
    struct writer *writer = &catalog->writer;
    int failed = pthread_create(&writer->answers.thread, NULL, run_answers, &writer->answers);
    if (failed != 0) {
        return err_set_errno(err, failed, "start the catalog's answering thread");
    }
    failed = pthread_create(&writer->thread, NULL, run_writer, catalog);
    if (failed != 0) {
        stop_answers(&writer->answers);
        return err_set_errno(err, failed, "start the catalog's writer thread");
    }
    writer->started = true;
    return ERR_OK;
}

void writer_stop(struct catalog *catalog)
{
    struct writer *writer = &catalog->writer;
    if (!writer->started) {
        return;
    }
    {
        CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&writer->lock);
        writer->stopping = true;
        wake_all(&writer->work);
    }
    int failed = pthread_join(writer->thread, NULL);
    assert(failed == 0);
    stop_answers(&writer->answers);
    writer->started = false;
}

/*
 * Checking the audit chain: one line, a whole trail, its end against the anchor.
 * Nothing here writes records.
 */
#include "storage/audit/chain.h"

#include "storage/audit/audit.h"
#include "storage/base/cursor.h"
#include "storage/base/file.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

enum { SLOT_BYTES = 128, SLOTS = 2, SEALED_BYTES = 8 + 8 + HASH_SHA256_BYTES };

static const char anchor_magic[8] = {'S', 'L', 'U', 'A', 'N', 'C', 'H', '1'};
static const char prev_member[] = ",\"prev\":\"";
enum { PREV_BYTES = sizeof prev_member - 1 + 2 * HASH_SHA256_BYTES + 2 };

struct audit_anchor {
    int fd;
    unsigned next_slot;
};

/* ---- one line ---- */

/* `{"seq":N,` at the start of the line. */
static bool parse_sequence(struct span line, int64_t *sequence_out)
{
    static const char start[] = "{\"seq\":";
    size_t at = sizeof start - 1;
    if (line.size <= at || memcmp(line.data, start, at) != 0) {
        return false;
    }
    size_t end = at;
    while (end < line.size && line.data[end] != ',') {
        end++;
    }
    return text_parse_int64(span_of(line.data + at, end - at), sequence_out) && *sequence_out > 0;
}

/* `,"prev":"<64 hex>"}` at its end. */
static bool parse_prev(struct span line, uint8_t prev_out[HASH_SHA256_BYTES])
{
    if (line.size < PREV_BYTES) {
        return false;
    }
    const uint8_t *at = line.data + line.size - PREV_BYTES;
    if (memcmp(at, prev_member, sizeof prev_member - 1) != 0 ||
        memcmp(line.data + line.size - 2, "\"}", 2) != 0) {
        return false;
    }
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, HASH_SHA256_BYTES);
    struct span hex = span_of(at + sizeof prev_member - 1, 2 * HASH_SHA256_BYTES);
    if (!text_hex_decode(hex, &bytes) || bytes.size != HASH_SHA256_BYTES) {
        return false;
    }
    memcpy(prev_out, bytes.data, HASH_SHA256_BYTES);
    return true;
}

enum err_code audit_line_decode(struct span line, int64_t *sequence_out, uint8_t prev_out[32],
                                struct err *err)
{
    int64_t sequence = 0;
    uint8_t prev[HASH_SHA256_BYTES];
    if (line.size > AUDIT_RECORD_BYTES_MAX || !parse_sequence(line, &sequence) ||
        !parse_prev(line, prev)) {
        return err_set(err, ERR_CORRUPT, "not an audit record");
    }
    *sequence_out = sequence;
    memcpy(prev_out, prev, sizeof prev);
    return ERR_OK;
}

/* ---- the anchor ---- */

static void seal_slot(const struct secret_keys *keys, const uint8_t slot[SEALED_BYTES],
                      uint8_t seal_out[SECRET_HASH_BYTES])
{
    /* Identifiers are texts without a leading NUL, so no subject's hash is a seal. */
    static const char domain[] = "\0audit anchor";
    uint8_t message[sizeof domain + SEALED_BYTES];
    memcpy(message, domain, sizeof domain);
    memcpy(message + sizeof domain, slot, SEALED_BYTES);
    secret_hash(keys, SECRET_IDENTIFIERS, span_of(message, sizeof message), seal_out);
}

enum err_code audit_anchor_open(const char *folder, struct audit_anchor **anchor_out,
                                struct err *err)
{
    CLEANUP(mem_cleanup) char *path = file_join(folder, "anchor");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return err_set_errno(err, errno, "open %s", path);
    }
    *anchor_out = mem_zeroed(1, sizeof **anchor_out);
    (*anchor_out)->fd = fd;
    return ERR_OK;
}

void audit_anchor_close(struct audit_anchor **anchor)
{
    if (*anchor != NULL) {
        file_close(&(*anchor)->fd);
        mem_free(*anchor);
        *anchor = NULL;
    }
}

void audit_anchor_write(struct audit_anchor *anchor, const struct secret_keys *keys,
                        const struct chain_end *end, bool make_durable)
{
    uint8_t slot[SLOT_BYTES] = {0};
    memcpy(slot, anchor_magic, sizeof anchor_magic);
    memcpy(slot + 8, &end->sequence, sizeof end->sequence);
    memcpy(slot + 16, end->hash, sizeof end->hash);
    seal_slot(keys, slot, slot + SEALED_BYTES);

    struct err ignored = {0};
    int64_t offset = (int64_t)anchor->next_slot * SLOT_BYTES;
    if (file_write_at(anchor->fd, offset, span_of(slot, sizeof slot), &ignored) != ERR_OK) {
        return;
    }
    anchor->next_slot = (anchor->next_slot + 1) % SLOTS;
    if (make_durable) {
        /* A failed sync is no reason to stop: the trail promises, the anchor only witnesses. */
        enum err_code code = file_sync_data(anchor->fd, &ignored);
        (void)code;
    }
}

/* The anchored end, or sequence 0 when there is none yet. */
static enum err_code read_anchor(const char *folder, const struct secret_keys *keys,
                                 struct chain_end *end_out, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = file_join(folder, "anchor");
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, SLOTS * SLOT_BYTES);
    struct chain_end found = {0};
    enum err_code code = file_read(path, &bytes, err);
    if (code == ERR_NOT_FOUND) {
        err_clear(err);
        *end_out = found;
        return ERR_OK;
    }
    TRY(code);
    bool any = false;
    for (size_t at = 0; at + SLOT_BYTES <= bytes.size; at += SLOT_BYTES) {
        const uint8_t *slot = bytes.data + at;
        uint8_t seal[SECRET_HASH_BYTES];
        if (memcmp(slot, anchor_magic, sizeof anchor_magic) != 0) {
            continue;
        }
        any = true;
        if (keys != NULL) {
            seal_slot(keys, slot, seal);
        }
        int64_t sequence = 0;
        memcpy(&sequence, slot + 8, sizeof sequence);
        if ((keys == NULL || secret_equal(seal, slot + SEALED_BYTES, sizeof seal)) &&
            sequence > found.sequence) {
            found.sequence = sequence;
            memcpy(found.hash, slot + 16, sizeof found.hash);
        }
    }
    if (any && found.sequence == 0) {
        return err_set(err, ERR_CORRUPT, "%s: no slot carries this instance's seal", path);
    }
    *end_out = found;
    return ERR_OK;
}

/* ---- walking ---- */

struct chain_walk {
    struct chain_end end;
    struct chain_end anchor;
    int64_t first_sequence;
    uint8_t first_prev[HASH_SHA256_BYTES];
    int64_t records_count;
    enum err_code code;
    struct err *err;
};

static enum err_code check_record(struct chain_walk *walk, struct span line)
{
    int64_t sequence = 0;
    uint8_t prev[HASH_SHA256_BYTES];
    TRY(audit_line_decode(line, &sequence, prev, walk->err));
    bool first = walk->records_count == 0;
    if (!first && sequence != walk->end.sequence + 1) {
        return err_set(walk->err, ERR_CORRUPT, "sequence %" PRId64 " follows %" PRId64, sequence,
                       walk->end.sequence);
    }
    if (!first && memcmp(prev, walk->end.hash, sizeof prev) != 0) {
        return err_set(walk->err, ERR_CORRUPT,
                       "record %" PRId64 " does not follow from the one before it", sequence);
    }
    if (first) {
        walk->first_sequence = sequence;
        memcpy(walk->first_prev, prev, sizeof prev);
    }
    walk->records_count++;
    walk->end.sequence = sequence;
    hash_sha256(line, walk->end.hash);
    if (sequence == walk->anchor.sequence &&
        memcmp(walk->end.hash, walk->anchor.hash, sizeof walk->end.hash) != 0) {
        return err_set(walk->err, ERR_CORRUPT, "record %" PRId64 " is not the one anchored",
                       sequence);
    }
    return ERR_OK;
}

static bool visit_record(void *arg, const struct location *location, struct span line)
{
    struct chain_walk *walk = arg;
    walk->code = check_record(walk, line);
    if (walk->code != ERR_OK) {
        (void)err_wrap(walk->err, "audit segment %" PRId64 " at %" PRId64, location->segment,
                       location->offset);
    }
    return walk->code == ERR_OK;
}

static enum err_code check_against_anchor(const struct chain_walk *walk, struct err *err)
{
    if (walk->end.sequence < walk->anchor.sequence) {
        return err_set(err, ERR_CORRUPT,
                       "the audit trail ends at record %" PRId64 ", but %" PRId64
                       " was written: keep the folder as it is and restore or investigate",
                       walk->end.sequence, walk->anchor.sequence);
    }
    return ERR_OK;
}

enum err_code audit_chain_resume(const char *folder, const struct secret_keys *keys,
                                 const struct segment_recovery *recovery, struct chain_end *end_out,
                                 struct err *err)
{
    struct chain_walk walk = {.err = err};
    TRY(read_anchor(folder, keys, &walk.anchor, err));
    /* The newest segment may be empty: its predecessor then has the end. */
    bool empty = !location_is_set(&recovery->last);
    const struct location from = {.segment = empty ? recovery->newest - 1 : recovery->newest};
    TRY(segments_walk(folder, AUDIT_MAGIC, &from, visit_record, &walk, NULL, err));
    TRY(walk.code);
    TRY(check_against_anchor(&walk, err));
    *end_out = walk.end;
    return ERR_OK;
}

enum err_code audit_verify(const char *folder, const struct secret_keys *keys,
                           struct audit_report *report_out, struct err *err)
{
    struct chain_walk walk = {.err = err};
    TRY(read_anchor(folder, keys, &walk.anchor, err));
    int64_t torn = 0;
    TRY(segments_walk(folder, AUDIT_MAGIC, NULL, visit_record, &walk, &torn, err));
    TRY(walk.code);
    TRY(check_against_anchor(&walk, err));
    static const uint8_t before_first[HASH_SHA256_BYTES];
    if (walk.records_count > 0 && (walk.first_sequence != 1 || memcmp(walk.first_prev, before_first,
                                                                      sizeof before_first) != 0)) {
        return err_set(err, ERR_CORRUPT, "the audit trail does not begin with record 1");
    }
    *report_out = (struct audit_report){
        .records_count = walk.records_count,
        .first_sequence = walk.first_sequence,
        .last_sequence = walk.end.sequence,
        .torn_bytes = torn,
    };
    return ERR_OK;
}

/* ---- searching ---- */

struct search {
    int64_t from_sequence;
    audit_visit_fn *visit;
    void *arg;
    enum err_code code;
    struct err *err;
};

static bool visit_line(void *arg, const struct location *location, struct span line)
{
    (void)location;
    struct search *search = arg;
    int64_t sequence = 0;
    uint8_t prev[HASH_SHA256_BYTES];
    search->code = audit_line_decode(line, &sequence, prev, search->err);
    if (search->code != ERR_OK) {
        return false;
    }
    return sequence < search->from_sequence || search->visit(search->arg, sequence, line);
}

enum err_code audit_search(const char *folder, int64_t from_sequence, audit_visit_fn *visit,
                           void *arg, struct err *err)
{
    struct search search = {.from_sequence = from_sequence, .visit = visit, .arg = arg, .err = err};
    TRY(segments_walk(folder, AUDIT_MAGIC, NULL, visit_line, &search, NULL, err));
    return search.code;
}

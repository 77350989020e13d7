/*
 * The protocol gates and the table properties that decide how we behave.
 * Source: delta PROTOCOL.md "Table Features", "Protocol Evolution"; reference section 4.
 */
#include "storage/delta/log.h"

#include "storage/base/buffer.h"
#include "storage/base/json.h"
#include "storage/base/text.h"
#include "storage/delta/constraints.h"

#include <assert.h>
#include <string.h>

enum { MESSAGE_NAMES_BYTES = 256 };

static const char *const readable_features[] = {
    "deletionVectors", "v2Checkpoint", "timestampNtz",         "vacuumProtocolCheck",
    "columnMapping",   "typeWidening", "typeWidening-preview", NULL};
static const char *const writable_features[] = {
    "deletionVectors", "appendOnly",       "invariants",
    "changeDataFeed",  "checkConstraints", "columnMapping",
    "timestampNtz",    "typeWidening",     NULL};

/* spec: delta PROTOCOL.md#valid-feature-names-in-table-features — what a version means by itself */
static const struct {
    const char *name;
    int writer_version;
} legacy_features[] = {
    {"appendOnly", 2},       {"invariants", 2},    {"checkConstraints", 3}, {"changeDataFeed", 4},
    {"generatedColumns", 4}, {"columnMapping", 5}, {"identityColumns", 6},
};
enum { LEGACY_FEATURES = sizeof legacy_features / sizeof *legacy_features };

static bool is_listed(const char *const *names, const char *name)
{
    for (; *names != NULL; names++) {
        if (strcmp(*names, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Every name that is not in `known`, joined for a message; empty when all are known. */
static void list_strangers(const char *const *names, size_t count, const char *const *known,
                           struct buffer *strangers)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_listed(known, names[i])) {
            buffer_append_text(strangers, strangers->size > 0 ? ", " : "");
            buffer_append_text(strangers, names[i]);
        }
    }
}

static enum err_code refuse_strangers(const struct buffer *strangers, const char *verb,
                                      struct err *err)
{
    if (strangers->size == 0 && !strangers->overflowed) {
        return ERR_OK;
    }
    return err_set(err, ERR_UNSUPPORTED, "the table needs features we cannot %s: %.*s%s", verb,
                   (int)strangers->size, (const char *)strangers->data,
                   strangers->overflowed ? " …" : "");
}

enum err_code delta_protocol_check_read(const struct delta_protocol *protocol,
                                        const struct delta_metadata *metadata, struct err *err)
{
    enum column_mapping mapping = COLUMN_MAPPING_NONE;
    if (protocol->reader_version < 1 || protocol->reader_version > 3) {
        return err_set(err, ERR_UNSUPPORTED,
                       "the table needs reader version %d; versions 1 to 3 are supported",
                       protocol->reader_version);
    }
    if (metadata != NULL) {
        TRY(delta_metadata_column_mapping(metadata, &mapping, err));
    }
    CLEANUP(buffer_deinit) struct buffer strangers = {0};
    buffer_init(&strangers, MESSAGE_NAMES_BYTES);
    if (protocol->reader_version == 3) {
        list_strangers(protocol->reader_features, protocol->reader_features_count,
                       readable_features, &strangers);
    }
    return refuse_strangers(&strangers, "read", err);
}

/*
 * Does the table use what its version only allows? Looking for a key as text may refuse a table
 * with a column of that name, but never lets one pass that asks something of its writers.
 */
static bool is_in_use(const char *feature, const struct delta_metadata *metadata)
{
    if (strcmp(feature, "generatedColumns") == 0) {
        return strstr(metadata->schema_string, "\"delta.generationExpression\"") != NULL;
    }
    if (strcmp(feature, "identityColumns") == 0) {
        return strstr(metadata->schema_string, "\"delta.identity.") != NULL;
    }
    return false; /* what we can write */
}

/* Versions below 7 allow features by the number; only those that are used matter. */
static enum err_code check_legacy_writer(const struct delta_protocol *protocol,
                                         const struct delta_metadata *metadata, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer strangers = {0};
    buffer_init(&strangers, MESSAGE_NAMES_BYTES);
    for (size_t i = 0; metadata != NULL && i < LEGACY_FEATURES; i++) {
        if (legacy_features[i].writer_version <= protocol->writer_version &&
            is_in_use(legacy_features[i].name, metadata)) {
            const char *name = legacy_features[i].name;
            list_strangers(&name, 1, writable_features, &strangers);
        }
    }
    return refuse_strangers(&strangers, "write", err);
}

static enum err_code check_writer_version(const struct delta_protocol *protocol,
                                          const struct delta_metadata *metadata, struct err *err)
{
    if (protocol->writer_version >= 1 && protocol->writer_version <= 6) {
        return check_legacy_writer(protocol, metadata, err);
    }
    if (protocol->writer_version != 7) {
        return err_set(err, ERR_UNSUPPORTED,
                       "the table needs writer version %d; versions 1 to 7 are supported",
                       protocol->writer_version);
    }
    CLEANUP(buffer_deinit) struct buffer strangers = {0};
    buffer_init(&strangers, MESSAGE_NAMES_BYTES);
    list_strangers(protocol->writer_features, protocol->writer_features_count, writable_features,
                   &strangers);
    return refuse_strangers(&strangers, "write", err);
}

/* Every condition that a row must meet has to be one that we can evaluate. */
static enum err_code check_constraints(const struct delta_metadata *metadata, struct err *err)
{
    CLEANUP(constraints_deinit) struct constraints constraints = {0};
    CLEANUP(schema_release) struct schema *schema = NULL;
    if (!constraints_are_there(metadata)) {
        return ERR_OK;
    }
    TRY(delta_metadata_schema(metadata, &schema, err));
    return constraints_load(metadata, schema, &constraints, err);
}

enum err_code delta_protocol_check_write(const struct delta_protocol *protocol,
                                         const struct delta_metadata *metadata, struct err *err)
{
    TRY(delta_protocol_check_read(protocol, metadata, err));
    TRY(check_writer_version(protocol, metadata, err));
    return metadata == NULL ? ERR_OK : check_constraints(metadata, err);
}

bool delta_protocol_has_writer_feature(const struct delta_protocol *protocol, const char *name)
{
    for (size_t i = 0; protocol->writer_version < 7 && i < LEGACY_FEATURES; i++) {
        if (strcmp(legacy_features[i].name, name) == 0) {
            return protocol->writer_version >= legacy_features[i].writer_version;
        }
    }
    for (size_t i = 0; i < protocol->writer_features_count; i++) {
        if (strcmp(protocol->writer_features[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- what a table comes to need ---- */

/* Features by name, as they grow; room for all that a protocol may list and ours. */
struct feature_list {
    const char *names[DELTA_FEATURES_MAX + LEGACY_FEATURES + 2];
    size_t count;
};

static void list_feature(struct feature_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->names[i], name) == 0) {
            return;
        }
    }
    assert(list->count < sizeof list->names / sizeof *list->names);
    list->names[list->count++] = name;
}

/* The features that `protocol` stands for, spelled out. */
static void spell_out(const struct delta_protocol *protocol, struct feature_list *readers,
                      struct feature_list *writers)
{
    for (size_t i = 0; i < protocol->reader_features_count; i++) {
        list_feature(readers, protocol->reader_features[i]);
    }
    for (size_t i = 0; i < protocol->writer_features_count; i++) {
        list_feature(writers, protocol->writer_features[i]);
    }
    if (protocol->reader_version == 2) {
        list_feature(readers, "columnMapping");
    }
    for (size_t i = 0; protocol->writer_version < 7 && i < LEGACY_FEATURES; i++) {
        if (legacy_features[i].writer_version <= protocol->writer_version) {
            list_feature(writers, legacy_features[i].name);
        }
    }
}

static const struct {
    unsigned need; /* enum delta_needs */
    const char *feature;
    bool for_readers;
} needed_features[] = {
    {DELTA_NEEDS_DELETION_VECTORS, "deletionVectors", true},
    {DELTA_NEEDS_CHANGE_FEED, "changeDataFeed", false},
    {DELTA_NEEDS_CONSTRAINTS, "checkConstraints", false},
    {DELTA_NEEDS_COLUMN_MAPPING, "columnMapping", true},
    {DELTA_NEEDS_TIMESTAMP_NTZ, "timestampNtz", true},
    {DELTA_NEEDS_TYPE_WIDENING, "typeWidening", true},
};
enum { NEEDED_FEATURES = sizeof needed_features / sizeof *needed_features };

bool delta_protocol_meets(const struct delta_protocol *protocol, unsigned needs)
{
    for (size_t i = 0; i < NEEDED_FEATURES; i++) {
        if ((needs & needed_features[i].need) != 0 &&
            !delta_protocol_has_writer_feature(protocol, needed_features[i].feature)) {
            return false;
        }
    }
    return true;
}

const struct delta_protocol *delta_protocol_extend(const struct delta_protocol *protocol,
                                                   unsigned needs)
{
    if (delta_protocol_meets(protocol, needs)) {
        return delta_protocol_new(protocol);
    }
    struct feature_list readers = {0};
    struct feature_list writers = {0};
    int reader_version = protocol->reader_version;
    spell_out(protocol, &readers, &writers);
    for (size_t i = 0; i < NEEDED_FEATURES; i++) {
        if ((needs & needed_features[i].need) != 0) {
            list_feature(&writers, needed_features[i].feature);
            if (needed_features[i].for_readers) {
                list_feature(&readers, needed_features[i].feature);
                reader_version = 3;
            }
        }
    }
    const struct delta_protocol extended = {
        .reader_version = reader_version,
        .writer_version = 7,
        .reader_features = readers.names,
        .reader_features_count = reader_version == 3 ? readers.count : 0,
        .writer_features = writers.names,
        .writer_features_count = writers.count,
    };
    return delta_protocol_new(&extended);
}

const struct delta_protocol *delta_protocol_new_for(unsigned needs)
{
    const struct delta_protocol plain = {.reader_version = 1, .writer_version = 2};
    return delta_protocol_extend(&plain, needs);
}

/* ---- properties ---- */

const char *delta_metadata_property(const struct delta_metadata *metadata, const char *name)
{
    for (size_t i = 0; i < metadata->configuration_count; i++) {
        if (strcmp(metadata->configuration[i].name, name) == 0) {
            return metadata->configuration[i].value;
        }
    }
    return NULL;
}

enum err_code delta_metadata_column_mapping(const struct delta_metadata *metadata,
                                            enum column_mapping *mapping_out, struct err *err)
{
    static const char *const modes[] = {
        [COLUMN_MAPPING_NONE] = "none", [COLUMN_MAPPING_NAME] = "name", [COLUMN_MAPPING_ID] = "id"};
    const char *mode = delta_metadata_property(metadata, DELTA_MAPPING_MODE_PROPERTY);
    for (int i = 0; mode != NULL && i <= COLUMN_MAPPING_ID; i++) {
        if (strcasecmp(mode, modes[i]) == 0) {
            *mapping_out = (enum column_mapping)i;
            return ERR_OK;
        }
    }
    *mapping_out = COLUMN_MAPPING_NONE;
    return mode == NULL
               ? ERR_OK
               : err_set(err, ERR_UNSUPPORTED,
                         DELTA_MAPPING_MODE_PROPERTY " is '%.32s'; none, name and id are known",
                         mode);
}

enum err_code delta_metadata_schema(const struct delta_metadata *metadata,
                                    struct schema **schema_out, struct err *err)
{
    enum column_mapping mapping = COLUMN_MAPPING_NONE;
    CLEANUP(json_free) struct json *partitions = json_new_array();
    for (size_t i = 0; i < metadata->partition_columns_count; i++) {
        json_append(partitions, json_new_text(metadata->partition_columns[i]));
    }
    TRY(delta_metadata_column_mapping(metadata, &mapping, err));
    return schema_parse_delta_mapped(span_of_text(metadata->schema_string), partitions, mapping,
                                     schema_out, err);
}

bool delta_metadata_flag(const struct delta_metadata *metadata, const char *name, bool otherwise)
{
    const char *value = delta_metadata_property(metadata, name);
    if (value != NULL && strcasecmp(value, "true") == 0) {
        return true;
    }
    if (value != NULL && strcasecmp(value, "false") == 0) {
        return false;
    }
    return otherwise;
}

int64_t delta_metadata_integer(const struct delta_metadata *metadata, const char *name,
                               int64_t otherwise)
{
    const char *value = delta_metadata_property(metadata, name);
    int64_t integer = 0;
    return value != NULL && text_parse_int64(span_of_text(value), &integer) ? integer : otherwise;
}

static const struct {
    const char *name; /* singular; a plural 's' is accepted */
    int64_t us;
} interval_units[] = {
    {"microsecond", 1},
    {"millisecond", 1000},
    {"second", 1000000},
    {"minute", 60 * 1000000LL},
    {"hour", 3600 * 1000000LL},
    {"day", 86400 * 1000000LL},
    {"week", 7 * 86400 * 1000000LL},
};

static bool find_unit(struct span word, int64_t *us_out)
{
    if (word.size > 0 && (word.data[word.size - 1] | 0x20) == 's') {
        word.size--;
    }
    for (size_t i = 0; i < sizeof interval_units / sizeof *interval_units; i++) {
        const char *name = interval_units[i].name;
        if (word.size == strlen(name) &&
            strncasecmp((const char *)word.data, name, word.size) == 0) {
            *us_out = interval_units[i].us;
            return true;
        }
    }
    return false;
}

static struct span next_word(const char **text)
{
    *text += strspn(*text, " \t");
    size_t size = strcspn(*text, " \t");
    struct span word = span_of(*text, size);
    *text += size;
    return word;
}

/* "interval 1 week 2 days" in microseconds; months and years have no fixed length: refused. */
static bool parse_interval(const char *text, int64_t *us_out)
{
    int64_t total = 0;
    size_t pairs = 0;
    struct span word = next_word(&text);
    if (word.size == 8 && strncasecmp((const char *)word.data, "interval", 8) == 0) {
        word = next_word(&text);
    }
    for (; word.size > 0; word = next_word(&text)) {
        int64_t amount = 0;
        int64_t unit = 0;
        int64_t product = 0;
        if (!text_parse_int64(word, &amount) || amount < 0 || !find_unit(next_word(&text), &unit) ||
            __builtin_mul_overflow(amount, unit, &product) ||
            __builtin_add_overflow(total, product, &total)) {
            return false;
        }
        pairs++;
    }
    *us_out = total;
    return pairs > 0;
}

int64_t delta_metadata_interval_ms(const struct delta_metadata *metadata, const char *name,
                                   int64_t otherwise_ms)
{
    const char *value = delta_metadata_property(metadata, name);
    int64_t us = 0;
    return value != NULL && parse_interval(value, &us) ? us / 1000 : otherwise_ms;
}

static bool texts_equal(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Same keys with the same values in any order; names in one map are unique. */
static bool configurations_equal(const struct delta_metadata *a, const struct delta_metadata *b)
{
    if (a->configuration_count != b->configuration_count) {
        return false;
    }
    for (size_t i = 0; i < a->configuration_count; i++) {
        const struct delta_pair *pair = &a->configuration[i];
        const char *other = delta_metadata_property(b, pair->name);
        if (other == NULL || !texts_equal(pair->value, other)) {
            return false;
        }
    }
    return true;
}

bool delta_metadata_equal(const struct delta_metadata *a, const struct delta_metadata *b)
{
    if (a == b) {
        return true;
    }
    if (strcmp(a->id, b->id) != 0 || strcmp(a->schema_string, b->schema_string) != 0 ||
        a->partition_columns_count != b->partition_columns_count) {
        return false;
    }
    for (size_t i = 0; i < a->partition_columns_count; i++) {
        if (strcmp(a->partition_columns[i], b->partition_columns[i]) != 0) {
            return false;
        }
    }
    return configurations_equal(a, b);
}

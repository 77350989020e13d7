/*
 * Lifetimes of the decoded actions: each is one allocation that holds the struct
 * and everything it points to, immutable, counted. Also their order and look-ups.
 */
#include "storage/delta/log.h"
#include "storage/delta/table_files.h"

#include "storage/base/mem.h"
#include "storage/delta/stats.h"

#include <assert.h>
#include <string.h>

/*
 * Carves one allocation: first all pointers arrays, then all texts, so that
 * alignment needs no thought. The same calls are made twice, once to measure
 * (memory NULL) and once to copy.
 */
struct packing {
    char *memory; /* NULL while measuring */
    size_t used;
};

static void *pack_bytes(struct packing *packing, size_t size)
{
    char *at = packing->memory != NULL ? packing->memory + packing->used : NULL;
    packing->used += size;
    return at;
}

static const char *pack_text(struct packing *packing, const char *text)
{
    if (text == NULL) {
        return NULL;
    }
    size_t size = strlen(text) + 1;
    char *copy = pack_bytes(packing, size);
    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

static struct delta_pair *pack_pairs(struct packing *packing, size_t count)
{
    return pack_bytes(packing, count * sizeof(struct delta_pair));
}

static void pack_pair_texts(struct packing *packing, struct delta_pair *copies,
                            const struct delta_pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = pack_text(packing, pairs[i].name);
        const char *value = pack_text(packing, pairs[i].value);
        if (copies != NULL) {
            copies[i] = (struct delta_pair){.name = name, .value = value};
        }
    }
}

static const char **pack_names(struct packing *packing, size_t count)
{
    return pack_bytes(packing, count * sizeof(char *));
}

static void pack_name_texts(struct packing *packing, const char **copies, const char *const *names,
                            size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = pack_text(packing, names[i]);
        if (copies != NULL) {
            copies[i] = name;
        }
    }
}

/* Actions are shared as const; their counters are the one thing that changes. */
static void count_up(const int *references)
{
    __atomic_fetch_add((int *)(uintptr_t)references, 1, __ATOMIC_RELAXED);
}

static bool count_down(const int *references)
{
    int before = __atomic_fetch_sub((int *)(uintptr_t)references, 1, __ATOMIC_ACQ_REL);
    assert(before > 0);
    return before == 1;
}

static void free_action(const void *action)
{
    mem_free((void *)(uintptr_t)action);
}

/* ---- protocol ---- */

static size_t protocol_pack(struct packing *packing, const struct delta_protocol *protocol)
{
    struct delta_protocol *copy = pack_bytes(packing, sizeof *copy);
    const char **readers = pack_names(packing, protocol->reader_features_count);
    const char **writers = pack_names(packing, protocol->writer_features_count);
    pack_name_texts(packing, readers, protocol->reader_features, protocol->reader_features_count);
    pack_name_texts(packing, writers, protocol->writer_features, protocol->writer_features_count);
    if (copy != NULL) {
        *copy = *protocol;
        copy->reader_features = readers;
        copy->writer_features = writers;
        copy->references = 1;
    }
    return packing->used;
}

const struct delta_protocol *delta_protocol_new(const struct delta_protocol *protocol)
{
    struct packing measure = {0};
    struct packing packing = {.memory = mem_alloc(protocol_pack(&measure, protocol))};
    (void)protocol_pack(&packing, protocol); /* the size is known */
    return (const struct delta_protocol *)(void *)packing.memory;
}

const struct delta_protocol *delta_protocol_acquire(const struct delta_protocol *protocol)
{
    count_up(&protocol->references);
    return protocol;
}

void delta_protocol_release(const struct delta_protocol **protocol)
{
    if (*protocol != NULL && count_down(&(*protocol)->references)) {
        free_action(*protocol);
    }
    *protocol = NULL;
}

/* ---- metadata ---- */

static size_t metadata_pack(struct packing *packing, const struct delta_metadata *metadata)
{
    struct delta_metadata *copy = pack_bytes(packing, sizeof *copy);
    const char **partitions = pack_names(packing, metadata->partition_columns_count);
    struct delta_pair *configuration = pack_pairs(packing, metadata->configuration_count);
    struct delta_pair *options = pack_pairs(packing, metadata->format_options_count);
    const char *id = pack_text(packing, metadata->id);
    const char *name = pack_text(packing, metadata->name);
    const char *description = pack_text(packing, metadata->description);
    const char *schema_string = pack_text(packing, metadata->schema_string);
    pack_name_texts(packing, partitions, metadata->partition_columns,
                    metadata->partition_columns_count);
    pack_pair_texts(packing, configuration, metadata->configuration, metadata->configuration_count);
    pack_pair_texts(packing, options, metadata->format_options, metadata->format_options_count);
    if (copy != NULL) {
        *copy = *metadata;
        copy->id = id;
        copy->name = name;
        copy->description = description;
        copy->schema_string = schema_string;
        copy->partition_columns = partitions;
        copy->configuration = configuration;
        copy->format_options = options;
        copy->references = 1;
    }
    return packing->used;
}

const struct delta_metadata *delta_metadata_new(const struct delta_metadata *metadata)
{
    struct packing measure = {0};
    struct packing packing = {.memory = mem_alloc(metadata_pack(&measure, metadata))};
    (void)metadata_pack(&packing, metadata); /* the size is known */
    return (const struct delta_metadata *)(void *)packing.memory;
}

const struct delta_metadata *delta_metadata_acquire(const struct delta_metadata *metadata)
{
    count_up(&metadata->references);
    return metadata;
}

void delta_metadata_release(const struct delta_metadata **metadata)
{
    if (*metadata != NULL && count_down(&(*metadata)->references)) {
        free_action(*metadata);
    }
    *metadata = NULL;
}

/* ---- files ---- */

static size_t file_pack(struct packing *packing, const struct delta_file *file)
{
    struct delta_file *copy = pack_bytes(packing, sizeof *copy);
    struct delta_pair *values = pack_pairs(packing, file->partition_values_count);
    struct delta_pair *tags = pack_pairs(packing, file->tags_count);
    const char *path = pack_text(packing, delta_path_canonical(file->path));
    const char *stats = pack_text(packing, file->stats);
    const char *provider = pack_text(packing, file->clustering_provider);
    const char *vector =
        delta_dv_is_present(&file->dv) ? pack_text(packing, file->dv.path_or_inline) : NULL;
    pack_pair_texts(packing, values, file->partition_values, file->partition_values_count);
    pack_pair_texts(packing, tags, file->tags, file->tags_count);
    if (copy != NULL) {
        *copy = delta_file_fields(file); /* the counter of a shared one is not ours to read */
        copy->path = path;
        copy->stats = stats;
        copy->clustering_provider = provider;
        copy->dv.path_or_inline = vector;
        copy->partition_values = values;
        copy->tags = tags;
        copy->references = 1;
    }
    return packing->used;
}

const struct delta_file *delta_file_new(const struct delta_file *file)
{
    assert(file->path != NULL && file->path[0] != '\0');
    struct packing measure = {0};
    struct packing packing = {.memory = mem_alloc(file_pack(&measure, file))};
    (void)file_pack(&packing, file); /* the size is known */
    struct delta_file *copy = (struct delta_file *)(void *)packing.memory;
    copy->rows_count = copy->stats != NULL ? delta_stats_rows_count(copy->stats) : -1;
    return copy;
}

const struct delta_file *delta_file_acquire(const struct delta_file *file)
{
    count_up(&file->references);
    return file;
}

void delta_file_release(const struct delta_file **file)
{
    if (*file != NULL && count_down(&(*file)->references)) {
        free_action(*file);
    }
    *file = NULL;
}

/* spec: delta PROTOCOL.md#deletion-vectors — uniqueId = storage ‖ path ‖ "@" offset, null first */
static int compare_dv(const struct delta_dv *a, const struct delta_dv *b)
{
    if (a->storage != b->storage) {
        return a->storage < b->storage ? -1 : 1;
    }
    if (!delta_dv_is_present(a)) {
        return 0;
    }
    int order = strcmp(a->path_or_inline, b->path_or_inline);
    if (order != 0) {
        return order;
    }
    if (a->has_offset != b->has_offset) {
        return b->has_offset ? -1 : 1;
    }
    if (!a->has_offset || a->offset == b->offset) {
        return 0;
    }
    return a->offset < b->offset ? -1 : 1;
}

bool delta_dv_equal(const struct delta_dv *a, const struct delta_dv *b)
{
    return compare_dv(a, b) == 0;
}

int delta_file_compare(const struct delta_file *a, const struct delta_file *b)
{
    int order = strcmp(a->path, b->path);
    return order != 0 ? order : compare_dv(&a->dv, &b->dv);
}

static const struct delta_pair *find_pair(const struct delta_pair *pairs, size_t count,
                                          const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(pairs[i].name, name) == 0) {
            return &pairs[i];
        }
    }
    return NULL;
}

const char *delta_file_tag(const struct delta_file *file, const char *name)
{
    const struct delta_pair *pair = find_pair(file->tags, file->tags_count, name);
    return pair != NULL ? pair->value : NULL;
}

const char *delta_file_partition_value(const struct delta_file *file, const char *column,
                                       bool *found_out)
{
    const struct delta_pair *pair =
        find_pair(file->partition_values, file->partition_values_count, column);
    *found_out = pair != NULL;
    return pair != NULL ? pair->value : NULL;
}

int64_t delta_file_live_rows(const struct delta_file *file)
{
    if (file->rows_count < 0) {
        return -1;
    }
    int64_t deleted = delta_dv_is_present(&file->dv) ? file->dv.cardinality : 0;
    return file->rows_count > deleted ? file->rows_count - deleted : 0;
}

/* ---- txn and domain ---- */

const struct delta_txn *delta_txn_new(const char *app_id, int64_t version, int64_t updated_ms)
{
    size_t size = strlen(app_id) + 1;
    struct delta_txn *txn = mem_alloc(sizeof *txn + size);
    char *copy = (char *)(txn + 1);
    memcpy(copy, app_id, size);
    *txn = (struct delta_txn){
        .app_id = copy, .version = version, .updated_ms = updated_ms, .references = 1};
    return txn;
}

const struct delta_txn *delta_txn_acquire(const struct delta_txn *txn)
{
    count_up(&txn->references);
    return txn;
}

void delta_txn_release(const struct delta_txn **txn)
{
    if (*txn != NULL && count_down(&(*txn)->references)) {
        free_action(*txn);
    }
    *txn = NULL;
}

const struct delta_domain *delta_domain_new(const char *domain, const char *configuration,
                                            bool removed)
{
    size_t domain_size = strlen(domain) + 1;
    size_t configuration_size = strlen(configuration) + 1;
    struct delta_domain *action = mem_alloc(sizeof *action + domain_size + configuration_size);
    char *texts = (char *)(action + 1);
    memcpy(texts, domain, domain_size);
    memcpy(texts + domain_size, configuration, configuration_size);
    *action = (struct delta_domain){
        .domain = texts, .configuration = texts + domain_size, .removed = removed, .references = 1};
    return action;
}

const struct delta_domain *delta_domain_acquire(const struct delta_domain *domain)
{
    count_up(&domain->references);
    return domain;
}

void delta_domain_release(const struct delta_domain **domain)
{
    if (*domain != NULL && count_down(&(*domain)->references)) {
        free_action(*domain);
    }
    *domain = NULL;
}

/*
 * The registry of metrics and its Prometheus text. See metrics.h for the contract.
 */
#include "storage/base/metrics.h"

#include "storage/base/lock.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Upper bounds of the histogram's buckets; the last bucket has none. */
static const int64_t bounds_us[] = {
    50,     100,    250,    500,     1000,    2500,    5000,     10000,    25000,    50000,
    100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000, 60000000,
};

enum { BOUNDS_COUNT = sizeof bounds_us / sizeof bounds_us[0] };

/* One series; made at registration, never freed, because its users keep the pointer. */
struct metric {
    enum metric_kind kind;
    const char *labels;    /* set once */
    bool forgotten;        /* guarded by registry_lock: not shown */
    _Atomic int64_t value; /* counter, gauge; µs observed in all of a histogram */
    _Atomic int64_t buckets[BOUNDS_COUNT + 1]; /* observations of each bucket, not cumulated */
};

/* All series of a name. */
struct family {
    char *name;
    char *help;
    enum metric_kind kind;
    struct metric **series; /* sorted by labels */
    size_t series_count;
};

static struct lock registry_lock = {.mutex = PTHREAD_MUTEX_INITIALIZER, .rank = LOCK_RANK_METRICS};
static struct family **families; /* sorted by name; guarded by registry_lock */
static size_t families_count;    /* guarded by registry_lock */

typedef const char *(*key_fn)(const void *list, size_t index);

/* First index of a sorted list whose key is not below `key`. */
static size_t place_of(const void *list, size_t count, key_fn key_at, const char *key)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(key_at(list, middle), key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static const char *family_name(const void *list, size_t index)
{
    return ((struct family *const *)list)[index]->name;
}

static const char *series_labels(const void *list, size_t index)
{
    return ((struct metric *const *)list)[index]->labels;
}

/* A sorted list of pointers with `item` put in at `place`. */
static void *insert(void *list, size_t *count, size_t place, void *item)
{
    void **grown = mem_resize(list, *count + 1, sizeof *grown);
    memmove(grown + place + 1, grown + place, (*count - place) * sizeof *grown);
    grown[place] = item;
    (*count)++;
    return grown;
}

static struct family *find_family(enum metric_kind kind, const char *name, const char *help)
{
    size_t place = place_of(families, families_count, family_name, name);
    if (place < families_count && strcmp(families[place]->name, name) == 0) {
        assert(families[place]->kind == kind);
        return families[place];
    }
    struct family *family = mem_zeroed(1, sizeof *family);
    family->name = mem_copy_text(name);
    family->help = mem_copy_text(help);
    family->kind = kind;
    families = insert(families, &families_count, place, family);
    return family;
}

/* A series comes back from nothing when its table's name is used again. */
static void revive(struct metric *metric)
{
    metric->forgotten = false;
    atomic_store(&metric->value, 0);
    for (size_t i = 0; i <= BOUNDS_COUNT; i++) {
        atomic_store(&metric->buckets[i], 0);
    }
}

static struct metric *find_series(struct family *family, const char *labels)
{
    size_t place = place_of(family->series, family->series_count, series_labels, labels);
    if (place < family->series_count && strcmp(family->series[place]->labels, labels) == 0) {
        struct metric *found = family->series[place];
        if (found->forgotten) {
            revive(found);
        }
        return found;
    }
    struct metric *metric = mem_zeroed(1, sizeof *metric);
    metric->kind = family->kind;
    metric->labels = mem_copy_text(labels);
    family->series = insert(family->series, &family->series_count, place, metric);
    return metric;
}

struct metric *metric_register(enum metric_kind kind, const char *name, const char *labels,
                               const char *help)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&registry_lock);
    return find_series(find_family(kind, name, help), labels);
}

void metric_add(struct metric *metric, int64_t amount)
{
    assert(metric->kind == METRIC_GAUGE || (metric->kind == METRIC_COUNTER && amount >= 0));
    atomic_fetch_add_explicit(&metric->value, amount, memory_order_relaxed);
}

void metric_set(struct metric *metric, int64_t value)
{
    assert(metric->kind == METRIC_GAUGE);
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

void metric_observe_us(struct metric *metric, int64_t microseconds)
{
    assert(metric->kind == METRIC_HISTOGRAM);
    size_t bucket = 0;
    while (bucket < BOUNDS_COUNT && microseconds > bounds_us[bucket]) {
        bucket++;
    }
    atomic_fetch_add_explicit(&metric->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&metric->value, microseconds, memory_order_relaxed);
}

int64_t metric_value(const struct metric *metric)
{
    assert(metric->kind != METRIC_HISTOGRAM);
    return atomic_load_explicit(&metric->value, memory_order_relaxed);
}

void metric_forget(const char *labels)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&registry_lock);
    for (size_t i = 0; i < families_count; i++) {
        struct family *family = families[i];
        size_t place = place_of(family->series, family->series_count, series_labels, labels);
        if (place < family->series_count && strcmp(family->series[place]->labels, labels) == 0) {
            family->series[place]->forgotten = true;
        }
    }
}

/* ---- text ---- */

/* spec: Prometheus text format 0.0.4 — backslash and line feed are escaped in HELP */
static void write_help(const char *help, struct buffer *text)
{
    for (; *help != '\0'; help++) {
        if (*help == '\\' || *help == '\n') {
            buffer_append_text(text, *help == '\n' ? "\\n" : "\\\\");
        } else {
            buffer_append_byte(text, (uint8_t)*help);
        }
    }
}

/* Microseconds as seconds without a trailing zero. */
static void write_seconds(int64_t us, struct buffer *text)
{
    char digits[TEXT_DECIMAL_BYTES];
    size_t size = text_format_decimal(us, 6, digits);
    while (digits[size - 1] == '0') {
        size--;
    }
    size -= digits[size - 1] == '.';
    buffer_append(text, digits, size);
}

static void write_name(const char *name, const char *suffix, const char *labels,
                       struct buffer *text)
{
    buffer_append_text(text, name);
    buffer_append_text(text, suffix);
    if (labels[0] != '\0') {
        buffer_append_format(text, "{%s}", labels);
    }
    buffer_append_byte(text, ' ');
}

static void write_bucket(const char *name, const char *labels, size_t bucket, int64_t count,
                         struct buffer *text)
{
    buffer_append_format(text, "%s_bucket{%s%sle=\"", name, labels, labels[0] != '\0' ? "," : "");
    if (bucket < BOUNDS_COUNT) {
        write_seconds(bounds_us[bucket], text);
    } else {
        buffer_append_text(text, "+Inf");
    }
    buffer_append_format(text, "\"} %lld\n", (long long)count);
}

static void write_histogram(const char *name, const struct metric *metric, struct buffer *text)
{
    int64_t count = 0;
    for (size_t i = 0; i <= BOUNDS_COUNT; i++) {
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        write_bucket(name, metric->labels, i, count, text);
    }
    write_name(name, "_sum", metric->labels, text);
    write_seconds(atomic_load_explicit(&metric->value, memory_order_relaxed), text);
    buffer_append_byte(text, '\n');
    /* the count is that of the last bucket, even while others observe */
    write_name(name, "_count", metric->labels, text);
    buffer_append_format(text, "%lld\n", (long long)count);
}

static void write_series(const char *name, const struct metric *metric, struct buffer *text)
{
    if (metric->kind == METRIC_HISTOGRAM) {
        write_histogram(name, metric, text);
        return;
    }
    write_name(name, "", metric->labels, text);
    buffer_append_format(text, "%lld\n", (long long)metric_value(metric));
}

static bool is_shown(const struct family *family)
{
    for (size_t i = 0; i < family->series_count; i++) {
        if (!family->series[i]->forgotten) {
            return true;
        }
    }
    return false;
}

static void write_family(const struct family *family, struct buffer *text)
{
    static const char *const kind_names[] = {
        [METRIC_COUNTER] = "counter",
        [METRIC_GAUGE] = "gauge",
        [METRIC_HISTOGRAM] = "histogram",
    };
    buffer_append_format(text, "# HELP %s ", family->name);
    write_help(family->help, text);
    buffer_append_format(text, "\n# TYPE %s %s\n", family->name, kind_names[family->kind]);
    for (size_t i = 0; i < family->series_count; i++) {
        if (!family->series[i]->forgotten) {
            write_series(family->name, family->series[i], text);
        }
    }
}

void metrics_write(struct buffer *text)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&registry_lock);
    for (size_t i = 0; i < families_count; i++) {
        if (is_shown(families[i])) {
            write_family(families[i], text);
        }
    }
}

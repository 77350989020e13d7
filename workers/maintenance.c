/*
 * Maintenance. See maintenance.h for the contract.
 */
#include "workers/maintenance.h"

#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"
#include "storage/base/metrics.h"
#include "storage/catalog/batches.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/dead_letters.h"
#include "storage/catalog/deliveries.h"
#include "storage/catalog/runs.h"
#include "storage/catalog/tables.h"
#include "storage/delta/checkpoint.h"
#include "storage/intake/recent_frames.h"
#include "storage/journal/journal.h"
#include "storage/snapshot/compact.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"

#include <inttypes.h>
#include <stdio.h>

enum { SURPLUS_BYTES = 256 << 20 }; /* free memory that may lie about: what one commit takes */

static void log_task(const char *task, const char *table, int64_t version, int64_t rows,
                     int64_t duration_us)
{
    struct log_line line;
    log_begin(&line, LOG_INFO, "maintained");
    log_text(&line, LOG_TASK, task);
    log_text(&line, LOG_TABLE, table);
    log_integer(&line, LOG_VERSION, version);
    log_integer(&line, LOG_RECORDS, rows);
    log_integer(&line, LOG_DURATION_US, duration_us);
    log_end(&line);
}

/* See foreign commits; batches that another engine overwrote go back to their lane. */
static enum err_code follow(const struct maintenance_services *services, struct table *table,
                            struct err *err)
{
    struct table_refresh_result refreshed = {0};
    TRY(table_refresh(table, &refreshed, err));
    if (refreshed.overwritten_from >= 0) {
        int64_t requeued = 0;
        TRY(batches_requeue(services->catalog, table_uuid(table), refreshed.overwritten_from,
                            &requeued, err));
        struct log_line line;
        log_begin(&line, LOG_ERROR,
                  "another engine overwrote commits of ours; their batches are merged again");
        log_text(&line, LOG_TABLE, table_name(table));
        log_integer(&line, LOG_VERSION, refreshed.overwritten_from);
        log_integer(&line, LOG_COUNT_OF, requeued);
        log_end(&line);
        services->wake_merge(services->arg, table_uuid(table));
    }
    if (refreshed.changed) {
        services->progress(services->arg, table_uuid(table));
    }
    return ERR_OK;
}

/* What of the table must not wait for a long checkpoint. */
struct between {
    const struct maintenance_services *services;
    struct table *table;
};

static enum err_code maintain_files(const struct maintenance_services *services,
                                    struct table *table, bool *more_out, struct err *err);

static enum err_code maintain_between(void *arg, struct err *err)
{
    const struct between *between = arg;
    bool ignored = false; /* the next call sees it */
    return maintain_files(between->services, between->table, &ignored, err);
}

static enum err_code checkpoint(const struct maintenance_services *services, struct table *table,
                                struct err *err)
{
    int64_t now_us = clock_wall_us();
    if (!table_checkpoint_is_due(table, now_us / 1000)) {
        return ERR_OK;
    }
    int64_t started_us = clock_monotonic_us();
    struct between between = {.services = services, .table = table};
    const struct delta_checkpoint_options options = {
        .now_ms = now_us / 1000, .between = maintain_between, .between_arg = &between};
    struct delta_checkpoint_result result = {0};
    TRY(table_checkpoint(table, &options, &result, err));
    log_task("checkpoint", table_name(table), table_version(table), 0,
             clock_monotonic_us() - started_us);
    int64_t hours = 0;
    TRY(table_adapt_retention(table, &result, now_us / 1000, &hours, err));
    if (hours > 0) {
        struct log_line line;
        log_begin(&line, LOG_INFO, "removed files stay in the log for so many hours from now on");
        log_text(&line, LOG_TABLE, table_name(table));
        log_integer(&line, LOG_VERSION, table_version(table));
        log_integer(&line, LOG_COUNT_OF, hours);
        log_end(&line);
    }
    return ERR_OK;
}

static enum err_code compact(const struct maintenance_services *services, struct table *table,
                             bool *more_out, struct err *err)
{
    CLEANUP(compact_plan_deinit) struct compact_plan plan = {0};
    compact_plan(table, table_is_resting(table, clock_monotonic_us()), &plan);
    if (plan.count == 0) {
        return ERR_OK;
    }
    struct compact_result result = {0};
    enum err_code code = compact_run(table, &plan, services->stop, &result, err);
    if (code == ERR_IO) {
        process_stop_after_io_error(err);
    }
    TRY(code);
    *more_out = true; /* the next plan decides that it was enough */
    if (result.committed) {
        log_task("compact", table_name(table), result.version, result.rows_written, result.work_us);
        services->progress(services->arg, table_uuid(table));
    }
    return ERR_OK;
}

/* Runs first, all of them: a compaction takes seconds, and every lookup and merge probes them. */
static enum err_code maintain_files(const struct maintenance_services *services,
                                    struct table *table, bool *more_out, struct err *err)
{
    if (!table_maintenance_begin(table, 0)) {
        return ERR_OK; /* an optimize task is at it */
    }
    enum err_code code = ERR_OK;
    for (bool more = true; more && code == ERR_OK && !*services->stop;) {
        code = table_index_maintain(table, &more, err);
    }
    code = code == ERR_OK ? compact(services, table, more_out, err) : code;
    table_maintenance_end(table);
    return code;
}

static enum err_code maintain(const struct maintenance_services *services, struct table *table,
                              bool *more_out, struct err *err)
{
    TRY(follow(services, table, err));
    TRY(checkpoint(services, table, err));
    table_write_checksum(table);
    table_store_index_when_due(table, clock_monotonic_us());
    TRY(maintain_files(services, table, more_out, err));
    return table_clean(table, clock_wall_us(), err);
}

enum err_code maintenance_step(const struct maintenance_services *services, const struct id *uuid,
                               bool *more_out, struct err *err)
{
    CLEANUP(table_release) struct table *table = NULL;
    if (tables_find_by_uuid(services->tables, uuid, &table, err) != ERR_OK) {
        return err->code == ERR_NOT_FOUND ? err_set(err, ERR_CANCELLED, "the table is gone")
                                          : err->code;
    }
    if (maintain(services, table, more_out, err) != ERR_OK) {
        return err_wrap(err, "maintain table '%s'", table_name(table));
    }
    return ERR_OK;
}

static enum err_code trim_journals(const struct maintenance_services *services, struct err *err)
{
    int64_t floor = 0;
    int64_t removed = 0;
    TRY(catalog_sync(services->catalog, err)); /* the floors stand on outcomes of merges */
    TRY(batches_journal_floor(services->catalog, &floor, err));
    TRY(journal_remove_below(services->journal, floor, services->journal_keep_us, &removed, err));
    TRY(dead_letters_journal_floor(services->catalog, &floor, err));
    return journal_remove_below(services->dead_letters, floor, services->journal_keep_us, &removed,
                                err);
}

static enum err_code retain(const struct maintenance_services *services, struct err *err)
{
    int64_t dropped = 0;
    int64_t early = 0;
    TRY(catalog_retain(services->catalog, &dropped, &early, err));
    if (early > 0) {
        struct log_line line;
        log_begin(&line, LOG_WARN,
                  "receipts and idempotency keys went before their time to keep their byte budget");
        log_integer(&line, LOG_COUNT_OF, early);
        log_end(&line);
    }
    return ERR_OK;
}

/* Files of deleted tables, then the catalog's memory of them. */
static enum err_code vacuum_dropped(const struct maintenance_services *services, struct err *err)
{
    struct id *uuids = NULL;
    size_t count = 0;
    TRY(tables_vacuum_dropped(services->tables, clock_wall_us(), services->dropped_retention_us,
                              &uuids, &count, err));
    enum err_code code = ERR_OK;
    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        code = catalog_table_forget(services->catalog, &uuids[i], err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err); /* forgotten before a crash */
            code = ERR_OK;
        }
    }
    mem_free(uuids);
    return code;
}

/* Steps until nothing is left to go, or the process stops: one transaction each. */
static enum err_code retain_runs(const struct maintenance_services *services, struct err *err)
{
    int64_t before_us = clock_wall_us() - services->run_retention_us;
    const struct run_retention retention = {.before_us = before_us,
                                            .per_job_max = services->runs_per_job_max};
    int64_t removed = 0;
    bool more = true;
    while (more && !*services->stop) {
        TRY(runs_retain(services->catalog, &retention, &removed, &more, err));
    }
    more = true;
    while (more && !*services->stop) {
        TRY(deliveries_retain(services->catalog, before_us, &removed, &more, err));
    }
    return ERR_OK;
}

enum err_code maintenance_round(const struct maintenance_services *services, struct err *err)
{
    TRY(trim_journals(services, err));
    TRY(retain(services, err));
    TRY(retain_runs(services, err));
    recent_frames_expire(services->recent, clock_monotonic_us());
    mem_give_back_surplus(SURPLUS_BYTES);
    return vacuum_dropped(services, err);
}

static void gauge(const char *name, const char *labels, const char *help, int64_t value)
{
    metric_set(metric_register(METRIC_GAUGE, name, labels, help), value);
}

static void observe_table(const struct maintenance_services *services, struct table *table)
{
    char labels[160];
    (void)snprintf(labels, sizeof labels, "table=\"%s\"", table_name(table)); /* fits */
    struct table_statistics statistics;
    table_statistics_get(table, &statistics);
    gauge("sluice_snapshot_version", labels, "Newest published table version.", statistics.version);
    gauge("sluice_table_rows", labels, "Live rows.", statistics.rows_count);
    gauge("sluice_table_dead_rows", labels, "Rows marked in deletion vectors.",
          statistics.dead_rows_count);
    gauge("sluice_table_files", labels, "Live data files.", statistics.files_count);
    gauge("sluice_table_bytes", labels, "Bytes of live data files.", statistics.files_bytes);
    gauge("sluice_table_tombstones", labels, "Deleted keys that are remembered.",
          statistics.tombstones_count);
    gauge("sluice_index_runs", labels, "Index runs of the kind that has most.",
          statistics.index_runs_count);
    gauge("sluice_index_bytes", labels, "Bytes of index runs and row images.",
          statistics.index_bytes + statistics.images_bytes);
    gauge("sluice_duplicate_keys", labels, "Keys met with several live rows (foreign appends).",
          statistics.duplicates_count);
    gauge("sluice_compactions", labels, "Compactions committed since the start.",
          statistics.compactions_count);
    gauge(
        "sluice_compacted_rows", labels,
        "Rows that compactions wrote since the start; beside sluice_records_merged_total they are "
        "the write amplification.",
        statistics.compacted_rows_count);

    struct lane_statistics lane;
    struct err ignored = {0};
    if (lane_statistics(services->catalog, table_uuid(table), &lane, &ignored) == ERR_OK) {
        int64_t age_us = lane.oldest_received_us > 0 && lane.queued_count > 0
                             ? clock_wall_us() - lane.oldest_received_us
                             : 0;
        gauge("sluice_lane_queued_batches", labels, "Batches that wait for their merge.",
              lane.queued_count);
        gauge("sluice_lane_queued_records", labels, "Records that wait for their merge.",
              lane.queued_records);
        gauge("sluice_lane_queued_bytes", labels, "Bytes of frames that wait for their merge.",
              lane.queued_bytes);
        gauge("sluice_lane_oldest_age_seconds", labels, "Age of the oldest batch in the queue.",
              age_us / 1000000);
        gauge("sluice_dead_letters", labels, "Dead letters that nobody has dealt with.",
              lane.dead_letter_count);
        gauge("sluice_dead_letter_bytes", labels, "Bytes of their payloads.",
              lane.dead_letter_bytes);
    }
}

static void observe_deliveries(const struct maintenance_services *services)
{
    struct delivery_counts deliveries;
    struct err ignored = {0};
    if (delivery_counts(services->catalog, &deliveries, &ignored) == ERR_OK) {
        gauge("sluice_webhooks_pending", "", "Webhook deliveries that are to be sent.",
              deliveries.pending);
        gauge("sluice_webhooks_dead", "", "Webhook deliveries given up, or their endpoint gone.",
              deliveries.dead);
    }
}

void maintenance_observe(const struct maintenance_services *services)
{
    struct tables_list list;
    tables_list_get(services->tables, &list);
    for (size_t i = 0; i < list.count; i++) {
        observe_table(services, list.items[i]);
    }
    tables_list_free(&list);

    struct segment_statistics journal;
    journal_statistics(services->journal, &journal);
    gauge("sluice_journal_bytes", "", "Bytes of journal segments.", journal.bytes);
    gauge("sluice_journal_segments", "", "Journal segments.", journal.segments_count);
    gauge("sluice_journal_fsyncs", "", "Syncs of the journal since the start.",
          journal.syncs_count);
    struct catalog_statistics catalog;
    catalog_statistics(services->catalog, &catalog);
    gauge("sluice_catalog_commits", "", "Group commits of the catalog since the start.",
          catalog.commits_count);
    gauge("sluice_catalog_syncs", "",
          "Waits of the catalog's commits for the disk since the start.", catalog.syncs_count);
    gauge("sluice_catalog_waiting", "", "Writes that wait for the catalog.", catalog.waiting_count);
    gauge("sluice_catalog_bytes", "", "Bytes of the catalog's dated pieces.", catalog.pieces_bytes);
    gauge("sluice_jobs_bytes", "", "Bytes of the catalog's jobs and runs.", catalog.jobs_bytes);
    observe_deliveries(services);
    size_t allocated = 0;
    size_t unused = 0;
    mem_count(&allocated, &unused);
    gauge("sluice_memory_allocated_bytes", "", "Memory in use, mapped files left out.",
          (int64_t)allocated);
    gauge("sluice_memory_unused_bytes", "",
          "Memory that was in use before, given back to the system or not.", (int64_t)unused);
}

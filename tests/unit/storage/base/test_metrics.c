/*
 * Metrics: exact text, and a format that Prometheus' own linter accepts.
 */
#include "storage/base/metrics.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void expect_text(const char *expected)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 20);
    metrics_write(&text);
    cr_expect(span_equal_text(buffer_span(&text), expected), "%.*s",
              SPAN_PRINT(buffer_span(&text)));
}

Test(metrics, counters_and_gauges_sorted)
{
    struct metric *depth = metric_register(METRIC_GAUGE, "sluice_queue_depth", "", "Waiting.");
    struct metric *b = metric_register(METRIC_COUNTER, "sluice_records_total", "table=\"b\"",
                                       "Records\nwith a \\ and a feed.");
    struct metric *a = metric_register(METRIC_COUNTER, "sluice_records_total", "table=\"a\"",
                                       "Records\nwith a \\ and a feed.");
    metric_add(a, 3);
    metric_add(b, 4);
    metric_add(a, 1);
    metric_set(depth, 9);
    metric_add(depth, -11);
    cr_expect_eq(metric_value(a), 4);
    cr_expect_eq(metric_value(depth), -2);
    cr_expect_eq(metric_register(METRIC_COUNTER, "sluice_records_total", "table=\"b\"", ""), b);
    expect_text("# HELP sluice_queue_depth Waiting.\n"
                "# TYPE sluice_queue_depth gauge\n"
                "sluice_queue_depth -2\n"
                "# HELP sluice_records_total Records\\nwith a \\\\ and a feed.\n"
                "# TYPE sluice_records_total counter\n"
                "sluice_records_total{table=\"a\"} 4\n"
                "sluice_records_total{table=\"b\"} 4\n");
}

Test(metrics, histogram_is_cumulative_in_seconds)
{
    struct metric *latency =
        metric_register(METRIC_HISTOGRAM, "sluice_commit_seconds", "table=\"a\"", "Commit.");
    metric_observe_us(latency, 0);
    metric_observe_us(latency, 50);
    metric_observe_us(latency, 51);
    metric_observe_us(latency, 1500000);
    metric_observe_us(latency, 100000000);
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 16);
    metrics_write(&text);
    buffer_append_byte(&text, '\0');
    static const char *const lines[] = {
        "sluice_commit_seconds_bucket{table=\"a\",le=\"0.00005\"} 2\n",
        "sluice_commit_seconds_bucket{table=\"a\",le=\"0.0001\"} 3\n",
        "sluice_commit_seconds_bucket{table=\"a\",le=\"1\"} 3\n",
        "sluice_commit_seconds_bucket{table=\"a\",le=\"2.5\"} 4\n",
        "sluice_commit_seconds_bucket{table=\"a\",le=\"60\"} 4\n",
        "sluice_commit_seconds_bucket{table=\"a\",le=\"+Inf\"} 5\n",
        "sluice_commit_seconds_sum{table=\"a\"} 101.500101\n",
        "sluice_commit_seconds_count{table=\"a\"} 5\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        cr_expect_not_null(strstr((const char *)text.data, lines[i]), "%s", lines[i]);
    }
}

Test(metrics, forgotten_series_vanish_and_come_back_from_zero)
{
    struct metric *gone =
        metric_register(METRIC_COUNTER, "sluice_commits_total", "table=\"gone\"", "Commits.");
    metric_add(gone, 5);
    metric_forget("table=\"gone\"");
    expect_text("");
    metric_add(gone, 1); /* a late user of the pointer does no harm */
    struct metric *back =
        metric_register(METRIC_COUNTER, "sluice_commits_total", "table=\"gone\"", "Commits.");
    metric_add(back, 1);
    expect_text("# HELP sluice_commits_total Commits.\n"
                "# TYPE sluice_commits_total counter\n"
                "sluice_commits_total{table=\"gone\"} 1\n");
}

enum { THREADS = 4, ADDS = 50000 };

static void *add_many(void *argument)
{
    struct metric *metric = argument;
    for (int i = 0; i < ADDS; i++) {
        metric_add(metric, 1);
    }
    return NULL;
}

Test(metrics, threads_lose_no_increment)
{
    struct metric *metric = metric_register(METRIC_COUNTER, "sluice_x_total", "", "X.");
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, add_many, metric), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    cr_expect_eq(metric_value(metric), THREADS * ADDS);
}

/* Exit status of `promtool check metrics` on the file, or -1 when it is not installed. */
static int run_promtool(const char *path)
{
    pid_t child = fork();
    if (child == 0) {
        int fd = open(path, O_RDONLY);
        if (fd < 0 || dup2(fd, STDIN_FILENO) < 0) {
            _exit(126);
        }
        (void)execlp("promtool", "promtool", "check", "metrics", (char *)NULL);
        _exit(127);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status));
    return WEXITSTATUS(status) == 127 ? -1 : WEXITSTATUS(status);
}

Test(metrics, promtool_accepts_the_text)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "metrics");
    CLEANUP(buffer_deinit) struct buffer text;
    struct err err = {0};
    metric_add(metric_register(METRIC_COUNTER, "sluice_records_total", "table=\"a\"", "Records."),
               1);
    metric_set(metric_register(METRIC_GAUGE, "sluice_snapshot_version", "", "Version."), 7);
    metric_observe_us(metric_register(METRIC_HISTOGRAM, "sluice_request_duration_seconds",
                                      "method=\"GET\",status=\"200\"", "Request \\ latency."),
                      777);
    metric_observe_us(
        metric_register(METRIC_HISTOGRAM, "sluice_sync_duration_seconds", "", "Sync."), 1);
    buffer_init(&text, 1 << 16);
    metrics_write(&text);
    cr_assert_eq(file_write_derived(path, buffer_span(&text), &err), ERR_OK);
    int status = run_promtool(path);
    if (status < 0) {
        cr_skip_test("promtool is not installed");
    }
    cr_expect_eq(status, 0);
}

/*
 * The task type http_request: calls a service. The body is JSON, or the text that a
 * string is; methods that change something carry an Idempotency-Key that is the same
 * in every attempt of the task in its run.
 *
 * Success is a status of 2xx, or one of `expect_status`. Values: status, and what
 * `values` takes out of a JSON answer by pointer.
 */
#pragma once

#include "workers/task.h"

enum {
    HTTP_REQUEST_ANSWER_BYTES_MAX = 1 << 20,   /* of an answer that values are taken from */
    HTTP_REQUEST_DEADLINE_MS = 10 * 60 * 1000, /* of the call, when the task has none */
    HTTP_REQUEST_REDIRECTS_MAX = 5,            /* of GET and HEAD */
    HTTP_REQUEST_BODY_BYTES_MAX = 16 << 20,
};

task_run_fn task_http_request_run;

/*
 * Load for benchmarks: threads that ask one thing over and over, closed loop (the next as soon
 * as the last is answered) or open loop (at planned moments, and the time counts from the
 * planned one, so that a queue shows). Prints one line of JSON.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { BENCH_CLIENTS_MAX = 256 };

struct bench_client {
    int number;      /* from 0 */
    uint64_t random; /* state for bench_random */
    void *connection;
};

/* One request; false when it failed. `turn` counts the client's requests from 0. */
typedef bool bench_ask_fn(struct bench_client *client, int64_t turn, void *self);

struct bench_load {
    const char *what;
    int clients;
    double seconds;    /* how long; 0 = turns_max of each client */
    int64_t turns_max; /* of each client; 0 = no limit */
    double rate;       /* requests/s of all clients, open loop; 0 = closed loop */
    double records_per_request;
    uint64_t seed;
    void (*open)(struct bench_client *client, void *self); /* may be NULL, like close */
    bench_ask_fn *ask;
    void (*close)(struct bench_client *client, void *self);
    void *self;
};

/* Run and print; the exit code: 0, or 1 when requests failed. */
int bench_load_run(const struct bench_load *load);

/* The number in an argument; ends the program with exit code 64 when it is none. */
int64_t bench_number(const char *text);

/*
 * Fault points. See fault.h for the contract.
 */
#include "storage/base/fault.h"

#ifdef SLUICE_FAULTS

#include "storage/base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAULTS_MAX = 16, NAME_BYTES = 64 };

struct fault {
    char point[NAME_BYTES];
    char action[NAME_BYTES];
    unsigned long at;     /* acts at this passing, counted from 1, or at this value */
    unsigned long passed; /* guarded by faults_mutex */
};

static struct fault faults[FAULTS_MAX];
static size_t faults_count;
static pthread_mutex_t faults_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t faults_once = PTHREAD_ONCE_INIT;

static void parse_text(const char *text)
{
    faults_count = 0;
    while (text != NULL && *text != '\0' && faults_count < FAULTS_MAX) {
        struct fault *fault = &faults[faults_count];
        fault->passed = 0;
        if (sscanf(text, "%63[^=,]=%63[^@,]@%lu", fault->point, fault->action, &fault->at) == 3) {
            faults_count++;
        }
        text = strchr(text, ',');
        text = text != NULL ? text + 1 : NULL;
    }
}

static void parse_faults(void)
{
    parse_text(getenv("SLUICE_FAULTS"));
}

void fault_arm(const char *text)
{
    (void)pthread_once(&faults_once, parse_faults); /* cannot fail; not after us */
    (void)pthread_mutex_lock(&faults_mutex);        /* a plain mutex */
    parse_text(text);
    (void)pthread_mutex_unlock(&faults_mutex);
}

/* The action armed for this passing of `point`, or NULL. */
static const char *action_at(const char *point)
{
    const char *action = NULL;
    (void)pthread_once(&faults_once, parse_faults); /* cannot fail */
    (void)pthread_mutex_lock(&faults_mutex);        /* a plain mutex */
    for (size_t i = 0; i < faults_count; i++) {
        if (strcmp(faults[i].point, point) == 0) {
            faults[i].passed++;
            bool every_later =
                strcmp(faults[i].action, "abort") == 0 || strcmp(faults[i].action, "skip") == 0;
            if (faults[i].passed == faults[i].at ||
                (every_later && faults[i].passed > faults[i].at)) {
                action = faults[i].action;
            }
        }
    }
    (void)pthread_mutex_unlock(&faults_mutex);
    return action;
}

/* Do what the action says, or return whether it says to fail. */
static bool act(const char *action)
{
    if (action == NULL) {
        return false;
    }
    if (strcmp(action, "crash") == 0) {
        (void)kill(getpid(), SIGKILL); /* does not return in effect */
    }
    if (strcmp(action, "abort") == 0) {
        abort();
    }
    if (strcmp(action, "memory") == 0) {
        volatile size_t more_than_there_is = SIZE_MAX / 4;
        mem_free(mem_alloc(more_than_there_is)); /* does not return */
    }
    return strcmp(action, "fail") == 0;
}

bool fault_hit(const char *point)
{
    return act(action_at(point));
}

bool fault_value(const char *point, unsigned long value)
{
    (void)pthread_once(&faults_once, parse_faults); /* cannot fail */
    (void)pthread_mutex_lock(&faults_mutex);        /* a plain mutex */
    const char *action = NULL;
    for (size_t i = 0; i < faults_count; i++) {
        if (strcmp(faults[i].point, point) == 0 && faults[i].at == value) {
            action = faults[i].action;
        }
    }
    (void)pthread_mutex_unlock(&faults_mutex);
    return act(action);
}

bool fault_skip(const char *point)
{
    const char *action = action_at(point);
    return action != NULL && strcmp(action, "skip") == 0;
}

#else

typedef int fault_translation_unit_is_not_empty;

#endif

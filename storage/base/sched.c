/*
 * Scheduling hints of Linux. See sched.h.
 */
#include "storage/base/sched.h"

#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PROMPT_SLICE_NS = 100 * 1000 }; /* the shortest that the kernel takes */

/* Source: sched_setattr(2); the slice of SCHED_OTHER is heeded since Linux 6.12. */
struct attributes {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime;
    uint64_t deadline;
    uint64_t period;
};

void sched_be_prompt(void)
{
    const struct attributes attributes = {.size = sizeof attributes, .runtime = PROMPT_SLICE_NS};
    (void)syscall(SYS_sched_setattr, 0, &attributes, 0); /* a hint */
}

void sched_be_nice(int nice)
{
    /* Linux: of this thread alone; who may not be nicer stays as eager as the others */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), nice);
}

/*
 * How eagerly the kernel runs a thread beside others that want the same processor. Hints: where
 * the kernel does not know them or does not allow them, threads run as any other.
 */
#pragma once

enum { SCHED_NICE_BACKGROUND = 10 }; /* about a tenth of a processor that others want all of */

/* The calling thread answers in microseconds: it goes first when it wakes up, for a short time. */
void sched_be_prompt(void);

/* The calling thread works for long: others go first where processors are scarce. */
void sched_be_nice(int nice);

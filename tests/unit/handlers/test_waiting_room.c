/*
 * The waiting room: looked at once after parking, at progress, and when time is up.
 */
#include "handlers/waiting_room.h"

#include "storage/base/clock.h"
#include "storage/base/lock.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* Guarded by stage_lock. */
static struct lock stage_lock;
static struct wake stage_wake;
static int looks;
static int finished;
static int timed_out_looks;
static int ready_at_look; /* answers at this look; 0 = only when timed out */

static bool look(struct services *services, struct exchange *exchange, bool timed_out)
{
    (void)services;
    lock_take(&stage_lock);
    looks++;
    timed_out_looks += timed_out;
    bool ready = timed_out || (ready_at_look > 0 && looks >= ready_at_look);
    exchange->status = timed_out ? 503 : 200;
    wake_all(&stage_wake);
    lock_drop(&stage_lock);
    return ready;
}

static void finish(struct exchange *exchange)
{
    (void)exchange;
    lock_take(&stage_lock);
    finished++;
    wake_all(&stage_wake);
    lock_drop(&stage_lock);
}

static void wait_for(const int *counter, int value)
{
    int64_t deadline_us = clock_monotonic_us() + 30000000;
    lock_take(&stage_lock);
    while (*counter < value && clock_monotonic_us() < deadline_us) {
        (void)wake_wait_until(&stage_wake, &stage_lock, deadline_us); /* looked at above */
    }
    cr_assert_geq(*counter, value);
    lock_drop(&stage_lock);
}

static struct waiting_room *open_room(int ready)
{
    lock_init(&stage_lock, LOCK_RANK_LOG);
    wake_init(&stage_wake);
    ready_at_look = ready;
    exchange_set_finish_hook(finish);
    return waiting_room_open(NULL);
}

static struct id table_id(const char *text)
{
    struct id id = {0};
    (void)snprintf(id.text, sizeof id.text, "%s", text); /* a short name */
    return id;
}

static int64_t in_a_minute(void)
{
    return clock_monotonic_us() + 60000000;
}

Test(waiting_room, looks_once_right_after_parking)
{
    struct waiting_room *room = open_room(1);
    static struct exchange exchange;
    struct id table = table_id("a");
    cr_assert(waiting_room_park(room, &exchange, &table, in_a_minute(), look));
    wait_for(&finished, 1);
    cr_assert_eq(exchange.status, 200);
    waiting_room_close(&room);
    cr_assert_eq(looks, 1);
}

Test(waiting_room, looks_again_at_progress_of_its_table_only)
{
    struct waiting_room *room = open_room(2);
    static struct exchange exchange;
    struct id table = table_id("a");
    struct id other = table_id("b");
    cr_assert(waiting_room_park(room, &exchange, &table, in_a_minute(), look));
    wait_for(&looks, 1);
    waiting_room_notify(room, &other);
    waiting_room_notify(room, &table);
    wait_for(&finished, 1);
    waiting_room_close(&room);
    cr_assert_eq(timed_out_looks, 0);
}

Test(waiting_room, answers_when_time_is_up)
{
    struct waiting_room *room = open_room(0);
    static struct exchange exchange;
    struct id table = table_id("a");
    cr_assert(waiting_room_park(room, &exchange, &table, clock_monotonic_us() + 1000, look));
    wait_for(&finished, 1);
    cr_assert_eq(exchange.status, 503);
    waiting_room_close(&room);
}

Test(waiting_room, dismisses_everybody_and_parks_nobody_after)
{
    struct waiting_room *room = open_room(0);
    static struct exchange exchanges[3];
    struct id table = table_id("a");
    for (int i = 0; i < 3; i++) {
        cr_assert(waiting_room_park(room, &exchanges[i], &table, in_a_minute(), look));
    }
    waiting_room_dismiss(room);
    wait_for(&finished, 3);
    cr_assert_not(waiting_room_park(room, &exchanges[0], &table, in_a_minute(), look));
    waiting_room_notify(room, &table);
    waiting_room_close(&room);
    cr_assert_eq(finished, 3);
}

Test(waiting_room, is_full_at_its_limit)
{
    struct waiting_room *room = open_room(0);
    static struct exchange exchange;
    struct id table = table_id("a");
    for (int i = 0; i < WAITING_ROOM_MAX; i++) {
        cr_assert(waiting_room_park(room, &exchange, &table, in_a_minute(), look));
    }
    cr_assert_not(waiting_room_park(room, &exchange, &table, in_a_minute(), look));
    waiting_room_close(&room);
    cr_assert_eq(finished, WAITING_ROOM_MAX);
}

#include "tests/support/bench_records.h"

#include "storage/base/mem.h"
#include "tests/support/bench_load.h"

#include <assert.h>
#include <string.h>

/*
 * Marks of the templates; none stands for itself anywhere:
 *   ~ digit of the key        ^ digit of the key's member
 *   # digit                   % digit from 1 to 9
 *   @ ten of them an NPI      $ eight of them a status
 */
#define RX_HEADER                                                                                  \
    "prescription_id,member_id,prescriber_npi,pharmacy_npi,ndc,drug_name,quantity,days_supply,"    \
    "fill_number,refills,written_on,filled_on,bin,pcn,group_id,copay,total_cost,compound,status,"  \
    "note,updated_at"
#define MEMBER_HEADER                                                                              \
    "member_id,first_name,last_name,born,sex,street,zip,phone,plan,risk_score,updated_at"

const char bench_rx_header[] = RX_HEADER;
const char bench_member_header[] = MEMBER_HEADER;

const char bench_rx_definition[] =
    "{\"schema\":{\"fields\":["
    "{\"name\":\"prescription_id\",\"type\":\"string\",\"nullable\":false,\"max_length\":36},"
    "{\"name\":\"member_id\",\"type\":\"string\",\"nullable\":false,\"max_length\":64},"
    "{\"name\":\"prescriber_npi\",\"type\":\"string\",\"nullable\":false,\"format\":\"npi\"},"
    "{\"name\":\"pharmacy_npi\",\"type\":\"string\",\"nullable\":false,\"format\":\"npi\"},"
    "{\"name\":\"ndc\",\"type\":\"string\",\"nullable\":false,\"format\":\"ndc11\"},"
    "{\"name\":\"drug_name\",\"type\":\"string\",\"max_length\":120},"
    "{\"name\":\"quantity\",\"type\":\"decimal(10,3)\",\"nullable\":false,\"minimum\":0},"
    "{\"name\":\"days_supply\",\"type\":\"integer\",\"minimum\":1,\"maximum\":365},"
    "{\"name\":\"fill_number\",\"type\":\"integer\",\"minimum\":0,\"maximum\":99},"
    "{\"name\":\"refills\",\"type\":\"integer\",\"minimum\":0,\"maximum\":99},"
    "{\"name\":\"written_on\",\"type\":\"date\"},"
    "{\"name\":\"filled_on\",\"type\":\"date\",\"nullable\":false},"
    "{\"name\":\"bin\",\"type\":\"string\",\"pattern\":\"[0-9]{6}([0-9]{2})?\"},"
    "{\"name\":\"pcn\",\"type\":\"string\",\"max_length\":10},"
    "{\"name\":\"group_id\",\"type\":\"string\",\"max_length\":15},"
    "{\"name\":\"copay\",\"type\":\"decimal(9,2)\"},"
    "{\"name\":\"total_cost\",\"type\":\"double\",\"minimum\":0},"
    "{\"name\":\"compound\",\"type\":\"boolean\"},"
    "{\"name\":\"status\",\"type\":\"string\",\"enum\":[\"approved\",\"reversed\",\"rejected\"]},"
    "{\"name\":\"note\",\"type\":\"string\"},"
    "{\"name\":\"updated_at\",\"type\":\"timestamp\",\"nullable\":false}]},"
    "\"key\":[\"prescription_id\"],"
    "\"lookup\":[{\"entity\":\"member\",\"column\":\"member_id\",\"as\":\"prescriptions\"}]}";

const char bench_member_definition[] =
    "{\"schema\":{\"fields\":["
    "{\"name\":\"member_id\",\"type\":\"string\",\"nullable\":false,\"max_length\":64},"
    "{\"name\":\"first_name\",\"type\":\"string\"},{\"name\":\"last_name\",\"type\":\"string\"},"
    "{\"name\":\"born\",\"type\":\"date\"},{\"name\":\"sex\",\"type\":\"string\"},"
    "{\"name\":\"street\",\"type\":\"string\"},{\"name\":\"zip\",\"type\":\"string\"},"
    "{\"name\":\"phone\",\"type\":\"string\"},{\"name\":\"plan\",\"type\":\"string\"},"
    "{\"name\":\"risk_score\",\"type\":\"decimal(6,3)\"},"
    "{\"name\":\"updated_at\",\"type\":\"timestamp\"}]},"
    "\"key\":[\"member_id\"],"
    "\"lookup\":[{\"entity\":\"member\",\"column\":\"member_id\",\"as\":\"member\"}]}";

static const char *const templates[BENCH_RECORDS_COUNT] = {
    [BENCH_RX_JSON] =
        ("{\"prescription_id\":\"RX~~~~~~~~~~~~\",\"member_id\":\"M^^^^^^^^^\",\"prescriber_npi\":"
         "\"@@@@@@@@@@\",\"pharmacy_npi\":\"@@@@@@@@@@\",\"ndc\":\"00002######\",\"drug_name\":"
         "\"Lisinopril %# MG Oral "
         "Tablet\",\"quantity\":%#.500,\"days_supply\":%#,\"fill_number\":#,"
         "\"refills\":%,\"written_on\":\"2026-0%-1#\",\"filled_on\":\"2026-0%-1%\",\"bin\":"
         "\"610014\",\"pcn\":\"MEDDPRIME\",\"group_id\":\"RXGRP####\",\"copay\":%#.25,"
         "\"total_cost\":%##.75,\"compound\":false,\"status\":\"$$$$$$$$\",\"note\":\"filled at "
         "counter #\",\"updated_at\":\"2026-0%-1#T1#:1#:1#.######Z\"}"),
    [BENCH_RX_CSV] =
        ("RX~~~~~~~~~~~~,M^^^^^^^^^,@@@@@@@@@@,@@@@@@@@@@,00002######,Lisinopril %# MG Oral Tablet,"
         "%#.500,%#,#,%,2026-0%-1#,2026-0%-1%,610014,MEDDPRIME,RXGRP####,%#.25,%##.75,false,"
         "$$$$$$$$,filled at counter #,2026-0%-1#T1#:1#:1#.######Z"),
    [BENCH_MEMBER_JSON] =
        ("{\"member_id\":\"M~~~~~~~~~\",\"first_name\":\"Alexandra#\",\"last_name\":\"Kowalski##\","
         "\"born\":\"19%#-0%-1#\",\"sex\":\"F\",\"street\":\"%### Lincoln "
         "Avenue\",\"zip\":\"6####\","
         "\"phone\":\"312-555-####\",\"plan\":\"Gold Choice HMO #\",\"risk_score\":%.###,"
         "\"updated_at\":\"2026-0%-1#T1#:1#:1#.######Z\"}"),
    [BENCH_MEMBER_CSV] =
        ("M~~~~~~~~~,Alexandra#,Kowalski##,19%#-0%-1#,F,%### Lincoln Avenue,6####,312-555-####,"
         "Gold Choice HMO #,%.###,2026-0%-1#T1#:1#:1#.######Z"),
};

enum { BODY_BYTES_MAX = 1 << 28 };
enum { PLACES_MAX = 64, NPIS = 1000, NPI_BYTES = 10, STATUSES = 3, STATUS_BYTES = 8 };

struct place {
    char mark;
    uint16_t at;
    uint16_t size;
};

enum {
    NEW_KEYS_FROM = 1000000000,
    NEW_KEYS_OF_SEED = 10000000,
    NEW_KEYS_SEEDS = 1000,
    SEED_APART = 10007,
    KEY_STRIDE = 2147483647, /* a prime: turns meet every key once before any key twice */
};

static struct {
    size_t size;
    struct place places[PLACES_MAX];
    size_t places_count;
} layouts[BENCH_RECORDS_COUNT];

static char npis[NPIS][NPI_BYTES];
static const char statuses[STATUSES][STATUS_BYTES + 1] = {"approved", "reversed", "rejected"};

uint64_t bench_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15U;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static void put_digits(char *out, size_t size, uint64_t number)
{
    while (size > 0) {
        out[--size] = (char)('0' + number % 10);
        number /= 10;
    }
}

/* The check digit of an NPI: Luhn's over "80840" and the first nine digits. */
static void make_npis(void)
{
    uint64_t state = 1;
    for (size_t i = 0; i < NPIS; i++) {
        char *npi = npis[i];
        npi[0] = '1';
        put_digits(npi + 1, NPI_BYTES - 2, bench_random(&state));
        int sum = 24; /* of 80840 */
        for (size_t d = 0; d < NPI_BYTES - 1; d++) {
            int digit = (npi[d] - '0') * (d % 2 == 0 ? 2 : 1);
            sum += digit / 10 + digit % 10;
        }
        npi[NPI_BYTES - 1] = (char)('0' + (10 - sum % 10) % 10);
    }
}

void bench_records_init(void)
{
    make_npis();
    for (size_t k = 0; k < BENCH_RECORDS_COUNT; k++) {
        const char *text = templates[k];
        layouts[k].size = strlen(text);
        for (size_t at = 0; at < layouts[k].size;) {
            size_t size = strspn(text + at, (const char[]){text[at], '\0'});
            if (strchr("~^#%@$", text[at]) != NULL) {
                assert(layouts[k].places_count < PLACES_MAX);
                layouts[k].places[layouts[k].places_count++] =
                    (struct place){.mark = text[at], .at = (uint16_t)at, .size = (uint16_t)size};
            }
            at += size;
        }
    }
}

static void fill(char *out, const struct place *place, int64_t key, uint64_t random)
{
    switch (place->mark) {
    case '~':
        put_digits(out, place->size, (uint64_t)key);
        break;
    case '^':
        put_digits(out, place->size, (uint64_t)key / BENCH_RX_PER_MEMBER);
        break;
    case '#':
        put_digits(out, place->size, random);
        break;
    case '%':
        for (size_t i = 0; i < place->size; i++) {
            out[i] = (char)('1' + random % 9);
        }
        break;
    case '@':
        memcpy(out, npis[random % NPIS], NPI_BYTES);
        break;
    default:
        memcpy(out, statuses[random % STATUSES], STATUS_BYTES);
        break;
    }
}

struct bench_keys bench_keys_of(const char *count, const char *hits, const char *seed)
{
    struct bench_keys keys = {.count = bench_number(count), .hits = bench_number(hits)};
    keys.next = bench_number(seed) * SEED_APART;
    keys.next_new = NEW_KEYS_FROM + bench_number(seed) % NEW_KEYS_SEEDS * (int64_t)NEW_KEYS_OF_SEED;
    return keys;
}

int64_t bench_key(struct bench_keys *keys)
{
    int64_t turn = __atomic_fetch_add(&keys->next, 1, __ATOMIC_RELAXED);
    if (turn % 100 < keys->hits) {
        return (int64_t)((unsigned __int128)turn * KEY_STRIDE % (uint64_t)keys->count);
    }
    return __atomic_fetch_add(&keys->next_new, 1, __ATOMIC_RELAXED);
}

void bench_record_append(struct buffer *out, enum bench_records kind, int64_t key, uint64_t random)
{
    char *record = (char *)buffer_reserve(out, layouts[kind].size);
    if (record == NULL) {
        return; /* sticky in the buffer */
    }
    memcpy(record, templates[kind], layouts[kind].size);
    uint64_t state = random;
    for (size_t i = 0; i < layouts[kind].places_count; i++) {
        const struct place *place = &layouts[kind].places[i];
        state = state * 6364136223846793005U + 1442695040888963407U;
        fill(record + place->at, place, key, state >> 33);
    }
    buffer_advance(out, layouts[kind].size);
}

void bench_body_make(struct buffer *body, enum bench_records kind, bool as_array, int64_t first,
                     int64_t stride, int64_t records)
{
    uint64_t random = (uint64_t)first + 1;
    buffer_init(body, BODY_BYTES_MAX);
    if (kind == BENCH_RX_CSV || kind == BENCH_MEMBER_CSV) {
        buffer_append_text(body, kind == BENCH_RX_CSV ? bench_rx_header : bench_member_header);
        buffer_append_byte(body, '\n');
    }
    buffer_append_text(body, as_array ? "[" : "");
    for (int64_t i = 0; i < records; i++) {
        bench_record_append(body, kind, first + i * stride, bench_random(&random));
        bool last = i + 1 == records;
        buffer_append_text(body, as_array ? (last ? "]" : ",") : "\n");
    }
}

/*
 * Realistic pharmacy data: members, their eligibility, prescriptions drawn from
 * a formulary. Every value obeys the rules the demo's tables declare (NPI check
 * digits, 11-digit NDCs of the formulary, dates in order), except in the records
 * that are broken on purpose. Not a model of any real population.
 *
 * Source of the rules: CMS National Provider Identifier standard (Luhn over
 * 80840 + NPI), FDA National Drug Code (5-4-2).
 */
#include "server/cli/generate.h"

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    ROWS_MAX = 100000000,     /* of one table */
    LINE_BYTES_MAX = 4096,    /* of one record */
    FLUSH_BYTES = 1 << 20,    /* written at once */
    PRESCRIBERS_COUNT = 5000, /* different NPIs */
    PHARMACIES_COUNT = 800,
    PROGRESS_ROWS = 50000,
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const char *const first_names[] = {
    "Olivia", "Liam",   "Emma",  "Noah",  "Amelia", "José",   "Sofía",  "Lucas", "Mia",
    "Ethan",  "Ava",    "Mateo", "Zoë",   "Elijah", "Nora",   "Søren",  "Chloe", "Daniel",
    "Grace",  "Samuel", "Layla", "Henry", "Renée",  "Owen",   "Ruth",   "Isaac", "Priya",
    "Omar",   "Hannah", "Wei",   "Aisha", "Peter",  "Ingrid", "Carlos", "Yuki",  "Fatima",
};
static const char *const last_names[] = {
    "Smith",  "Johnson", "Williams", "García", "Miller", "Davis",  "Nguyễn", "Martínez", "Lee",
    "Walker", "Hall",    "Young",    "Muñoz",  "King",   "Wright", "O'Neil", "Hill",     "Green",
    "Adams",  "Baker",   "Nelson",   "Müller", "Rivera", "Reyes",  "Cook",   "Morgan",   "Bell",
    "Kim",    "Singh",   "Chen",     "Brown",  "Patel",  "Haddad", "Sato",   "Olsen",    "Rossi",
};
static const char *const streets[] = {"Main St",   "Oak Ave",  "Maple Dr", "Cedar Ln",
                                      "Park Blvd", "River Rd", "Elm St",   "Lake View Ct"};

struct place {
    const char *city;
    const char *state;
    int zip_first;
};
static const struct place places[] = {
    {"Boston", "MA", 2108},   {"Springfield", "MA", 1103}, {"Hartford", "CT", 6103},
    {"Albany", "NY", 12207},  {"Columbus", "OH", 43215},   {"Austin", "TX", 78701},
    {"Phoenix", "AZ", 85004}, {"Denver", "CO", 80202},     {"Seattle", "WA", 98101},
    {"Atlanta", "GA", 30303}, {"San Juan", "PR", 901},     {"Omaha", "NE", 68102},
};

struct drug {
    const char *name;
    const char *form;
    int strength_mg;
};
static const struct drug drugs[] = {
    {"Lisinopril", "tablet", 10},    {"Atorvastatin", "tablet", 20},
    {"Metformin", "tablet", 500},    {"Amlodipine", "tablet", 5},
    {"Omeprazole", "capsule", 20},   {"Losartan", "tablet", 50},
    {"Albuterol", "inhaler", 90},    {"Gabapentin", "capsule", 300},
    {"Sertraline", "tablet", 50},    {"Levothyroxine", "tablet", 50},
    {"Furosemide", "tablet", 40},    {"Pantoprazole", "tablet", 40},
    {"Prednisone", "tablet", 10},    {"Tamsulosin", "capsule", 4},
    {"Fluticasone", "spray", 50},    {"Montelukast", "tablet", 10},
    {"Escitalopram", "tablet", 10},  {"Rosuvastatin", "tablet", 10},
    {"Amoxicillin", "capsule", 500}, {"Hydrochlorothiazide", "tablet", 25},
    {"Clopidogrel", "tablet", 75},   {"Insulin glargine", "pen", 100},
    {"Warfarin", "tablet", 5},       {"Duloxetine", "capsule", 30},
};
static const char *const plans[] = {"HMO-100", "HMO-200", "PPO-100",
                                    "PPO-300", "MAPD-01", "PDP-07"};
static const char *const bins[] = {"610014", "004336", "015581", "610591"};
static const int supplies[] = {7, 10, 14, 30, 30, 30, 60, 90};

/* What the command line asked for. */
struct request {
    const char *folder;
    int64_t members;
    int64_t eligibility;
    int64_t prescriptions;
    int64_t formulary;
    int64_t broken;
    uint64_t seed;
    bool json;
};

/* A table being written; one at a time. */
struct output {
    FILE *file;
    struct buffer buffer;
    const char *name;
    int64_t rows;
    int64_t rows_total;
    bool progress; /* stderr is a terminal */
};

/* splitmix64: every row draws from a generator of its own, seeded by table and row. */
struct random {
    uint64_t state;
};

static uint64_t random_next(struct random *random)
{
    random->state += 0x9e3779b97f4a7c15U;
    uint64_t z = random->state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static int64_t random_below(struct random *random, int64_t limit)
{
    assert(limit > 0);
    return (int64_t)(random_next(random) % (uint64_t)limit);
}

static struct random random_of_row(uint64_t seed, uint64_t table, int64_t row)
{
    struct random random = {.state = seed * 0x2545f4914f6cdd1dU + table * 0x100000001b3U +
                                     (uint64_t)row * 0x9e3779b97f4a7c15U};
    (void)random_next(&random); /* mix once */
    return random;
}

enum { TABLE_FORMULARY = 1, TABLE_MEMBERS, TABLE_ELIGIBILITY, TABLE_PRESCRIPTIONS, TABLE_NPI };

/* A valid NPI: nine digits and the Luhn check digit over 80840 + NPI. */
static int64_t npi_of(uint64_t seed, int64_t number)
{
    struct random random = random_of_row(seed, TABLE_NPI, number);
    int64_t body = 100000000 + random_below(&random, 100000000);
    int sum = 24; /* the constant that 80840 adds */
    bool doubled = true;
    for (int64_t rest = body; rest > 0; rest /= 10) {
        int digit = (int)(rest % 10) * (doubled ? 2 : 1);
        sum += digit > 9 ? digit - 9 : digit;
        doubled = !doubled;
    }
    return body * 10 + (10 - sum % 10) % 10;
}

/* Number `i` of the formulary's NDCs: labeler 5, product 4, package 2 digits; all different. */
static void ndc_of(int64_t i, char ndc_out[12])
{
    int64_t number = (10000 + i % 89999) * 1000000 + i * 37 % 10000 * 100 + 1 + i / 89999 % 99;
    for (int digit = 10; digit >= 0; digit--) {
        ndc_out[digit] = (char)('0' + number % 10);
        number /= 10;
    }
    ndc_out[11] = '\0';
}

static void append_date(struct buffer *line, const char *name, int32_t days)
{
    char text[TEXT_TIMESTAMP_BYTES];
    size_t size = text_format_date(days, text);
    buffer_append_format(line, ",\"%s\":\"%.*s\"", name, (int)size, text);
}

static void append_timestamp(struct buffer *line, const char *name, int32_t days,
                             struct random *random)
{
    char text[TEXT_TIMESTAMP_BYTES];
    int64_t us = (int64_t)days * 86400000000 + random_below(random, 86400) * 1000000;
    size_t size = text_format_timestamp(us, text);
    buffer_append_format(line, ",\"%s\":\"%.*s\"", name, (int)size, text);
}

static const struct drug *drug_of(int64_t formulary_row)
{
    return &drugs[(size_t)formulary_row % COUNT_OF(drugs)];
}

static void formulary_row(const struct request *request, int64_t row, struct buffer *line)
{
    struct random random = random_of_row(request->seed, TABLE_FORMULARY, row);
    const struct drug *drug = drug_of(row);
    char ndc[12];
    ndc_of(row, ndc);
    buffer_append_format(
        line, "{\"ndc\":\"%s\",\"drug_name\":\"%s\",\"strength\":\"%d MG\",\"form\":\"%s\"", ndc,
        drug->name, drug->strength_mg, drug->form);
    buffer_append_format(line, ",\"tier\":%d", (int)(1 + random_below(&random, 6)));
    buffer_append_format(line, ",\"prior_authorization\":%s",
                         random_below(&random, 10) == 0 ? "true" : "false");
    buffer_append_format(line, ",\"step_therapy\":%s",
                         random_below(&random, 12) == 0 ? "true" : "false");
    if (random_below(&random, 4) == 0) {
        buffer_append_format(line, ",\"quantity_limit\":%d.000",
                             (int)(30 * (1 + random_below(&random, 3))));
    }
    append_date(line, "effective_date", text_days_of(2025, 1, 1));
    append_timestamp(line, "updated_at", text_days_of(2025, 1, 2), &random);
    buffer_append_text(line, "}");
}

static void member_row(const struct request *request, int64_t row, struct buffer *line)
{
    struct random random = random_of_row(request->seed, TABLE_MEMBERS, row);
    const struct place *place = &places[random_below(&random, COUNT_OF(places))];
    buffer_append_format(line, "{\"member_id\":\"M%09" PRId64 "\"", row + 1);
    buffer_append_format(line, ",\"first_name\":\"%s\"",
                         first_names[random_below(&random, COUNT_OF(first_names))]);
    buffer_append_format(line, ",\"last_name\":\"%s\"",
                         last_names[random_below(&random, COUNT_OF(last_names))]);
    append_date(line, "birth_date",
                text_days_of(1930, 1, 1) + (int32_t)random_below(&random, 90 * 365));
    buffer_append_format(line, ",\"sex\":\"%c\"", "MFMFMFMFMFMFMFMFU"[random_below(&random, 17)]);
    buffer_append_format(line, ",\"address\":\"%d %s\"", (int)(1 + random_below(&random, 9999)),
                         streets[random_below(&random, COUNT_OF(streets))]);
    buffer_append_format(line, ",\"city\":\"%s\",\"state\":\"%s\"", place->city, place->state);
    if (random_below(&random, 20) > 0) {
        buffer_append_format(line, ",\"zip\":\"%05d\"",
                             place->zip_first + (int)random_below(&random, 50));
    }
    buffer_append_format(line, ",\"phone\":\"%03d-555-%04d\"",
                         (int)(201 + random_below(&random, 700)),
                         (int)random_below(&random, 10000));
    append_timestamp(line, "updated_at",
                     text_days_of(2025, 1, 1) + (int32_t)random_below(&random, 300), &random);
    buffer_append_text(line, "}");
}

static void eligibility_row(const struct request *request, int64_t row, struct buffer *line)
{
    struct random random = random_of_row(request->seed, TABLE_ELIGIBILITY, row);
    /* every member has a span; those beyond are second spans of random members */
    int64_t member = row < request->members ? row : random_below(&random, request->members);
    bool first = row < request->members;
    int32_t start = text_days_of(first ? 2025 : 2023, 1, 1) + (int32_t)random_below(&random, 28);
    buffer_append_format(line,
                         "{\"eligibility_id\":\"E%010" PRId64 "\",\"member_id\":\"M%09" PRId64 "\"",
                         row + 1, member + 1);
    buffer_append_format(line, ",\"plan_id\":\"%s\",\"bin\":\"%s\",\"pcn\":\"PCN%02d\"",
                         plans[random_below(&random, COUNT_OF(plans))],
                         bins[random_below(&random, COUNT_OF(bins))],
                         (int)random_below(&random, 40));
    buffer_append_format(line, ",\"group_id\":\"GRP%05d\",\"person_code\":\"%02d\"",
                         (int)random_below(&random, 3000), (int)(1 + random_below(&random, 4)));
    append_date(line, "coverage_start", start);
    if (!first || random_below(&random, 10) == 0) {
        append_date(line, "coverage_end", start + 180 + (int32_t)random_below(&random, 180));
    }
    buffer_append_format(line, ",\"status\":\"%s\"", first ? "active" : "terminated");
    append_timestamp(line, "updated_at", start + 1, &random);
    buffer_append_text(line, "}");
}

static void prescription_row(const struct request *request, int64_t row, struct buffer *line)
{
    struct random random = random_of_row(request->seed, TABLE_PRESCRIPTIONS, row);
    int64_t product = random_below(&random, request->formulary);
    int supply = supplies[random_below(&random, COUNT_OF(supplies))];
    int32_t written = text_days_of(2025, 1, 1) + (int32_t)random_below(&random, 280);
    int refills = (int)random_below(&random, 6);
    char ndc[12];
    ndc_of(product, ndc);

    buffer_append_format(
        line, "{\"prescription_id\":\"RX%010" PRId64 "\",\"member_id\":\"M%09" PRId64 "\"", row + 1,
        random_below(&random, request->members) + 1);
    buffer_append_format(line, ",\"ndc\":\"%s\",\"drug_name\":\"%s\"", ndc, drug_of(product)->name);
    buffer_append_format(line, ",\"quantity\":%d.%03d,\"days_supply\":%d", supply,
                         random_below(&random, 8) == 0 ? 500 : 0, supply);
    buffer_append_format(line, ",\"refills\":%d,\"fill_number\":%d", refills,
                         (int)random_below(&random, refills + 1));
    buffer_append_format(line, ",\"prescriber_npi\":\"%" PRId64 "\"",
                         npi_of(request->seed, random_below(&random, PRESCRIBERS_COUNT)));
    buffer_append_format(
        line, ",\"pharmacy_npi\":\"%" PRId64 "\"",
        npi_of(request->seed, PRESCRIBERS_COUNT + random_below(&random, PHARMACIES_COUNT)));
    buffer_append_format(line, ",\"daw\":%d", random_below(&random, 12) == 0 ? 1 : 0);
    append_date(line, "written_date", written);
    append_date(line, "fill_date", written + (int32_t)random_below(&random, 10));
    buffer_append_format(line, ",\"status\":\"%s\"",
                         random_below(&random, 40) == 0 ? "reversed" : "filled");
    buffer_append_format(line, ",\"copay\":%d.%02d", (int)random_below(&random, 80),
                         (int)random_below(&random, 100));
    append_timestamp(line, "updated_at", written + 10, &random);
    buffer_append_text(line, "}");
}

/*
 * A record that breaks one rule, cycling through the ways partners' files break.
 * Numbers of broken records continue behind the good ones, so that a corrected
 * replay finds its key free.
 */
static void broken_row(const struct request *request, int64_t number, struct buffer *line)
{
    struct buffer good;
    buffer_init(&good, LINE_BYTES_MAX);
    prescription_row(request, request->prescriptions + number, &good);
    struct span text = buffer_span(&good);
    size_t brace = text.size - 1;
    int kind = (int)(number % 8);

    switch (kind) {
    case 0: /* a file that was cut */
        buffer_append(line, text.data, text.size / 2);
        break;
    case 1: /* a column nobody declared */
        buffer_append(line, text.data, brace);
        buffer_append_text(line, ",\"pharmacist\":\"J. Doe\"}");
        break;
    case 2: /* a field twice */
        buffer_append(line, text.data, brace);
        buffer_append_text(line, ",\"days_supply\":30}");
        break;
    default: { /* one value replaced: the first occurrence of the name's value */
        static const char *const names[] = {"\"prescriber_npi\":\"", "\"ndc\":\"",
                                            "\"quantity\":", "\"written_date\":\"",
                                            "\"member_id\":\""};
        static const char *const values[] = {"1234567890", "0002143380", "-5.000", "2025-02-30",
                                             ""};
        size_t which = (size_t)(kind - 3);
        buffer_append_byte(&good, 0); /* strstr needs an end */
        const char *all = (const char *)good.data;
        const char *start = strstr(all, names[which]);
        assert(start != NULL);
        start += strlen(names[which]);
        size_t old_size = strcspn(start, "\",}");
        buffer_append(line, all, (size_t)(start - all));
        buffer_append_text(line, values[which]);
        buffer_append_text(line, start + old_size);
        break;
    }
    }
    buffer_deinit(&good);
}

static enum err_code flush_output(struct output *output, struct err *err)
{
    if (fwrite(output->buffer.data, 1, output->buffer.size, output->file) != output->buffer.size) {
        return err_set_errno(err, errno, "write %s", output->name);
    }
    buffer_reset(&output->buffer);
    return ERR_OK;
}

static enum err_code end_row(struct output *output, struct err *err)
{
    buffer_append_byte(&output->buffer, '\n');
    output->rows++;
    if (output->progress && output->rows % PROGRESS_ROWS == 0) {
        (void)fprintf(stderr, "\r%-14s %9" PRId64 " of %" PRId64, output->name, output->rows,
                      output->rows_total); /* progress only */
    }
    if (output->buffer.size >= FLUSH_BYTES) {
        TRY(flush_output(output, err));
    }
    return ERR_OK;
}

typedef void row_fn(const struct request *request, int64_t row, struct buffer *line);

static enum err_code write_rows(const struct request *request, struct output *output, row_fn *row,
                                int64_t count, int64_t broken, struct err *err)
{
    int64_t every = broken > 0 ? count / broken : 0; /* broken records are spread evenly */
    int64_t broken_written = 0;
    for (int64_t i = 0; i < count; i++) {
        row(request, i, &output->buffer);
        TRY(end_row(output, err));
        if (broken_written < broken && (every == 0 || (i + 1) % every == 0)) {
            broken_row(request, broken_written++, &output->buffer);
            TRY(end_row(output, err));
        }
    }
    for (; broken_written < broken; broken_written++) {
        broken_row(request, broken_written, &output->buffer);
        TRY(end_row(output, err));
    }
    return flush_output(output, err);
}

static enum err_code write_table(const struct request *request, const char *name, row_fn *row,
                                 int64_t count, int64_t broken, struct err *err)
{
    char file_name[64];
    (void)snprintf(file_name, sizeof file_name, "%s.ndjson", name); /* names are short */
    CLEANUP(mem_cleanup) char *path = file_join(request->folder, file_name);
    struct output output = {
        .file = fopen(path, "wbe"),
        .name = name,
        .rows_total = count + broken,
        .progress = isatty(STDERR_FILENO) == 1,
    };
    if (output.file == NULL) {
        return err_set_errno(err, errno, "create %s", path);
    }
    buffer_init(&output.buffer, FLUSH_BYTES + 2 * LINE_BYTES_MAX);
    enum err_code code = write_rows(request, &output, row, count, broken, err);
    buffer_deinit(&output.buffer);
    if (fclose(output.file) != 0 && code == ERR_OK) {
        code = err_set_errno(err, errno, "close %s", path);
    }
    if (output.progress) {
        (void)fprintf(stderr, "\r%60s\r", ""); /* clear the progress line */
    }
    if (code == ERR_OK) {
        if (request->json) {
            (void)printf("{\"table\":\"%s\",\"path\":\"%s\",\"records\":%" PRId64
                         ",\"broken\":%" PRId64 "}\n",
                         name, path, count + broken, broken); /* output is for people or pipes */
        } else {
            (void)printf("%-14s %9" PRId64 " records, %" PRId64 " broken on purpose: %s\n", name,
                         count + broken, broken, path); /* as above */
        }
    }
    return code;
}

static void print_help(FILE *file)
{
    (void)fputs("Usage: sluice generate --out DIR [options]\n"
                "\n"
                "Write a realistic pharmacy data set as NDJSON: formulary, members, eligibility,\n"
                "prescriptions. The same options give the same bytes.\n"
                "\n"
                "  --out DIR            folder for <table>.ndjson, made if missing\n"
                "  --members N          default 100000, 1 to 100000000\n"
                "  --eligibility N      default 110000, 0 to 100000000\n"
                "  --prescriptions N    default 500000, 0 to 100000000\n"
                "  --formulary N        default 2000, 1 to 8000000\n"
                "  --broken N           broken prescriptions on purpose, default 300\n"
                "  --seed N             default 1\n"
                "  --json               one JSON object a table on standard output\n"
                "  --help               this text\n",
                file); /* help text */
}

static bool parse_count(const char *text, int64_t minimum, int64_t maximum, int64_t *count_out)
{
    int64_t count = 0;
    if (!text_parse_int64(span_of_text(text), &count) || count < minimum || count > maximum) {
        return false;
    }
    *count_out = count;
    return true;
}

static bool parse_option(struct request *request, int option, const char *text)
{
    int64_t seed = 0;
    switch (option) {
    case 'o':
        request->folder = text;
        return true;
    case 'm':
        return parse_count(text, 1, ROWS_MAX, &request->members);
    case 'e':
        return parse_count(text, 0, ROWS_MAX, &request->eligibility);
    case 'p':
        return parse_count(text, 0, ROWS_MAX, &request->prescriptions);
    case 'f':
        return parse_count(text, 1, 8000000, &request->formulary);
    case 'b':
        return parse_count(text, 0, ROWS_MAX, &request->broken);
    case 's':
        if (!parse_count(text, 0, INT64_MAX, &seed)) {
            return false;
        }
        request->seed = (uint64_t)seed;
        return true;
    default:
        return false;
    }
}

static enum err_code generate(const struct request *request, struct err *err)
{
    TRY(file_make_directory(request->folder, err));
    TRY(write_table(request, "formulary", formulary_row, request->formulary, 0, err));
    TRY(write_table(request, "members", member_row, request->members, 0, err));
    TRY(write_table(request, "eligibility", eligibility_row, request->eligibility, 0, err));
    TRY(write_table(request, "prescriptions", prescription_row, request->prescriptions,
                    request->broken, err));
    return ERR_OK;
}

int cli_generate(int argc, char **argv)
{
    static const struct option options[] = {
        {"out", required_argument, NULL, 'o'},
        {"members", required_argument, NULL, 'm'},
        {"eligibility", required_argument, NULL, 'e'},
        {"prescriptions", required_argument, NULL, 'p'},
        {"formulary", required_argument, NULL, 'f'},
        {"broken", required_argument, NULL, 'b'},
        {"seed", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct request request = {
        .members = 100000,
        .eligibility = 110000,
        .prescriptions = 500000,
        .formulary = 2000,
        .broken = 300,
        .seed = 1,
    };
    for (;;) {
        int option = getopt_long(argc, argv, "", options, NULL);
        if (option == -1) {
            break;
        }
        if (option == 'h') {
            print_help(stdout);
            return EX_OK;
        }
        if (option == 'j') {
            request.json = true;
        } else if (!parse_option(&request, option, optarg)) {
            (void)fprintf(
                stderr,
                "sluice generate: see --help for the options and their ranges\n"); /* told */
            return EX_USAGE;
        }
    }
    if (request.folder == NULL || optind != argc) {
        print_help(stderr);
        return EX_USAGE;
    }

    struct err err = {0};
    if (generate(&request, &err) != ERR_OK) {
        (void)fprintf(stderr, "sluice generate: %s\n", err.msg); /* told */
        return err.code == ERR_IO || err.code == ERR_NO_SPACE ? EX_IOERR : EX_CANTCREAT;
    }
    return EX_OK;
}

/*
 * Names: what they say about a column, and what a table can call it. See
 * infer_work.h.
 *
 * A name is taken apart into words at underscores, other marks and changes from
 * lower to upper case; a hint is a word, or two in a row, that is on its list.
 */
#include "storage/columns/infer_work.h"

#include "storage/base/mem.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { WORDS_MAX = 16, WORD_BYTES = 24 };

static const char *const identifier_words[] = {"id", "key", "uuid", "guid", "code", "number", "num",
                                               "no", "nbr", "sk",   "npi",  "mrn",  "ndc",    NULL};
static const char *const sequence_words[] = {
    "updated", "modified", "changed",  "lastupdate", "lastupdated", "lastmodified", "version",
    "seq",     "sequence", "revision", "asof",       "lud",         "ingested",     NULL};
static const char *const amount_words[] = {
    "amt",   "amount",  "cost",  "price",      "paid",     "pay",      "charge", "fee",
    "total", "balance", "copay", "deductible", "expenses", "coverage", "cst",    NULL};
/* Source: 45 CFR 164.514(b)(2), as names of columns have it. */
static const char *const person_words[] = {
    "ssn",       "birth",      "birthdate", "birthplace", "brth",       "dob",         "death",
    "deathdate", "dod",        "firstname", "lastname",   "middlename", "maiden",      "surname",
    "fname",     "lname",      "address",   "addr",       "street",     "city",        "county",
    "zip",       "zipcode",    "postal",    "postcode",   "phone",      "telephone",   "mobile",
    "fax",       "email",      "mbi",       "hicn",       "hic",        "mrn",         "member",
    "memberid",  "subscriber", "patient",   "patientid",  "bene",       "beneficiary", "person",
    "drivers",   "passport",   "license",   "licence",    "account",    "acct",        "vehicle",
    "device",    "photo",      "ip",        "lat",        "lon",        "latitude",    "longitude",
    "srvc",      "service",    "fill",      "filled",     "admit",      "admission",   "discharge",
    "encounter", "visit",      "desynpuf",  "first",      "last",       "middle",      "given",
    "family",    "1st",        "midl",      NULL};
static const char *const measure_words[] = {
    "amt",       "amount",      "cost",    "price",     "paid", "qty",   "quantity", "count",
    "cnt",       "days",        "dt",      "date",      "time", "lat",   "lon",      "latitude",
    "longitude", "rate",        "pct",     "percent",   "sum",  "avg",   "total",    "name",
    "desc",      "description", "address", "birthdate", "ssn",  "phone", "email",    NULL};
static const char *const ndc_words[] = {"ndc", "ndc11", NULL};
static const char *const zip_words[] = {"zip", "zipcode", "zip5", "zip9", "postal", NULL};
static const char *const state_words[] = {"state", "statecode", "st", NULL};

static const char *const *const lists[] = {
    [INFER_HINT_IDENTIFIER] = identifier_words,
    [INFER_HINT_SEQUENCE] = sequence_words,
    [INFER_HINT_AMOUNT] = amount_words,
    [INFER_HINT_PERSON] = person_words,
    [INFER_HINT_MEASURE] = measure_words,
    [INFER_HINT_NDC] = ndc_words,
    [INFER_HINT_ZIP] = zip_words,
    [INFER_HINT_STATE] = state_words,
};

static bool is_word_byte(char c)
{
    return isalnum((unsigned char)c) != 0;
}

/* The words of a name in lower case; further and longer ones are cut. */
static size_t split(const char *name, char words[WORDS_MAX][WORD_BYTES])
{
    size_t count = 0;
    size_t size = 0;
    for (size_t i = 0; name[i] != '\0'; i++) {
        bool hump = i > 0 && islower((unsigned char)name[i - 1]) != 0 &&
                    isupper((unsigned char)name[i]) != 0;
        if (size > 0 && (hump || !is_word_byte(name[i]))) {
            words[count++][size] = '\0';
            size = 0;
            if (count == WORDS_MAX) {
                return count;
            }
        }
        if (is_word_byte(name[i]) && size < WORD_BYTES - 1) {
            words[count][size++] = (char)tolower((unsigned char)name[i]);
        }
    }
    if (size > 0) {
        words[count++][size] = '\0';
    }
    return count;
}

static bool is_listed(const char *const list[], const char *word)
{
    for (size_t i = 0; list[i] != NULL; i++) {
        if (strcmp(list[i], word) == 0) {
            return true;
        }
    }
    return false;
}

bool infer_name_hints(const char *name, enum infer_hint hint)
{
    char words[WORDS_MAX][WORD_BYTES];
    size_t count = split(name, words);
    for (size_t i = 0; i < count; i++) {
        char two[2 * WORD_BYTES];
        size_t size = strlen(words[i]);
        memcpy(two, words[i], size);
        memcpy(two + size, i + 1 < count ? words[i + 1] : "",
               i + 1 < count ? strlen(words[i + 1]) + 1 : 1);
        if (is_listed(lists[hint], words[i]) || is_listed(lists[hint], two)) {
            return true;
        }
    }
    return false;
}

/* ---- names of fields ---- */

/* Letters, digits and underscores of a name; something that is none becomes "column_N". */
static char *make_plain(const struct infer_column *column, size_t index)
{
    char name[SCHEMA_NAME_BYTES_MAX + 1];
    size_t size = 0;
    for (size_t i = 0; i < column->source_name_size && size < sizeof name - 8; i++) {
        char c = column->source_name[i];
        if (size == 0 && c >= '0' && c <= '9') {
            name[size++] = '_';
        }
        if (((unsigned char)c < 0x80 && is_word_byte(c)) || c == '_') {
            name[size++] = c;
        } else if (size > 0 && name[size - 1] != '_') {
            name[size++] = '_';
        }
    }
    while (size > 0 && name[size - 1] == '_' && column->source_name[0] != '_') {
        size--;
    }
    name[size] = '\0';
    if (size == 0) {
        (void)snprintf(name, sizeof name, "column_%zu", index + 1); /* fits */
    }
    return mem_copy_text(name);
}

static bool is_reserved(const char *name)
{
    static const char *const reserved[] = {"_op", "_change_type", "_commit_version",
                                           "_commit_timestamp"};
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (strcasecmp(reserved[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_taken(const struct infer *infer, size_t before, const char *name)
{
    for (size_t i = 0; i < before; i++) {
        if (infer->columns[i].name != NULL && strcasecmp(infer->columns[i].name, name) == 0) {
            return true;
        }
    }
    return is_reserved(name);
}

void infer_name_fields(struct infer *infer)
{
    for (size_t i = 0; i < infer->columns_count; i++) {
        struct infer_column *column = &infer->columns[i];
        if (column->left_out != NULL) {
            continue;
        }
        CLEANUP(mem_cleanup) char *plain = make_plain(column, i);
        char name[SCHEMA_NAME_BYTES_MAX + 1];
        (void)snprintf(name, sizeof name, "%s", plain); /* fits */
        for (size_t number = 2; is_taken(infer, i, name); number++) {
            (void)snprintf(name, sizeof name, "%.100s_%zu", plain, number); /* fits */
        }
        column->name = mem_copy_text(name);
    }
}

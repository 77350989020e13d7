/*
 * What the tests of definitions and graphs share. JSON is written with ' for ".
 */
#pragma once

#include "storage/jobs/definition.h"

/* json_free. */
struct json *kit_json(const char *text);

/* A definition that must be right; job_definition_release. */
const struct job_definition *kit_definition(const char *text);

/* The problems of a definition that must be wrong, or right (none). */
void kit_problems(const char *text, const struct job_parse_options *options,
                  struct definition_problems *problems_out);

/* Is there a problem of this code at this pointer? */
bool kit_has_problem(const struct definition_problems *problems, const char *pointer,
                     const char *code);

/* All of them as text, for messages of tests. Static until the next call. */
const char *kit_problems_text(const struct definition_problems *problems);

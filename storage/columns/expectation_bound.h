/*
 * What expectation_bind.c makes and expectation_apply.c uses. Nobody else includes
 * this.
 */
#pragma once

#include "storage/columns/expectation.h"

struct bound_expectation {
    size_t *columns;
    struct schema *rule; /* one field of the first column's type with the rules; NULL = none */
};

struct bound_expectations {
    const struct expectations *list;
    struct bound_expectation *items;
};

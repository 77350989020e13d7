/*
 * The contract's own bytes, generated from openapi/openapi.yaml and served as
 * they are.
 */
#pragma once

#include <stddef.h>

extern const unsigned char contract_yaml[];
extern const size_t contract_yaml_size;
extern const unsigned char contract_json[];
extern const size_t contract_json_size;
extern const unsigned char contract_docs[];
extern const size_t contract_docs_size;

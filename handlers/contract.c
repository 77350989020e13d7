/* Serves the contract as YAML, JSON and a page, with entity tags. */
#include "handlers/contract.h"

#include "generated/operations.h"
#include "handlers/exchange.h"
#include "storage/base/hash.h"

#include <inttypes.h>
#include <stdio.h>

static enum handler_result serve(struct exchange *exchange, const unsigned char *bytes, size_t size,
                                 const char *type)
{
    char etag[24];
    (void)snprintf(etag, sizeof etag, "\"%016" PRIx64 "\"",
                   hash_checksum(span_of(bytes, size))); /* 18 characters always fit */
    exchange_set_header(exchange, "ETag", "%s", etag);
    if (exchange_is_current(exchange, etag)) {
        exchange_answer_empty(exchange, 304);
        return HANDLER_DONE;
    }
    buffer_append(&exchange->answer, bytes, size);
    exchange->answer_type = type;
    exchange->status = 200;
    return HANDLER_DONE;
}

enum handler_result handle_openapi_yaml(struct services *services, struct exchange *exchange)
{
    (void)services; /* the contract is part of the program */
    return serve(exchange, contract_yaml, contract_yaml_size, "application/yaml");
}

enum handler_result handle_openapi_json(struct services *services, struct exchange *exchange)
{
    (void)services; /* the contract is part of the program */
    return serve(exchange, contract_json, contract_json_size, "application/json");
}

enum handler_result handle_docs(struct services *services, struct exchange *exchange)
{
    (void)services; /* the contract is part of the program */
    exchange_set_header(exchange, "Content-Security-Policy",
                        "default-src 'none'; style-src 'unsafe-inline'");
    return serve(exchange, contract_docs, contract_docs_size, "text/html; charset=utf-8");
}

/* Serves the contract as YAML, JSON and a page, with entity tags. */
#include "handlers/contract.h"

#include "generated/operations.h"
#include "handlers/exchange.h"

static enum handler_result serve(struct exchange *exchange, const unsigned char *bytes, size_t size,
                                 const char *type)
{
    if (exchange_is_current(exchange, exchange_set_etag(exchange, span_of(bytes, size)))) {
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

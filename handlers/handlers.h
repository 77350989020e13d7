/*
 * Every handler of the contract, named after its operation. The generated route
 * table refers to these; an operation without a handler does not link.
 */
#pragma once

#include "handlers/exchange.h"
#include "handlers/services.h"

handler_fn handle_table_list, handle_table_put, handle_table_get, handle_table_delete;
handler_fn handle_batch_post, handle_batch_get, handle_batch_errors;
handler_fn handle_dead_letter_list, handle_dead_letter_get, handle_dead_letter_replay;
handler_fn handle_row_list, handle_row_query, handle_table_history, handle_table_lookup;
handler_fn handle_member_get, handle_member_lookup;
handler_fn handle_principal_list, handle_principal_create, handle_principal_get;
handler_fn handle_principal_roles_put, handle_role_list, handle_access_explain;
handler_fn handle_token_list, handle_token_create, handle_token_revoke;
handler_fn handle_livez, handle_readyz, handle_metrics;
handler_fn handle_openapi_yaml, handle_openapi_json, handle_docs;

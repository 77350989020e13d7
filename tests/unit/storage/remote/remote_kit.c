/*
 * See remote_kit.h.
 */
#include "tests/unit/storage/remote/remote_kit.h"

#include <criterion/criterion.h>

#include <stdio.h>

struct kit kit_begin(const char *script)
{
    struct kit kit = {.server = lying_server_start(&(struct lying_options){.script = script})};
    char allow[32];
    (void)snprintf(allow, sizeof allow, "127.0.0.1:%u", lying_server_port(kit.server)); /* fits */
    const struct remote_options options = {.allow = allow, .user_agent = "sluice/test"};
    cr_assert_eq(remote_open(&options, &kit.remote, &kit.err), ERR_OK, "%s", kit.err.msg);
    remote_answer_init(&kit.answer);
    return kit;
}

void kit_end(struct kit *kit)
{
    remote_answer_deinit(&kit->answer);
    remote_close(&kit->remote);
    lying_server_stop(&kit->server);
}

const char *kit_url(const struct kit *kit, const char *path)
{
    static char url[8192];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u%s", lying_server_port(kit->server),
                   path); /* tests have short paths */
    return url;
}

enum err_code kit_call(struct kit *kit, const char *path, struct remote_request request)
{
    request.url = request.url != NULL ? request.url : kit_url(kit, path);
    err_clear(&kit->err);
    return remote_call(kit->remote, &request, &kit->answer, &kit->err);
}

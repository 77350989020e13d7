/* See lent_secret.h. */
#include "workers/lent_secret.h"

#include "storage/catalog/access.h"
#include "storage/catalog/secrets.h"

#include <string.h>

/* The definition was let use secrets because its author may; that can have been taken back. */
static enum err_code check_author(struct catalog *catalog, const struct id *author,
                                  const char *secret, struct err *err)
{
    CLEANUP(access_release) struct access_identity identity = {0};
    TRY(access_find(catalog, author->text, &identity, err));
    if (!access_allows(identity.principal, "secret.list", NULL)) {
        return err_set(err, ERR_FORBIDDEN,
                       "{{secrets.%s}}: '%s', who wrote the job, may not use secrets any more; "
                       "somebody who may takes the job over by storing it again",
                       secret, identity.principal->name);
    }
    return ERR_OK;
}

enum err_code lent_secret_open(struct catalog *catalog, const struct id *author, struct span name,
                               struct buffer *text, struct err *err)
{
    char secret[CATALOG_SECRET_NAME_BYTES_MAX + 1];
    if (!catalog_secret_name_is_valid(name)) {
        return err_set(err, ERR_INVALID, "a reference to a secret names none");
    }
    memcpy(secret, name.data, name.size);
    secret[name.size] = '\0';
    TRY(check_author(catalog, author, secret, err));
    return catalog_secret_open(catalog, secret, text, err);
}

/* See field_name.h. */
#include "storage/base/field_name.h"

#include <string.h>
#include <strings.h>

bool field_name_is_valid(const char *name)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t size = strspn(name, token);
    return size > 0 && size <= FIELD_NAME_BYTES_MAX && name[size] == '\0';
}

bool field_name_is_reserved(const char *name)
{
    static const char *const reserved[] = {
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Expect",
        "Upgrade",
        "TE",
        "Trailer",
        "Keep-Alive",
        "Accept-Encoding",
        "Proxy-Authorization",
    };
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (strcasecmp(name, reserved[i]) == 0) {
            return true;
        }
    }
    return false;
}

/*
 * The forms of texts in a definition: URLs, JSON pointers, names of tables. See
 * definition_rules.h. A text with references is looked at when they are expanded.
 */
#include "storage/jobs/definition_rules.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

bool definition_url_format(const char *text, char message_out[RULE_MESSAGE_BYTES])
{
    const char *host = NULL;
    if (strncasecmp(text, "https://", 8) == 0) {
        host = text + 8;
    } else if (strncasecmp(text, "http://", 7) == 0) {
        host = text + 7;
    }
    if (host == NULL || host[0] == '\0' || host[0] == '/') {
        (void)snprintf(message_out, RULE_MESSAGE_BYTES,
                       "must be an absolute URL such as https://host/path"); /* fits */
        return false;
    }
    for (const char *byte = text; *byte != '\0'; byte++) {
        if ((unsigned char)*byte <= ' ' || *byte == 0x7f) {
            (void)snprintf(message_out, RULE_MESSAGE_BYTES,
                           "must not hold spaces or control characters; write them as %%20 and "
                           "the like"); /* fits */
            return false;
        }
    }
    size_t authority = strcspn(host, "/?#");
    if (memchr(host, '@', authority) != NULL) {
        (void)snprintf(message_out, RULE_MESSAGE_BYTES,
                       "must not hold a user or password, which readers of the job would see; "
                       "use auth"); /* fits */
        return false;
    }
    return true;
}

/* spec: RFC 6901 3 */
bool definition_pointer_format(const char *text, char message_out[RULE_MESSAGE_BYTES])
{
    bool right = text[0] == '\0' || text[0] == '/';
    for (const char *tilde = strchr(text, '~'); right && tilde != NULL;
         tilde = strchr(tilde + 1, '~')) {
        right = tilde[1] == '0' || tilde[1] == '1';
    }
    if (!right) {
        (void)snprintf(message_out, RULE_MESSAGE_BYTES,
                       "must be a JSON pointer such as /data/items; \"\" is the whole"); /* fits */
    }
    return right;
}

bool definition_table_format(const char *text, char message_out[RULE_MESSAGE_BYTES])
{
    bool right = text[0] >= 'a' && text[0] <= 'z';
    for (const char *byte = text; right && *byte != '\0'; byte++) {
        right = (*byte >= 'a' && *byte <= 'z') || (*byte >= '0' && *byte <= '9') || *byte == '_';
    }
    if (!right) {
        (void)snprintf(message_out, RULE_MESSAGE_BYTES,
                       "must be the name of a table: a to z, 0 to 9 and _, a letter first");
    }
    return right;
}

const struct field_rule definition_column_item = {"", RULE_STRING, .flags = RULE_TEMPLATE,
                                                  .minimum = 1, .maximum = RULE_COLUMN_BYTES_MAX};

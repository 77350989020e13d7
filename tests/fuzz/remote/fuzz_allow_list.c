/*
 * The allow list of outgoing requests: what it takes names addresses only, and an
 * address that is printed is read back.
 */
#include "storage/remote/address.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    struct span text = span_of(data, size);
    CLEANUP(address_allow_free) struct address_allow *allow = NULL;
    struct address address;
    if (address_allow_parse(text, &allow, &err) != ERR_OK) {
        assert(allow == NULL && err.msg[0] != '\0');
    }
    if (address_parse(text, &address)) {
        char shown[ADDRESS_TEXT_BYTES];
        struct address back;
        size_t length = address_format(&address, shown);
        assert(address_parse(span_of(shown, length), &back));
        assert(memcmp(back.bytes, address.bytes, sizeof back.bytes) == 0);
        assert(address_classify(&back) == address_classify(&address));
        /* a list of one address is that address */
        assert(address_allow_has(allow, &address));
    }
    return 0;
}

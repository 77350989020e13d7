/* W3C traceparent. */
#include "server/trace.h"

#include <criterion/criterion.h>
#include <string.h>

#define GOOD "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

Test(trace, accepts_sound_headers_only)
{
    static const struct {
        const char *header;
        bool sound;
    } cases[] = {
        {GOOD, true},
        {"", false},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false},
        {"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
        {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", false},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", false},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x", false},
        {"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01", false},
    };
    struct id id = id_new_random();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[TRACE_PARENT_BYTES];
        cr_expect_eq(trace_is_sound(span_of_text(cases[i].header)), cases[i].sound, "%s",
                     cases[i].header);
        trace_accept(span_of_text(cases[i].header), &id, text);
        cr_expect(trace_is_sound(span_of_text(text)), "%s", text);
        cr_expect_eq(strcmp(text, cases[i].header) == 0, cases[i].sound, "%s", text);
    }
}

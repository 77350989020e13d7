/*
 * JSON merge patch. See merge_patch.h. The open objects are a stack of its own, no
 * deeper than a document may be.
 */
#include "handlers/merge_patch.h"

#include <assert.h>

/* One object of the patch that is being merged. */
struct frame {
    const struct json *patch;
    size_t position;     /* of its next member */
    const char *name;    /* in the object above */
    struct json *merged; /* grows here */
};

static struct json *copy_of_object(const struct json *value)
{
    return json_kind(value) == JSON_KIND_OBJECT ? json_duplicate(value) : json_new_object();
}

/* spec: RFC 7396 section 2 */
struct json *merge_patch(const struct json *target, const struct json *patch)
{
    if (json_kind(patch) != JSON_KIND_OBJECT) {
        return json_duplicate(patch);
    }
    struct frame frames[JSON_DEPTH_MAX + 1];
    size_t depth = 1;
    frames[0] = (struct frame){.patch = patch, .merged = copy_of_object(target)};
    for (;;) {
        struct frame *frame = &frames[depth - 1];
        const char *name = NULL;
        const struct json *value = NULL;
        if (!json_member(frame->patch, &frame->position, &name, &value)) {
            if (depth == 1) {
                return frame->merged;
            }
            depth--;
            json_set(frames[depth - 1].merged, frame->name, frame->merged);
        } else if (json_kind(value) == JSON_KIND_NULL) {
            json_remove(frame->merged, name);
        } else if (json_kind(value) == JSON_KIND_OBJECT) {
            assert(depth <= JSON_DEPTH_MAX);
            frames[depth++] =
                (struct frame){.patch = value,
                               .name = name,
                               .merged = copy_of_object(json_get(frame->merged, name))};
        } else {
            json_set(frame->merged, name, json_duplicate(value));
        }
    }
}

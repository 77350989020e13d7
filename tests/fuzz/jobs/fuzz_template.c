/*
 * Templates of any text, with values that hold any text: an expansion succeeds exactly
 * when nothing is told to be broken, and no inserted text opens a secret.
 */
#include "storage/base/buffer.h"
#include "storage/base/mem.h"
#include "storage/jobs/template.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char mark[] = "00112233445566aa";

struct counts {
    size_t secrets;
    size_t broken;
    size_t opened;
    struct span inserted;
};

static enum err_code see(void *arg, const char *pointer, const struct template_reference *reference,
                         struct err *err)
{
    (void)pointer;
    (void)err;
    struct counts *counts = arg;
    counts->secrets += reference->kind == TEMPLATE_SECRET;
    return ERR_OK;
}

static void see_broken(void *arg, const char *pointer, const char *message)
{
    (void)pointer;
    struct counts *counts = arg;
    counts->broken++;
    if (strstr(message, "{{") == NULL) {
        abort();
    }
}

static enum err_code resolve(void *arg, const struct template_reference *reference,
                             struct json **value_out, struct err *err)
{
    (void)reference;
    (void)err;
    const struct counts *counts = arg;
    *value_out = json_new_string(counts->inserted);
    return ERR_OK;
}

static enum err_code open_secret(void *arg, struct span name, struct buffer *text, struct err *err)
{
    (void)name;
    (void)err;
    struct counts *counts = arg;
    counts->opened++;
    buffer_append_text(text, "{{secrets.s#00112233445566aa}}");
    return ERR_OK;
}

static void check_opened(struct counts *counts, const struct json *expanded)
{
    struct span text = {0};
    struct err err = {0};
    CLEANUP(buffer_deinit) struct buffer opened;
    buffer_init(&opened, 64 << 20);
    if (!json_as_string(expanded, &text)) {
        abort();
    }
    if (template_open_secrets(text, mark, open_secret, counts, &opened, &err) != ERR_OK ||
        counts->opened != counts->secrets) {
        abort();
    }
    opened.size = 0;
    err_ignore(template_open_secrets(text, "", open_secret, counts, &opened, &err)); /* any way */
}

/* The text of the template, a zero byte, the text that every reference stands for. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    size_t text_size = zero != NULL ? (size_t)(zero - data) : size;
    struct counts counts = {0};
    if (zero != NULL) {
        counts.inserted = span_of(zero + 1, size - text_size - 1);
        if (counts.inserted.size >= sizeof mark - 1 &&
            memmem(counts.inserted.data, counts.inserted.size, mark, sizeof mark - 1) != NULL) {
            return 0; /* the mark is what nobody outside can guess */
        }
    }
    CLEANUP(json_free) struct json *value = json_new_string(span_of(data, text_size));
    CLEANUP(json_free) struct json *expanded = NULL;
    struct err err = {0};
    if (template_list(value, see, see_broken, &counts, &err) != ERR_OK) {
        abort();
    }
    struct template_scope scope = {.resolve = resolve, .arg = &counts};
    (void)memcpy(scope.mark, mark, sizeof mark);
    enum err_code code = template_expand(value, &scope, &expanded, &err);
    if ((code == ERR_OK) != (counts.broken == 0)) {
        abort();
    }
    if (code == ERR_OK) {
        check_opened(&counts, expanded);
    }
    return 0;
}

/*
 * openapi-generate: contract → route table, prototypes, JSON and page.
 *
 *   openapi-generate --lint FILE
 *   openapi-generate FILE FOLDER   writes FOLDER/{routes.c,operations.h,contract.c}
 */
#include "openapi/generate.h"

#include "storage/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUTPUT_BYTES_MAX = 64 << 20, PATH_BYTES_MAX = 4096 };

static void write_file(const char *folder, const char *name, const struct buffer *text)
{
    char path[PATH_BYTES_MAX];
    int size = snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = size > 0 && (size_t)size < sizeof path ? fopen(path, "wb") : NULL;
    bool written = file != NULL && fwrite(text->data, 1, text->size, file) == text->size;
    bool closed = file != NULL && fclose(file) == 0;
    if (!written || !closed || text->overflowed) {
        (void)fprintf(stderr, "%s: cannot be written\n", path);
        exit(1);
    }
}

static void write_everything(struct document *document, const struct operations *operations,
                             const char *folder)
{
    struct buffer json;
    struct buffer docs;
    struct buffer routes;
    struct buffer prototypes;
    struct buffer contract;
    buffer_init(&json, OUTPUT_BYTES_MAX);
    buffer_init(&docs, OUTPUT_BYTES_MAX);
    buffer_init(&routes, OUTPUT_BYTES_MAX);
    buffer_init(&prototypes, OUTPUT_BYTES_MAX);
    buffer_init(&contract, OUTPUT_BYTES_MAX);

    write_json(document, document_root(document), &json);
    buffer_append_text(&json, "\n");
    write_docs(document, operations, &docs);
    write_routes(document, operations, &routes);
    write_prototypes(operations, &prototypes);
    buffer_append_text(&contract, "/* Generated from openapi/openapi.yaml. */\n"
                                  "#include \"handlers/contract.h\"\n");
    write_bytes("contract_yaml", buffer_span(&document->text), &contract);
    write_bytes("contract_json", buffer_span(&json), &contract);
    write_bytes("contract_docs", buffer_span(&docs), &contract);

    if (document->faults == 0) {
        write_file(folder, "routes.c", &routes);
        write_file(folder, "operations.h", &prototypes);
        write_file(folder, "contract.c", &contract);
    }
    buffer_deinit(&contract);
    buffer_deinit(&prototypes);
    buffer_deinit(&routes);
    buffer_deinit(&docs);
    buffer_deinit(&json);
}

int main(int argc, char **argv)
{
    bool lint = argc == 3 && strcmp(argv[1], "--lint") == 0;
    if (argc != 3) {
        (void)fputs("usage: openapi-generate --lint FILE | FILE FOLDER\n", stderr);
        return 64;
    }
    struct document document;
    document_open(&document, lint ? argv[2] : argv[1]);
    struct operations *operations = mem_zeroed(1, sizeof *operations);
    operations_read(&document, operations);
    lint_check(&document, operations);
    if (!lint && document.faults == 0) {
        write_everything(&document, operations, argv[2]);
    }
    int faults = document.faults;
    if (lint) {
        (void)printf("%s: %zu operations, %d faults\n", document.path, operations->count, faults);
    }
    mem_free(operations);
    document_close(&document);
    return faults > 0 ? 1 : 0;
}

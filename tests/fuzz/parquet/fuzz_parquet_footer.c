/*
 * Thrift structs: metadata_footer_decode with tree_build and tree_node_build,
 * metadata_page_decode (and encode again), metadata_offset_index_decode.
 */
#include "storage/parquet/metadata.h"
#include "storage/parquet/tree.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum { MEMORY_MAX = 64 << 20 };

static void decode_footer(struct span bytes)
{
    struct err err = {0};
    struct arena arena;
    arena_init(&arena, MEMORY_MAX);
    struct metadata_footer footer;
    struct tree tree;
    if (metadata_footer_decode(bytes, &arena, &footer, &err) == ERR_OK &&
        tree_build(&footer, &arena, &tree, &err) == ERR_OK) {
        for (size_t i = 1; i < tree.elements_count; i = tree.elements[i].next) {
            const struct tree_node *node = NULL;
            err_clear(&err);
            if (tree_node_build(&tree, i, &arena, &node, &err) == ERR_OK) {
                assert(node->leaves_count > 0);
            }
            size_t found = tree_find_column(&tree, tree.elements[i].element->name);
            assert(found != 0);
        }
    }
    arena_deinit(&arena);
}

static void decode_page(struct span bytes)
{
    struct err err = {0};
    struct metadata_page page;
    size_t size = 0;
    if (metadata_page_decode(bytes, &page, &size, &err) != ERR_OK) {
        return;
    }
    assert(size <= bytes.size);
    if (page.type != PARQUET_DATA_PAGE && page.type != PARQUET_DICTIONARY_PAGE) {
        return;
    }
    struct buffer again;
    buffer_init(&again, 1 << 10);
    metadata_page_encode(&page, &again);
    struct metadata_page same;
    enum err_code code = metadata_page_decode(buffer_span(&again), &same, &size, &err);
    assert(code == ERR_OK);
    assert(same.values_count == page.values_count);
    assert(same.encoding == page.encoding);
    assert(same.checksum == page.checksum);
    buffer_deinit(&again);
}

static void decode_index(struct span bytes)
{
    struct err err = {0};
    struct arena arena;
    arena_init(&arena, MEMORY_MAX);
    struct metadata_location *locations = NULL;
    size_t count = 0;
    if (metadata_offset_index_decode(bytes, &arena, &locations, &count, &err) == ERR_OK) {
        for (size_t i = 1; i < count; i++) {
            assert(locations[i].first_row >= locations[i - 1].first_row);
        }
    }
    arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span bytes = span_of(data, size);
    decode_footer(bytes);
    decode_page(bytes);
    decode_index(bytes);
    return 0;
}

/*
 * Writes the contract as one static page: no script, no download, style inline.
 * Operations by tag, each with permission, limits, parameters, body, answers and
 * a curl line; then the problem codes and the schemas.
 */
#include "openapi/generate.h"

#include <ctype.h>
#include <string.h>

static const char page_head[] =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<title>Sluice: the contract</title>\n<style>\n"
    ":root{--ink:#1c2430;--soft:#5b6675;--line:#d9dee6;--paper:#fff;--panel:#f6f8fa;--link:#0b5cad}"
    "\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e4e8ee;--soft:#9aa5b4;--line:#313a47;"
    "--paper:#14181e;--panel:#1b2129;--link:#7db8f5}}\n"
    "*{box-sizing:border-box}body{margin:0;font:15px/1.55 system-ui,sans-serif;color:var(--ink);"
    "background:var(--paper)}\n"
    "a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}\n"
    "nav{position:fixed;top:0;bottom:0;width:17rem;overflow:auto;padding:1.2rem;"
    "border-right:1px solid var(--line);background:var(--panel);font-size:14px}\n"
    "nav b{display:block;margin:.9rem 0 .2rem}nav a{display:block;padding:.08rem 0}\n"
    "main{margin-left:17rem;max-width:62rem;padding:1.5rem 2rem 6rem}\n"
    "@media(max-width:60rem){nav{position:static;width:auto;border:0}main{margin:0;padding:1rem}}\n"
    "h1{margin:.2rem 0}h2{margin-top:3rem;border-bottom:1px solid var(--line)}\n"
    "h3{margin:2.2rem 0 .3rem;font-size:1.05rem}h4{margin:1rem 0 .2rem;font-size:.92rem;"
    "color:var(--soft)}\n"
    "code,pre{font:13px/1.45 ui-monospace,monospace}code{background:var(--panel);"
    "padding:.05rem .25rem;border-radius:3px}\n"
    "pre{background:var(--panel);border:1px solid var(--line);border-radius:5px;padding:.7rem;"
    "overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere}\n"
    "table{border-collapse:collapse;width:100%;font-size:14px}td,th{text-align:left;"
    "vertical-align:top;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line)}\n"
    "th{color:var(--soft);font-weight:600}.m{display:inline-block;min-width:4.2rem;"
    "font:600 12px ui-monospace,monospace;text-transform:uppercase}\n"
    ".s{color:var(--soft);font-size:14px}\n</style>\n</head>\n<body>\n";

static void write_escaped(struct buffer *text, const char *value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        switch (value[i]) {
        case '<':
            buffer_append_text(text, "&lt;");
            break;
        case '>':
            buffer_append_text(text, "&gt;");
            break;
        case '&':
            buffer_append_text(text, "&amp;");
            break;
        case '"':
            buffer_append_text(text, "&quot;");
            break;
        default:
            buffer_append_byte(text, (uint8_t)value[i]);
        }
    }
}

static void write_plain(struct buffer *text, const char *value)
{
    write_escaped(text, value, strlen(value));
}

/* `code`, **bold** and blank lines as paragraphs: all of Markdown that the contract uses. */
static void write_prose(struct buffer *text, const char *prose)
{
    bool code = false;
    bool bold = false;
    for (const char *at = prose; *at != '\0'; at++) {
        if (*at == '`') {
            buffer_append_text(text, code ? "</code>" : "<code>");
            code = !code;
        } else if (!code && at[0] == '*' && at[1] == '*') {
            buffer_append_text(text, bold ? "</b>" : "<b>");
            bold = !bold;
            at++;
        } else if (at[0] == '\n' && at[1] == '\n') {
            buffer_append_text(text, "</p>\n<p>");
            at++;
        } else {
            write_escaped(text, at, 1);
        }
    }
}

static void write_paragraph(struct buffer *text, const char *prose)
{
    if (prose != NULL) {
        buffer_append_text(text, "<p>");
        write_prose(text, prose);
        buffer_append_text(text, "</p>\n");
    }
}

static void write_reference(struct buffer *text, const char *name)
{
    buffer_append_format(text, "<a href=\"#schema-%s\">%s</a>", name, name);
}

/* "string (uuid)", "array of <a>Row</a>": the type of a schema in a few words. */
static void write_type(struct document *document, node schema, struct buffer *text)
{
    const char *reference = node_reference_name(document, schema);
    if (reference != NULL) {
        write_reference(text, reference);
        return;
    }
    node type = node_get(document, schema, "type");
    if (node_is_sequence(type)) {
        for (size_t i = 0; i < node_count(type); i++) {
            buffer_append_text(text, i > 0 ? " or " : "");
            write_plain(text, node_text(node_at(document, type, i)));
        }
    } else {
        write_plain(text, type != NULL ? node_text(type) : "any");
    }
    node items = node_get(document, schema, "items");
    if (items != NULL) {
        buffer_append_text(text, " of ");
        write_type(document, items, text);
    }
    const char *format = node_text(node_get(document, schema, "format"));
    if (format != NULL) {
        buffer_append_format(text, " (%s)", format);
    }
}

/* Bounds, values and default of a schema, one after the other. */
static void write_rules(struct document *document, node schema, struct buffer *text)
{
    static const char *const words[] = {"minimum",  "maximum",  "minLength", "maxLength",
                                        "minItems", "maxItems", "pattern",   "default"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const char *value = node_text(node_get(document, schema, words[i]));
        if (value != NULL) {
            buffer_append_format(text, " <span class=\"s\">%s <code>", words[i]);
            write_plain(text, value);
            buffer_append_text(text, "</code></span>");
        }
    }
    node values = node_get(document, schema, "enum");
    for (size_t i = 0; i < node_count(values); i++) {
        buffer_append_text(text, i > 0 ? " · <code>" : " <span class=\"s\">one of</span> <code>");
        write_plain(text, node_text(node_at(document, values, i)));
        buffer_append_text(text, "</code>");
    }
}

/* A member or parameter as one table row. */
static void write_row(struct document *document, const char *name, const char *place, node schema,
                      const char *description, bool required, struct buffer *text)
{
    buffer_append_text(text, "<tr><td><code>");
    write_plain(text, name);
    buffer_append_format(text, "</code>%s</td><td>", required ? " *" : "");
    if (place != NULL) {
        buffer_append_format(text, "%s, ", place);
    }
    write_type(document, schema, text);
    buffer_append_text(text, "</td><td>");
    if (description != NULL) {
        write_prose(text, description);
    }
    write_rules(document, schema, text);
    buffer_append_text(text, "</td></tr>\n");
}

static void write_parameters(struct document *document, const struct operation *operation,
                             struct buffer *text)
{
    if (operation->parameters_count == 0) {
        return;
    }
    buffer_append_text(text, "<h4>Parameters</h4>\n<table>\n");
    for (size_t i = 0; i < operation->parameters_count; i++) {
        node parameter = operation->parameters[i];
        write_row(document, node_text(node_get(document, parameter, "name")),
                  node_text(node_get(document, parameter, "in")),
                  node_get(document, parameter, "schema"),
                  node_text(node_get(document, parameter, "description")),
                  node_true(node_get(document, parameter, "required")), text);
    }
    buffer_append_text(text, "</table>\n");
}

static void write_example(struct document *document, node example, struct buffer *text)
{
    struct buffer plain;
    buffer_init(&plain, 1 << 20);
    if (node_is_scalar(example)) {
        buffer_append_text(&plain, node_text(example));
    } else {
        write_json(document, example, &plain);
    }
    buffer_append_text(text, "<pre>");
    write_escaped(text, (const char *)plain.data, plain.size);
    buffer_append_text(text, "</pre>\n");
    buffer_deinit(&plain);
}

static void write_content(struct document *document, node content, struct buffer *text)
{
    for (size_t i = 0; i < node_count(content); i++) {
        const char *type = NULL;
        node media = NULL;
        node_member(document, content, i, &type, &media);
        buffer_append_format(text, "%s<code>%s</code> ", i > 0 ? " · " : "", type);
        write_type(document, node_get(document, media, "schema"), text);
    }
}

static void write_request(struct document *document, const struct operation *operation,
                          struct buffer *text)
{
    if (operation->request == NULL) {
        return;
    }
    node content = node_get(document, operation->request, "content");
    buffer_append_text(text, "<h4>Body</h4>\n<p>");
    write_content(document, content, text);
    buffer_append_text(text, "</p>\n");
    for (size_t i = 0; i < node_count(content); i++) {
        const char *type = NULL;
        node media = NULL;
        node_member(document, content, i, &type, &media);
        if (node_get(document, media, "example") != NULL) {
            write_example(document, node_get(document, media, "example"), text);
        }
    }
}

static void write_responses(struct document *document, const struct operation *operation,
                            struct buffer *text)
{
    node responses = node_get(document, operation->body, "responses");
    node example = NULL;
    buffer_append_text(text, "<h4>Answers</h4>\n<table>\n");
    for (size_t i = 0; i < node_count(responses); i++) {
        const char *status = NULL;
        node response = NULL;
        node_member(document, responses, i, &status, &response);
        response = node_resolve(document, response);
        buffer_append_format(text, "<tr><td><code>%s</code></td><td>", status);
        write_prose(text, node_text(node_get(document, response, "description")));
        node headers = node_get(document, response, "headers");
        for (size_t j = 0; j < node_count(headers); j++) {
            const char *name = NULL;
            node header = NULL;
            node_member(document, headers, j, &name, &header);
            buffer_append_format(text, "%s<code>%s</code>",
                                 j == 0 ? "<br><span class=\"s\">headers</span> " : " ", name);
        }
        buffer_append_text(text, "</td><td>");
        node content = node_get(document, response, "content");
        write_content(document, content, text);
        buffer_append_text(text, "</td></tr>\n");
        node media = node_get(document, content, "application/json");
        if (status[0] == '2' && example == NULL) {
            example = node_get(document, media, "example");
        }
    }
    buffer_append_text(text, "</table>\n");
    if (example != NULL) {
        write_example(document, example, text);
    }
}

/* The path with each parameter's example in its place. */
static void write_example_path(struct document *document, const struct operation *operation,
                               struct buffer *text)
{
    const char *at = operation->path;
    while (*at != '\0') {
        if (*at != '{') {
            write_escaped(text, at, 1);
            at++;
            continue;
        }
        size_t size = strcspn(at + 1, "}");
        for (size_t i = 0; i < operation->parameters_count; i++) {
            const char *name = node_text(node_get(document, operation->parameters[i], "name"));
            if (name != NULL && strlen(name) == size && strncmp(name, at + 1, size) == 0) {
                write_plain(text,
                            node_text(node_get(document, operation->parameters[i], "example")));
            }
        }
        at += size + 2;
    }
}

static void write_curl(struct document *document, const struct operation *operation,
                       struct buffer *text)
{
    buffer_append_text(text, "<h4>With curl</h4>\n<pre>curl");
    if (strcmp(operation->method, "get") != 0) {
        buffer_append_text(text, " -X ");
        for (const char *at = operation->method; *at != '\0'; at++) {
            buffer_append_byte(text, (uint8_t)toupper((unsigned char)*at));
        }
    }
    if (!operation->is_public) {
        buffer_append_text(text, " -H \"Authorization: Bearer $TOKEN\"");
    }
    if (operation->request != NULL) {
        const char *type = NULL;
        node media = NULL;
        node_member(document, node_get(document, operation->request, "content"), 0, &type, &media);
        buffer_append_format(text, " -H \"Content-Type: %s\" --data-binary @body", type);
    }
    buffer_append_text(text, " \"$URL");
    write_example_path(document, operation, text);
    buffer_append_text(text, "\"</pre>\n");
}

static void write_access(struct document *document, const struct operation *operation,
                         struct buffer *text)
{
    buffer_append_text(text, "<p class=\"s\">");
    if (operation->is_public) {
        buffer_append_text(text, "public");
    } else {
        buffer_append_format(text, "permission <code>%s</code>%s%s%s", operation->action,
                             operation->resource != NULL ? " on <code>{" : "",
                             operation->resource != NULL ? operation->resource : "",
                             operation->resource != NULL ? "}</code>" : "");
    }
    if (node_true(node_get(document, operation->body, "x-phi"))) {
        buffer_append_text(text, " · audited: touches protected health information");
    }
    if (operation->body_bytes_max > 0) {
        buffer_append_format(text, " · body at most %lld bytes",
                             (long long)operation->body_bytes_max);
    }
    buffer_append_text(text, "</p>\n");
}

static void write_operation(struct document *document, const struct operation *operation,
                            struct buffer *text)
{
    buffer_append_format(text, "<section id=\"%s\">\n<h3><span class=\"m\">%s</span> <code>",
                         operation->id, operation->method);
    write_plain(text, operation->path);
    buffer_append_text(text, "</code></h3>\n<p><b>");
    write_plain(text, node_text(node_get(document, operation->body, "summary")));
    buffer_append_text(text, "</b></p>\n");
    write_access(document, operation, text);
    write_paragraph(text, node_text(node_get(document, operation->body, "description")));
    write_parameters(document, operation, text);
    write_request(document, operation, text);
    write_responses(document, operation, text);
    write_curl(document, operation, text);
    buffer_append_text(text, "</section>\n");
}

static bool has_tag(struct document *document, const struct operation *operation, const char *tag)
{
    return node_is_text(node_at(document, node_get(document, operation->body, "tags"), 0), tag);
}

static void write_navigation(struct document *document, const struct operations *operations,
                             struct buffer *text)
{
    node tags = node_get(document, document_root(document), "tags");
    buffer_append_text(text, "<nav>\n<a href=\"#top\"><b>Sluice</b></a>\n");
    for (size_t i = 0; i < node_count(tags); i++) {
        const char *tag = node_text(node_get(document, node_at(document, tags, i), "name"));
        buffer_append_format(text, "<b>%s</b>\n", tag);
        for (size_t j = 0; j < operations->count; j++) {
            const struct operation *operation = &operations->items[j];
            if (has_tag(document, operation, tag)) {
                buffer_append_format(text, "<a href=\"#%s\">", operation->id);
                write_plain(text, node_text(node_get(document, operation->body, "summary")));
                buffer_append_text(text, "</a>\n");
            }
        }
    }
    buffer_append_text(text, "<b>reference</b>\n<a href=\"#problems\">Problem codes</a>\n"
                             "<a href=\"#schemas\">Schemas</a>\n"
                             "<a href=\"/openapi.yaml\">openapi.yaml</a>\n"
                             "<a href=\"/openapi.json\">openapi.json</a>\n</nav>\n");
}

static void write_problems(struct document *document, struct buffer *text)
{
    node codes = node_get(document, document_root(document), "x-problem-codes");
    buffer_append_text(text, "<h2 id=\"problems\">Problem codes</h2>\n<table>\n");
    for (size_t i = 0; i < node_count(codes); i++) {
        const char *code = NULL;
        node meaning = NULL;
        node_member(document, codes, i, &code, &meaning);
        buffer_append_format(text, "<tr id=\"problem-%s\"><td><code>%s</code></td><td>", code,
                             code);
        write_prose(text, node_text(meaning) != NULL ? node_text(meaning) : "");
        buffer_append_text(text, "</td></tr>\n");
    }
    buffer_append_text(text, "</table>\n");
}

static void write_schema(struct document *document, const char *name, node schema,
                         struct buffer *text)
{
    buffer_append_format(text, "<h3 id=\"schema-%s\">%s</h3>\n", name, name);
    write_paragraph(text, node_text(node_get(document, schema, "description")));
    node properties = node_get(document, schema, "properties");
    node required = node_get(document, schema, "required");
    buffer_append_text(text, "<table>\n");
    for (size_t i = 0; i < node_count(properties); i++) {
        const char *member = NULL;
        node property = NULL;
        bool needed = false;
        node_member(document, properties, i, &member, &property);
        for (size_t j = 0; j < node_count(required); j++) {
            needed = needed || node_is_text(node_at(document, required, j), member);
        }
        write_row(document, member, NULL, property,
                  node_text(node_get(document, property, "description")), needed, text);
    }
    buffer_append_text(text, "</table>\n");
}

static void write_schemas(struct document *document, struct buffer *text)
{
    node components = node_get(document, document_root(document), "components");
    node schemas = node_get(document, components, "schemas");
    buffer_append_text(text, "<h2 id=\"schemas\">Schemas</h2>\n<p class=\"s\">* required</p>\n");
    for (size_t i = 0; i < node_count(schemas); i++) {
        const char *name = NULL;
        node schema = NULL;
        node_member(document, schemas, i, &name, &schema);
        write_schema(document, name, schema, text);
    }
}

void write_docs(struct document *document, const struct operations *operations, struct buffer *text)
{
    node info = node_get(document, document_root(document), "info");
    node tags = node_get(document, document_root(document), "tags");
    buffer_append_text(text, page_head);
    write_navigation(document, operations, text);
    buffer_append_text(text, "<main id=\"top\">\n<h1>");
    write_plain(text, node_text(node_get(document, info, "title")));
    buffer_append_text(text, "</h1>\n<p class=\"s\">");
    write_plain(text, node_text(node_get(document, info, "summary")));
    buffer_append_text(text, "</p>\n");
    write_paragraph(text, node_text(node_get(document, info, "description")));
    for (size_t i = 0; i < node_count(tags); i++) {
        node tag = node_at(document, tags, i);
        const char *name = node_text(node_get(document, tag, "name"));
        buffer_append_format(text, "<h2>%s</h2>\n", name);
        write_paragraph(text, node_text(node_get(document, tag, "description")));
        for (size_t j = 0; j < operations->count; j++) {
            if (has_tag(document, &operations->items[j], name)) {
                write_operation(document, &operations->items[j], text);
            }
        }
    }
    write_problems(document, text);
    write_schemas(document, text);
    buffer_append_text(text, "</main>\n</body>\n</html>\n");
}

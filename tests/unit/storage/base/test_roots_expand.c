/*
 * Patterns below a root: what matches, in which order, and what does not.
 */
#include "storage/base/roots.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct roots *open_roots(const struct temp_dir *dir)
{
    struct roots *roots = NULL;
    struct err err = {0};
    cr_assert_eq(roots_open(dir->path, "source-roots", &roots, &err), ERR_OK, "%s", err.msg);
    return roots;
}

static void put(const struct temp_dir *dir, const char *name)
{
    struct err err = {0};
    CLEANUP(mem_cleanup) char *path = temp_dir_join(dir, name);
    cr_assert_eq(file_write_new(path, span_of_text("x"), &err), ERR_OK, "%s", err.msg);
}

static void make_folder(const struct temp_dir *dir, const char *name)
{
    struct err err = {0};
    CLEANUP(mem_cleanup) char *path = temp_dir_join(dir, name);
    cr_assert_eq(file_make_directory(path, &err), ERR_OK, "%s", err.msg);
}

static void plant(const struct temp_dir *dir)
{
    static const char *const folders[] = {"2026/01", "2026/02", "2026/.hidden", "other/2026"};
    static const char *const files[] = {
        "b.csv",
        "a.csv",
        "a.CSV",
        ".tmp.csv",
        "a.csv.gz",
        "10.csv",
        "9.csv",
        "\xc3\xa9.csv",
        "[x].csv",
        "2026/01/a.csv",
        "2026/a.csv",
        "2026/02/b.csv",
        "2026/02/c.json",
        "2026/.hidden/d.csv",
        "other/2026/e.csv",
    };
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        make_folder(dir, folders[i]);
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        put(dir, files[i]);
    }
    make_folder(dir, "folder.csv");
    CLEANUP(mem_cleanup) char *pipe_path = temp_dir_join(dir, "pipe.csv");
    CLEANUP(mem_cleanup) char *link_path = temp_dir_join(dir, "link.csv");
    CLEANUP(mem_cleanup) char *link_folder = temp_dir_join(dir, "2027");
    cr_assert_eq(mkfifo(pipe_path, 0600), 0);
    cr_assert_eq(symlink("a.csv", link_path), 0);
    cr_assert_eq(symlink("2026", link_folder), 0);
}

/* The matches' paths below the folder, joined by spaces. */
static void expect_matches(const struct temp_dir *dir, const struct roots *roots,
                           const char *pattern, const char *expected)
{
    CLEANUP(root_matches_free) struct root_matches matches = {0};
    CLEANUP(buffer_deinit) struct buffer found;
    struct err err = {0};
    buffer_init(&found, 1 << 16);
    cr_expect_eq(roots_expand(roots, pattern, ROOT_MATCHES_MAX, &matches, &err), ERR_OK, "%s: %s",
                 pattern, err.msg);
    for (size_t i = 0; i < matches.count; i++) {
        buffer_append_format(&found, "%s%s", i > 0 ? " " : "",
                             matches.files[i].path + strlen(dir->path) + 1);
        cr_expect_eq(matches.files[i].size, 1);
    }
    cr_expect(span_equal_text(buffer_span(&found), expected), "%s found %.*s", pattern,
              SPAN_PRINT(buffer_span(&found)));
}

Test(roots_expand, finds_in_order_of_bytes)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    plant(&dir);
    CLEANUP(roots_close) struct roots *roots = open_roots(&dir);
    static const struct {
        const char *pattern;
        const char *expected;
    } cases[] = {
        {"*.csv", "10.csv 9.csv [x].csv a.csv b.csv \xc3\xa9.csv"},
        {"?.csv", "9.csv a.csv b.csv \xc3\xa9.csv"},
        {"[ab].csv", "a.csv b.csv"},
        {"[!a-z].csv", "9.csv"},
        {"[[]x].csv", "[x].csv"},
        {"*.csv*", "10.csv 9.csv [x].csv a.csv a.csv.gz b.csv \xc3\xa9.csv"},
        {".*.csv", ".tmp.csv"},
        {"*/*.csv", "2026/a.csv"},
        {"2026/*/*.csv", "2026/01/a.csv 2026/02/b.csv"},
        {"2026/**/*.csv", "2026/01/a.csv 2026/02/b.csv 2026/a.csv"},
        {"**/a.csv", "2026/01/a.csv 2026/a.csv a.csv"},
        {"**/2026/*.csv", "2026/a.csv other/2026/e.csv"},
        {"2026/0[12]/*", "2026/01/a.csv 2026/02/b.csv 2026/02/c.json"},
        {"a.csv", "a.csv"},
        {"none.csv", ""},
        {"none/*.csv", ""},
        {"*.parquet", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_matches(&dir, roots, cases[i].pattern, cases[i].expected);
        /* the same by its absolute path */
        CLEANUP(mem_cleanup) char *absolute = temp_dir_join(&dir, cases[i].pattern);
        expect_matches(&dir, roots, absolute, cases[i].expected);
    }
}

Test(roots_expand, refuses)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    plant(&dir);
    CLEANUP(roots_close) struct roots *roots = open_roots(&dir);
    static const struct {
        const char *pattern;
        enum err_code code;
        const char *says;
    } cases[] = {
        {"../*", ERR_FORBIDDEN, "'..'"},
        {"*/../../*", ERR_FORBIDDEN, "'..'"},
        {"/etc/*", ERR_FORBIDDEN, "below none"},
        {"2027/*.csv", ERR_FORBIDDEN, "symbolic link"},
        {"link.csv", ERR_FORBIDDEN, "symbolic link"},
        {"pipe.csv", ERR_FORBIDDEN, "a pipe"},
        {"folder.csv", ERR_FORBIDDEN, "a folder"},
        {"a.csv/*", ERR_NOT_FOUND, "a folder is expected"},
        {"[a", ERR_INVALID, "not closed"},
        {"**/**/*.csv", ERR_INVALID, "once"},
        {"**", ERR_INVALID, "**/*"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct root_matches matches = {0};
        struct err err = {0};
        cr_expect_eq(roots_expand(roots, cases[i].pattern, 10, &matches, &err), cases[i].code,
                     "%s: %s", cases[i].pattern, err.msg);
        cr_expect_not_null(strstr(err.msg, cases[i].says), "%s: %s", cases[i].pattern, err.msg);
        cr_expect_null(matches.files);
    }
}

Test(roots_expand, names_the_limit_of_matches)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    plant(&dir);
    CLEANUP(roots_close) struct roots *roots = open_roots(&dir);
    CLEANUP(root_matches_free) struct root_matches matches = {0};
    struct err err = {0};
    cr_expect_eq(roots_expand(roots, "?.csv", 4, &matches, &err), ERR_OK, "%s", err.msg);
    struct root_matches none = {0};
    cr_expect_eq(roots_expand(roots, "?.csv", 3, &none, &err), ERR_TOO_LARGE);
    cr_expect_not_null(strstr(err.msg, "more than 3 files"), "%s", err.msg);
}

Test(roots_expand, a_name_that_cannot_be_written_down_is_told)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(roots_close) struct roots *roots = open_roots(&dir);
    put(&dir, "a\xff.csv");
    struct root_matches matches = {0};
    struct err err = {0};
    cr_expect_eq(roots_expand(roots, "*.csv", 10, &matches, &err), ERR_INVALID);
    cr_expect_not_null(strstr(err.msg, "rename"), "%s", err.msg);
    err_clear(&err);
    cr_expect_eq(roots_expand(roots, "*.json", 10, &matches, &err), ERR_OK, "%s", err.msg);
}

Test(roots_expand, deep_folders_end_in_an_error)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(roots_close) struct roots *roots = open_roots(&dir);
    char deep[2 * ROOT_DEPTH_MAX + 8] = "";
    for (int i = 0; i < ROOT_DEPTH_MAX; i++) {
        (void)snprintf(deep + 2 * i, 3, "d/");
    }
    make_folder(&dir, deep);
    (void)snprintf(deep + 2 * (ROOT_DEPTH_MAX - 1), 3, "f");
    put(&dir, deep);
    struct root_matches matches = {0};
    struct err err = {0};
    cr_expect_eq(roots_expand(roots, "**/g", 10, &matches, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(roots_expand(roots, "**/f", 10, &matches, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(matches.count, 1);
    root_matches_free(&matches);
    (void)snprintf(deep + 2 * (ROOT_DEPTH_MAX - 1), 5, "d/f");
    put(&dir, deep);
    cr_expect_eq(roots_expand(roots, "**/f", 10, &matches, &err), ERR_TOO_LARGE);
    cr_expect_not_null(strstr(err.msg, "nested"), "%s", err.msg);
}

Test(roots_expand, part_matching)
{
    static const struct {
        const char *part, *name;
        bool matches;
    } cases[] = {
        {"*", "abc", true},
        {"*", ".abc", false},
        {".*", ".abc", true},
        {"a*c", "abbc", true},
        {"a*c", "abbd", false},
        {"a*b*c", "axxbyyc", true},
        {"*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
        {"?", "\xc3\xa9", true},
        {"??", "\xc3\xa9", false},
        {"?", "", false},
        {"[0-9]", "5", true},
        {"[0-9]", "x", false},
        {"[!0-9]", "x", true},
        {"[]x]", "]", true},
        {"[!]]", "]", false},
        {"[a-]", "-", true},
        {"[a-c]z", "bz", true},
        {"x[a", "x[a", true},
        {"", "", true},
        {"", ".", false},
        {"a**", "abc", true},
        {"a", "ab", false},
        {"ab", "a", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(root_part_matches(span_of_text(cases[i].part), span_of_text(cases[i].name)),
                     cases[i].matches, "%s against %s", cases[i].part, cases[i].name);
    }
}

/*
 * Roots: what a path may name, and every way out of a root that was thought of.
 */
#include "storage/base/roots.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

/* A folder with a root "in", a second one "two", and a secret beside them. */
struct house {
    struct temp_dir dir;
    char *in, *two;
    struct roots *roots;
};

static void put(const char *folder, const char *name, const char *text)
{
    struct err err = {0};
    CLEANUP(mem_cleanup) char *path = file_join(folder, name);
    cr_assert_eq(file_write_new(path, span_of_text(text), &err), ERR_OK, "%s", err.msg);
}

static void make_folder(const char *folder, const char *name)
{
    struct err err = {0};
    CLEANUP(mem_cleanup) char *path = file_join(folder, name);
    cr_assert_eq(file_make_directory(path, &err), ERR_OK, "%s", err.msg);
}

static struct house make_house(void)
{
    struct house house = {.dir = temp_dir_make()};
    struct err err = {0};
    house.in = temp_dir_join(&house.dir, "in");
    house.two = temp_dir_join(&house.dir, "two");
    make_folder(house.in, "sub/deep");
    make_folder(house.two, "x");
    put(house.dir.path, "secret", "secret");
    put(house.in, "a.csv", "a");
    put(house.in, "sub/b.csv", "bb");
    put(house.two, "c.csv", "ccc");
    char folders[512];
    (void)snprintf(folders, sizeof folders, "%s/:%s", house.in, house.two);
    cr_assert_eq(roots_open(folders, "source-roots", &house.roots, &err), ERR_OK, "%s", err.msg);
    return house;
}

static void free_house(struct house *house)
{
    roots_close(&house->roots);
    mem_free(house->in);
    mem_free(house->two);
    temp_dir_remove(&house->dir);
}

static enum err_code try_open(const struct house *house, const char *path, struct err *err)
{
    int fd = -1;
    struct root_file file = {0};
    *err = (struct err){0};
    enum err_code code = roots_open_file(house->roots, path, &fd, &file, err);
    cr_expect_eq(fd >= 0, code == ERR_OK, "%s", path);
    file_close(&fd);
    root_file_free(&file);
    return code;
}

Test(roots, takes_absolute_and_relative_spellings_to_one_path)
{
    CLEANUP(free_house) struct house house = make_house();
    static const struct {
        const char *format; /* %s = the house */
        const char *leads_to;
        int64_t size;
    } cases[] = {
        {"a.csv", "in/a.csv", 1},
        {"%s/in/a.csv", "in/a.csv", 1},
        {"./sub//./b.csv", "in/sub/b.csv", 2},
        {"%s/in//sub/b.csv", "in/sub/b.csv", 2},
        {"%s/two/c.csv", "two/c.csv", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[512];
        struct err err = {0};
        struct root_file file = {0};
        CLEANUP(file_close) int fd = -1;
        bool absolute = cases[i].format[0] == '%';
        (void)snprintf(path, sizeof path, "%s%s", absolute ? house.dir.path : "",
                       cases[i].format + (absolute ? 2 : 0));
        CLEANUP(mem_cleanup) char *expected = temp_dir_join(&house.dir, cases[i].leads_to);
        cr_assert_eq(roots_open_file(house.roots, path, &fd, &file, &err), ERR_OK, "%s: %s", path,
                     err.msg);
        cr_expect_str_eq(file.path, expected);
        cr_expect_eq(file.size, cases[i].size, "%s", path);
        cr_expect(file.modified_us > 1600000000000000, "%s", path);
        root_file_free(&file);
    }
}

/* Everything below is made inside of the root by somebody who may write there. */
static void plant_attacks(const struct house *house)
{
    CLEANUP(mem_cleanup) char *secret = temp_dir_join(&house->dir, "secret");
    CLEANUP(mem_cleanup) char *link_out = file_join(house->in, "link-out");
    CLEANUP(mem_cleanup) char *link_up = file_join(house->in, "link-up");
    CLEANUP(mem_cleanup) char *link_in = file_join(house->in, "link-in");
    CLEANUP(mem_cleanup) char *link_proc = file_join(house->in, "link-proc");
    CLEANUP(mem_cleanup) char *link_loop = file_join(house->in, "link-loop");
    CLEANUP(mem_cleanup) char *pipe_path = file_join(house->in, "pipe");
    CLEANUP(mem_cleanup) char *socket_path = file_join(house->in, "socket");
    CLEANUP(mem_cleanup) char *closed = file_join(house->in, "closed");
    cr_assert_eq(symlink(secret, link_out), 0);
    cr_assert_eq(symlink("..", link_up), 0);
    cr_assert_eq(symlink("a.csv", link_in), 0);
    cr_assert_eq(symlink("/proc/self/root", link_proc), 0);
    cr_assert_eq(symlink("link-loop", link_loop), 0);
    cr_assert_eq(mkfifo(pipe_path, 0600), 0);
    put(house->in, "closed", "x");
    cr_assert_eq(chmod(closed, 0), 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cr_assert_lt(strlen(socket_path), sizeof address.sun_path);
    memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
    CLEANUP(file_close) int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
}

Test(roots, refuses_every_way_out)
{
    CLEANUP(free_house) struct house house = make_house();
    plant_attacks(&house);
    char inside_up[512];
    char outside[512];
    (void)snprintf(inside_up, sizeof inside_up, "%s/../secret", house.in);
    (void)snprintf(outside, sizeof outside, "%s/secret", house.dir.path);
    char beside[512]; /* a name that begins as the root's does */
    (void)snprintf(beside, sizeof beside, "%sner/a.csv", house.in);
    const struct {
        const char *path;
        enum err_code code;
        const char *says;
    } cases[] = {
        {"../secret", ERR_FORBIDDEN, "'..'"},
        {"sub/../../secret", ERR_FORBIDDEN, "'..'"},
        {"sub/..", ERR_FORBIDDEN, "'..'"},
        {inside_up, ERR_FORBIDDEN, "'..'"},
        {outside, ERR_FORBIDDEN, "below none of the folders"},
        {beside, ERR_FORBIDDEN, "below none of the folders"},
        {"/etc/passwd", ERR_FORBIDDEN, "source-roots"},
        {"/proc/self/environ", ERR_FORBIDDEN, "below none"},
        {"/dev/stdin", ERR_FORBIDDEN, "below none"},
        {"/", ERR_FORBIDDEN, "below none"},
        {"link-out", ERR_FORBIDDEN, "symbolic link"},
        {"link-up/secret", ERR_FORBIDDEN, "symbolic link"},
        {"link-in", ERR_FORBIDDEN, "symbolic link"},
        {"link-loop", ERR_FORBIDDEN, "symbolic link"},
        {"link-proc/etc/passwd", ERR_FORBIDDEN, "symbolic link"},
        {"pipe", ERR_FORBIDDEN, "a pipe"},
        {"socket", ERR_FORBIDDEN, "a socket"},
        {"sub", ERR_FORBIDDEN, "a folder"},
        {"", ERR_INVALID, "1 to"},
        {"a\nb", ERR_INVALID, "control"},
        {"a\x7f", ERR_INVALID, "control"},
        {"\xff", ERR_INVALID, "UTF-8"},
        {"none.csv", ERR_NOT_FOUND, "none.csv"},
        {"a.csv/x", ERR_NOT_FOUND, "a folder is expected"},
    };
    struct err err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(try_open(&house, cases[i].path, &err), cases[i].code, "%s: %s", cases[i].path,
                     err.msg);
        cr_expect_not_null(strstr(err.msg, cases[i].says), "%s: %s", cases[i].path, err.msg);
    }
    if (geteuid() != 0) {
        cr_expect_eq(try_open(&house, "closed", &err), ERR_FORBIDDEN, "%s", err.msg);
        cr_expect_not_null(strstr(err.msg, "no permission"), "%s", err.msg);
    }
}

Test(roots, refuses_devices)
{
    CLEANUP(free_house) struct house house = make_house();
    CLEANUP(mem_cleanup) char *path = file_join(house.in, "null");
    if (mknod(path, S_IFCHR | 0600, makedev(1, 3)) != 0) {
        cr_skip("making a device needs root");
    }
    struct err err;
    cr_expect_eq(try_open(&house, "null", &err), ERR_FORBIDDEN);
    cr_expect_not_null(strstr(err.msg, "a device"), "%s", err.msg);
}

Test(roots, counts_parts_and_bytes_to_the_limit)
{
    CLEANUP(free_house) struct house house = make_house();
    char deep[ROOT_DEPTH_MAX * 2 + 4] = "";
    struct err err;
    for (int i = 0; i < ROOT_DEPTH_MAX; i++) {
        (void)snprintf(deep + 2 * i, 3, "d/");
    }
    cr_expect_eq(try_open(&house, deep, &err), ERR_NOT_FOUND, "%s", err.msg);
    (void)snprintf(deep + 2 * ROOT_DEPTH_MAX, 3, "d");
    cr_expect_eq(try_open(&house, deep, &err), ERR_INVALID, "%s", err.msg);

    char name[ROOT_NAME_BYTES_MAX + 2];
    memset(name, 'n', sizeof name);
    name[ROOT_NAME_BYTES_MAX] = '\0';
    cr_expect_eq(try_open(&house, name, &err), ERR_NOT_FOUND, "%s", err.msg);
    name[ROOT_NAME_BYTES_MAX] = 'n';
    name[ROOT_NAME_BYTES_MAX + 1] = '\0';
    cr_expect_eq(try_open(&house, name, &err), ERR_INVALID, "%s", err.msg);

    static char path[ROOT_PATH_BYTES_MAX + 2];
    memset(path, '/', sizeof path - 1);
    cr_expect_eq(try_open(&house, path, &err), ERR_INVALID, "%s", err.msg);
}

Test(roots, folders_are_checked_at_the_start)
{
    CLEANUP(free_house) struct house house = make_house();
    char absent[512];
    char file[512];
    (void)snprintf(absent, sizeof absent, "%s:%s/absent", house.in, house.dir.path);
    (void)snprintf(file, sizeof file, "%s/a.csv", house.in);
    const struct {
        const char *folders;
        enum err_code code;
    } cases[] = {
        {"relative", ERR_INVALID},
        {"/", ERR_INVALID},
        {"//", ERR_INVALID},
        {":", ERR_INVALID},
        {absent, ERR_NOT_FOUND},
        {file, ERR_IO},
        {"/tmp:/tmp:/tmp:/tmp:/tmp:/tmp:/tmp:/tmp:/tmp:/tmp:/tmp:/tmp:/tmp:/tmp:/tmp:/tmp:/tmp",
         ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct roots *roots = NULL;
        struct err err = {0};
        cr_expect_eq(roots_open(cases[i].folders, "source-roots", &roots, &err), cases[i].code,
                     "%s: %s", cases[i].folders, err.msg);
        cr_expect_null(roots);
        cr_expect_eq(strncmp(err.msg, "source-roots: ", 14), 0, "%s", err.msg);
    }
}

Test(roots, without_folders_everything_is_refused)
{
    struct roots *roots = NULL;
    struct err err = {0};
    int fd = -1;
    cr_assert_eq(roots_open("", "source-roots", &roots, &err), ERR_OK);
    cr_expect(roots_is_empty(roots));
    cr_expect_eq(roots_open_file(roots, "/etc/passwd", &fd, NULL, &err), ERR_FORBIDDEN);
    cr_expect_not_null(strstr(err.msg, "setting source-roots"), "%s", err.msg);
    roots_close(&roots);
}

Test(roots, keep_apart_from_the_servers_folder)
{
    CLEANUP(free_house) struct house house = make_house();
    CLEANUP(mem_cleanup) char *deep = file_join(house.in, "sub");
    CLEANUP(mem_cleanup) char *beside = temp_dir_join(&house.dir, "input");
    CLEANUP(mem_cleanup) char *alias = temp_dir_join(&house.dir, "alias");
    make_folder(house.dir.path, "input");
    cr_assert_eq(symlink(house.in, alias), 0);
    const struct {
        const char *folder;
        enum err_code code;
    } cases[] = {
        {house.in, ERR_FORBIDDEN}, {deep, ERR_FORBIDDEN}, {house.dir.path, ERR_FORBIDDEN},
        {alias, ERR_FORBIDDEN},    {beside, ERR_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        cr_expect_eq(roots_check_apart(house.roots, cases[i].folder, &err), cases[i].code, "%s: %s",
                     cases[i].folder, err.msg);
    }
}

Test(roots, the_deepest_root_takes_a_path)
{
    CLEANUP(free_house) struct house house = make_house();
    char folders[600];
    struct roots *roots = NULL;
    struct root_place place;
    struct err err = {0};
    (void)snprintf(folders, sizeof folders, "%s:%s/sub:%s/sub/deep", house.in, house.in, house.in);
    cr_assert_eq(roots_open(folders, "source-roots", &roots, &err), ERR_OK, "%s", err.msg);
    char path[512];
    (void)snprintf(path, sizeof path, "%s/sub/b.csv", house.in);
    cr_assert_eq(roots_resolve(roots, path, &place, &err), ERR_OK, "%s", err.msg);
    cr_expect_str_eq(place.relative, "b.csv");
    roots_close(&roots);
}

Test(roots, a_folder_keeps_what_is_opened_below_it)
{
    CLEANUP(free_house) struct house house = make_house();
    plant_attacks(&house);
    CLEANUP(file_close) int folder = -1;
    struct err err = {0};
    cr_assert_eq(roots_open_folder(house.roots, house.in, &folder, &err), ERR_OK, "%s", err.msg);
    static const struct {
        const char *path;
        enum err_code code;
    } cases[] = {
        {"a.csv", ERR_OK},
        {"sub/b.csv", ERR_OK},
        {"../secret", ERR_FORBIDDEN},
        {"/etc/passwd", ERR_FORBIDDEN},
        {"link-out", ERR_FORBIDDEN},
        {"sub", ERR_FORBIDDEN},
        {"sub/../../secret", ERR_FORBIDDEN},
        {"none", ERR_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(file_close) int fd = -1;
        err_clear(&err);
        cr_expect_eq(root_open_below(folder, cases[i].path, &fd, &err), cases[i].code, "%s: %s",
                     cases[i].path, err.msg);
    }
    int other = -1;
    cr_expect_eq(roots_open_folder(house.roots, "link-up", &other, &err), ERR_FORBIDDEN);
    cr_expect_eq(roots_open_folder(house.roots, "a.csv", &other, &err), ERR_NOT_FOUND);
    cr_expect_eq(other, -1);
}

/* ---- a race: a folder that is a link to the outside half of the time ---- */

struct race {
    const char *folder, *real;
    _Atomic bool stop;
};

static void *swap_folders(void *arg)
{
    struct race *race = arg;
    while (!atomic_load(&race->stop)) {
        (void)renameat2(AT_FDCWD, race->real, AT_FDCWD, race->folder, RENAME_EXCHANGE);
    }
    return NULL;
}

Test(roots, a_folder_swapped_for_a_link_never_leads_out)
{
    CLEANUP(free_house) struct house house = make_house();
    CLEANUP(mem_cleanup) char *folder = file_join(house.in, "swap");
    CLEANUP(mem_cleanup) char *link = file_join(house.in, "link");
    make_folder(house.in, "swap");
    put(house.in, "swap/secret", "harmless");
    cr_assert_eq(symlink(house.dir.path, link), 0);
    struct race race = {.folder = folder, .real = link};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, swap_folders, &race), 0);
    int opened = 0;
    int refused = 0;
    for (int i = 0; i < 1000000 && (opened < 1000 || refused < 1000); i++) {
        CLEANUP(file_close) int fd = -1;
        struct err err = {0};
        char text[16] = "";
        enum err_code code = roots_open_file(house.roots, "swap/secret", &fd, NULL, &err);
        if (code == ERR_OK) {
            cr_assert_eq(pread(fd, text, sizeof text - 1, 0), 8);
            cr_assert_str_eq(text, "harmless");
            opened++;
        } else {
            cr_assert(code == ERR_FORBIDDEN || code == ERR_BUSY, "%s", err.msg);
            refused++;
        }
    }
    atomic_store(&race.stop, true);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_expect_geq(opened, 1000);
    cr_expect_geq(refused, 1000);
}

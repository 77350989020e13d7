/* The program: finds the command and runs it. Each command has a file in server/cli. */
#include "server/cli/command.h"
#include "server/cli/generate.h"
#include "server/cli/serve.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"serve", cli_serve, "serve a data directory over HTTP"},
    {"token", cli_token, "create, list and revoke tokens"},
    {"table", cli_table, "list and show tables, their rows and history"},
    {"batch", cli_batch, "post a file of records, with a progress bar"},
    {"job", cli_job, "apply, list, show and delete definitions of jobs"},
    {"run", cli_run, "start, watch, cancel, repair and list runs of jobs"},
    {"generate", cli_generate, "write a realistic pharmacy data set"},
    {"fsck", cli_fsck, "check a data directory while no server runs"},
};

static void print_help(FILE *out)
{
    (void)fputs("usage: sluice COMMAND [--help]\n\n", out);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        (void)fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    }
}

/* What a command printed and nobody could take down is not done, whatever it returned. */
static int end_output(const char *name, int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return code;
    }
    (void)fprintf(stderr, "sluice %s: writing to standard output: %s\n", name, strerror(errno));
    return code == EX_OK ? EX_IOERR : code;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EX_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return end_output("help", EX_OK);
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return end_output(argv[1], commands[i].run(argc - 1, argv + 1));
        }
    }
    (void)fprintf(stderr, "sluice: there is no command '%s'\n\n", argv[1]);
    print_help(stderr);
    return EX_USAGE;
}

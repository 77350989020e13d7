/*
 * What the commands share. See command.h for the contract.
 */
#include "server/cli/command.h"

#include "server/cli/exit.h"

#include <sysexits.h>

bool command_take_option(struct command *command, int option, const char *argument)
{
    switch (option) {
    case 'D':
        command->client.data = argument;
        return true;
    case 'U':
        command->client.url = argument;
        return true;
    case 'T':
        command->client.token_file = argument;
        return true;
    case 'J':
        command->json = true;
        return true;
    case 'H':
        command->help_wanted = true;
        return true;
    default:
        return false;
    }
}

int command_usage(const struct command *command)
{
    (void)fputs(command->help, command->help_wanted ? stdout : stderr); /* help text */
    return command->help_wanted ? EX_OK : EX_USAGE;
}

int command_fail(const struct command *command, const struct err *err)
{
    (void)fprintf(stderr, "%s: %s\n", command->name, err->msg); /* told */
    return exit_code_of(err->code);
}

const char *command_text(const struct json *object, const char *name)
{
    const char *text = json_text(json_get(object, name));
    return text != NULL ? text : "-";
}

int64_t command_integer(const struct json *object, const char *name)
{
    int64_t value = 0;
    (void)json_as_integer(json_get(object, name), &value); /* absent: 0 */
    return value;
}

/* `sluice token`: create, list and revoke tokens, through a running server. */
#pragma once

/* Run the command; argv[0] is "token". Returns a sysexits code. */
int cli_token(int argc, char **argv);

/* `sluice serve`: run the server in the foreground until SIGTERM or SIGINT. */
#pragma once

/* Run the command; argv[0] is "serve". Returns a sysexits code. */
int cli_serve(int argc, char **argv);

/* `sluice batch`: post a file of records to a running server. */
#pragma once

/* Run the command; argv[0] is "batch". Returns a sysexits code. */
int cli_batch(int argc, char **argv);

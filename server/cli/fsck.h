/* `sluice fsck`: check a data directory while no server runs on it. */
#pragma once

/* Run the command; argv[0] is "fsck". Returns a sysexits code. */
int cli_fsck(int argc, char **argv);

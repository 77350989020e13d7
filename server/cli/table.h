/* `sluice table`: list and show tables, their rows and history; rows and history also of any Delta table folder. */
#pragma once

/* Run the command; argv[0] is "table". Returns a sysexits code. */
int cli_table(int argc, char **argv);

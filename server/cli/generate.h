/*
 * `sluice generate`: a realistic pharmacy data set with a fixed seed, as NDJSON,
 * for demos, tests and benchmarks. The same arguments give the same bytes.
 */
#pragma once

/*
 * Run the command; argv[0] is "generate".
 * Returns a sysexits code: 0, EX_USAGE, EX_CANTCREAT, EX_IOERR.
 */
int cli_generate(int argc, char **argv);

/*
 * Functions that may not be used, made compile errors; included on the command
 * line for every source file. Each has a safer neighbour in storage/base.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf gets strtok atoi atol atof
#pragma GCC poison asctime ctime popen mktemp tmpnam

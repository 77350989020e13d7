/*
 * Delta tables as a library: the public headers of this folder, in the order to read
 * them. Link libsluice_delta.a (make lib); it needs neither a server nor a database.
 * tests/library/append_rows.c is a whole program on it.
 *
 *   object.h       where a table lies: objects by name, put if absent
 *   log.h          the actions of the log: protocol, metaData, files, vectors, txn
 *   state.h        a table at one version: load it, as of a version or moment, walk its files
 *   transaction.h  make a table; commit, pass over or hand back what others committed
 *   table_files.h  names of data files, partition values, paths
 *   stats.h        a file's statistics, written and read
 *   checkpoint.h   the state as a file, so that the log need not be read from its start
 *
 * Every function says in its header what it may fail with, who owns memory, which thread
 * may call it, and what is durable when it returns. Source: delta PROTOCOL.md.
 */
#pragma once

#include "storage/delta/checkpoint.h"
#include "storage/delta/log.h"
#include "storage/delta/state.h"
#include "storage/delta/stats.h"
#include "storage/delta/table_files.h"
#include "storage/delta/transaction.h"
#include "storage/object/object.h"
#include "storage/parquet/parquet.h"

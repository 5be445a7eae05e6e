// The Postgres target: guarded bulk upserts and the applied position in one transaction.
//
// Invariant: see relay/sink/target.h. One connection; one thread, but interrupt() from any.
// What it keeps in the target: schema `millrace` with table `applied`, and a column `_millrace
// bytea` in every keyed target table (16 bytes: relay/base/ids.h Version; NULL is older than
// everything). While it applies, its session holds an advisory lock: see applier_lock.h.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "relay/base/clock.h"
#include "relay/base/result.h"
#include "relay/sink/target.h"

namespace millrace::postgres {

struct Options {
  std::string dsn;
  std::string pipeline;  // key of the row in millrace.applied
  std::vector<sink::TableMapping> tables;
  bool add_columns = false;  // adapt() adds columns that the source has and the target lacks
  bool park = false;  // a row that is rejected leaves the transaction open: it is to be parked
  bool replica_role = false;  // session_replication_role=replica: no triggers, no foreign keys
  bool synchronous_commit = true;
  std::string application_name = "millrace";
  Millis connect_timeout{10000};
  // A target that is silent for this long, and can not be asked whether it still works on what it
  // was told, is taken for dead. Asked it is after half of it.
  Millis network_timeout{60000};
  Millis lock_timeout{30000};   // 0: wait for ever
  Millis statement_timeout{0};  // 0: none
  // Ends waiting for an answer, as an interrupt does; connecting takes its time all the same.
  std::stop_token stop;
};

// Does not connect: the first call that needs the target does.
// Errors: config for a DSN that libpq can not read, or two mappings of one source table.
Result<std::unique_ptr<sink::Target>> make_target(Options options);

}  // namespace millrace::postgres

// Jobs: the rows of millrace.progress, as sink::CopyJob. See relay/sink/history.h.
//
// Invariant: a state moves by compare-and-set in one statement, so that an operator and an applier
// do not undo each other. Every function runs one statement; who calls decides the transaction.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "connectors/postgres/connection.h"
#include "relay/sink/target.h"

namespace millrace::postgres {

// Errors of all of them: negative where the table is not there.

// Oldest first.
Result<std::vector<sink::CopyJob>> read_jobs(Connection& connection, const std::string& pipeline);
Result<int64_t> insert_job(Connection& connection, const std::string& pipeline,
                           const sink::CopyJob& job);
Status move_job(Connection& connection, const std::string& pipeline, int64_t id,
                std::span<const sink::JobState> from, sink::JobState to, const std::string& why);
Status run_job(Connection& connection, const std::string& pipeline, const sink::CopyJob& job);

// For a transaction: locks the job until its end, so that its state stays. What the reply says of
// it is its id, replace and delete_extra; nullopt: it does not run, or began anew.
std::string hold_job_sql(const Connection& connection, const std::string& pipeline,
                         const sink::Chunk& chunk);
std::optional<sink::CopyJob> held_job(const Reply& reply, const sink::Chunk& chunk);
// In the same transaction, when the chunk is written.
std::string advance_job_sql(const Connection& connection, const std::string& pipeline,
                            const sink::Chunk& chunk);

// In the transaction that truncates the table: its open jobs begin anew, its tombstones go.
Status restart_jobs(Connection& connection, const std::string& pipeline, const std::string& table);

// The table or the schema is not there.
bool is_undefined(const Reply& reply);

}  // namespace millrace::postgres

// Failpoint: a named step at which a test build can be killed, held up or made to fail.
//
// Compiled to nothing unless MILLRACE_MUTATIONS is defined (the dev and sanitizer presets; never
// release). Chosen by the environment:
//
//   MILLRACE_FAIL = entry {"," entry} | "list"
//   entry         = name ["@" count ["+"]] [":" action]
//   action        = "kill" (default; SIGKILL) | "exit" (at once, status 86) | "pause" (SIGSTOP)
//                 | "error" (the step fails with a retryable Error) | "sleep:" milliseconds
//                 | "hold:" path (its thread waits for as long as that file exists)
//
// It fires when the step is reached for the count-th time (default 1), with "+" from then on. A
// name, count or action that is none ends the process at its start with exit code 2, so that a
// misspelt one never passes for a test. "list" prints every name. What fires says so on stderr.
// Thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "relay/base/result.h"

namespace millrace {

// In the order that a change travels. The names of the environment are these words.
#define MILLRACE_FAILPOINTS(X)                                                 \
  X(setup_slot)            /* the slot is made, the origin not published */    \
  X(capture_claim)         /* our claim is durable, not read back */           \
  X(capture_receive)       /* a frame is read, not decoded */                  \
  X(capture_produce)       /* a row goes to the log */                         \
  X(capture_commit)        /* a transaction is whole, its group not closed */  \
  X(log_write)             /* embedded: blocks go to RocksDB */                \
  X(log_written)           /* embedded: blocks are written, nobody knows */    \
  X(capture_delivery)      /* all rows of a group are reported durable */      \
  X(capture_manifest)      /* the manifest goes to the log */                  \
  X(capture_manifest_sent) /* the manifest is queued, not durable */           \
  X(capture_read_back)     /* the manifest is read back, nothing is told */    \
  X(capture_checkpoint)    /* the published position goes to RocksDB */        \
  X(capture_acknowledge)   /* the slot is about to be told more */             \
  X(capture_acknowledged)  /* the slot was told more */                        \
  X(apply_fetch)           /* a manifest is taken, no row of it read */        \
  X(apply_stage)           /* a batch is read and collapsed, nothing sent */   \
  X(apply_position)        /* the applied position is moved, no row written */ \
  X(apply_upsert)          /* one statement of a batch is done */              \
  X(apply_write)           /* a batch is written */                            \
  X(apply_commit)          /* COMMIT is about to be sent */                    \
  X(apply_committed)       /* COMMIT is answered, nobody knows */              \
  X(apply_checkpoint)      /* the applied position goes to RocksDB */          \
  X(backfill_start)        /* a mark is seen, the job does not run yet */      \
  X(backfill_read)         /* a chunk is read, nobody has it yet */            \
  X(backfill_write)        /* a chunk is about to be written */                \
  X(backfill_chunk)        /* its rows are written, its job has not moved */   \
  X(backfill_written)      /* a chunk is written, nobody knows */

enum class Failpoint : uint8_t {
#define MILLRACE_FAILPOINT_NAME(name) name,
  MILLRACE_FAILPOINTS(MILLRACE_FAILPOINT_NAME)
#undef MILLRACE_FAILPOINT_NAME
};

std::vector<std::string_view> failpoint_names();

struct FailpointEntry {
  enum class Action : uint8_t { kill, exit, pause, error, sleep, hold };
  Failpoint point = Failpoint::setup_slot;
  uint64_t count = 1;
  bool onwards = false;
  Action action = Action::kill;
  uint64_t sleep_ms = 0;
  std::string path;  // of the file that holds it up
  bool operator==(const FailpointEntry&) const = default;
};

// Errors: config, naming the entry and what would be right.
Result<std::vector<FailpointEntry>> parse_failpoints(std::string_view text);

#ifdef MILLRACE_MUTATIONS
// Reads the environment; an exit code when the process must end now (2: a mistake, 0: the list).
std::optional<int> arm_failpoints();
// Counts the step, and does what was chosen for it.
Status reach_failpoint(Failpoint point);
#else
constexpr std::optional<int> arm_failpoints() { return {}; }
#endif

}  // namespace millrace

// In a function that returns Status or Result: MILLRACE_FAILPOINT(apply_commit);
// In one that can not fail: MILLRACE_FAILPOINT_HERE(…), where "error" does nothing.
#ifdef MILLRACE_MUTATIONS
#define MILLRACE_FAILPOINT(name) TRY(::millrace::reach_failpoint(::millrace::Failpoint::name))
#define MILLRACE_FAILPOINT_HERE(name) \
  static_cast<void>(::millrace::reach_failpoint(::millrace::Failpoint::name))
#else
#define MILLRACE_FAILPOINT(name) static_cast<void>(0)
#define MILLRACE_FAILPOINT_HERE(name) static_cast<void>(0)
#endif

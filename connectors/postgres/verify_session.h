// VerifySession: the target's side of a comparison: snapshots that say what of the stream they
// contain.
//
// Invariant: it writes nothing. A snapshot is one transaction, held from begin() to end(). One
// connection, one thread, but interrupt() from any. It shares the catalog's reading with what
// writes the target, and nothing else.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "connectors/postgres/connection.h"
#include "connectors/postgres/target.h"
#include "relay/base/result.h"
#include "relay/event/compare.h"

namespace millrace::postgres {

class VerifySession final : public compare::TargetClock, public compare::Runner {
 public:
  explicit VerifySession(Options options) : options_(std::move(options)) {}

  Result<compare::TableShape> table(const std::string& schema, const std::string& name);

  // Fills in the columns' defaults: what earlier rows got when the column was added, or the DEFAULT
  // where that is a constant.
  Status add_defaults(compare::TableShape& table, const std::string& schema,
                      const std::string& name);
  // Does this session's snapshot or statement keep somebody waiting? On a connection of its own, by
  // one other thread.
  Result<bool> is_in_the_way();

  struct Violations {
    uint64_t rows = 0;
    // Of the first 5 rows the first 4 columns, at most 60 bytes of each; nullopt: NULL.
    std::vector<std::vector<std::pair<std::string, std::optional<std::string>>>> examples;
  };
  // What speaks against an invariant: its rows (at most 1000 are counted), or a boolean that is not
  // true. Errors: also bad_data for SQL that does not run; an open snapshot is void then.
  Result<Violations> violations(const std::string& name, const std::string& sql);

  Result<Place> applied() override;
  Result<Place> begin() override;
  void end() override;
  Result<compare::Grid> run(std::string_view doing, const compare::Query& query) override;
  // Ends a running statement, with `cancelled`. Any thread.
  void interrupt();
  // The next call connects anew.
  void close();

 private:
  Result<Connection*> connection();

  const Options options_;
  std::mutex connection_mutex_;  // guards the pointer against interrupt(), not the session
  std::shared_ptr<Connection> connection_;
  std::shared_ptr<Connection> watcher_;  // of is_in_the_way()
  bool open_ = false;
};

}  // namespace millrace::postgres

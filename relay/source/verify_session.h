// VerifySession: the source's side of a comparison: short reads, each with a snapshot of its own,
// and places in the WAL.
//
// Invariant: it changes no row and holds no snapshot between two reads. Its only writes are the
// transaction ids of marks, and messages that make an idle stream move. One thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "relay/base/result.h"
#include "relay/event/compare.h"
#include "relay/source/connection.h"
#include "relay/source/options.h"
#include "relay/source/visibility.h"

namespace millrace::source {

class VerifySession final : public compare::SourceClock, public compare::Runner {
 public:
  explicit VerifySession(Options options) : options_(options), visibility_(std::move(options)) {}

  Result<compare::TableShape> table(const std::string& schema, const std::string& name);

  Result<Mark> mark() override;
  Result<bool> seen(const Mark& mark) override;
  Result<std::string> waiting_for(const Mark& mark) override;
  Result<Lsn> end_of_wal() override;
  Status nudge() override;
  Result<compare::Grid> run(std::string_view doing, const compare::Query& query) override;

 private:
  Result<Connection*> connection();

  Options options_;
  Visibility visibility_;
  std::optional<Connection> connection_;
};

}  // namespace millrace::source

// Proofs: the history of what verify showed, table millrace.proof in the target.
//
// Invariant: of each kind and subject, and entry of the schedule or anybody else, at most `keep`
// are left after add(), the newest ones. One connection, opened by the first call. One thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "connectors/postgres/connection.h"
#include "relay/event/proof.h"

namespace millrace::postgres {

class Proofs {
 public:
  explicit Proofs(Options options) : options_(std::move(options)) {}

  // The next call connects anew.
  void close() { connection_.reset(); }

  // Errors of all: negative where the table is not there; else the connection's.
  Status add(const Proof& proof, uint64_t keep);
  // Newest first; of one table or invariant, or of all.
  Result<std::vector<Proof>> list(const std::optional<std::string>& subject, uint64_t most);
  // Grows with each add(); 0: there is none.
  Result<int64_t> newest();
  // The last of each subject and kind that is younger than `days`, by name; of whole tables.
  Result<std::vector<Proof>> latest(int days);
  // By subject: when the last proof that `who` asked for was begun; `equal`: that found no
  // difference.
  Result<std::map<std::string, TimeMicros>> begun(const std::string& who, bool equal = false);

 private:
  Result<Connection*> connection();
  Result<std::vector<Proof>> read(const std::string& sql, const std::vector<std::string>& texts);

  const Options options_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace millrace::postgres

// KnownTables: what one session has read of the target's catalog, as bindings, so that set-up,
// check and the first write of a process read it once and not three times.
//
// Invariant: only a binding that rows can be written by is believed again, and for a minute at
// most. One with a finding, without a table or a version column is read anew each time that it is
// asked for: it may have been mended. What was altered in that minute shows when rows are written,
// as it does for any binding that is older than the transaction: PlanWriter::stale().
// One thread, the connection's; it lives as long as the session.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "connectors/postgres/binding.h"
#include "relay/base/clock.h"

namespace millrace::postgres {

class KnownTables {
 public:
  // Both outlive it.
  KnownTables(Connection& connection, const std::vector<sink::TableMapping>& tables);

  // nullptr: the config maps no such source table.
  const sink::TableMapping* mapping_of(const TableSchema& source) const;

  // Reads what is not known of these, together. Shapes without a mapping are passed over.
  // `transaction`: the writer's, that is open; 0: none. Errors: the connection's.
  Status read(std::span<const TableSchema* const> shapes, uint64_t transaction = 0);
  Status read(std::span<const TableSchemaPtr> shapes);
  // REQUIRES: read(), and a mapping. Valid until the next call that is not const.
  const Binding& at(const TableSchema& shape) const;
  // Likewise; it is the caller's then, who may put it back.
  Binding take(const TableSchema& shape);
  // It is believed until a minute after it was read.
  void put(Binding binding);
  void forget() { known_.clear(); }

 private:
  bool is_believed(const Binding& binding) const;

  Connection& connection_;
  std::unordered_map<std::string, const sink::TableMapping*> mappings_;  // by source name
  std::unordered_map<uint64_t, Binding> known_;                          // by fingerprint
};

}  // namespace millrace::postgres

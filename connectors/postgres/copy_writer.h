// CopyWriter: rows into one target table by COPY … FROM STDIN, in text form.
//
//   begin ──► (add per column, end_row)* ──► finish   the COPY's reply; affected() is its rows
//                                      └──► abandon   nothing was written
//
// Source: PostgreSQL docs, "COPY", Text Format. Invariants: a value arrives byte for byte, whatever
// it holds (a NUL byte is refused, the server could not keep it); memory is one piece of
// kPieceBytes and the largest row. After a failed COPY the transaction is aborted up to the
// caller's savepoint. One thread (the connection's); reusable after finish() or abandon().
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "connectors/postgres/connection.h"
#include "relay/base/ids.h"

namespace millrace::postgres {

// "COPY table (columns) FROM STDIN"; both quoted already.
std::string copy_sql(const std::string& table, const std::vector<std::string>& columns);

class CopyWriter {
 public:
  explicit CopyWriter(Connection& connection) : connection_(connection) {}

  // Runs `sql`: a COPY, or several statements with one COPY among them. Those behind the COPY run
  // in finish(). A reply that is not ok: no COPY has begun.
  Reply begin(const std::string& sql);
  void add_null();
  // False for a value with a NUL byte: abandon() the COPY.
  bool add(std::string_view value);
  // A bytea: \x and 32 digits.
  void add(const Version& version);
  // False when the connection was lost: finish() says why.
  bool end_row();
  // The COPY's reply, or the first failure of it and of the statements behind it.
  Reply finish();
  // The refusal.
  Reply abandon();

 private:
  static constexpr size_t kPieceBytes = size_t{64} << 10;

  void separate();
  bool send();

  Connection& connection_;
  std::string text_;
  bool first_ = true;
};

}  // namespace millrace::postgres

// Samples for the tests of relay/wire: one table, one change of every kind, and the golden bytes.
#pragma once

#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "relay/event/change.h"
#include "relay/wire/row_codec.h"

namespace millrace::test {

inline TableSchemaPtr accounts() {
  TableSchema schema;
  schema.relation_oid = 16385;
  schema.schema = "public";
  schema.name = "Accounts";
  schema.columns = {{"id", 20, -1, "", "", true},
                    {"branch", 23, -1, "", "", true},
                    {"note", 25, -1, "", "", false},
                    {"balance", 1700, 655366, "", "", false},
                    {"mood", 16400, -1, "app", "mood", false}};
  return seal_schema(std::move(schema));
}

inline const TableSchemaPtr& accounts_table() {
  static const TableSchemaPtr table = accounts();
  return table;
}

inline Value text(std::string_view bytes) { return {ValueKind::text, bytes}; }
inline Value null() { return {}; }
inline Value unchanged() { return {ValueKind::unchanged, {}}; }

inline constexpr wire::RowStamp kStamp{Token{77}, 3, TimeMicros{1'763'719'200'123'456}, 4711};
inline constexpr Position kPosition{1, Lsn{0x16'B374'D848}, 7};

inline Change change_of(Op op) {
  Change change;
  change.op = op;
  change.table = accounts_table().get();
  change.position = kPosition;
  return change;
}

inline Change sample_insert() {
  static const std::vector<Value> row{text("9223372036854775807"), text("-5"), text(""), null(),
                                      text(std::string_view("fr\0h \xC3\xBC", 7))};
  Change change = change_of(Op::insert);
  change.after = row;
  return change;
}

// Changes its key and leaves a TOASTed value alone.
inline Change sample_update() {
  static const std::vector<Value> after{text("2"), text("5"), unchanged(), text("1.50"), null()};
  static const std::vector<Value> before{text("1"), text("5"), null(), null(), null()};
  Change change = change_of(Op::update);
  change.after = after;
  change.before = before;
  return change;
}

inline Change sample_remove() {
  static const std::vector<Value> before{text("2"), text("5"), null(), null(), null()};
  Change change = change_of(Op::remove);
  change.before = before;
  return change;
}

inline Change sample_truncate() {
  static const std::vector<uint64_t> tables{42, accounts_table()->fingerprint, 0};
  Change change = change_of(Op::truncate);
  change.truncated = tables;
  change.truncate_first = 6;
  change.restart_identity = true;
  return change;
}

inline std::vector<Change> samples() {
  return {sample_insert(), sample_update(), sample_remove(), sample_truncate()};
}

inline std::string encoded(const Change& change) {
  std::string out;
  wire::encode_row(kStamp, change, out);
  return out;
}

inline TableSchemaPtr lookup(uint64_t fingerprint) {
  return fingerprint == accounts_table()->fingerprint ? accounts_table() : nullptr;
}

inline bool same_row(Row a, Row b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

inline bool same(const Change& a, const Change& b) {
  return a.op == b.op && a.table == b.table && a.position == b.position &&
         same_row(a.after, b.after) && same_row(a.before, b.before) &&
         std::equal(a.truncated.begin(), a.truncated.end(), b.truncated.begin(),
                    b.truncated.end()) &&
         a.truncate_first == b.truncate_first && a.restart_identity == b.restart_identity;
}

inline std::string to_hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

// The bytes in tests/golden/wire/NAME.hex must be `bytes`. With MILLRACE_WRITE_GOLDEN set the file
// is written instead: for a new record only, because old ones lie in logs.
inline std::string golden(const std::string& name, std::string_view bytes) {
  const std::string path = std::string(MILLRACE_GOLDEN_DIR) + "/" + name + ".hex";
  if (std::getenv("MILLRACE_WRITE_GOLDEN") != nullptr) std::ofstream(path) << to_hex(bytes) << "\n";
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

}  // namespace millrace::test

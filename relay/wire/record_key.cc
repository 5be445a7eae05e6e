#include "relay/wire/record_key.h"

#include <google/protobuf/io/coded_stream.h>

namespace millrace::wire {
namespace {

using google::protobuf::io::CodedOutputStream;

void append_varint(uint64_t number, std::string& out) {
  uint8_t bytes[10];
  const uint8_t* end = CodedOutputStream::WriteVarint64ToArray(number, bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(end - bytes));
}

}  // namespace

void record_key(const Change& change, bool before, std::string& out) {
  out.clear();
  if (change.op == Op::truncate) return;
  const bool old = change.after.empty() || (before && !change.before.empty());
  const Row row = old ? change.before : change.after;
  const Row other = old ? change.after : change.before;
  const auto& columns = change.table->columns;
  for (size_t i = 0; i < columns.size() && i < row.size(); ++i) {
    if (!columns[i].in_key) continue;
    // A long key value may be TOASTed and unchanged in the new row; the old row then has it.
    const bool elsewhere = row[i].kind == ValueKind::unchanged && i < other.size();
    const Value& value = elsewhere ? other[i] : row[i];
    if (value.kind == ValueKind::text) {
      append_varint(value.text.size() + 2, out);
      out.append(value.text);
    } else {
      append_varint(value.kind == ValueKind::unchanged ? 1 : 0, out);
    }
  }
}

}  // namespace millrace::wire

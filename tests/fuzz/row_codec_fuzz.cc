// Any bytes as a row record: no crash, and what is accepted survives another round trip.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "relay/event/change.h"
#include "relay/wire/json.h"
#include "relay/wire/record_key.h"
#include "relay/wire/row_codec.h"

namespace {

using namespace millrace;

// A table for every fingerprint: its number of columns is in the lowest bits.
TableSchemaPtr lookup(uint64_t fingerprint) {
  TableSchema schema;
  schema.schema = "public";
  schema.name = "t";
  for (uint64_t i = 0; i < fingerprint % 8; ++i) {
    schema.columns.push_back({"c" + std::to_string(i), 25, -1, "", "", i < 2});
  }
  schema.fingerprint = fingerprint;
  return fingerprint == 7 ? nullptr : std::make_shared<const TableSchema>(std::move(schema));
}

void require(bool holds) {
  if (!holds) std::abort();
}

bool same(Row a, Row b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view record(reinterpret_cast<const char*>(data), size);
  const auto header = wire::peek_row(record);
  ChangeBatch batch;
  if (!wire::decode_row(record, lookup, batch)) {
    require(batch.empty());
    return 0;
  }
  require(header.has_value() && batch.size() == 1);
  const Change& change = batch.changes().front();
  require(header->op == change.op && header->position == change.position);

  std::string again;
  wire::encode_row({header->token, header->epoch, header->commit_time, header->xid}, change, again);
  ChangeBatch second;
  require(wire::decode_row(again, lookup, second).has_value());
  const Change& read = second.changes().front();
  require(read.op == change.op && read.position == change.position);
  require(same(read.after, change.after) && same(read.before, change.before));

  std::string key;
  wire::record_key(change, false, key);
  wire::record_key(change, true, key);
  const std::string json = wire::change_to_json(change, *header, {"topic", 0, 0});
  require(std::all_of(json.begin(), json.end(), [](char c) { return c >= ' ' && c < '\x7F'; }));
  return 0;
}

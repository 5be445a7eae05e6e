#include "relay/pipeline/letter_codec.h"

#include <utility>

#include "relay/wire/control_codec.h"
#include "relay/wire/json.h"
#include "relay/wire/record_key.h"

namespace millrace::pipeline {

sink::Letter encode_letter(const wire::RowStamp& stamp, const Change& change) {
  sink::Letter letter;
  letter.table = display_name(*change.table);
  letter.key_columns = sink::key_columns(*change.table);
  wire::record_key(change, false, letter.key);
  if (!change.before.empty() && !change.after.empty()) {
    std::string old_key;
    wire::record_key(change, true, old_key);
    if (old_key != letter.key) letter.old_key = std::move(old_key);
  }
  letter.key_json = wire::key_to_json(change);
  letter.op = change.op;
  letter.epoch = stamp.epoch;
  letter.position = change.position;
  // The change does not own its shape, and the record wants to: it borrows it for this call.
  const TableSchemaPtr shape(TableSchemaPtr(), change.table);
  letter.shape = wire::encode_control(SchemaRecord{stamp.token, shape});
  wire::encode_row(stamp, change, letter.change);
  return letter;
}

sink::LetterCodec letter_codec(const wire::RowStamp& stamp) {
  return {wire::record_key,
          [&stamp](const Change& change) { return encode_letter(stamp, change); }};
}

Status decode_letter(const sink::Letter& letter, ChangeBatch& out) {
  const std::string name = "letter " + std::to_string(letter.id);
  auto record = wire::decode_control(letter.shape);
  if (!record) return fail(std::move(record).error().at(name));
  const auto* schema = std::get_if<SchemaRecord>(&*record);
  if (schema == nullptr) {
    return fail(Error(ErrorCode::corruption, "the shape of its table is something else").at(name));
  }
  const auto lookup = [schema](uint64_t fingerprint) {
    return fingerprint == schema->schema->fingerprint ? schema->schema : nullptr;
  };
  auto decoded = wire::decode_row(letter.change, lookup, out);
  if (!decoded) return fail(std::move(decoded).error().at(name));
  return {};
}

}  // namespace millrace::pipeline
